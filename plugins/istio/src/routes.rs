//! The HTTP routes of a VirtualService with a candidate beside stable. What isn't about these two is kept as
//! it is.

use phasegate_plugin::{Error, Pair, Result, Split};
use serde_json::{Map, Value, json};

use super::hosts::{Sides, host};

/// All traffic, in the unit of a split.
pub(crate) const WHOLE: u32 = 10_000;
/// A hundredth of all traffic, in that unit.
const PERCENT: u32 = 100;
/// The largest weight that the definition takes.
const MOST_WEIGHT: u64 = 2_147_483_647;

/// How the routes share traffic now.
pub(crate) fn read(http: &[Value], sides: &Sides<'_>) -> Result<Split> {
    let shared = http.iter().find(|route| refers(route, sides, sides.stable));
    let Some(shared) = shared else {
        return Err(Error::permanent(format!(
            "no HTTP route of the VirtualService leads to Service {}",
            sides.stable
        )));
    };
    let (stable, candidate) = parts(shared, sides);
    let all = stable.saturating_add(candidate);
    let share = candidate.saturating_mul(u64::from(WHOLE)).checked_div(all);
    let matched = http.iter().find(|route| is_ours(route, sides));
    Ok(Split {
        candidate_weight: share
            .and_then(|share| u32::try_from(share).ok())
            .unwrap_or_default(),
        headers: matched
            .map(|route| added_headers(route, shared))
            .unwrap_or_default(),
        mirror_weight: mirrored(shared, sides),
    })
}

/// The routes with traffic shared like this.
pub(crate) fn share(http: &[Value], sides: &Sides<'_>, split: &Split) -> Result<Vec<Value>> {
    if sides.candidate.is_empty() {
        return Err(Error::permanent(
            "the candidate has no Service that a route could lead to",
        ));
    }
    // Reading them first finds a VirtualService that is not about the workload.
    read(http, sides)?;
    let mut shared = Vec::new();
    for route in http.iter().filter(|route| !is_ours(route, sides)) {
        if !refers(route, sides, sides.stable) {
            shared.push(route.clone());
            continue;
        }
        if !split.headers.is_empty() {
            shared.push(matching(route, sides, &split.headers));
        }
        shared.push(weighted(route, sides, split)?);
    }
    Ok(shared)
}

/// The subsets of stable that routes lead to.
pub(crate) fn subsets<'a>(http: &'a [Value], sides: &Sides<'_>) -> Vec<&'a str> {
    http.iter()
        .flat_map(destinations)
        .filter(|to| sides.names(host(to), sides.stable))
        .filter_map(|to| to.pointer("/destination/subset")?.as_str())
        .collect()
}

fn destinations(route: &Value) -> impl Iterator<Item = &Value> {
    let destinations = route.get("route").and_then(Value::as_array);
    destinations.into_iter().flatten()
}

fn refers(route: &Value, sides: &Sides<'_>, service: &str) -> bool {
    destinations(route).any(|to| sides.names(host(to), service))
}

/// A route that leads to the candidate alone is one that this router added.
fn is_ours(route: &Value, sides: &Sides<'_>) -> bool {
    refers(route, sides, sides.candidate)
        && destinations(route).all(|to| sides.names(host(to), sides.candidate))
}

/// A destination without a weight has all of the traffic where it is alone, and none of it beside others.
fn weight(to: &Value, alone: bool) -> u64 {
    let weight = to.get("weight").and_then(Value::as_u64);
    if alone { 1 } else { weight.unwrap_or_default() }
}

/// Stable's and the candidate's weight.
fn parts(route: &Value, sides: &Sides<'_>) -> (u64, u64) {
    let alone = destinations(route).count() == 1;
    let part = |service: &str| {
        let of = destinations(route).filter(|to| sides.names(host(to), service));
        of.map(|to| weight(to, alone))
            .fold(0_u64, u64::saturating_add)
    };
    (part(sides.stable), part(sides.candidate))
}

/// The route with stable's part of the weights divided between the two.
fn weighted(route: &Value, sides: &Sides<'_>, split: &Split) -> Result<Value> {
    let of_stable = destinations(route)
        .filter(|to| sides.names(host(to), sides.stable))
        .count();
    if of_stable > 1 {
        return Err(Error::permanent(format!(
            "a route of the VirtualService leads to several subsets of Service {}: which of them serves?",
            sides.stable
        )));
    }
    let (stable, candidate) = parts(route, sides);
    let part = stable.saturating_add(candidate).max(1);
    let others = destinations(route).count() > of_stable + usize::from(has_candidate(route, sides));
    // People, and older versions of the mesh, count to a hundred; it is done where that says it exactly.
    let exact = !others && split.candidate_weight.is_multiple_of(PERCENT);
    let unit = if exact { PERCENT } else { 1 };
    let candidate = split.candidate_weight / unit;
    let stable = WHOLE.saturating_sub(split.candidate_weight) / unit;
    let mut shared = Vec::new();
    for to in destinations(route) {
        if sides.names(host(to), sides.candidate) {
            continue;
        }
        if sides.names(host(to), sides.stable) {
            shared.push(with_weight(to, u64::from(stable)));
            shared.push(beside(to, sides, u64::from(candidate)));
            continue;
        }
        // Beside other destinations the two keep their part of the whole: every other weight grows as theirs does.
        let scaled = weight(to, false).saturating_mul(u64::from(WHOLE)) / part;
        if scaled > MOST_WEIGHT {
            return Err(Error::permanent(format!(
                "the weights of the route's other destinations are too large beside Service {}",
                sides.stable
            )));
        }
        shared.push(with_weight(to, scaled));
    }
    let mut route = route.clone();
    put(&mut route, "route", Value::Array(shared));
    mirror(&mut route, sides, split.mirror_weight)?;
    Ok(route)
}

