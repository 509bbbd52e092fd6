//! Ingresses with their canaries, and VirtualServices.

use super::super::traffic::Source;
use super::gateway::candidate_service;
use super::*;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const CANARY: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/web-candidate";
const VIRTUAL: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices/web";

fn ingress(name: &str, service: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"rules": [{"host": "shop.example", "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}},
        }]}}]},
    })
}

fn canary(weight: &str) -> Value {
    let annotations = json!({
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": weight,
    });
    ingress("web-candidate", "web-candidate", &annotations)
}

fn virtual_service(stable: u64, candidate: u64) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"hosts": ["shop.example"], "http": routes(stable, candidate)},
    })
}

fn routes(stable: u64, candidate: u64) -> Value {
    json!([{"route": [
        {"destination": {"host": "web"}, "weight": stable},
        {"destination": {"host": "web-candidate"}, "weight": candidate},
    ]}])
}

fn candidate() -> Value {
    let text = web(1, "web:2").to_string();
    let text = text.replace("\"app\":\"web\"", "\"app\":\"web-candidate\"");
    let mut candidate: Value = serde_json::from_str(&text).unwrap();
    candidate["metadata"]["name"] = json!("web-candidate");
    candidate
}

impl Hand {
    fn with_sides(route: &Value) -> Self {
        let mut hand = Self::new(Config::default());
        let objects = [
            web(2, "web:1"),
            candidate(),
            service(),
            candidate_service(),
            route.clone(),
        ];
        hand.cluster.seed(&objects).unwrap();
        hand.cluster.begin_traffic(&[from("web")]).unwrap();
        hand
    }

    /// Of ten thousand plain requests, how many which version answers, and how many nobody does.
    fn answered(&self) -> (Vec<(String, u32)>, u32) {
        let seen = self.cluster.observe();
        assert_eq!(seen.routes.len(), 1, "a canary is no route of its own");
        let route = &seen.routes[0];
        (route.versions.clone().into_iter().collect(), route.failed)
    }
}

fn from(route: &str) -> Source {
    serde_json::from_value(json!({"route": route, "perSecond": 100.0})).unwrap()
}

fn shared(stable: u32, candidate: u32) -> (Vec<(String, u32)>, u32) {
    let all = [("1".to_owned(), stable), ("2".to_owned(), candidate)];
    (all.into_iter().filter(|(_, n)| *n > 0).collect(), 0)
}

#[test]
fn a_canary_of_an_ingress_takes_its_weight_when_the_data_plane_has_followed() {
    let mut hand = Hand::with_sides(&ingress("web", "web", &json!({})));
    assert_eq!(hand.answered(), shared(10_000, 0));
    assert_eq!(hand.ask("POST", INGRESSES, &canary("10")).0, 201);
    hand.pass(Span::from_millis(999));
    assert_eq!(hand.answered(), shared(10_000, 0));
    hand.pass(Span::from_millis(1));
    assert_eq!(hand.answered(), shared(9_000, 1_000));
    // A change of annotations is no new generation, and counts all the same.
    let total = json!({"metadata": {"annotations": {
        "nginx.ingress.kubernetes.io/canary-weight": "5",
        "nginx.ingress.kubernetes.io/canary-weight-total": "10000",
    }}});
    let (code, changed) = hand.patch("merge-patch+json", CANARY, &total);
    assert_eq!((code, &changed["metadata"]["generation"]), (200, &json!(1)));
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.answered(), shared(9_995, 5));
    hand.ask("DELETE", CANARY, &Value::Null);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.answered(), shared(10_000, 0));
    let traffic = &hand.cluster.traffic()[0];
    assert_eq!((traffic.entry.as_str(), traffic.failed), ("route web", 0.0));
    assert!(traffic.versions["2"] > 0.0, "{traffic:?}");
}

#[test]
fn a_canary_that_comes_after_the_service_that_it_belongs_to_goes_again() {
    let mut hand = Hand::with_sides(&ingress("web", "web", &json!({})));
    let target = "/api/v1/namespaces/default/services/web-candidate";
    let uid = hand.get(target)["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "v1", "kind": "Service", "name": "web-candidate", "uid": uid});
    let mut owned = canary("10");
    owned["metadata"]["ownerReferences"] = json!([owner]);
    assert_eq!(hand.ask("POST", INGRESSES, &owned).0, 201);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.ask("GET", CANARY, &Value::Null).0, 200);
    hand.ask("DELETE", target, &Value::Null);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.ask("GET", CANARY, &Value::Null).0, 404);
    assert_eq!(hand.ask("POST", INGRESSES, &owned).0, 201);
    hand.pass(Span::from_secs(2));
    assert_eq!(hand.ask("GET", CANARY, &Value::Null).0, 404);
    assert_eq!(hand.answered(), shared(10_000, 0));
}

#[test]
fn a_header_of_a_canary_goes_before_its_weight() {
    let mut hand = Hand::with_sides(&ingress("web", "web", &json!({})));
    let mut marked = canary("0");
    marked["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-by-header"] =
        json!("X-Canary");
    marked["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-by-header-value"] =
        json!("yes");
    assert_eq!(hand.ask("POST", INGRESSES, &marked).0, 201);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.answered(), shared(10_000, 0));
    let picture = hand.cluster.picture("default");
    let rules = &picture.live["Ingress web"];
    let marks: Vec<bool> = rules.iter().map(|rule| rule.marked).collect();
    assert_eq!(marks, [true, false]);
    assert_eq!(
        rules[0].weights.keys().collect::<Vec<_>>(),
        ["web-candidate"]
    );
    assert_eq!(picture.wanted["Ingress web"], *rules);
}

#[test]
fn an_ingress_is_checked_as_the_api_server_does() {
    let mut hand = Hand::new(Config::default());
    let mut faulty = ingress("web", "web", &json!({}));
    let path = &mut faulty["spec"]["rules"][0]["http"]["paths"][0];
    path["path"] = json!("shop");
    path.as_object_mut().unwrap().remove("pathType");
    path["backend"]["service"]["port"] = json!({});
    let (code, answer) = hand.ask("POST", INGRESSES, &faulty);
    let causes = answer["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes
        .iter()
        .map(|c| c["field"].as_str().unwrap())
        .collect();
    let here = "spec.rules[0].http.paths[0]";
    let expected = ["pathType", "path", "backend.service.port"].map(|end| format!("{here}.{end}"));
    assert_eq!(
        (code, fields),
        (422, expected.iter().map(String::as_str).collect())
    );
    faulty["spec"] = json!({});
    assert_eq!(hand.ask("POST", INGRESSES, &faulty).0, 422);
}

#[test]
fn a_virtual_service_shares_by_weight_when_the_data_plane_has_followed() {
    let mut hand = Hand::with_sides(&virtual_service(100, 0));
    assert_eq!(hand.answered(), shared(10_000, 0));
    let change = json!({"spec": {"http": routes(75, 25)}});
    let (code, changed) = hand.patch("merge-patch+json", VIRTUAL, &change);
    assert_eq!((code, &changed["metadata"]["generation"]), (200, &json!(2)));
    assert_eq!(hand.patch(STRATEGIC, VIRTUAL, &change).0, 415);
    hand.pass(Span::from_millis(999));
    assert_eq!(hand.answered(), shared(10_000, 0));
    hand.pass(Span::from_millis(1));
    assert_eq!(hand.answered(), shared(7_500, 2_500));
    // A destination without a Service fails its share.
    let target = "/api/v1/namespaces/default/services/web-candidate";
    hand.ask("DELETE", target, &Value::Null);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.answered(), (shared(7_500, 0).0, 2_500));
}
