//! Reading and changing JSON objects without ever indexing them.

use phasegate_core::time::Timestamp;
use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// The value at a path of member names, or null where there is none.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    let mut here = value;
    for step in path {
        match here.get(step) {
            Some(next) => here = next,
            None => return &NULL,
        }
    }
    here
}

/// The text at a path, or the empty text.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The whole number at a path.
pub(super) fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).as_i64()
}

/// The list at a path, or an empty one.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The object at a path.
pub(super) fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(value, path).as_object()
}

/// The place at a path, with objects made on the way; what is no object is replaced by one.
pub(super) fn slot<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    let mut here = value;
    for step in path {
        here = members(here)
            .entry((*step).to_owned())
            .or_insert(Value::Null);
    }
    here
}

/// The value as an object; what is no object is replaced by an empty one.
pub(super) fn members(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(members) => members,
        // The lines above made it an object.
        _ => unreachable!("an object was just put here"),
    }
}

/// Puts a value at a path.
pub(super) fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    *slot(value, path) = new.into();
}

/// Puts a value at a path unless there is one already that is not null.
pub(super) fn set_default(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    let here = slot(value, path);
    if here.is_null() {
        *here = new.into();
    }
}

/// Takes the member at a path away and returns it.
pub(super) fn take(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut here = value;
    for step in parents {
        here = here.get_mut(step)?;
    }
    here.as_object_mut()?.remove(*last)
}

/// The list at a path to change; what is no list is replaced by an empty one.
pub(super) fn list_mut<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Vec<Value> {
    let here = slot(value, path);
    if !here.is_array() {
        *here = Value::Array(Vec::new());
    }
    match here {
        Value::Array(items) => items,
        _ => unreachable!("a list was just put here"),
    }
}

/// RFC 3339 in whole seconds, as Kubernetes prints times.
pub(super) fn seconds(at: Timestamp) -> String {
    let total = at.as_millis() / 1000;
    let (days, rest) = (total / 86_400, total % 86_400);
    // Days to civil date by counting 400-year eras from 1 March of year 0.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Feeds the value to `sink` with members in the order of their names, whatever order the map keeps.
pub(super) fn canonical(value: &Value, sink: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            sink(b"{");
            for name in names {
                sink(name.as_bytes());
                sink(b":");
                canonical(members.get(name).unwrap_or(&NULL), sink);
                sink(b",");
            }
            sink(b"}");
        }
        Value::Array(items) => {
            sink(b"[");
            for item in items {
                canonical(item, sink);
                sink(b",");
            }
            sink(b"]");
        }
        Value::String(text) => {
            sink(b"\"");
            sink(text.as_bytes());
            sink(b"\"");
        }
        other => sink(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "2026-11-17T16:00:00Z",
            "2100-03-01T00:00:01Z",
        ] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(seconds(at), text);
        }
    }
}
