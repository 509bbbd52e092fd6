//! Configs of plugins: no secret in plain sight, and no credential that is not there.

use serde_json::Value;

use crate::diagnostic::{codes, looks_secret, secret_value};
use crate::spec::check::Checker;
use crate::spec::release::Release;
use crate::yaml::escape;

/// A plugin's config must not hold a secret, and names only credentials that exist.
pub(super) fn config(c: &mut Checker<'_>, release: &Release, pointer: &str, config: &Value) {
    if !config.is_object() {
        c.fault(
            codes::WRONG_TYPE,
            pointer,
            |f| f.expected("a mapping"),
            "a config is a mapping",
        );
    }
    let mut rest: Vec<(String, &Value)> = vec![(pointer.to_owned(), config)];
    // Every value of the file is looked at once; the file's size is bounded.
    while let Some((pointer, value)) = rest.pop() {
        match value {
            Value::Object(fields) => {
                named_header(c, &pointer, fields);
                for (key, value) in fields {
                    let at = format!("{pointer}/{}", escape(key));
                    if looks_secret(key) && value.as_str().is_some_and(|text| !text.is_empty()) {
                        secret(c, &at, &format!("`{key}`"));
                    } else if let (true, Some(name)) = (key == "credential", value.as_str()) {
                        c.refers(
                            &at,
                            "credential",
                            name,
                            release.credentials.keys().map(String::as_str),
                        );
                    } else {
                        rest.push((at, value));
                    }
                }
            }
            Value::Array(items) => rest.extend(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| (format!("{pointer}/{i}"), item)),
            ),
            Value::String(text) => {
                if let Some(kind) = secret_value(text) {
                    secret(c, &pointer, kind);
                }
            }
            _ => {}
        }
    }
}

/// Headers that are written as `{name: Authorization, value: …}`.
fn named_header(c: &mut Checker<'_>, pointer: &str, fields: &serde_json::Map<String, Value>) {
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    if let (Some(name), Some(value)) = (text("name"), text("value"))
        && looks_secret(name)
        && secret_value(value).is_none()
    {
        secret(
            c,
            &format!("{pointer}/value"),
            &format!("the value of `{name}`"),
        );
    }
}

fn secret(c: &mut Checker<'_>, pointer: &str, found: &str) {
    c.fault(
        codes::SECRET_IN_CONFIG,
        pointer,
        |f| f.found(found).hint("define the secret under `credentials` with the hosts it may be sent to, and name that credential here"),
        "a plugin's config holds a secret in plain sight",
    );
}
