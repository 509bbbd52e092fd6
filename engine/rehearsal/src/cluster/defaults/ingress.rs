//! What the API server refuses of an Ingress.

use serde_json::Value;

use crate::cluster::json::{at, list, text};
use crate::cluster::status::Cause;

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

pub(super) fn check(new: &Value, causes: &mut Vec<Cause>) {
    let rules = list(new, &["spec", "rules"]);
    let rest = at(new, &["spec", "defaultBackend"]);
    if rules.is_empty() && rest.is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid("spec", &Value::Null, why));
    }
    if !rest.is_null() {
        check_backend(rest, "spec.defaultBackend", causes);
    }
    for (index, rule) in rules.iter().enumerate() {
        let here = format!("spec.rules[{index}].http.paths");
        for (index, path) in list(rule, &["http", "paths"]).iter().enumerate() {
            check_path(path, &format!("{here}[{index}]"), causes);
        }
    }
}

fn check_path(path: &Value, here: &str, causes: &mut Vec<Cause>) {
    let kind = text(path, &["pathType"]);
    if kind.is_empty() {
        let why = "pathType must be specified";
        causes.push(Cause::required(format!("{here}.pathType"), why));
    } else if !PATH_TYPES.contains(&kind) {
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            field: format!("{here}.pathType"),
            message: format!(
                "Unsupported value: \"{kind}\": supported values: \"{}\"",
                PATH_TYPES.join("\", \"")
            ),
        });
    }
    let rooted = text(path, &["path"]).starts_with('/');
    let loose = kind == "ImplementationSpecific" && at(path, &["path"]).is_null();
    if !rooted && !loose {
        let why = "must be an absolute path";
        causes.push(Cause::invalid(
            format!("{here}.path"),
            at(path, &["path"]),
            why,
        ));
    }
    check_backend(at(path, &["backend"]), &format!("{here}.backend"), causes);
}

fn check_backend(backend: &Value, here: &str, causes: &mut Vec<Cause>) {
    let service = at(backend, &["service"]);
    if service.is_null() == at(backend, &["resource"]).is_null() {
        let why = "exactly one of `service` and `resource` must be specified";
        causes.push(Cause::invalid(here, backend, why));
    }
    if service.is_null() {
        return;
    }
    if text(service, &["name"]).is_empty() {
        causes.push(Cause::required(format!("{here}.service.name"), ""));
    }
    let port = at(service, &["port"]);
    if at(port, &["number"]).is_null() == at(port, &["name"]).is_null() {
        let why = "exactly one of `name` and `number` must be specified";
        causes.push(Cause::required(format!("{here}.service.port"), why));
    }
}
