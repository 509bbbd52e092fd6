//! The fields that the API server fills in, and what it refuses.

mod ingress;
mod lease;
mod routing;
mod scaling;
mod service;
mod template;

use serde_json::{Value, json};

use self::template::pod_spec;
use super::ids::Ids;
use super::json::{at, int, list, list_mut, map, set, set_default, slot, text};
use super::kinds::{Info, Kind};
use super::selector;
use super::status::{Cause, Failure};

/// Fills in what was left out.
pub(super) fn fill(kind: Kind, object: &mut Value, ids: &mut Ids) {
    // Clients written in Go send `creationTimestamp: null`; a template with it is the same template.
    super::fields::without_nulls(object);
    match kind {
        Kind::Deployment => deployment(object),
        Kind::ReplicaSet => {
            set_default(object, &["spec", "replicas"], 1);
            pod_spec(slot(object, &["spec", "template", "spec"]), "Always");
        }
        Kind::Job => job(object),
        Kind::Pod => {
            pod_spec(slot(object, &["spec"]), "Always");
            set_default(object, &["status", "phase"], "Pending");
            set_default(object, &["status", "qosClass"], "BestEffort");
        }
        Kind::PodTemplate => pod_spec(slot(object, &["template", "spec"]), "Always"),
        Kind::Service => service::fill(object, ids),
        Kind::Namespace => {
            set_default(object, &["status", "phase"], "Active");
            set_default(object, &["spec", "finalizers"], json!(["kubernetes"]));
            let name = text(object, &["metadata", "name"]).to_owned();
            set_default(
                object,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                name,
            );
        }
        Kind::Secret => {
            set_default(object, &["type"], "Opaque");
            string_data(object);
        }
        Kind::HorizontalPodAutoscaler => scaling::fill_autoscaler(object),
        Kind::NetworkPolicy => network_policy(object),
        Kind::HttpRoute => routing::fill_route(object),
        Kind::Gateway => routing::fill_gateway(object),
        _ => {}
    }
}

fn network_policy(object: &mut Value) {
    // What comes in is always meant where nothing else is said.
    let types = match list(object, &["spec", "egress"]).is_empty() {
        true => json!(["Ingress"]),
        false => json!(["Ingress", "Egress"]),
    };
    set_default(object, &["spec", "policyTypes"], types);
    for rules in ["/spec/ingress", "/spec/egress"] {
        let rules = object.pointer_mut(rules).and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            let ports = rule.get_mut("ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten() {
                set_default(port, &["protocol"], "TCP");
            }
        }
    }
}

fn deployment(object: &mut Value) {
    set_default(object, &["spec", "replicas"], 1);
    set_default(object, &["spec", "revisionHistoryLimit"], 10);
    set_default(object, &["spec", "progressDeadlineSeconds"], 600);
    set_default(object, &["spec", "strategy", "type"], "RollingUpdate");
    if text(object, &["spec", "strategy", "type"]) == "RollingUpdate" {
        set_default(
            object,
            &["spec", "strategy", "rollingUpdate", "maxSurge"],
            "25%",
        );
        set_default(
            object,
            &["spec", "strategy", "rollingUpdate", "maxUnavailable"],
            "25%",
        );
    }
    pod_spec(slot(object, &["spec", "template", "spec"]), "Always");
}

