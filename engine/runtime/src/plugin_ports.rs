//! The ports behind the plugin host: what plugins reach of the world beside time, HTTP and objects,
//! and where the engine keeps what it compiled.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use phasegate_core::verdict::Pair;
use serde::{Deserialize, Serialize};

use crate::ports::Capability;

/// Most bytes of a key of the compiled cache.
pub const MAX_CACHE_KEY: usize = 128;
/// Most bytes that one entry of the compiled cache may have. Python plugins compile to tens of megabytes.
pub const MAX_CACHE_ENTRY: usize = 256 << 20;

/// Where compiled plugins are kept between two starts of the engine.
///
/// The host alone writes entries and never trusts what it reads: each carries a checksum of its own,
/// and an entry that doesn't fit is compiled again and put again. So an implementation needs no
/// integrity checks, but the place must be private to the user: whoever can write there runs code.
///
/// Keys hold only `a-z`, `0-9` and `-`, at most [`MAX_CACHE_KEY`] of them, and may serve as file names.
pub trait CompiledCache: Send + Sync {
    /// The entry, or none where there is none, where it can't be read, or where it is larger than [`MAX_CACHE_ENTRY`].
    fn get(&self, key: &str) -> Option<Vec<u8>>;
    /// Writes the entry whole or not at all; an earlier one is replaced. The host goes on without
    /// the cache when this fails.
    ///
    /// # Errors
    /// Where the entry can't be written.
    fn put(&self, key: &str, entry: &[u8]) -> std::io::Result<()>;
}

/// How grave a plugin's log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For the record.
    Info,
    /// Something to look at.
    Warn,
    /// Something is wrong.
    Error,
}

/// A line that a plugin wrote, cut to the limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The plugin's name in the release.
    pub plugin: String,
    /// The key of the call in which it was written; empty outside a run.
    pub key: String,
    /// How grave it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Pair>,
}

/// Where plugins' log lines go. Must wait for nothing but a local file: it is called in the middle of a plugin's call.
pub trait LogSink: Send + Sync {
    /// Takes a line.
    fn write(&self, line: LogLine);
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A header that carries a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialHeader {
    /// The header's name, `authorization`.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// The part of the value that is the secret itself, which an answer may repeat without the rest.
    pub secret: Secret,
}

/// A credential that can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The release defines none of that name.
    #[error("no credential `{0}`")]
    Unknown(String),
    /// It is not meant for this authority, or to become the value of this key.
    #[error("credential `{name}` is not for {authority}")]
    NotFor {
        /// The credential.
        name: String,
        /// The authority that the request goes to.
        authority: String,
    },
    /// Its source did not give it.
    #[error("credential `{name}` can't be read: {detail}")]
    Unavailable {
        /// The credential.
        name: String,
        /// Why, without the value.
        detail: String,
    },
}

/// Credentials by name. Plugins name them; only the host sees them.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// The header to add to a request to `authority` (`host:port`).
    async fn header(
        &self,
        name: &str,
        authority: &str,
    ) -> Result<CredentialHeader, CredentialError>;

    /// The address to send a request for `authority` to, where the credential is a whole address: one that is a
    /// secret by itself. None where it goes into a header.
    async fn address(
        &self,
        _name: &str,
        _authority: &str,
    ) -> Result<Option<Secret>, CredentialError> {
        Ok(None)
    }

    /// The text itself, to become the value of a key of a Secret, where the credential is meant for that. No plugin
    /// can ask for it.
    async fn value(&self, name: &str, secret: &str, key: &str) -> Result<Secret, CredentialError> {
        Err(CredentialError::NotFor {
            name: name.to_owned(),
            authority: format!("{secret}/{key}"),
        })
    }
}

/// What the operator grants, by the plugin's name in the release.
///
/// A plugin's rights are what it asks for and is granted. What a plugin that comes with the engine
/// asks for counts as granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(pub BTreeMap<String, Vec<Capability>>);

impl Grants {
    /// What is granted to the plugin.
    #[must_use]
    pub fn to(&self, plugin: &str) -> &[Capability] {
        self.0.get(plugin).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_debug_output() {
        let header = CredentialHeader {
            name: "authorization".into(),
            value: Secret::new("Bearer hunter2"),
            secret: Secret::new("hunter2"),
        };
        assert!(!format!("{header:?}").contains("hunter2"));
        assert_eq!(header.value.expose(), "Bearer hunter2");
    }
}
