//! Where two pod templates differ, for people: places alone, since values may be nobody's business.

use std::collections::BTreeSet;

use phasegate_core::config::MAX_CHANGES;
use serde_json::Value;

/// How deep templates are held against each other; what differs deeper is told of the place there.
const MAX_DEPTH: usize = 8;

/// The places that are new, go or change.
pub(super) fn between(old: Option<&Value>, new: Option<&Value>) -> Vec<String> {
    let mut lines = Vec::new();
    let nothing = Value::Null;
    let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
    compare("", old, new, MAX_DEPTH, &mut lines);
    if lines.len() > MAX_CHANGES {
        let more = lines.len().saturating_sub(MAX_CHANGES);
        lines.truncate(MAX_CHANGES);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn compare(place: &str, old: &Value, new: &Value, depth: usize, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (parts(old), parts(new), depth.checked_sub(1)) {
        (Some(old), Some(new), Some(deeper)) => {
            let names: BTreeSet<&String> = old.iter().chain(&new).map(|(name, _)| name).collect();
            for name in names {
                let value = |parts: &[(String, &Value)]| {
                    let mut parts = parts.iter();
                    let found = parts.find(|(there, _)| there == name);
                    found.map_or(Value::Null, |(_, value)| (*value).clone())
                };
                let place = match name.starts_with('[') || place.is_empty() {
                    true => format!("{place}{name}"),
                    false => format!("{place}.{name}"),
                };
                compare(&place, &value(&old), &value(&new), deeper, lines);
            }
        }
        _ if old.is_null() => lines.push(format!("{place} is new")),
        _ if new.is_null() => lines.push(format!("{place} goes")),
        _ => lines.push(format!("{place} changes")),
    }
}

/// The parts of a mapping, or of a list whose items have names; none of anything else.
fn parts(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            Some(fields.map(|(name, value)| (name.clone(), value)).collect())
        }
        Value::Array(items) => items
            .iter()
            .map(|item| Some((format!("[{}]", item.get("name")?.as_str()?), item)))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_told_and_no_values() {
        let old = json!({"spec": {"containers": [
            {"name": "app", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x"]},
        ]}});
        let new = json!({"spec": {"containers": [
            {"name": "app", "env": [{"name": "A", "value": "hush"}], "args": ["y"]},
            {"name": "proxy"},
        ], "hostNetwork": true}});
        assert_eq!(
            between(Some(&old), Some(&new)),
            [
                "spec.containers[app].args changes",
                "spec.containers[app].env[A].value changes",
                "spec.containers[app].env[B] goes",
                "spec.containers[proxy] is new",
                "spec.hostNetwork is new",
            ]
        );
        assert!(between(Some(&old), Some(&old)).is_empty());
    }
}
