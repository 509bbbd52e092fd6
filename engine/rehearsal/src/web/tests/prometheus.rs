//! The scripted Prometheus, and figures that follow the traffic.

use serde_json::json;

use super::*;

const SCRIPT: &str = "traffic:
  - {route: shop, perSecond: 10, path: /shop}
series:
  errors:
    points: [[0s, 0.5]]
    cases:
      - {asked: {version: 1.1.0}, shareFrom: 40, take: bad}
      - {asked: {version: 1.1.0}, take: growing}
  bad: {points: [[0s, 9]]}
  growing: {from: traffic, points: [[0s, 1], [1m, 2], [2m, null]], linear: true}
  rate: {byShare: [[0, 10], [100, 0]], linear: true}
prometheus:
  'metrics.example:9090':
    - {match: broken, error: 503}
    - {match: 'nothing*at all', empty: true}
    - {match: 'nothing', value: NaN}
    - {match: infinite, value: +Inf}
    - {match: first, count: 1, value: 1}
    - {match: first, value: 2}
    - match: two
      samples:
        - {labels: {version: 1.0.0}, value: 0.25}
        - {labels: {version: 1.1.0}, value: {$series: errors}}
    - {match: rate, value: {$series: rate}}
    - {match: later, from: 1h, value: 7}
    - {match: errors, value: {$series: errors}}
http:
  - {host: metrics.example, path: /api/v1/query, method: PUT, hang: true}
";

const QUERY: &str = "http://metrics.example:9090/api/v1/query";

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

impl World {
    fn scripted() -> Self {
        Self::new(SCRIPT)
    }

    fn pass(&mut self, span: Span) {
        let now = self.cluster.now().plus(span);
        self.cluster.advance(now);
    }

    fn split(&mut self, stable: u32, candidate: u32) {
        let namespace = "/apis/gateway.networking.k8s.io/v1/namespaces/shop";
        let mut request =
            crate::cluster::Request::new("PATCH", &format!("{namespace}/httproutes/shop"));
        request.content_type = "application/merge-patch+json".to_owned();
        let backends = json!([
            {"name": "shop", "port": 80, "weight": stable},
            {"name": "candidate", "port": 80, "weight": candidate},
        ]);
        let rule = json!({"matches": [{"path": {"value": "/shop"}}], "backendRefs": backends});
        let request = request.json(&json!({"spec": {"rules": [rule]}}));
        let now = self.cluster.now();
        drop(self.cluster.handle(now, &request));
        // What the data plane takes to follow.
        self.pass(Span::from_secs(1));
    }

    fn send(&mut self, method: &str, url: &str, form: Option<&str>) -> (u16, Value) {
        let request = HttpRequest {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: form
                .map(|_| Pair::new("Content-Type", "application/x-www-form-urlencoded"))
                .into_iter()
                .collect(),
            body: form.map(|form| form.as_bytes().to_vec()),
            timeout: Span::from_secs(5),
            max_body: 1 << 20,
        };
        match self.web.answer(&self.cluster, &request) {
            Answer::Response(response, _) => {
                let body = serde_json::from_slice(&response.body).unwrap();
                (response.status, body)
            }
            other => panic!("{url}: {other:?}"),
        }
    }

    fn query(&mut self, query: &str) -> (u16, Value) {
        self.send("GET", &format!("{QUERY}?query={}", encoded(query)), None)
    }

    /// The figure of the only series, as text.
    fn figure(&mut self, query: &str) -> String {
        let (status, body) = self.query(query);
        assert_eq!(status, 200, "{body}");
        let result = body["data"]["result"].as_array().unwrap();
        assert_eq!(result.len(), 1, "{body}");
        result[0]["value"][1].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_instant_query_is_answered_as_prometheus_does() {
    let mut world = World::scripted();
    let (status, body) = world.query("two_total");
    assert_eq!(status, 200);
    let now = world.cluster.now().as_millis() / 1000;
    assert_eq!(
        body,
        json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"version": "1.0.0"}, "value": [now, "0.25"]},
            {"metric": {"version": "1.1.0"}, "value": [now, "0.5"]},
        ]}})
    );
    // The same by a form, and for a time of its own.
    let form = format!("query={}&time=1794931300.25", encoded("first"));
    let (status, body) = world.send("POST", QUERY, Some(&form));
    assert_eq!(status, 200);
    let result = &body["data"]["result"][0];
    assert_eq!(
        result,
        &json!({"metric": {}, "value": [1_794_931_300.25, "1"]})
    );
    assert_eq!(world.figure("first"), "2", "once and not again");
    assert_eq!(world.figure("nothing"), "NaN");
    assert_eq!(world.figure("infinite"), "+Inf");
    for query in ["nothing_at all", "unknown", "later"] {
        let (status, body) = world.query(query);
        assert_eq!(
            (status, &body["data"]["result"]),
            (200, &json!([])),
            "{query}"
        );
    }
    world.pass(Span::from_mins(60));
    assert_eq!(world.figure("later"), "7");
}

