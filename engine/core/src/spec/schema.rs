//! JSON Schemas of the files, for editors. Generated from the types, so that they can't differ.
//!
//! The generated files are committed under `schemas/`; a test compares them. To write them anew:
//! `PHASEGATE_UPDATE_SCHEMAS=1 cargo test -p phasegate-core --lib schema`.

use serde_json::Value;

use super::policy::Policy;
use super::release::Release;

/// The JSON Schema (draft 2020-12) of the release file.
#[must_use]
pub fn release() -> Value {
    of::<Release>("Phasegate release")
}

/// The JSON Schema (draft 2020-12) of the policy file.
#[must_use]
pub fn policy() -> Value {
    of::<Policy>("Phasegate policy")
}

/// The schema of what a type reads, which for a few is more than what it writes.
fn of<T: schemars::JsonSchema>(title: &str) -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../schemas")
            .join(name)
    }

    /// The committed file holds what the types say.
    #[expect(
        clippy::disallowed_methods,
        reason = "the test compares a file of the repository"
    )]
    fn committed(name: &str, schema: &Value) {
        let text = format!("{}\n", serde_json::to_string_pretty(schema).unwrap());
        if std::env::var_os("PHASEGATE_UPDATE_SCHEMAS").is_some() {
            std::fs::write(path(name), &text).unwrap();
        }
        let found = std::fs::read_to_string(path(name)).unwrap_or_default();
        assert!(
            found == text,
            "schemas/{name} is not what the types say; write it anew with PHASEGATE_UPDATE_SCHEMAS=1"
        );
    }

    #[test]
    fn the_committed_schemas_are_those_of_the_types() {
        committed("release.schema.json", &release());
        committed("policy.schema.json", &policy());
    }

    /// What an editor would underline: the validator knows nothing of our own checks.
    fn complaints(schema: &Value, yaml: &str) -> Vec<String> {
        let value = crate::yaml::read("f.yaml", yaml.as_bytes())
            .unwrap()
            .value()
            .clone();
        let validator = jsonschema::validator_for(schema).unwrap();
        validator
            .iter_errors(&value)
            .map(|e| e.instance_path().to_string())
            .collect()
    }

    #[test]
    fn the_examples_fit_their_schemas_and_typing_errors_do_not() {
        let hello = include_str!("../../../../examples/hello/release.yaml");
        assert_eq!(complaints(&release(), hello), [""; 0]);
        assert_eq!(
            complaints(
                &policy(),
                include_str!("../../../../examples/hello/policy.yaml")
            ),
            [""; 0]
        );
        for (from, to, at) in [
            ("change: minor", "change: tiny", "/change"),
            (
                "interval: 10s",
                "interval: 10",
                "/gates/pods/policy/interval",
            ),
            ("timeout: 30m", "timeOut: 30m", "/phases/0"),
            (
                "- check: [pods]",
                "- {check: [pods], attest: {name: a, prompt: b}}",
                "/phases/1/steps/0",
            ),
        ] {
            assert!(hello.contains(from), "{from}");
            assert_eq!(
                complaints(&release(), &hello.replacen(from, to, 1)),
                [at],
                "{to}"
            );
        }
    }
}
