//! The rules of an HTTPRoute with a candidate beside stable. What isn't about these two is kept as it is.

use phasegate_plugin::{Error, Pair, Result, Split};
use serde_json::{Map, Value, json};

/// All traffic, in the unit of a split.
pub(crate) const WHOLE: u32 = 10_000;
/// The largest weight that the Gateway API allows.
const MOST_WEIGHT: u64 = 1_000_000;

/// The two Services.
pub(crate) struct Sides<'a> {
    pub(crate) stable: &'a str,
    pub(crate) candidate: &'a str,
}

/// How the rules share traffic now.
pub(crate) fn read(rules: &[Value], sides: &Sides<'_>) -> Result<Split> {
    let shared = rules.iter().find(|rule| refers(rule, sides.stable));
    let Some(shared) = shared else {
        return Err(Error::permanent(format!(
            "no rule of the route leads to Service {}",
            sides.stable
        )));
    };
    let stable = weight(shared, sides.stable).unwrap_or_default();
    let candidate = weight(shared, sides.candidate).unwrap_or_default();
    let all = stable.saturating_add(candidate);
    let share = candidate.saturating_mul(u64::from(WHOLE)).checked_div(all);
    let matched = rules.iter().find(|rule| is_ours(rule, sides));
    Ok(Split {
        candidate_weight: share
            .and_then(|share| u32::try_from(share).ok())
            .unwrap_or_default(),
        headers: matched
            .map(|rule| added_headers(rule, shared))
            .unwrap_or_default(),
        mirror_weight: mirrored(shared, sides.candidate),
    })
}

/// The rules with traffic shared like this.
pub(crate) fn share(rules: &[Value], sides: &Sides<'_>, split: &Split) -> Result<Vec<Value>> {
    if sides.candidate.is_empty() {
        return Err(Error::permanent(
            "the candidate has no Service that a route could lead to",
        ));
    }
    // Reading them first finds a route that is not about the workload.
    read(rules, sides)?;
    let mut shared = Vec::new();
    for rule in rules.iter().filter(|rule| !is_ours(rule, sides)) {
        if !refers(rule, sides.stable) {
            shared.push(rule.clone());
            continue;
        }
        if !split.headers.is_empty() {
            shared.push(matching(rule, sides, &split.headers));
        }
        shared.push(weighted(rule, sides, split)?);
    }
    Ok(shared)
}

fn backends(rule: &Value) -> impl Iterator<Item = &Value> {
    let backends = rule.get("backendRefs").and_then(Value::as_array);
    backends.into_iter().flatten()
}

fn leads_to(backend: &Value, service: &str) -> bool {
    let kind = backend
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("Service");
    kind == "Service" && backend.get("name").and_then(Value::as_str) == Some(service)
}

fn refers(rule: &Value, service: &str) -> bool {
    backends(rule).any(|backend| leads_to(backend, service))
}

/// A rule that leads to the candidate alone is one that this router added.
fn is_ours(rule: &Value, sides: &Sides<'_>) -> bool {
    refers(rule, sides.candidate)
        && backends(rule).all(|backend| leads_to(backend, sides.candidate))
}

/// A backend without a weight has the weight 1.
fn weight(rule: &Value, service: &str) -> Option<u64> {
    let backend = backends(rule).find(|backend| leads_to(backend, service))?;
    Some(backend.get("weight").and_then(Value::as_u64).unwrap_or(1))
}

/// The rule with stable's part of the weights divided between the two.
fn weighted(rule: &Value, sides: &Sides<'_>, split: &Split) -> Result<Value> {
    let part = weight(rule, sides.stable)
        .unwrap_or_default()
        .saturating_add(weight(rule, sides.candidate).unwrap_or_default())
        .max(1);
    let others = backends(rule)
        .any(|backend| !leads_to(backend, sides.stable) && !leads_to(backend, sides.candidate));
    // Beside other backends the two keep their part of the whole: every other weight grows as theirs does.
    let scale = |weight: u64| weight.saturating_mul(u64::from(WHOLE)) / part;
    let (stable, candidate) = (
        WHOLE.saturating_sub(split.candidate_weight),
        split.candidate_weight,
    );
    let mut shared = Vec::new();
    for backend in backends(rule) {
        if leads_to(backend, sides.candidate) {
            continue;
        }
        if leads_to(backend, sides.stable) {
            shared.push(with_weight(backend, u64::from(stable)));
            let mut beside = with_weight(backend, u64::from(candidate));
            put(&mut beside, "name", json!(sides.candidate));
            shared.push(beside);
            continue;
        }
        let own = backend.get("weight").and_then(Value::as_u64).unwrap_or(1);
        let scaled = scale(own);
        if scaled > MOST_WEIGHT {
            return Err(Error::permanent(format!(
                "the weights of the route's other backends are too large beside Service {}",
                sides.stable
            )));
        }
        shared.push(if others {
            with_weight(backend, scaled)
        } else {
            backend.clone()
        });
    }
    let mut rule = rule.clone();
    put(&mut rule, "backendRefs", Value::Array(shared));
    mirror(&mut rule, sides, split.mirror_weight);
    Ok(rule)
}

