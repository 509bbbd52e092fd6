//! Defaults and validation of the Gateway API, as its definitions of custom resources have them.

use serde_json::{Value, json};

use crate::cluster::json::{at, int, list, list_mut, set_default, text};
use crate::cluster::kinds::GATEWAY_GROUP;
use crate::cluster::status::Cause;

const MAX_WEIGHT: i64 = 1_000_000;
const MAX_PORT: i64 = 65_535;
const MAX_PARENTS: usize = 32;
/// Most rules, and most backends, matches, headers or filters of one.
const MAX_ITEMS: usize = 16;
const MAX_LISTENERS: usize = 64;

pub(super) fn fill_route(object: &mut Value) {
    for parent in items(object, &["spec", "parentRefs"]) {
        set_default(parent, &["group"], GATEWAY_GROUP);
        set_default(parent, &["kind"], "Gateway");
    }
    set_default(object, &["spec", "rules"], json!([{}]));
    for rule in items(object, &["spec", "rules"]) {
        set_default(rule, &["matches"], json!([{}]));
        for wanted in items(rule, &["matches"]) {
            set_default(wanted, &["path", "type"], "PathPrefix");
            set_default(wanted, &["path", "value"], "/");
            for header in items(wanted, &["headers"]) {
                set_default(header, &["type"], "Exact");
            }
        }
        for backend in items(rule, &["backendRefs"]) {
            fill_backend(backend);
            set_default(backend, &["weight"], 1);
        }
        for filter in items(rule, &["filters"]) {
            if at(filter, &["requestMirror", "backendRef"]).is_object() {
                fill_backend(crate::cluster::json::slot(
                    filter,
                    &["requestMirror", "backendRef"],
                ));
            }
            if at(filter, &["requestMirror", "fraction"]).is_object() {
                set_default(filter, &["requestMirror", "fraction", "denominator"], 100);
            }
        }
    }
}

fn fill_backend(backend: &mut Value) {
    set_default(backend, &["group"], "");
    set_default(backend, &["kind"], "Service");
}

/// The objects of a list to change; what isn't a list of objects is left for the validation to refuse.
fn items<'a>(value: &'a mut Value, path: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    let there = at(value, path).is_array();
    let found = there.then(|| list_mut(value, path).iter_mut());
    found.into_iter().flatten().filter(|item| item.is_object())
}

pub(super) fn fill_gateway(object: &mut Value) {
    for listener in items(object, &["spec", "listeners"]) {
        set_default(listener, &["allowedRoutes", "namespaces", "from"], "Same");
    }
}

pub(super) fn check_gateway(new: &Value, causes: &mut Vec<Cause>) {
    if text(new, &["spec", "gatewayClassName"]).is_empty() {
        causes.push(Cause::required("spec.gatewayClassName", ""));
    }
    let listeners = list(new, &["spec", "listeners"]);
    if listeners.is_empty() {
        causes.push(Cause::required("spec.listeners", ""));
    }
    too_many("spec.listeners", listeners, MAX_LISTENERS, causes);
    for (index, listener) in listeners.iter().enumerate() {
        let here = format!("spec.listeners[{index}]");
        for field in ["name", "protocol"] {
            required(listener, field, &here, causes);
        }
        bounded(listener, "port", &here, (1, MAX_PORT), true, causes);
    }
}

pub(super) fn check_route(new: &Value, causes: &mut Vec<Cause>) {
    let parents = list(new, &["spec", "parentRefs"]);
    too_many("spec.parentRefs", parents, MAX_PARENTS, causes);
    for (index, parent) in parents.iter().enumerate() {
        required(parent, "name", &format!("spec.parentRefs[{index}]"), causes);
    }
    let rules = list(new, &["spec", "rules"]);
    too_many("spec.rules", rules, MAX_ITEMS, causes);
    for (index, rule) in rules.iter().enumerate() {
        check_rule(rule, &format!("spec.rules[{index}]"), causes);
    }
}

fn check_rule(rule: &Value, here: &str, causes: &mut Vec<Cause>) {
    for field in ["matches", "backendRefs", "filters"] {
        let path = format!("{here}.{field}");
        let found = list(rule, &[field]);
        too_many(&path, found, MAX_ITEMS, causes);
        for (index, item) in found.iter().enumerate() {
            let here = format!("{path}[{index}]");
            match field {
                "matches" => check_match(item, &here, causes),
                "backendRefs" => {
                    check_backend(item, &here, causes);
                    bounded(item, "weight", &here, (0, MAX_WEIGHT), false, causes);
                }
                _ => check_filter(item, &here, causes),
            }
        }
    }
}

