//! A plugin's config: JSON text in, a serde type out, and its schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{Error, Problem};

/// What a plugin's type must be to be filled from the release file.
///
/// Every type with `#[derive(serde::Deserialize, schemars::JsonSchema)]` is one. Add
/// `#[serde(rename_all = "camelCase", deny_unknown_fields)]`: a misspelt setting is then refused
/// instead of ignored.
pub trait Config: DeserializeOwned + JsonSchema {}

impl<T: DeserializeOwned + JsonSchema> Config for T {}

/// Reads a config. A fault names where it is.
pub(crate) fn parse<T: Config>(json: &str) -> Result<T, Error> {
    // By way of a value: a component then contains the parser of JSON once instead of once a type.
    let value: Value = serde_json::from_str(json).map_err(|error| misconfigured(None, &error))?;
    serde_path_to_error::deserialize(value)
        .map_err(|error| misconfigured(Some(error.path()), error.inner()))
}

/// Faults of a config: what can't be read, or what `validate` finds.
pub(crate) fn check<T: Config>(json: &str, validate: fn(&T) -> Vec<Problem>) -> Vec<Problem> {
    match parse::<T>(json) {
        Ok(config) => validate(&config),
        Err(Error::Misconfigured(problems)) => problems,
        Err(error) => vec![Problem::new("", error.to_string())],
    }
}

/// The schema of a config, draft 2020-12, as JSON text.
pub(crate) fn schema<T: Config>() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<T>().as_value().to_string()
}

fn misconfigured(path: Option<&Path>, error: &serde_json::Error) -> Error {
    let pointer = path.map(pointer).unwrap_or_default();
    Error::misconfigured(pointer, error.to_string())
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            // The name of a case is a member in JSON, where the case holds anything.
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&token);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the way it is read matters")]
    struct Sample {
        list: Vec<Item>,
        #[serde(rename = "a/b~c")]
        odd: Option<u8>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the way it is read matters")]
    struct Item {
        wait: crate::Duration,
    }

    fn fault(json: &str) -> (String, String) {
        match parse::<Sample>(json) {
            Err(Error::Misconfigured(problems)) => {
                let problem = problems.first().expect("a problem");
                (problem.pointer.clone(), problem.message.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let (pointer, message) = fault(r#"{"list":[{"wait":"5m"},{"wait":"soon"}]}"#);
        assert_eq!(pointer, "/list/1/wait");
        assert!(message.starts_with("`soon` is not a duration"), "{message}");

        let (pointer, message) = fault(r#"{"list":[],"a/b~c":-1}"#);
        assert_eq!(pointer, "/a~1b~0c");
        assert!(
            message.starts_with("invalid value: integer `-1`"),
            "{message}"
        );

        let (pointer, message) = fault(r#"{"list":[{"wait":"1s","more":1}]}"#);
        assert_eq!(pointer, "/list/0/more");
        assert_eq!(message, "unknown field `more`, expected `wait`");
    }

    #[test]
    fn what_is_not_json_is_a_fault_of_the_whole() {
        assert_eq!(fault("{}").1, "missing field `list`");
        assert_eq!(fault("{} trailing").0, "");
        assert_eq!(fault("").0, "");
    }

    #[test]
    fn the_schema_is_of_the_promised_draft() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Sample>()).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["additionalProperties"], false);
    }
}
