//! Answers without what is drawn by lot or read from a clock.

use serde_json::Value;

/// The same with marks in place of versions, identities, times, addresses and generated names.
pub(super) fn of(value: &Value) -> Value {
    member("", value)
}

fn member(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let plain = |(name, value): (&String, &Value)| (name.clone(), member(name, value));
            Value::Object(members.iter().map(plain).collect())
        }
        // The causes of a conflict come in any order, and so do the pods of a Service.
        Value::Array(items) if ["causes", "endpoints"].contains(&name) => {
            let mut sorted: Vec<Value> = items.iter().map(|item| member("", item)).collect();
            sorted.sort_by_cached_key(Value::to_string);
            Value::Array(sorted)
        }
        Value::Array(items) => items.iter().map(|item| member(name, item)).collect(),
        Value::String(text) if name == "resourceVersion" && !text.is_empty() => "(version)".into(),
        // The node that the scheduler happens to choose.
        Value::String(_) if name == "nodeName" || name == "hostIP" => "(node)".into(),
        Value::String(text) => self::text(text).into(),
        other => other.clone(),
    }
}

fn text(text: &str) -> String {
    if is_time(text) {
        return "(time)".to_owned();
    }
    let is_inside = |letter: char| letter.is_ascii_alphanumeric() || "-.".contains(letter);
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_inside(first);
        let end = rest.find(|letter| is_inside(letter) != inside);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        let number = out.ends_with('(') && part.bytes().all(|byte| byte.is_ascii_digit());
        if number {
            out.push_str("number");
        } else {
            out.push_str(&if inside { word(part) } else { part.to_owned() });
        }
        rest = after;
    }
    out
}

fn is_time(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= 14 && text.ends_with('Z') && text.contains('T') && text.contains(':')
}

fn word(word: &str) -> String {
    let parts: Vec<&str> = word.split('.').collect();
    if parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok()) {
        return "(address)".to_owned();
    }
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    if lengths == [8, 4, 4, 4, 12] {
        return "(uid)".to_owned();
    }
    let segments: Vec<&str> = word.split('-').map(segment).collect();
    segments.join("-")
}

/// The letters of generated names, among which there are no vowels.
const LETTERS: &str = "bcdfghjklmnpqrstvwxz2456789";

fn segment(segment: &str) -> &str {
    let drawn = segment.chars().all(|letter| LETTERS.contains(letter));
    if drawn && (5..=10).contains(&segment.len()) {
        "*"
    } else {
        segment
    }
}
