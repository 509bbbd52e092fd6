//! Scripted HTTP: rules and figures.

use std::collections::BTreeMap;

use phasegate_core::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How deep an answer may be nested for series in it to be found.
const MAX_DEPTH: usize = 32;
/// The member that stands for a figure.
const SERIES: &str = "$series";

/// An answer to requests that fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRule {
    /// `host` or `host:port`; a star stands for anything. None: every host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path; a star stands for anything. None: every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The method. None: every method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only where the request reaches a pod of this version: for the application's own service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Only from this time on, since the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Span>,
    /// Only before this time, since the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// The first so many requests that fit go past this rule.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it answers; none is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The status. Default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers of the answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, as JSON in which `{"$series": NAME}` stands for a figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// The body, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How long the answer takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// There is no connection.
    #[serde(default)]
    pub unreachable: bool,
    /// There is never an answer.
    #[serde(default)]
    pub hang: bool,
}

impl HttpRule {
    /// The figures that its answer names.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(json) = &self.json {
            collect(json, 0, &mut names);
        }
        names
    }

    /// The answer's body, with figures filled in.
    #[must_use]
    pub fn body(&self, figure: &dyn Fn(&str) -> Option<f64>) -> Vec<u8> {
        match (&self.json, &self.body) {
            (Some(json), _) => fill(json, 0, figure).to_string().into_bytes(),
            (None, Some(body)) => body.clone().into_bytes(),
            (None, None) => Vec::new(),
        }
    }
}

fn series_of(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(SERIES)?.as_str()
}

fn collect(value: &Value, depth: usize, names: &mut Vec<String>) {
    if depth > MAX_DEPTH {
        return;
    }
    if let Some(name) = series_of(value) {
        names.push(name.to_owned());
        return;
    }
    let deeper = depth.saturating_add(1);
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, deeper, names)),
        Value::Object(members) => members
            .values()
            .for_each(|item| collect(item, deeper, names)),
        _ => {}
    }
}

fn fill(value: &Value, depth: usize, figure: &dyn Fn(&str) -> Option<f64>) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(name) = series_of(value) {
        return figure(name).map_or(Value::Null, Value::from);
    }
    let deeper = depth.saturating_add(1);
    match value {
        Value::Array(items) => items
            .iter()
            .map(|item| fill(item, deeper, figure))
            .collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, item)| (name.clone(), fill(item, deeper, figure)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_filled_into_answers_and_missing_ones_are_null() {
        let rule = HttpRule {
            json: Some(serde_json::json!({"data": [{"$series": "errors"}, {"$series": "gone"}]})),
            ..HttpRule::default()
        };
        assert_eq!(rule.series(), ["errors", "gone"]);
        let body = rule.body(&|name| (name == "errors").then_some(1.5));
        assert_eq!(String::from_utf8(body).unwrap(), r#"{"data":[1.5,null]}"#);
    }
}
