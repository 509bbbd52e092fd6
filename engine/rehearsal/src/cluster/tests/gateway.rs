//! The Gateway controller, and what the data plane makes of routes.

use super::super::routing::Asked;
use super::*;

const ROUTE: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/web";
const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/public";

pub(super) fn gateway() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "public", "namespace": "default"},
        "spec": {"gatewayClassName": "simulated", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    })
}

pub(super) fn candidate_service() -> Value {
    let mut service = service();
    service["metadata"]["name"] = json!("web-candidate");
    service["spec"]["selector"] = json!({"app": "web-candidate"});
    service
}

pub(super) fn rules(stable: u64, candidate: u64) -> Value {
    json!([{"backendRefs": [
        {"name": "web", "port": 80, "weight": stable},
        {"name": "web-candidate", "port": 80, "weight": candidate},
    ]}])
}

pub(super) fn route(rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "public"}], "hostnames": ["shop.example"], "rules": rules},
    })
}

fn routed(objects: &[Value]) -> Hand {
    let mut hand = Hand::new(Config::default());
    let mut manifests = vec![web(2, "web:1"), service(), candidate_service()];
    manifests.extend_from_slice(objects);
    hand.cluster.seed(&manifests).unwrap();
    hand
}

impl Hand {
    pub(super) fn reroute(&mut self, rules: &Value) {
        let patch = json!({"spec": {"rules": rules}});
        let (code, answer) = self.patch("merge-patch+json", ROUTE, &patch);
        assert_eq!(code, 200, "{answer}");
    }

    /// What the data plane does with requests that have a header: by Service, the weight.
    fn sent(&self, canary: bool) -> Option<Vec<(String, u64)>> {
        let mut asked = Asked::plain();
        if canary {
            let header = ("X-Canary".to_owned(), "always".to_owned());
            asked.headers.extend([header]);
        }
        let table = self
            .cluster
            .routing
            .table(&(Kind::HttpRoute, store::Key::new("default", "web")))?;
        let backends = table.rule_at(&asked)?.1.backends.iter();
        Some(
            backends
                .map(|backend| (backend.service.clone(), backend.weight))
                .collect(),
        )
    }

    fn accepted(&mut self, kind: &str) -> Option<(String, String, i64)> {
        let route = self.get(ROUTE);
        let conditions = route["status"]["parents"][0]["conditions"].as_array()?;
        let found = conditions.iter().find(|c| c["type"] == kind)?;
        Some((
            found["status"].as_str()?.to_owned(),
            found["reason"].as_str()?.to_owned(),
            found["observedGeneration"].as_i64()?,
        ))
    }
}

fn yes(reason: &str, generation: i64) -> Option<(String, String, i64)> {
    Some(("True".to_owned(), reason.to_owned(), generation))
}

fn no(reason: &str, generation: i64) -> Option<(String, String, i64)> {
    Some(("False".to_owned(), reason.to_owned(), generation))
}

fn weights(stable: u64, candidate: u64) -> Option<Vec<(String, u64)>> {
    Some(vec![
        ("web".to_owned(), stable),
        ("web-candidate".to_owned(), candidate),
    ])
}

#[test]
fn the_status_of_a_route_lags_behind_its_generation_and_the_data_plane_lags_more() {
    let mut hand = routed(&[gateway(), route(&rules(100, 0))]);
    assert_eq!(hand.accepted("Accepted"), yes("Accepted", 1));
    assert_eq!(hand.accepted("ResolvedRefs"), yes("ResolvedRefs", 1));
    assert_eq!(
        hand.get(ROUTE)["status"]["parents"][0]["parentRef"]["name"],
        "public"
    );
    hand.reroute(&rules(90, 10));
    hand.pass(Span::from_millis(150));
    assert_eq!(hand.get(ROUTE)["metadata"]["generation"], 2);
    assert_eq!(hand.accepted("Accepted"), yes("Accepted", 1));
    hand.pass(Span::from_millis(100));
    assert_eq!(hand.accepted("Accepted"), yes("Accepted", 2));
    assert_eq!(hand.sent(false), weights(100, 0));
    hand.pass(Span::from_millis(750));
    assert_eq!(hand.sent(false), weights(90, 10));
}

