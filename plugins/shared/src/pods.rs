//! Pods, as actions look whether any is left.

use std::collections::BTreeMap;

use phasegate_plugin::{Call, Error, Result, kubernetes};
use serde::Deserialize;

/// Which pods, as Deployments say it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

impl Selector {
    /// The same as requests write it.
    pub(crate) fn text(&self) -> Result<String> {
        let mut all = Vec::new();
        for (label, value) in &self.match_labels {
            all.push(format!("{label}={value}"));
        }
        for Expression {
            key,
            operator,
            values,
        } in &self.match_expressions
        {
            let values = values.join(",");
            all.push(match operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.clone(),
                "DoesNotExist" => format!("!{key}"),
                other => {
                    let message = format!("a selector has the unknown operator `{other}`");
                    return Err(Error::permanent(message));
                }
            });
        }
        match all.is_empty() {
            // It would be asked of every pod of the namespace.
            true => Err(Error::permanent("the Deployment selects no pods")),
            false => Ok(all.join(",")),
        }
    }
}

/// Whether any of these pods has not ended, be it on its way out.
pub(crate) fn any_works(call: &Call, selector: &str) -> Result<bool> {
    let pods: Vec<Pod> = kubernetes::find("v1", "Pod", &call.namespace, selector)?;
    let ended = |pod: &Pod| ["Succeeded", "Failed"].contains(&pod.status.phase.as_str());
    Ok(pods.iter().any(|pod| !ended(pod)))
}

#[cfg(test)]
mod tests {
    use super::Selector;

    #[test]
    fn a_selector_is_written_as_requests_have_it() {
        let selector: Selector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"app": "shop", "tier": "web"},
            "matchExpressions": [
                {"key": "track", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "NotIn", "values": ["yes"]},
                {"key": "there", "operator": "Exists"},
                {"key": "gone", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        let text = selector.text().unwrap();
        assert_eq!(
            text,
            "app=shop,tier=web,track in (a,b),old notin (yes),there,!gone"
        );
        assert!(
            Selector::default().text().is_err(),
            "it would match every pod"
        );
    }
}
