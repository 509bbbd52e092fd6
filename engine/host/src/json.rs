//! JSON from plugins. It is read with limits on its size and, by `serde_json`, its depth.

use serde_json::Value;

/// The text as JSON; where it isn't, what is wrong with it.
pub(crate) fn parse(text: &str, most: usize) -> Result<Value, String> {
    if text.len() > most {
        return Err(format!(
            "the JSON has {} bytes, more than {most}",
            text.len()
        ));
    }
    serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))
}

/// As [`parse`], for bags that may be empty text.
pub(crate) fn parse_bag(text: &str, most: usize) -> Result<Value, String> {
    let value = if text.trim().is_empty() {
        return Ok(Value::Null);
    } else {
        parse(text, most)?
    };
    match value {
        Value::Object(map) if map.is_empty() => Ok(Value::Null),
        Value::Object(_) => Ok(value),
        _ => Err("`extra` is not a JSON object".into()),
    }
}