#[test]
fn each_change_reaches_the_data_plane_after_its_own_delay() {
    let mut hand = routed(&[gateway(), route(&rules(100, 0))]);
    hand.reroute(&rules(90, 10));
    hand.pass(Span::from_millis(600));
    hand.reroute(&rules(50, 50));
    hand.pass(Span::from_millis(500));
    assert_eq!(hand.sent(false), weights(90, 10));
    hand.pass(Span::from_millis(500));
    assert_eq!(hand.sent(false), weights(50, 50));
    hand.ask("DELETE", ROUTE, &Value::Null);
    hand.pass(Span::from_millis(999));
    assert_eq!(hand.sent(false), weights(50, 50));
    hand.pass(Span::from_millis(1));
    assert_eq!(hand.sent(false), None);
}

#[test]
fn a_rule_with_a_header_has_the_requests_that_carry_it() {
    let canary = json!({
        "matches": [{"headers": [{"name": "x-canary", "value": "always"}]}],
        "backendRefs": [{"name": "web-candidate", "port": 80}],
    });
    let mut both = rules(100, 0);
    both.as_array_mut().unwrap().push(canary);
    let hand = routed(&[gateway(), route(&both)]);
    assert_eq!(hand.sent(false), weights(100, 0));
    assert_eq!(hand.sent(true), Some(vec![("web-candidate".to_owned(), 1)]));
}

#[test]
fn a_route_without_its_gateway_is_nobodys() {
    let mut hand = routed(&[route(&rules(100, 0))]);
    assert_eq!(hand.accepted("Accepted"), None);
    assert_eq!(hand.sent(false), None);
    let gateways = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways";
    assert_eq!(hand.ask("POST", gateways, &gateway()).0, 201);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("Accepted"), yes("Accepted", 1));
    assert_eq!(hand.sent(false), weights(100, 0));
    let conditions = hand.get(GATEWAY)["status"]["conditions"].clone();
    assert_eq!(conditions[1]["type"], "Programmed");
    assert_eq!(conditions[1]["observedGeneration"], 1);
    hand.ask("DELETE", GATEWAY, &Value::Null);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("Accepted"), None);
    assert_eq!(hand.sent(false), None);
}

#[test]
fn a_listener_may_refuse_a_route() {
    let mut elsewhere = gateway();
    elsewhere["metadata"]["namespace"] = json!("edge");
    let mut asking = route(&rules(100, 0));
    asking["spec"]["parentRefs"][0]["namespace"] = json!("edge");
    let mut hand = routed(&[elsewhere.clone(), asking]);
    assert_eq!(
        hand.accepted("Accepted"),
        no("NotAllowedByListeners", 1),
        "only routes of its own namespace by default"
    );
    assert_eq!(hand.sent(false), None);
    elsewhere["spec"]["listeners"][0]["allowedRoutes"] = json!({"namespaces": {"from": "All"}});
    hand.cluster.apply_manifest(hand.now, &elsewhere).unwrap();
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("Accepted"), yes("Accepted", 1));
    hand.patch(
        "merge-patch+json",
        ROUTE,
        &json!({"spec": {"parentRefs": [{"name": "public", "namespace": "edge", "sectionName": "tls"}]}}),
    );
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("Accepted"), no("NoMatchingParent", 2));
}

#[test]
fn backends_that_are_not_there_are_told_and_get_nothing_through() {
    let mut hand = routed(&[gateway(), route(&rules(90, 10))]);
    let target = "/api/v1/namespaces/default/services/web-candidate";
    hand.ask("DELETE", target, &Value::Null);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("Accepted"), yes("Accepted", 1));
    assert_eq!(hand.accepted("ResolvedRefs"), no("BackendNotFound", 1));
    let table = hand
        .cluster
        .routing
        .table(&(Kind::HttpRoute, store::Key::new("default", "web")));
    let backends = &table.unwrap().rule_at(&Asked::plain()).unwrap().1.backends;
    let valid: Vec<bool> = backends.iter().map(|backend| backend.valid).collect();
    assert_eq!(valid, [true, false]);
    hand.cluster
        .apply_manifest(hand.now, &candidate_service())
        .unwrap();
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("ResolvedRefs"), yes("ResolvedRefs", 1));
    hand.reroute(&json!([{"backendRefs": [{"name": "web", "namespace": "other", "port": 80}]}]));
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.accepted("ResolvedRefs"), no("RefNotPermitted", 2));
}