fn job(object: &mut Value) {
    set_default(object, &["spec", "backoffLimit"], 6);
    set_default(object, &["spec", "completions"], 1);
    set_default(object, &["spec", "parallelism"], 1);
    set_default(object, &["spec", "suspend"], false);
    set_default(object, &["spec", "completionMode"], "NonIndexed");
    set_default(object, &["spec", "manualSelector"], false);
    set_default(
        object,
        &["spec", "podReplacementPolicy"],
        "TerminatingOrFailed",
    );
    let uid = text(object, &["metadata", "uid"]).to_owned();
    if at(object, &["spec", "selector"]).is_null() && !uid.is_empty() {
        let name = text(object, &["metadata", "name"]).to_owned();
        for (label, value) in [
            ("batch.kubernetes.io/controller-uid", uid.as_str()),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", uid.as_str()),
            ("job-name", &name),
        ] {
            set_default(
                object,
                &["spec", "template", "metadata", "labels", label],
                value,
            );
        }
        set(
            object,
            &["spec", "selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
        );
        let labels = at(object, &["spec", "template", "metadata", "labels"]).clone();
        set_default(object, &["metadata", "labels"], labels);
    }
    pod_spec(slot(object, &["spec", "template", "spec"]), "Always");
}

fn string_data(object: &mut Value) {
    let Some(Value::Object(plain)) = super::json::take(object, &["stringData"]) else {
        return;
    };
    for (name, value) in plain {
        let encoded = base64(value.as_str().unwrap_or_default().as_bytes());
        set(object, &["data", &name], encoded);
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4_usize {
            let index = usize::try_from((group >> (18 - 6 * place)) & 63).unwrap_or_default();
            let letter = LETTERS.get(index).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

/// Refuses what the API server would refuse, as far as it matters here. `old` is null for a new object.
pub(super) fn check(info: &Info, old: &Value, new: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    let name = text(new, &["metadata", "name"]);
    names(name, new, &mut causes);
    shapes(info, new)?;
    match info.kind {
        Kind::Deployment | Kind::ReplicaSet => workload(info.kind, old, new, &mut causes),
        Kind::Job => {
            containers(
                at(new, &["spec", "template", "spec"]),
                "spec.template.spec",
                &mut causes,
            );
            let policy = text(new, &["spec", "template", "spec", "restartPolicy"]);
            if policy == "Always" {
                causes.push(Cause {
                    reason: "FieldValueRequired",
                    field: "spec.template.spec.restartPolicy".to_owned(),
                    message: "Required value: valid values: \"OnFailure\", \"Never\"".to_owned(),
                });
            }
            for field in ["backoffLimit", "completions", "parallelism"] {
                not_negative(new, field, &mut causes);
            }
            for field in ["template", "selector", "completions"] {
                immutable(old, new, &["spec", field], &mut causes);
            }
        }
        Kind::Pod => {
            containers(at(new, &["spec"]), "spec", &mut causes);
            pod_update(old, new, &mut causes);
        }
        Kind::PodTemplate => {
            containers(at(new, &["template", "spec"]), "template.spec", &mut causes)
        }
        Kind::Service => service::check(old, new, &mut causes),
        Kind::Lease => lease::check(new, &mut causes),
        Kind::ConfigMap | Kind::Secret if at(old, &["immutable"]) == &Value::Bool(true) => {
            for field in ["data", "binaryData", "immutable"] {
                if at(old, &[field]) != at(new, &[field]) {
                    causes.push(Cause::forbidden(
                        field,
                        "field is immutable when `immutable` is set",
                    ));
                }
            }
        }
        Kind::HorizontalPodAutoscaler => scaling::check_autoscaler(new, &mut causes),
        Kind::PodDisruptionBudget => scaling::check_budget(new, &mut causes),
        Kind::HttpRoute => routing::check_route(new, &mut causes),
        Kind::Gateway => routing::check_gateway(new, &mut causes),
        Kind::Ingress => ingress::check(new, &mut causes),
        _ => {}
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid(info, name, &causes))
    }
}

fn not_negative(new: &Value, field: &str, causes: &mut Vec<Cause>) {
    if int(new, &["spec", field]).is_some_and(|n| n < 0) {
        let why = "must be greater than or equal to 0";
        let value = at(new, &["spec", field]);
        causes.push(Cause::invalid(format!("spec.{field}"), value, why));
    }
}

fn immutable(old: &Value, new: &Value, path: &[&str], causes: &mut Vec<Cause>) {
    let (before, after) = (at(old, path), at(new, path));
    if !before.is_null() && before != after {
        causes.push(Cause::invalid(path.join("."), after, "field is immutable"));
    }
}

const NAME_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

fn names(name: &str, new: &Value, causes: &mut Vec<Cause>) {
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if name.len() > NAME_LIMIT
        || !name.chars().all(dns)
        || !name.starts_with(edge)
        || !name.ends_with(edge)
    {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        causes.push(Cause::invalid("metadata.name", &Value::from(name), why));
    }
    for (label, value) in map(new, &["metadata", "labels"]).into_iter().flatten() {
        let named = label.rsplit('/').next().unwrap_or_default();
        if !is_label(named) || named.is_empty() {
            let why = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
            causes.push(Cause::invalid(
                "metadata.labels",
                &Value::from(label.as_str()),
                why,
            ));
            continue;
        }
        let fine = value.as_str().is_some_and(is_label);
        if !fine {
            let why = format!(
                "a valid label must be an empty string or consist of at most 63 alphanumeric characters, '-', '_' or '.' (label `{label}`)"
            );
            causes.push(Cause::invalid("metadata.labels", value, &why));
        }
    }
}

/// Whether a text may stand in a label.
fn is_label(text: &str) -> bool {
    text.len() <= LABEL_LIMIT
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !text.starts_with(['-', '_', '.'])
        && !text.ends_with(['-', '_', '.'])
}

/// What the decoder would not take: 400 instead of 422.
fn shapes(info: &Info, new: &Value) -> Result<(), Failure> {
    let wrong = |field: &str, go: &str, found: &Value| {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Failure::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {found} into Go struct field {field} of type {go}",
            info.name, info.version, info.name
        ))
    };
    for field in [
        "replicas",
        "minReplicas",
        "maxReplicas",
        "minReadySeconds",
        "progressDeadlineSeconds",
        "revisionHistoryLimit",
        "backoffLimit",
        "completions",
        "parallelism",
    ] {
        let value = at(new, &["spec", field]);
        if !value.is_null() && value.as_i64().is_none_or(|n| i32::try_from(n).is_err()) {
            return Err(wrong(
                &format!("{}Spec.spec.{field}", info.name),
                "int32",
                value,
            ));
        }
    }
    for path in [
        &["metadata", "labels"][..],
        &["metadata", "annotations"],
        &["spec", "template", "metadata", "labels"],
    ] {
        let value = at(new, path);
        let fine = value.is_null()
            || value
                .as_object()
                .is_some_and(|members| members.values().all(Value::is_string));
        if !fine {
            return Err(wrong(&path.join("."), "map[string]string", value));
        }
    }
    if info.kind == Kind::ConfigMap {
        for (_, value) in map(new, &["data"]).into_iter().flatten() {
            if !value.is_string() {
                return Err(wrong("ConfigMap.data", "string", value));
            }
        }
    }
    if info.kind == Kind::Lease {
        lease::shapes(new, wrong)?;
    }
    Ok(())
}

fn workload(kind: Kind, old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    for field in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(new, field, causes);
    }
    let chosen = at(new, &["spec", "selector"]);
    let empty = map(chosen, &["matchLabels"]).is_none_or(serde_json::Map::is_empty)
        && list(chosen, &["matchExpressions"]).is_empty();
    let labels = at(new, &["spec", "template", "metadata", "labels"]);
    let why = "`selector` does not match template `labels`";
    let unfit = Cause::invalid("spec.template.metadata.labels", labels, why);
    if chosen.is_null() {
        causes.push(Cause::required("spec.selector", ""));
        causes.push(unfit);
    } else if empty {
        causes.push(Cause::invalid(
            "spec.selector",
            chosen,
            "empty selector is invalid for deployment",
        ));
    } else if !selector::fits(chosen, labels) {
        causes.push(unfit);
    }
    containers(
        at(new, &["spec", "template", "spec"]),
        "spec.template.spec",
        causes,
    );
    let policy = text(new, &["spec", "template", "spec", "restartPolicy"]);
    if policy != "Always" {
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            field: "spec.template.spec.restartPolicy".to_owned(),
            message: format!("Unsupported value: \"{policy}\": supported values: \"Always\""),
        });
    }
    if kind == Kind::Deployment {
        strategy(new, causes);
    }
    immutable(old, new, &["spec", "selector"], causes);
}

