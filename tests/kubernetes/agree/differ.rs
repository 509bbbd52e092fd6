//! In what two answers differ, and what is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// Something that the two clusters answer differently.
pub(super) struct Difference {
    /// The kind of object and the field, or else the exchange and the field.
    place: String,
    exchange: String,
    simulated: String,
    real: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            exchange,
            simulated,
            real,
        } = self;
        write!(
            f,
            "`{place}`: simulated {simulated}, real {real} ({exchange})"
        )
    }
}

/// A difference that is listed: a place, in which `*` stands for anything.
pub(super) struct Listed(pub(super) String);

impl Listed {
    pub(super) fn is_about(&self, difference: &Difference) -> bool {
        fits(&self.0, &difference.place)
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
            rest.is_empty() || ends.into_iter().any(|end| fits(rest, &text[end..]))
        }),
    }
}

/// The heading under which the list stands.
const HEADING: &str = "## What a real cluster answers differently";

/// Reads the list: what stands in backquotes in the first column of the table.
pub(super) fn listed(document: &str) -> Vec<Listed> {
    let after = document.split_once(HEADING).map_or("", |(_, after)| after);
    let section = after.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split_once(" |").map(|(cell, _)| cell));
    let marked = cells.flat_map(|cell| cell.split('`').step_by(2));
    marked
        .filter(|pattern| !pattern.is_empty())
        .map(|pattern| Listed(pattern.to_owned()))
        .collect()
}

/// Compares what was answered to an exchange.
pub(super) fn between(
    table: &str,
    exchange: &str,
    simulated: &Value,
    real: &Value,
) -> Vec<Difference> {
    let kind = |answer: &Value| answer["body"]["kind"].as_str().map(str::to_owned);
    let mut all = Vec::new();
    if simulated["code"] == real["code"] {
        differ(String::new(), simulated, real, &mut all);
    } else {
        // The rest follows from it.
        let (here, there) = (&simulated["code"], &real["code"]);
        all.push((".code".to_owned(), Some(here), Some(there)));
    }
    let kind = kind(simulated).filter(|it| kind(real).as_ref() == Some(it) && it != "Status");
    let placed = |(path, here, there): (String, Option<&Value>, Option<&Value>)| {
        let field = path.strip_prefix(".body.").unwrap_or(&path);
        let field = field.trim_start_matches('.');
        let place = match &kind {
            Some(kind) => match kind.strip_suffix("List") {
                Some(kind) => format!("{kind} {}", without_index(field)),
                None => format!("{kind} {field}"),
            },
            None => format!("{exchange}: {field}"),
        };
        let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        Difference {
            place,
            exchange: format!("{table}: {exchange}"),
            simulated: shown(here),
            real: shown(there),
        }
    };
    all.into_iter().map(placed).collect()
}

fn without_index(field: &str) -> &str {
    let inner = field
        .strip_prefix("items[")
        .and_then(|it| it.split_once("]."));
    inner.map_or(field, |(_, inner)| inner)
}

type Found<'a> = (String, Option<&'a Value>, Option<&'a Value>);

fn differ<'a>(path: String, here: &'a Value, there: &'a Value, found: &mut Vec<Found<'a>>) {
    match (here, there) {
        (Value::Object(here), Value::Object(there)) => {
            let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
            for name in names {
                let path = format!("{path}.{name}");
                either(path, here.get(name), there.get(name), found);
            }
        }
        (Value::Array(here), Value::Array(there)) => {
            let (here, there) = (keyed(here), keyed(there));
            let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
            for key in keys {
                let path = format!("{path}[{key}]");
                let (here, there) = (here.get(key).copied(), there.get(key).copied());
                either(path, here, there, found);
            }
        }
        _ if here != there => found.push((path, Some(here), Some(there))),
        _ => {}
    }
}

fn either<'a>(
    path: String,
    here: Option<&'a Value>,
    there: Option<&'a Value>,
    found: &mut Vec<Found<'a>>,
) {
    match (here, there) {
        (Some(here), Some(there)) => differ(path, here, there, found),
        _ => found.push((path, here, there)),
    }
}

/// The items of a list by what tells them apart; by their place where nothing does.
fn keyed(items: &[Value]) -> BTreeMap<String, &Value> {
    let by_key: BTreeMap<String, &Value> = items
        .iter()
        .filter_map(|item| Some((key(item)?, item)))
        .collect();
    if by_key.len() == items.len() {
        return by_key;
    }
    let numbered = items.iter().enumerate();
    numbered
        .map(|(place, item)| (place.to_string(), item))
        .collect()
}

fn key(item: &Value) -> Option<String> {
    let text = |name: &str| item[name].as_str();
    if let (Some(manager), Some(operation)) = (text("manager"), text("operation")) {
        let subresource = text("subresource").map_or(String::new(), |it| format!("/{it}"));
        return Some(format!("{manager}/{operation}{subresource}"));
    }
    let named = ["type", "name", "field"].into_iter().find_map(text);
    named.map(str::to_owned)
}