#[test]
fn errors_have_the_shape_of_prometheus() {
    let mut world = World::scripted();
    let form = format!("query={}", encoded("first"));
    for (method, url, form, status, kind, part) in [
        (
            "GET",
            format!("{QUERY}?query=broken"),
            None,
            503,
            "timeout",
            "says so",
        ),
        (
            "GET",
            QUERY.to_owned(),
            None,
            400,
            "bad_data",
            "no expression found",
        ),
        (
            "GET",
            format!("{QUERY}?query=up%7Bversion%7D"),
            None,
            400,
            "bad_data",
            "inside braces",
        ),
        (
            "GET",
            format!("{QUERY}?query=up&time=soon"),
            None,
            400,
            "bad_data",
            "cannot parse \"soon\"",
        ),
        (
            "GET",
            "http://metrics.example:9090/api/v1/series".to_owned(),
            None,
            404,
            "not_found",
            "not found",
        ),
        (
            "DELETE",
            QUERY.to_owned(),
            None,
            405,
            "internal",
            "not allowed",
        ),
        (
            "GET",
            format!("{QUERY}_range?query=up"),
            None,
            400,
            "bad_data",
            "\"start\"",
        ),
        (
            "GET",
            format!("{QUERY}_range?query=up&start=2&end=1&step=1"),
            None,
            400,
            "bad_data",
            "before start",
        ),
        (
            "GET",
            format!("{QUERY}_range?query=up&start=1&end=2&step=0"),
            None,
            400,
            "bad_data",
            "zero or negative",
        ),
        (
            "GET",
            format!("{QUERY}_range?query=up&start=1&end=2"),
            None,
            400,
            "bad_data",
            "valid duration",
        ),
        (
            "GET",
            format!("{QUERY}_range?query=up&start=0&end=11001&step=1"),
            None,
            400,
            "bad_data",
            "11,000 points",
        ),
        // A body that isn't a form is none.
        (
            "POST",
            format!("{QUERY}?time=1"),
            Some(""),
            400,
            "bad_data",
            "no expression found",
        ),
    ] {
        let (found, body) = world.send(method, &url, form);
        assert_eq!(found, status, "{url}: {body}");
        assert_eq!(body["status"], "error");
        assert_eq!(body["errorType"], kind, "{url}");
        let message = body["error"].as_str().unwrap();
        assert!(message.contains(part), "{url}: {message}");
    }
    assert_eq!(world.send("POST", QUERY, Some(&form)).0, 200);
}

#[test]
fn a_range_query_has_the_points_that_have_data() {
    let mut world = World::scripted();
    world.split(90, 10);
    let shifted = world.cluster.now();
    world.pass(Span::from_mins(3));
    let start = shifted.as_millis() / 1000;
    let url = format!(
        "{QUERY}_range?query={}&start={start}&end={}&step=30s",
        encoded("errors{version=\"1.1.0\"}"),
        start + 180
    );
    let (status, body) = world.send("GET", &url, None);
    assert_eq!(status, 200);
    assert_eq!(body["data"]["resultType"], "matrix");
    let values: Vec<(u64, &str)> = body["data"]["result"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap() - start, pair[1].as_str().unwrap()))
        .collect();
    // Along a straight line for a minute, then level, then nothing.
    assert_eq!(values, [(0, "1"), (30, "1.5"), (60, "2"), (90, "2")]);
    let late = url.replace(&format!("start={start}"), &format!("start={}", start + 150));
    let (_, body) = world.send("GET", &late, None);
    assert_eq!(
        body["data"]["result"],
        json!([]),
        "a series without points is none"
    );
}

#[test]
fn figures_follow_the_version_that_is_asked_for_and_the_share_of_the_candidate() {
    let mut world = World::scripted();
    let new = "sum(errors{version=\"1.1.0\"}) / sum(all{version=~\"1.*\"})";
    world.split(100, 0);
    assert_eq!(world.figure("errors"), "0.5");
    assert_eq!(world.figure("rate"), "10");
    world.split(75, 25);
    assert_eq!(world.figure(new), "1");
    assert_eq!(world.figure("rate"), "7.5");
    world.pass(Span::from_secs(30));
    assert_eq!(world.figure(new), "1.5");
    assert_eq!(
        world.figure("errors"),
        "0.5",
        "the version is not asked for"
    );
    world.split(50, 50);
    assert_eq!(world.figure(new), "9");
    let before = world.cluster.now().as_millis() / 1000 - 10;
    let url = format!("{QUERY}?query={}&time={before}", encoded(new));
    let (_, body) = world.send("GET", &url, None);
    let then: f64 = body["data"]["result"][0]["value"][1]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (1.0..2.0).contains(&then),
        "what it was at that time: {then}"
    );
}

#[test]
fn a_rule_of_http_comes_before_the_script() {
    let mut world = World::scripted();
    let request = HttpRequest {
        method: "PUT".to_owned(),
        url: QUERY.to_owned(),
        headers: Vec::new(),
        body: None,
        timeout: Span::from_secs(5),
        max_body: 1 << 20,
    };
    assert_eq!(world.web.answer(&world.cluster, &request), Answer::Hang);
}

#[test]
fn the_address_and_the_pod_that_answers_say_what_is_asked_for_too() {
    let script = "series:
  errors:
    points: [[0s, 0]]
    cases:
      - {asked: {version: 1.1.0, zone: 'eu-*'}, take: bad}
  bad: {points: [[0s, 5]]}
http:
  - {host: '*.svc', json: {errors: {$series: errors}}}
";
    let mut world = World::new(script);
    let mut errors = |url: &str| match world.ask(url, &[]) {
        Answer::Response(response, _) => {
            let body: Value = serde_json::from_slice(&response.body).unwrap();
            body["errors"].as_f64().unwrap()
        }
        other => panic!("{url}: {other:?}"),
    };
    assert_eq!(errors("http://candidate.shop.svc/?zone=eu-west"), 5.0);
    assert_eq!(errors("http://candidate.shop.svc/?zone=us-west"), 0.0);
    assert_eq!(errors("http://shop.shop.svc/?zone=eu-west"), 0.0);
}