fn has_candidate(route: &Value, sides: &Sides<'_>) -> bool {
    refers(route, sides, sides.candidate)
}

fn with_weight(to: &Value, weight: u64) -> Value {
    let mut to = to.clone();
    put(&mut to, "weight", json!(weight));
    to
}

/// The candidate's destination: as stable's, without a subset, which is one of stable's host.
fn beside(stable: &Value, sides: &Sides<'_>, weight: u64) -> Value {
    let mut to = with_weight(stable, weight);
    let destination = stable.get("destination").cloned();
    let mut destination = destination.unwrap_or_else(|| Value::Object(Map::new()));
    let host = sides.candidate_like(host(stable));
    put(&mut destination, "host", json!(host));
    if let Some(fields) = destination.as_object_mut() {
        fields.remove("subset");
    }
    put(&mut to, "destination", destination);
    to
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

/// A route before the shared one, since the first that fits is taken: the same matches with the headers
/// besides, to the candidate alone.
fn matching(route: &Value, sides: &Sides<'_>, headers: &[Pair]) -> Value {
    let none = vec![json!({})];
    let matches = route.get("match").and_then(Value::as_array);
    let matches = matches
        .filter(|matches| !matches.is_empty())
        .unwrap_or(&none);
    let matches = matches.iter().map(|found| {
        let mut found = found.clone();
        let own = found.get("headers").and_then(Value::as_object).cloned();
        let mut all = own.unwrap_or_default();
        for pair in headers {
            // The mesh takes names in lower case only; to HTTP they are the same.
            let name = pair.name.to_ascii_lowercase();
            all.insert(name, json!({"exact": pair.value}));
        }
        put(&mut found, "headers", Value::Object(all));
        found
    });
    let matches = matches.collect::<Vec<_>>();
    let stable = destinations(route).find(|to| sides.names(host(to), sides.stable));
    let to = beside(stable.unwrap_or(&Value::Null), sides, 1);
    let mut own = route.clone();
    if let Some(fields) = own.as_object_mut() {
        // The name tells routes apart in logs.
        fields.remove("name");
    }
    put(&mut own, "match", Value::Array(matches));
    put(&mut own, "route", json!([to]));
    without_copies(&mut own, sides);
    own
}

fn without_copies(route: &mut Value, sides: &Sides<'_>) {
    let mut mirrors = mirrors(route);
    mirrors.retain(|mirror| !sides.names(host(mirror), sides.candidate));
    if let Some(fields) = route.as_object_mut() {
        if mirrors.is_empty() {
            fields.remove("mirrors");
        } else {
            fields.insert("mirrors".to_owned(), Value::Array(mirrors));
        }
    }
}

/// The headers that our route asks for and the shared one doesn't.
fn added_headers(route: &Value, shared: &Value) -> Vec<Pair> {
    let headers = |route: &Value| {
        let first = route.pointer("/match/0/headers").and_then(Value::as_object);
        first.cloned().unwrap_or_default()
    };
    let own = headers(shared);
    let added = headers(route);
    let added = added
        .iter()
        .filter(|(name, wanted)| own.get(*name) != Some(*wanted));
    let exact = |wanted: &Value| {
        wanted
            .get("exact")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    added
        .map(|(name, wanted)| Pair::new(name.as_str(), exact(wanted).unwrap_or_default()))
        .collect()
}

fn mirrors(route: &Value) -> Vec<Value> {
    let mirrors = route.get("mirrors").and_then(Value::as_array);
    mirrors.cloned().unwrap_or_default()
}

fn mirrored(route: &Value, sides: &Sides<'_>) -> u32 {
    let mirrors = mirrors(route);
    let mut mirrors = mirrors.iter();
    let Some(mirror) = mirrors.find(|mirror| sides.names(host(mirror), sides.candidate)) else {
        return 0;
    };
    let percent = mirror
        .pointer("/percentage/value")
        .and_then(Value::as_f64)
        .unwrap_or(100.0);
    // A cast of what is no number, or none that fits, takes the nearest there is.
    ((percent * f64::from(PERCENT)).round() as u32).min(WHOLE)
}

/// Copies so much of the route's traffic to the candidate, and nothing at all where that is zero.
fn mirror(route: &mut Value, sides: &Sides<'_>, weight: u32) -> Result<()> {
    without_copies(route, sides);
    if weight == 0 {
        return Ok(());
    }
    if route.get("mirror").is_some() {
        return Err(Error::permanent(
            "a route of the VirtualService has a `mirror`, beside which there can't be another one: write it as one of `mirrors`",
        ));
    }
    let to = destinations(route).find(|to| sides.names(host(to), sides.candidate));
    let destination = to.and_then(|to| to.get("destination")).cloned();
    let mut mirrors = mirrors(route);
    mirrors.push(json!({
        "destination": destination,
        "percentage": {"value": f64::from(weight) / f64::from(PERCENT)},
    }));
    put(route, "mirrors", Value::Array(mirrors));
    Ok(())
}