fn strategy(new: &Value, causes: &mut Vec<Cause>) {
    let rolling = at(new, &["spec", "strategy", "rollingUpdate"]);
    match text(new, &["spec", "strategy", "type"]) {
        "Recreate" if !rolling.is_null() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(Cause::forbidden("spec.strategy.rollingUpdate", why));
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let mut zero = true;
            for field in ["maxSurge", "maxUnavailable"] {
                let value = at(rolling, &[field]);
                let path = format!("spec.strategy.rollingUpdate.{field}");
                let percent = value
                    .as_str()
                    .and_then(|t| t.strip_suffix('%'))
                    .and_then(|n| n.parse::<u32>().ok());
                match (value.as_i64(), percent) {
                    (Some(n), _) if n >= 0 => zero &= n == 0,
                    (_, Some(n)) if n > 100 && field == "maxUnavailable" => {
                        let why = "must not be greater than 100%";
                        causes.push(Cause::invalid(path, value, why));
                        zero = false;
                    }
                    (_, Some(n)) => zero &= n == 0,
                    _ => {
                        let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                        causes.push(Cause::invalid(path, value, why));
                    }
                }
            }
            if zero {
                let why = "may not be 0 when `maxSurge` is 0";
                let value = at(rolling, &["maxUnavailable"]);
                causes.push(Cause::invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    value,
                    why,
                ));
            }
        }
        other => causes.push(Cause {
            reason: "FieldValueNotSupported",
            field: "spec.strategy.type".to_owned(),
            message: format!(
                "Unsupported value: \"{other}\": supported values: \"Recreate\", \"RollingUpdate\""
            ),
        }),
    }
    let (ready, deadline) = (
        int(new, &["spec", "minReadySeconds"]),
        int(new, &["spec", "progressDeadlineSeconds"]),
    );
    if let (Some(ready), Some(deadline)) = (ready, deadline)
        && deadline <= ready
    {
        let value = at(new, &["spec", "progressDeadlineSeconds"]);
        causes.push(Cause::invalid(
            "spec.progressDeadlineSeconds",
            value,
            "must be greater than minReadySeconds",
        ));
    }
}

