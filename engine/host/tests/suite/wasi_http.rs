//! A plugin that speaks `wasi:http`: the same rights, limits and port as `phasegate:host/http`. Each
//! bad use ends in a failure with a code, nothing is sent that isn't granted, and the next call works.

use std::sync::{Arc, LazyLock};

use phasegate_core::failure::{Failure, Kind};
use phasegate_core::time::Span;
use phasegate_core::verdict::Pair;
use phasegate_host::{HostConfig, Limits, PluginSet};
use phasegate_runtime::plugin_ports::Grants;
use phasegate_runtime::ports::{Capability, Clock, HttpError, HttpRequest, HttpResponse, Plugins};
use serde_json::{Value, json};

use crate::support::{Memory, START, World, call, fixture, question, settings, situation, using};

const NAME: &str = "wasi-http";
const SHOP: &str = "shop.example:443";

/// A world that answers, and the fixture in it, with these rights.
fn granted(limits: Limits, grants: Vec<Capability>) -> (Arc<World>, PluginSet) {
    let world = World::new();
    world.answers(200, "all is well");
    let mut all = Grants::default();
    all.0.insert(NAME.into(), grants);
    // Compiled once for all of these tests.
    static COMPILED: LazyLock<Arc<Memory>> = LazyLock::new(Arc::default);
    let cache: Arc<Memory> = Arc::clone(&COMPILED);
    let config = HostConfig {
        cache: Some(cache),
        ..settings(limits)
    };
    let plugins = world.host(config).load(vec![fixture(NAME)], all);
    (world, plugins)
}

fn to(authority: &str) -> Vec<Capability> {
    vec![Capability::Http {
        authority: authority.into(),
    }]
}

fn shop(limits: Limits) -> (Arc<World>, PluginSet) {
    granted(limits, to(SHOP))
}

/// What the gate says when it asks the shop like this.
async fn ask(plugins: &PluginSet, config: Value) -> Result<String, Failure> {
    let mut asking = json!({ "authority": SHOP });
    for (name, value) in config.as_object().unwrap() {
        asking[name] = value.clone();
    }
    let gate = using(NAME, asking);
    let verdict = plugins.evaluate(&gate, &call(), &question()).await?;
    Ok(verdict.reason)
}

fn sent(world: &World) -> Vec<HttpRequest> {
    world.requests.lock().unwrap().clone()
}

fn assert_failure(failed: Result<String, Failure>, kind: Kind, code: &str, says: &str) {
    let failure = failed.unwrap_err();
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert_eq!(failure.code.to_string(), code, "{failure:?}");
    assert!(failure.message.contains(says), "{failure:?}");
}

/// After whatever was done before, the same plugin is answered.
async fn assert_lives_on(plugins: &PluginSet) {
    let answer = ask(plugins, json!({})).await;
    assert_eq!(answer.as_deref(), Ok("200 [] all is well"));
}

