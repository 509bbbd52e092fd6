//! Bodies that may be YAML. Nearly all are JSON, which is read directly.

use serde_json::Value;

/// Reads a body that is JSON or YAML.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') {
        return serde_json::from_slice(body)
            .map_err(|error| format!("error decoding request: {error}"));
    }
    let document = phasegate_core::yaml::read("body", body)
        .map_err(|error| format!("error decoding YAML: {error}"))?;
    Ok(document.value().clone())
}
