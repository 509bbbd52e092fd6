//! Label and field selectors.

use serde_json::Value;

use super::json;

/// A label selector as it stands in a query.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String, bool)>,
}

#[derive(Clone, Debug)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "status.phase",
    "spec.nodeName",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.kind",
    "involvedObject.uid",
    "reason",
    "type",
];

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`.
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Self, String> {
        let mut out = Self::default();
        for part in split_terms(labels) {
            if part.starts_with('=') {
                let sign = if part.starts_with("==") { "==" } else { "=" };
                return Err(format!(
                    "found '{sign}', expected: !, identifier, or 'end of string'"
                ));
            }
            out.labels.push(requirement(part)?);
        }
        for part in fields.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value, equal) = if let Some((name, value)) = part.split_once("!=") {
                (name, value, false)
            } else if let Some((name, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (name, value, true)
            } else {
                return Err(format!(
                    "invalid selector: '{part}'; can't understand '{part}'"
                ));
            };
            if !FIELDS.contains(&name) {
                return Err(format!("field label not supported: {name}"));
            }
            out.fields.push((name.to_owned(), value.to_owned(), equal));
        }
        Ok(out)
    }

    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| {
            let label = |name: &String| json::at(object, &["metadata", "labels", name]).as_str();
            match requirement {
                Requirement::In(name, values) => {
                    label(name).is_some_and(|v| values.iter().any(|value| value == v))
                }
                Requirement::NotIn(name, values) => {
                    !label(name).is_some_and(|v| values.iter().any(|value| value == v))
                }
                Requirement::Exists(name) => label(name).is_some(),
                Requirement::Absent(name) => label(name).is_none(),
            }
        }) && self.fields.iter().all(|(name, value, equal)| {
            let mut here = object;
            for step in name.split('.') {
                here = json::at(here, &[step]);
            }
            (here.as_str().unwrap_or_default() == value) == *equal
        })
    }
}

/// Splits at commas that do not stand inside parentheses.
fn split_terms(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let owned = |text: &str| text.trim().to_owned();
    let set = |text: &str| -> Option<Vec<String>> {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(owned).collect())
    };
    let fault = || format!("unable to parse requirement: found '{part}'");
    if let Some(name) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(owned(name)));
    }
    if let Some((name, values)) = part.split_once(" notin ") {
        return Ok(Requirement::NotIn(
            owned(name),
            set(values).ok_or_else(fault)?,
        ));
    }
    if let Some((name, values)) = part.split_once(" in ") {
        return Ok(Requirement::In(owned(name), set(values).ok_or_else(fault)?));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(owned(name), vec![owned(value)]));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(owned(name), vec![owned(value)]));
    }
    if part.contains(char::is_whitespace) {
        return Err(fault());
    }
    Ok(Requirement::Exists(owned(part)))
}

/// Whether labels fit a selector as it stands in a workload (`matchLabels`, `matchExpressions`).
pub(super) fn fits(selector: &Value, labels: &Value) -> bool {
    let exact = json::map(selector, &["matchLabels"]).is_none_or(|wanted| {
        wanted
            .iter()
            .all(|(name, value)| json::at(labels, &[name]) == value)
    });
    exact
        && json::list(selector, &["matchExpressions"])
            .iter()
            .all(|expression| {
                let label = json::at(labels, &[json::text(expression, &["key"])]);
                let among = json::list(expression, &["values"]).contains(label);
                match json::text(expression, &["operator"]) {
                    "In" => !label.is_null() && among,
                    "NotIn" => !among,
                    "Exists" => !label.is_null(),
                    "DoesNotExist" => label.is_null(),
                    _ => false,
                }
            })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors_read_all_their_forms() {
        let object = json!({"metadata": {"name": "a", "labels": {"app": "web", "tier": "front"}}});
        for (labels, fits) in [
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web),tier notin (back)", true),
            ("app in (api)", false),
            ("app,!gone", true),
            ("!app", false),
        ] {
            assert_eq!(
                Selector::parse(labels, "").unwrap().matches(&object),
                fits,
                "{labels}"
            );
        }
        assert!(
            Selector::parse("", "metadata.name=a")
                .unwrap()
                .matches(&object)
        );
        assert!(
            !Selector::parse("", "metadata.name!=a")
                .unwrap()
                .matches(&object)
        );
        assert!(Selector::parse("", "spec.foo=a").is_err());
        assert!(Selector::parse("a b", "").is_err());
    }
}