fn containers(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = list(spec, &["containers"]);
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    for (index, container) in containers.iter().enumerate() {
        let here = format!("{path}.containers[{index}]");
        let name = text(container, &["name"]);
        if name.is_empty() {
            causes.push(Cause::required(format!("{here}.name"), ""));
        } else if containers
            .iter()
            .take(index)
            .any(|other| text(other, &["name"]) == name)
        {
            causes.push(Cause::duplicate(
                format!("{here}.name"),
                at(container, &["name"]),
            ));
        }
        let image = text(container, &["image"]);
        if image.is_empty() {
            causes.push(Cause::required(format!("{here}.image"), ""));
        } else if path == "spec" && image.trim() != image {
            let why = "must not have leading or trailing whitespace";
            causes.push(Cause::invalid(
                format!("{here}.image"),
                at(container, &["image"]),
                why,
            ));
        }
    }
}

fn pod_update(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if at(old, &["spec"]).is_null() {
        return;
    }
    let fixed = |pod: &Value| {
        let mut spec = at(pod, &["spec"]).clone();
        for field in ["containers", "initContainers"] {
            if !at(&spec, &[field]).is_null() {
                for container in list_mut(&mut spec, &[field]) {
                    super::json::take(container, &["image"]);
                }
            }
        }
        for field in ["tolerations", "activeDeadlineSeconds", "nodeName"] {
            super::json::take(&mut spec, &[field]);
        }
        spec
    };
    if fixed(old) != fixed(new) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations`";
        causes.push(Cause::forbidden("spec", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_it_should() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
