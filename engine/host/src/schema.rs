//! The JSON Schemas of offers' configs. A schema comes from a plugin, so it is a stranger too.

use jsonschema::{Draft, PatternOptions, Validator};
use phasegate_core::failure::Problem;
use serde_json::Value;

use crate::convert::MAX_PROBLEMS;
use crate::fault::cut;

/// Bytes that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// Compiles a schema. It can refer to nothing outside itself, and its patterns match in linear time.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    if let Some(loop_at) = refs::endless(schema) {
        return Err(format!("`{loop_at}` refers to itself without end"));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES)
                .dfa_size_limit(PATTERN_BYTES),
        )
        .offline()
        .build(schema)
        .map_err(|e| cut(e.to_string()))
}

/// What is wrong with the config, at most a bounded number of faults.
pub(crate) fn problems(validator: &Validator, config: &Value) -> Vec<Problem> {
    validator
        .iter_errors(config)
        .take(MAX_PROBLEMS)
        .map(|error| Problem {
            pointer: error.instance_path().to_string(),
            message: cut(error.to_string()),
        })
        .collect()
}

/// References within a schema that lead back to where they began without going into the config:
/// checking one would never end.
mod refs {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// Keywords whose schemas are about the same part of the config as the schema that holds them.
    const SAME: [&str; 4] = ["not", "if", "then", "else"];
    /// The same for lists of schemas.
    const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
    /// Most schemas that are looked at.
    const MAX_SCHEMAS: usize = 10_000;

    /// The reference that doesn't end, or one that can't be followed here.
    pub(super) fn endless(root: &Value) -> Option<String> {
        let mut all = Vec::new();
        collect(root, &mut all);
        let mut done = BTreeSet::new();
        for reference in all {
            let mut path = Vec::new();
            if let Some(found) = follow(root, reference, &mut path, &mut done) {
                return Some(found);
            }
            if done.len() > MAX_SCHEMAS {
                return Some(reference.to_owned());
            }
        }
        None
    }

    fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    match inner {
                        Value::String(text) if key == "$ref" || key == "$dynamicRef" => {
                            found.push(text);
                        }
                        _ => collect(inner, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|inner| collect(inner, found)),
            _ => {}
        }
    }

    fn follow<'a>(
        root: &'a Value,
        reference: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if path.contains(&reference) {
            return Some(reference.to_owned());
        }
        if done.contains(reference) {
            return None;
        }
        // Only pointers into the schema itself: names and addresses could mean anything.
        let Some(pointer) = reference.strip_prefix('#') else {
            return Some(reference.to_owned());
        };
        let Some(target) = root.pointer(&decoded(pointer)) else {
            return Some(reference.to_owned());
        };
        path.push(reference);
        let mut here = Vec::new();
        same(target, &mut here);
        for next in here {
            if let Some(found) = follow(root, next, path, done) {
                return Some(found);
            }
        }
        path.pop();
        done.insert(reference);
        None
    }

    /// References that are about the same part of the config.
    fn same<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
        let Value::Object(map) = schema else { return };
        for (key, inner) in map {
            match inner {
                Value::String(text) if key == "$ref" || key == "$dynamicRef" => found.push(text),
                Value::Array(list) if SAME_LISTS.contains(&key.as_str()) => {
                    list.iter().for_each(|inner| same(inner, found));
                }
                Value::Object(schemas) if key == "dependentSchemas" => {
                    schemas.values().for_each(|inner| same(inner, found));
                }
                _ if SAME.contains(&key.as_str()) => same(inner, found),
                _ => {}
            }
        }
    }

    fn decoded(pointer: &str) -> String {
        pointer.replace("%25", "%").replace("%24", "$")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_point_into_the_config() {
        let schema = compile(&json!({
            "type": "object",
            "properties": {"every": {"$ref": "#/$defs/span"}, "n": {"type": "integer", "minimum": 1}},
            "$defs": {"span": {"type": "string", "pattern": "^[0-9]+s$"}},
            "required": ["every"],
            "additionalProperties": false,
        }))
        .unwrap();
        assert_eq!(problems(&schema, &json!({"every": "5s", "n": 1})), []);
        let found = problems(&schema, &json!({"every": "soon", "n": 0, "x": 1}));
        let pointers: Vec<_> = found.iter().map(|p| p.pointer.as_str()).collect();
        for pointer in ["/every", "/n", ""] {
            assert!(pointers.contains(&pointer), "{found:?}");
        }
        assert_eq!(problems(&schema, &json!({}))[0].pointer, "");
    }

    #[test]
    fn a_schema_that_never_ends_or_reaches_out_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            json!({"allOf": [{"anyOf": [{"$ref": "#"}]}]}),
            json!({"not": {"$ref": "#"}}),
            json!({"dependentSchemas": {"a": {"$ref": "#"}}}),
            json!({"$dynamicRef": "#"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$ref": "#/nowhere"}),
            json!({"type": "nonsense"}),
            json!({"pattern": "(a{1000}){1000}"}),
            json!(1),
        ] {
            assert!(compile(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_tree_may_refer_to_itself() {
        let schema = compile(&json!({
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
            "required": ["children"],
        }))
        .unwrap();
        let leaf = json!({"children": []});
        assert_eq!(problems(&schema, &json!({"children": [leaf]})), []);
        let found = problems(&schema, &json!({"children": [{"children": [{}]}]}));
        assert_eq!(found[0].pointer, "/children/0/children/0");
    }

    #[test]
    fn patterns_match_in_linear_time() {
        let schema = compile(&json!({"pattern": "^(a+)+$"})).unwrap();
        let text = format!("{}!", "a".repeat(50_000));
        assert_eq!(problems(&schema, &json!(text)).len(), 1);
    }
}