fn check_match(wanted: &Value, here: &str, causes: &mut Vec<Cause>) {
    let kinds = ["Exact", "PathPrefix", "RegularExpression"];
    one_of(
        at(wanted, &["path", "type"]),
        &format!("{here}.path.type"),
        &kinds,
        causes,
    );
    let path = at(wanted, &["path", "value"]);
    if text(wanted, &["path", "type"]) != "RegularExpression"
        && !path.as_str().is_some_and(|path| path.starts_with('/'))
    {
        let why = "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']";
        causes.push(Cause::invalid(format!("{here}.path"), path, why));
    }
    let headers = list(wanted, &["headers"]);
    too_many(&format!("{here}.headers"), headers, MAX_ITEMS, causes);
    for (index, header) in headers.iter().enumerate() {
        let here = format!("{here}.headers[{index}]");
        for field in ["name", "value"] {
            required(header, field, &here, causes);
        }
        let kinds = ["Exact", "RegularExpression"];
        one_of(
            at(header, &["type"]),
            &format!("{here}.type"),
            &kinds,
            causes,
        );
    }
}

fn check_backend(backend: &Value, here: &str, causes: &mut Vec<Cause>) {
    required(backend, "name", here, causes);
    bounded(backend, "port", here, (1, MAX_PORT), false, causes);
    let service = text(backend, &["kind"]) == "Service" && text(backend, &["group"]).is_empty();
    if service && at(backend, &["port"]).is_null() {
        let why = "Must have port for Service reference";
        causes.push(Cause::invalid(here, backend, why));
    }
}

fn check_filter(filter: &Value, here: &str, causes: &mut Vec<Cause>) {
    let kinds = [
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
    ];
    one_of(
        at(filter, &["type"]),
        &format!("{here}.type"),
        &kinds,
        causes,
    );
    let mirror = at(filter, &["requestMirror"]);
    if (text(filter, &["type"]) == "RequestMirror") != mirror.is_object() {
        let why = if mirror.is_object() {
            "filter.requestMirror must be nil if the filter.type is not RequestMirror"
        } else {
            "filter.requestMirror must be specified for RequestMirror filter.type"
        };
        causes.push(Cause::invalid(here, filter, why));
    }
    if !mirror.is_object() {
        return;
    }
    let here = format!("{here}.requestMirror");
    check_backend(
        at(mirror, &["backendRef"]),
        &format!("{here}.backendRef"),
        causes,
    );
    bounded(mirror, "percent", &here, (0, 100), false, causes);
    let fraction = at(mirror, &["fraction"]);
    if fraction.is_null() {
        return;
    }
    let (part, whole) = (
        int(fraction, &["numerator"]).unwrap_or(-1),
        int(fraction, &["denominator"]).unwrap_or(-1),
    );
    if !at(mirror, &["percent"]).is_null() {
        let why = "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter";
        causes.push(Cause::invalid(here, mirror, why));
    } else if part < 0 || whole < 1 || part > whole {
        let why = "numerator must be less than or equal to denominator";
        causes.push(Cause::invalid(format!("{here}.fraction"), fraction, why));
    }
}

fn required(value: &Value, field: &str, here: &str, causes: &mut Vec<Cause>) {
    if text(value, &[field]).is_empty() {
        causes.push(Cause::required(format!("{here}.{field}"), ""));
    }
}

fn bounded(
    value: &Value,
    field: &str,
    here: &str,
    (least, most): (i64, i64),
    needed: bool,
    causes: &mut Vec<Cause>,
) {
    let found = at(value, &[field]);
    let path = format!("{here}.{field}");
    let why = match found.as_i64() {
        None if found.is_null() && needed => {
            causes.push(Cause::required(path, ""));
            return;
        }
        None if found.is_null() => return,
        None => format!("{path} in body must be of type integer"),
        Some(number) if number > most => {
            format!("{path} in body should be less than or equal to {most}")
        }
        Some(number) if number < least => {
            format!("{path} in body should be greater than or equal to {least}")
        }
        Some(_) => return,
    };
    causes.push(Cause::invalid(path, found, &why));
}

fn one_of(found: &Value, path: &str, known: &[&str], causes: &mut Vec<Cause>) {
    if found.as_str().is_some_and(|found| known.contains(&found)) {
        return;
    }
    let shown: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
    causes.push(Cause {
        reason: "FieldValueNotSupported",
        field: path.to_owned(),
        message: format!(
            "Unsupported value: {found}: supported values: {}",
            shown.join(", ")
        ),
    });
}

fn too_many(path: &str, items: &[Value], most: usize, causes: &mut Vec<Cause>) {
    if items.len() > most {
        causes.push(Cause {
            reason: "FieldValueTooMany",
            field: path.to_owned(),
            message: format!("Too many: {}: must have at most {most} items", items.len()),
        });
    }
}
