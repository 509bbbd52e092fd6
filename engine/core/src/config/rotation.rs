//! New values for keys of a Secret that is versioned with a release.
//!
//! The Secret that people own is never written. Whoever makes the copy reads or makes up the values at that moment;
//! what is planned and journalled says only where they come from.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::named;

/// Most keys of one Secret that a release rotates.
pub const MAX_ROTATED: usize = 20;
/// Longest key of a ConfigMap or Secret.
pub const MAX_KEY: usize = 253;
/// Fewest characters of a random value.
pub const MIN_RANDOM: u32 = 16;
/// Most characters of a random value.
pub const MAX_RANDOM: u32 = 256;

/// The characters that a random value is made of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Alphabet {
    /// Letters and digits.
    #[default]
    Alphanumeric,
    /// Small letters and digits.
    LowerCase,
    /// Digits and `a` to `f`.
    Hex,
}

impl Alphabet {
    /// They.
    #[must_use]
    pub const fn characters(self) -> &'static str {
        match self {
            Self::Alphanumeric => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            Self::LowerCase => "abcdefghijklmnopqrstuvwxyz0123456789",
            Self::Hex => "0123456789abcdef",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Alphanumeric => "letters and digits",
            Self::LowerCase => "small letters and digits",
            Self::Hex => "hexadecimal digits",
        }
    }
}

/// A value that the engine makes up.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Random {
    /// How many characters, 16 to 256.
    pub length: u32,
    /// Of which.
    #[serde(default)]
    pub alphabet: Alphabet,
}

/// Where the new value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NewValue {
    /// A credential of the release.
    Credential(String),
    /// Chance.
    Random(Random),
}

impl fmt::Display for NewValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "from credential {name}"),
            Self::Random(random) => {
                let of = random.alphabet.in_words();
                write!(f, "to {} random {of}", random.length)
            }
        }
    }
}

/// Which version of an object something was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its uid.
    pub uid: String,
    /// Its `metadata.resourceVersion`.
    pub version: String,
}

/// Whether that can be a key of a ConfigMap or Secret.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !key.is_empty() && key.len() <= MAX_KEY && key != "." && key != ".." && key.bytes().all(plain)
}

/// The name of the `attempt`th copy of an object with new values for these keys. It follows from no value: a digest of
/// one could be guessed at. An earlier run's copy of that name holds other values, and then the next attempt is taken.
#[must_use]
pub fn copy_of_rotated(
    workload: &str,
    of: &str,
    base: &Source,
    keys: &BTreeMap<String, NewValue>,
    attempt: u32,
) -> String {
    let attempt = attempt.to_string();
    let about = [workload, "rotated", &base.uid, &base.version, &attempt];
    named(of, about.into_iter().chain(keys.keys().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::original;

    #[test]
    fn a_rotated_copy_is_named_by_keys_and_versions() {
        let source = |version: &str| Source {
            uid: "u".to_owned(),
            version: version.to_owned(),
        };
        let keys = |names: &[&str], credential: &str| -> BTreeMap<String, NewValue> {
            let value = NewValue::Credential(credential.to_owned());
            names
                .iter()
                .map(|name| ((*name).to_owned(), value.clone()))
                .collect()
        };
        let name = |version, names: &[&str], credential, attempt| {
            copy_of_rotated(
                "api",
                "db",
                &source(version),
                &keys(names, credential),
                attempt,
            )
        };
        let one = name("7", &["password"], "new", 0);
        assert_eq!(original(&one), "db");
        assert_eq!(one, name("7", &["password"], "another", 0));
        for other in [
            name("8", &["password"], "new", 0),
            name("7", &["password", "token"], "new", 0),
            name("7", &["password"], "new", 1),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_new_value_is_told_by_where_it_comes_from() {
        let random = NewValue::Random(Random {
            length: 32,
            alphabet: Alphabet::Hex,
        });
        assert_eq!(random.to_string(), "to 32 random hexadecimal digits");
        let text = serde_json::to_string(&random).unwrap();
        assert_eq!(text, r#"{"random":{"length":32,"alphabet":"hex"}}"#);
        assert_eq!(serde_json::from_str::<NewValue>(&text).unwrap(), random);
        let credential = NewValue::Credential("new".to_owned());
        let text = serde_json::to_string(&credential).unwrap();
        assert_eq!(text, r#"{"credential":"new"}"#);
    }

    #[test]
    fn keys_are_what_kubernetes_takes() {
        assert!(is_key("tls.crt") && is_key("DB_PASSWORD"));
        for bad in [
            "",
            ".",
            "..",
            "a key",
            "a,b",
            "a/b",
            &"k".repeat(MAX_KEY + 1),
        ] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