#[tokio::test]
async fn a_granted_request_arrives_with_the_credential_and_the_answer_without_it() {
    let (world, plugins) = shop(Limits::default());
    *world.answer.lock().unwrap() = Some(Ok(HttpResponse {
        status: 202,
        headers: vec![Pair::new("X-Echo", "Bearer planted-secret")],
        body: b"you sent planted-secret".to_vec(),
        truncated: false,
        took: Span::from_millis(5),
    }));
    let config = json!({
        "path": "/health?deep=1", "credential": "token", "body": 10_000, "timeoutMs": 2500,
        "headers": {"Accept": "text/plain", "Content-Length": "10000", "Authorization": "mine"},
    });
    assert_eq!(
        ask(&plugins, config).await.as_deref(),
        Ok("202 [***] you sent ***")
    );
    let requests = sent(&world);
    assert_eq!(requests.len(), 1);
    let HttpRequest {
        method,
        url,
        headers,
        body,
        timeout,
        max_body,
    } = &requests[0];
    assert_eq!(
        (method.as_str(), url.as_str()),
        ("POST", "https://shop.example:443/health?deep=1")
    );
    let expected = [
        Pair::new("accept", "text/plain"),
        Pair::new("authorization", "Bearer planted-secret"),
    ];
    assert_eq!(headers[..], expected);
    assert_eq!(body.as_deref(), Some(&[b'x'; 10_000][..]));
    assert_eq!(*timeout, Span::from_millis(2500));
    assert_eq!(*max_body, Limits::default().response_body_bytes);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_nothing_is_sent() {
    let (world, plugins) = granted(Limits::default(), Vec::new());
    let denied = ask(&plugins, json!({})).await;
    let line = "may: [{httpFromConfig: \"/authority\"}]}`";
    assert_failure(denied, Kind::Denied, "PG0306", line);
    assert_eq!(sent(&world), []);

    let (world, plugins) = granted(Limits::default(), to("*.example:443"));
    assert_lives_on(&plugins).await;
    assert_eq!(sent(&world).len(), 1);
    // Granted, and not what it asks for.
    let other = ask(&plugins, json!({"instead": "evil.example:443"})).await;
    assert_failure(
        other,
        Kind::Denied,
        "PG0306",
        "does not ask for requests to evil.example:443",
    );
    // The same host without TLS is another authority.
    let plain = ask(&plugins, json!({"instead": "shop.example", "plain": true})).await;
    assert_failure(plain, Kind::Denied, "PG0306", "shop.example:80");
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn a_credential_that_is_not_for_this_host_sends_nothing() {
    let (world, plugins) = granted(Limits::default(), to("*.example:443"));
    let elsewhere = json!({"authority": "other.example:443", "credential": "token"});
    let denied = ask(&plugins, elsewhere).await;
    assert_failure(denied, Kind::Denied, "PG0306", "other.example:443");
    let unknown = ask(&plugins, json!({"credential": "nobodys"})).await;
    assert_failure(unknown, Kind::Denied, "PG0306", "nobodys");
    let two = json!({"credential": "token", "headers": {"Phasegate-Credential": "token"}});
    let refused = ask(&plugins, two).await;
    assert_failure(
        refused,
        Kind::Permanent,
        "PG0308",
        "more than one credential",
    );
    assert_eq!(sent(&world), []);
    assert_lives_on(&plugins).await;
}

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let (world, plugins) = shop(Limits::default());
    for (config, says) in [
        (json!({"path": "http://evil.example/"}), "path: "),
        (json!({"path": "*"}), "path: "),
        (json!({"path": "/\r\nHost: evil.example"}), "path: "),
        (
            json!({"instead": "shop.example:443/../evil"}),
            "authority: ",
        ),
        (
            json!({"instead": "shop.example:443@evil.example"}),
            "user information",
        ),
        (json!({"instead": "shop.example:0"}), "impossible port"),
        (
            json!({"headers": {"Host": "evil.example"}}),
            "HeaderError::Forbidden",
        ),
        (
            json!({"headers": {"Transfer-Encoding": "chunked"}}),
            "HeaderError::Forbidden",
        ),
        (
            json!({"headers": {"x": "a\r\nHost: evil"}}),
            "HeaderError::InvalidSyntax",
        ),
    ] {
        let refused = ask(&plugins, config.clone()).await;
        assert_failure(refused, Kind::Permanent, "PG0308", says);
        assert_eq!(sent(&world), [], "{config}");
    }
    assert_lives_on(&plugins).await;
    let query = ask(&plugins, json!({"path": "?of=it"})).await;
    assert!(query.is_ok(), "{query:?}");
    assert_eq!(sent(&world)[1].url, "https://shop.example:443/?of=it");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (world, plugins) = shop(Limits::default());
    *world.answer.lock().unwrap() = Some(Ok(HttpResponse {
        status: 302,
        headers: vec![Pair::new("location", "https://evil.example/")],
        body: Vec::new(),
        truncated: false,
        took: Span::ZERO,
    }));
    assert_eq!(ask(&plugins, json!({})).await.as_deref(), Ok("302 [] "));
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn a_strategys_call_has_no_http_and_the_gate_of_the_same_component_has() {
    let (world, plugins) = shop(Limits::default());
    let strategy = |act: &str| using(NAME, json!({"authority": SHOP, "act": act}));
    let (call, situation) = (call(), situation());
    let denied = plugins.plan(&strategy("ask"), &call, &situation).await;
    let denied = denied.map(|steps| format!("{steps:?}"));
    assert_failure(
        denied,
        Kind::Denied,
        "PG0306",
        "not available to a strategy",
    );
    // One that doesn't care plans without what it asked.
    let planned = plugins.plan(&strategy("ignore"), &call, &situation).await;
    assert_eq!(planned, Ok(Vec::new()));
    assert_eq!(sent(&world), []);
    assert_lives_on(&plugins).await;
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn requests_can_be_under_way_at_the_same_time() {
    let (world, plugins) = shop(Limits::default());
    let both = ask(&plugins, json!({"act": "pair"})).await;
    assert_eq!(both.as_deref(), Ok("all is well and all is well"));
    assert_eq!(sent(&world).len(), 2);
}

#[tokio::test]
async fn errors_of_the_port_have_their_codes() {
    let (world, plugins) = shop(Limits::default());
    for (error, says) in [
        (
            HttpError::Unreachable("no route".into()),
            "ErrorCode::DestinationUnavailable",
        ),
        (HttpError::TimedOut, "ErrorCode::HttpResponseTimeout"),
        (HttpError::Invalid("no HTTP".into()), "no HTTP"),
    ] {
        *world.answer.lock().unwrap() = Some(Err(error));
        assert_failure(
            ask(&plugins, json!({})).await,
            Kind::Permanent,
            "PG0308",
            says,
        );
    }
    *world.answer.lock().unwrap() = Some(Err(HttpError::Denied("no TLS here".into())));
    assert_failure(
        ask(&plugins, json!({})).await,
        Kind::Denied,
        "PG0306",
        "no TLS here",
    );
}

#[tokio::test]
async fn a_body_is_sent_within_the_limit_or_not_at_all() {
    let limits = Limits {
        request_body_bytes: 100_000,
        sent_bytes: 1_000_000,
        ..Limits::default()
    };
    let (world, plugins) = shop(limits);
    let whole = ask(&plugins, json!({"body": 100_000})).await;
    assert_eq!(whole.as_deref(), Ok("200 [] all is well"));
    assert_eq!(sent(&world).len(), 1);
    let short = json!({"body": 10, "headers": {"content-length": "11"}});
    let no_length = json!({"body": 10, "headers": {"content-length": "+10"}});
    for (config, says) in [
        (
            json!({"body": 100_001}),
            "HttpRequestBodySize(Some(100000))",
        ),
        (
            json!({"act": "pour"}),
            "told Some(ErrorCode::HttpRequestBodySize(Some(100000)))",
        ),
        (
            json!({"act": "break"}),
            "answer: ErrorCode::HttpProtocolError",
        ),
        (short, "finish: ErrorCode::HttpRequestBodySize(Some(10))"),
        (no_length, "body: "),
    ] {
        let refused = ask(&plugins, config.clone()).await;
        assert_failure(refused, Kind::Permanent, "PG0308", says);
        assert_eq!(sent(&world).len(), 1, "{config}");
    }
    // One that doesn't listen is stopped.
    let flood = ask(&plugins, json!({"act": "flood"})).await;
    assert_failure(
        flood,
        Kind::Permanent,
        "PG0308",
        "more than 1000000 bytes into requests",
    );
    let copies = ask(&plugins, json!({"act": "copy"})).await;
    assert_failure(
        copies,
        Kind::Permanent,
        "PG0308",
        "more than 1000000 bytes into requests",
    );
    assert_lives_on(&plugins).await;
}

#[tokio::test]
async fn an_answer_that_was_cut_off_does_not_look_whole() {
    let limits = Limits {
        response_body_bytes: 10,
        ..Limits::default()
    };
    let (_world, plugins) = shop(limits);
    let cut = ask(&plugins, json!({})).await;
    let says = "read: Some(ErrorCode::HttpResponseBodySize(Some(10)))";
    assert_failure(cut, Kind::Permanent, "PG0308", says);
}

#[tokio::test]
async fn too_many_requests_end_the_call_whether_or_not_their_answers_are_read() {
    let limits = Limits {
        host_calls: 20,
        ..Limits::default()
    };
    let (world, plugins) = shop(limits);
    let repeat = ask(&plugins, json!({"act": "repeat"})).await;
    assert_failure(repeat, Kind::Permanent, "PG0308", "more than 20 requests");
    assert_eq!(sent(&world).len(), 20);
    let crowd = ask(&plugins, json!({"act": "crowd"})).await;
    assert_failure(
        crowd,
        Kind::Permanent,
        "PG0308",
        "ErrorCode::ConnectionLimitReached",
    );
    assert_eq!(sent(&world).len(), 20, "nobody waited for an answer");
    assert_lives_on(&plugins).await;
}

#[tokio::test]
async fn answers_that_are_kept_and_never_read_are_counted() {
    let limits = Limits {
        received_bytes: 50_000,
        ..Limits::default()
    };
    let (world, plugins) = shop(limits);
    world.answers(200, &"x".repeat(9_000));
    let hoard = ask(&plugins, json!({"act": "hoard"})).await;
    assert_failure(
        hoard,
        Kind::Permanent,
        "PG0308",
        "read more than 50000 bytes",
    );
    assert_eq!(sent(&world).len(), 6);
    world.answers(200, "");
    let limits = Limits {
        handles: 40,
        ..Limits::default()
    };
    let (_world, plugins) = shop(limits);
    let hoard = ask(&plugins, json!({"act": "hoard"})).await;
    assert_failure(hoard, Kind::Permanent, "PG0308", "more than 40 handles");
    assert_lives_on(&plugins).await;
}

#[tokio::test]
async fn what_never_comes_ends_with_the_call() {
    let wall = Limits::default().wall.as_millis();
    // Waits for a server that never answers, and for a body that it never finishes itself.
    for act in ["ask", "stall"] {
        let (world, plugins) = shop(Limits::default());
        world.hangs();
        let late = ask(&plugins, json!({"act": act})).await;
        assert_failure(late, Kind::Timeout, "PG0304", "in time");
        assert_eq!(world.now().as_millis(), START + wall, "{act}");
        world.answers(200, "all is well");
        assert_lives_on(&plugins).await;
    }
    let limits = Limits {
        compute: Span::from_millis(50),
        ..Limits::default()
    };
    let (world, plugins) = shop(limits);
    let spin = ask(&plugins, json!({"act": "spin"})).await;
    assert_failure(spin, Kind::Timeout, "PG0304", "computed for more");
    assert_eq!(
        sent(&world),
        [],
        "a request is sent when its answer is waited for"
    );
    assert_lives_on(&plugins).await;
}