fn with_weight(backend: &Value, weight: u64) -> Value {
    let mut backend = backend.clone();
    put(&mut backend, "weight", json!(weight));
    backend
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// A rule before the shared one: the same matches with the headers besides, to the candidate alone.
fn matching(rule: &Value, sides: &Sides<'_>, headers: &[Pair]) -> Value {
    let headers = headers
        .iter()
        .map(|pair| json!({"type": "Exact", "name": pair.name, "value": pair.value}))
        .collect::<Vec<_>>();
    let none = vec![json!({})];
    let matches = rule
        .get("matches")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    let matches = matches.iter().map(|found| {
        let mut found = found.clone();
        let own = found.get("headers").and_then(Value::as_array).cloned();
        let all = own.into_iter().flatten().chain(headers.iter().cloned());
        put(&mut found, "headers", all.collect());
        found
    });
    let matches = matches.collect::<Vec<_>>();
    let to = backends(rule).find(|backend| leads_to(backend, sides.stable));
    let mut backend = with_weight(to.unwrap_or(&Value::Object(Map::new())), 1);
    put(&mut backend, "name", json!(sides.candidate));
    let mut own = rule.clone();
    put(&mut own, "matches", Value::Array(matches));
    put(&mut own, "backendRefs", json!([backend]));
    // The name of a rule is unique within its route.
    if let Some(fields) = own.as_object_mut() {
        fields.remove("name");
    }
    mirror(&mut own, sides, 0);
    own
}

/// The headers that our rule asks for and the shared one doesn't.
fn added_headers(rule: &Value, shared: &Value) -> Vec<Pair> {
    let headers = |rule: &Value| {
        let first = rule.pointer("/matches/0/headers").and_then(Value::as_array);
        first.cloned().unwrap_or_default()
    };
    let own = headers(shared);
    let text = |header: &Value, name: &str| {
        header
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    headers(rule)
        .iter()
        .filter(|header| !own.contains(header))
        .map(|header| Pair::new(text(header, "name"), text(header, "value")))
        .collect()
}

fn is_mirror_to(filter: &Value, service: &str) -> bool {
    let to = filter.pointer("/requestMirror/backendRef");
    to.is_some_and(|to| leads_to(to, service))
}

fn mirrored(rule: &Value, service: &str) -> u32 {
    let filters = rule.get("filters").and_then(Value::as_array);
    let filter = filters
        .into_iter()
        .flatten()
        .find(|f| is_mirror_to(f, service));
    let Some(filter) = filter else {
        return 0;
    };
    let number = |pointer: &str| filter.pointer(pointer).and_then(Value::as_u64);
    let share = match (
        number("/requestMirror/fraction/numerator"),
        number("/requestMirror/percent"),
    ) {
        (Some(numerator), _) => {
            let of = number("/requestMirror/fraction/denominator")
                .unwrap_or(100)
                .max(1);
            numerator.saturating_mul(u64::from(WHOLE)) / of
        }
        (None, Some(percent)) => percent.saturating_mul(100),
        (None, None) => u64::from(WHOLE),
    };
    u32::try_from(share).unwrap_or(WHOLE)
}

/// Copies so much of the rule's traffic to the candidate, and nothing at all where that is zero.
fn mirror(rule: &mut Value, sides: &Sides<'_>, weight: u32) {
    let filters = rule.get("filters").and_then(Value::as_array).cloned();
    let mut filters = filters.unwrap_or_default();
    filters.retain(|filter| !is_mirror_to(filter, sides.candidate));
    if weight > 0 {
        let to = backends(rule).find(|backend| leads_to(backend, sides.candidate));
        let port = to.and_then(|to| to.get("port")).cloned();
        filters.push(json!({
            "type": "RequestMirror",
            "requestMirror": {
                "backendRef": {"name": sides.candidate, "port": port},
                "fraction": {"numerator": weight, "denominator": WHOLE},
            },
        }));
    }
    if let Some(fields) = rule.as_object_mut() {
        if filters.is_empty() {
            fields.remove("filters");
        } else {
            fields.insert("filters".to_owned(), Value::Array(filters));
        }
    }
}
