//! The cluster of the release, within what the operator granted.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bindings::imports::phasegate::host::kubernetes::KubernetesError;
use crate::bindings::imports::phasegate::host::kubernetes::ObjectRef;
use crate::host;

/// One object by name. `T` is `serde_json::Value`, or a type with the fields that matter.
///
/// # Errors
///
/// [`Error::NotFound`] where there is none; [`Error::Unexpected`] where it doesn't fit `T`.
pub fn get<T: DeserializeOwned>(
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<T, Error> {
    let object = reference(api_version, kind, namespace, name);
    read(&host::get(&object)?)
}

/// All objects of a kind in a namespace that the label selector (`app=shop,track!=canary`) matches;
/// an empty selector matches all.
///
/// # Errors
///
/// [`Error::Unexpected`] where an object doesn't fit `T`, and what the cluster says.
pub fn find<T: DeserializeOwned>(
    api_version: &str,
    kind: &str,
    namespace: &str,
    selector: &str,
) -> Result<Vec<T>, Error> {
    let selector = (!selector.is_empty()).then_some(selector);
    let objects = host::find(api_version, kind, Some(namespace), selector)?;
    objects.iter().map(|object| read(object)).collect()
}

/// Server-side apply; the plugin's name is the field manager. Returns the object as it is now.
///
/// # Errors
///
/// [`Error::Conflict`] where somebody else owns a field, and what the cluster says.
pub fn apply<T: DeserializeOwned>(object: &impl Serialize) -> Result<T, Error> {
    read(&host::apply(&write(object)?)?)
}

/// JSON merge patch (RFC 7386). Returns the object as it is now.
///
/// # Errors
///
/// [`Error::NotFound`] where there is none, and what the cluster says.
pub fn patch<T: DeserializeOwned>(
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    merge: &impl Serialize,
) -> Result<T, Error> {
    let object = reference(api_version, kind, namespace, name);
    read(&host::patch(&object, &write(merge)?)?)
}

/// A merge patch that fits the version that was read and no other, so that nobody's change in between is lost.
#[must_use]
pub fn over(mut change: Value, version: Option<&str>) -> Value {
    if let (Some(version), Some(fields)) = (version, change.as_object_mut()) {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
    }
    change
}

/// Deletes an object.
///
/// # Errors
///
/// [`Error::NotFound`] where there is none, and what the cluster says.
pub fn remove(api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<(), Error> {
    let object = reference(api_version, kind, namespace, name);
    Ok(host::remove(&object)?)
}

fn reference(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        name: name.to_owned(),
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::Unexpected(error.to_string()))
}

fn write(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Invalid(error.to_string()))
}

/// Why the cluster didn't do it.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// There is no such object.
    NotFound,
    /// Somebody else changed it, or owns the field.
    Conflict(String),
    /// Not granted by the operator, or not by the cluster.
    Denied(String),
    /// The cluster refuses what was sent.
    Invalid(String),
    /// The cluster doesn't answer.
    Unavailable(String),
    /// The object isn't what the plugin expected.
    Unexpected(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the object does not exist"),
            Self::Conflict(text) => write!(f, "changed by somebody else: {text}"),
            Self::Denied(text) => write!(f, "not granted: {text}"),
            Self::Invalid(text) => write!(f, "refused by the cluster: {text}"),
            Self::Unavailable(text) => write!(f, "the cluster does not answer: {text}"),
            Self::Unexpected(text) => write!(f, "the object is not as expected: {text}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<KubernetesError> for Error {
    fn from(error: KubernetesError) -> Self {
        match error {
            KubernetesError::NotFound => Self::NotFound,
            KubernetesError::Conflict(text) => Self::Conflict(text),
            KubernetesError::Denied(text) => Self::Denied(text),
            KubernetesError::Invalid(text) => Self::Invalid(text),
            KubernetesError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

impl From<Error> for crate::Error {
    /// Asking again helps where somebody else was faster or the cluster doesn't answer.
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict(_) | Error::Unavailable(_) => Self::retryable(error.to_string()),
            _ => Self::permanent(error.to_string()),
        }
    }
}
