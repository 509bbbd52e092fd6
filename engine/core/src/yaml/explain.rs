//! Why a document doesn't fit a type, in a user's words and at the line.
//!
//! serde reports such faults as text only. The few forms that it has are taken apart here; a text of
//! another form is a fault that one of our own types reports, and is passed on as it is.

use serde_json::Value;
use serde_path_to_error::Segment;

use super::{Document, escape};
use crate::diagnostic::{Code, Diagnostic, codes, looks_secret, nearest};

/// A fault, and the unknown field that it is about: its mapping's pointer and its name.
pub(super) struct Explained {
    pub(super) fault: Diagnostic,
    pub(super) unknown_field: Option<(String, String)>,
}

/// The text of an error that one of our own types reports through serde, with the code it has.
#[must_use]
pub fn coded_text(code: Code, message: &str) -> String {
    format!("{code}: {message}")
}

/// Takes the code off a text that [`coded_text`] made.
fn coded(text: &str) -> Option<(Code, &str)> {
    let (code, message) = text.split_once(": ")?;
    let well_formed = code.len() == 6 && code.starts_with("PG");
    if well_formed {
        Some((code.parse().ok()?, message))
    } else {
        None
    }
}

/// Explains one error of serde's.
pub(super) fn explain(
    document: &Document,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Explained {
    let pointer = pointer_of(error.path());
    let text = error.inner().to_string();
    if let Some(rest) = text.strip_prefix("unknown field ") {
        return unknown_field(document, &pointer, rest);
    }
    Explained {
        fault: other(document, &pointer, &text),
        unknown_field: None,
    }
}

fn other(document: &Document, pointer: &str, text: &str) -> Diagnostic {
    if let Some(name) = text.strip_prefix("missing field ") {
        let name = unquoted(name);
        return Diagnostic::new(
            codes::MISSING_FIELD,
            format!("{} needs `{name}`, which is not there", named(pointer)),
        )
        .at(document.key_place(pointer))
        .expected(format!("a field `{name}`"));
    }
    if let Some(rest) = text.strip_prefix("unknown variant ") {
        let (name, known) = split_known(rest);
        let fault = Diagnostic::new(
            codes::INVALID_VALUE,
            format!("{} can't be `{name}`", named(pointer)),
        )
        .at(document.place(pointer))
        .expected(crate::diagnostic::listed(known.iter().copied()))
        .found(format!("`{name}`"));
        return match nearest(name, known.iter().copied()) {
            Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
            None => fault,
        };
    }
    if let Some(rest) = text.strip_prefix("invalid type: ") {
        return wrong_type(document, pointer, rest);
    }
    if let Some((found, expected)) = text
        .strip_prefix("invalid value: ")
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        if expected == "map with a single key" {
            return Diagnostic::new(
                codes::CONTRADICTION,
                format!("{} takes exactly one kind", named(pointer)),
            )
            .at(document.place(pointer))
            .expected("a mapping with a single key")
            .found(keys_of(document.get(pointer)));
        }
        return Diagnostic::new(
            codes::INVALID_VALUE,
            format!("{} has a value that does not fit", named(pointer)),
        )
        .at(document.place(pointer))
        .expected(expectation(expected))
        .found(finding(pointer, found));
    }
    if let Some((code, message)) = coded(text) {
        return Diagnostic::new(code, message).at(document.place(pointer));
    }
    let text = if hidden(pointer) {
        "the value does not fit"
    } else {
        text
    };
    let fault = Diagnostic::new(codes::INVALID_VALUE, format!("{}: {text}", named(pointer)))
        .at(document.place(pointer));
    match document.get(pointer) {
        Some(Value::String(_)) if hidden(pointer) => fault,
        Some(Value::String(found)) => fault.found(format!("`{found}`")),
        Some(found @ (Value::Number(_) | Value::Bool(_))) => fault.found(format!("`{found}`")),
        _ => fault,
    }
}

/// Whether a value could be a secret that somebody wrote into the file by mistake. It is not shown.
fn hidden(pointer: &str) -> bool {
    pointer
        .split('/')
        .any(|segment| segment == "credentials" || looks_secret(segment))
}

