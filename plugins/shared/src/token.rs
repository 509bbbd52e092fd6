//! What an action noted before it ran.

use phasegate_plugin::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The token as the type that `prepare` made it of.
///
/// # Errors
///
/// It is of another kind.
pub fn token<T: DeserializeOwned>(token: &Value) -> Result<T> {
    serde_json::from_value(token.clone())
        .map_err(|error| Error::permanent(format!("the token can't be read: {error}")))
}