fn wrong_type(document: &Document, pointer: &str, rest: &str) -> Diagnostic {
    // The value found may hold the words that separate the two, so the last ones count.
    let (found, expected) = rest
        .rsplit_once(", expected ")
        .unwrap_or((rest, "another type"));
    let value = document.get(pointer);
    let fault = Diagnostic::new(
        codes::WRONG_TYPE,
        format!("{} has the wrong type", named(pointer)),
    )
    .at(document.place(pointer))
    .expected(expectation(expected))
    .found(finding(pointer, found));
    match (expected, value) {
        ("a boolean", Some(Value::String(text))) => match text.to_ascii_lowercase().as_str() {
            word @ ("yes" | "on" | "y") => {
                fault.hint(format!("YAML 1.2 reads `{word}` as text; write `true`"))
            }
            word @ ("no" | "off" | "n") => {
                fault.hint(format!("YAML 1.2 reads `{word}` as text; write `false`"))
            }
            "true" | "false" => fault.hint("write it without quotes"),
            _ => fault,
        },
        ("a string", Some(Value::Number(_) | Value::Bool(_))) => {
            fault.hint("put the value in quotes, so that it stays the text that is written")
        }
        (_, Some(Value::String(text))) if is_number(expected) && text.parse::<f64>().is_ok() => {
            fault.hint("write the number without quotes")
        }
        (_, Some(Value::Null)) => fault.hint("give a value, or leave the field out"),
        _ => fault,
    }
}

fn unknown_field(document: &Document, pointer: &str, rest: &str) -> Explained {
    let (name, known) = split_known(rest);
    // The path ends with the field itself, or with the mapping that holds it.
    let suffix = format!("/{}", escape(name));
    let holder = match pointer.strip_suffix(&suffix) {
        Some(holder) if document.get(pointer).is_some() => holder,
        _ => pointer,
    };
    let at = format!("{holder}{suffix}");
    let place = if holder.is_empty() {
        "the file".to_owned()
    } else {
        named(holder)
    };
    let fault = Diagnostic::new(
        codes::UNKNOWN_FIELD,
        format!("{place} has no field `{name}`"),
    )
    .at(document.key_place(&at))
    .expected(crate::diagnostic::listed(known.iter().copied()))
    .found(format!("`{name}`"));
    let fault = match nearest(name, known.iter().copied()) {
        Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
        None => fault,
    };
    Explained {
        fault,
        unknown_field: Some((holder.to_owned(), name.to_owned())),
    }
}

/// Takes `` `x`, expected one of `a`, `b` `` apart.
fn split_known(rest: &str) -> (&str, Vec<&str>) {
    let (name, known) = match rest.rsplit_once(", expected ") {
        Some((name, known)) => (name, known),
        None => (
            rest.strip_suffix(", there are no fields").unwrap_or(rest),
            "",
        ),
    };
    let known = known.strip_prefix("one of ").unwrap_or(known);
    // The last form is `` `a` or `b` ``, for two.
    let known = known
        .split(", ")
        .flat_map(|part| part.split(" or "))
        .map(unquoted)
        .filter(|part| !part.is_empty())
        .collect();
    (unquoted(name), known)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('`')
        .and_then(|t| t.strip_suffix('`'))
        .unwrap_or(text)
}

/// The last name of a pointer, as the subject of a sentence.
fn named(pointer: &str) -> String {
    let mut segments = pointer.rsplit('/').filter(|s| !s.is_empty());
    match (segments.next(), segments.next()) {
        (Some(index), Some(list)) if index.bytes().all(|b| b.is_ascii_digit()) => {
            format!("`{list}[{index}]`")
        }
        (Some(name), _) => format!("`{name}`"),
        (None, _) => "the file".to_owned(),
    }
}

fn keys_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::Object(map)) if map.is_empty() => "an empty mapping".to_owned(),
        Some(Value::Object(map)) => map
            .keys()
            .map(|k| format!("`{k}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => super::build::kind(other).to_owned(),
        None => "nothing".to_owned(),
    }
}

fn is_number(expected: &str) -> bool {
    matches!(
        expected,
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "f32" | "f64"
    )
}

/// serde's name of a type in a user's words.
fn expectation(expected: &str) -> String {
    let text = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" => "a text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "string or map" => "a name or a mapping",
        "unit" => "nothing",
        other if other.starts_with("struct ") || other.starts_with("map with") => "a mapping",
        other => other,
    };
    text.to_owned()
}

/// serde's naming of a value in a user's words.
fn finding(pointer: &str, found: &str) -> String {
    if hidden(pointer) && found.starts_with("string ") {
        return "a text".to_owned();
    }
    let text = match found {
        "map" => "a mapping",
        "sequence" => "a list",
        "null" | "unit value" => "nothing",
        "newtype variant" | "struct variant" => "a mapping",
        "unit variant" => "a name alone",
        other => other,
    };
    for (prefix, ours) in [
        ("string ", "the text "),
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("boolean ", ""),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return format!("{ours}{rest}");
        }
    }
    text.to_owned()
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => escape(key),
            Segment::Enum { variant } => escape(variant),
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}
