//! A plugin that speaks `wasi:http` in the worlds that there are: a rehearsal, whose time is virtual,
//! and the network, where a server need not mean well.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phasegate_cli::compose::{Discarded, Invented, Simulation};
use phasegate_cli::rehearsal::{self, Inputs};
use phasegate_cli::{builtin, plugins};
use phasegate_core::failure::Failure;
use phasegate_core::plan::Use;
use phasegate_core::spec::policy::Policy;
use phasegate_core::spec::release::{self, Overrides};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Interval, Question, Side};
use phasegate_core::workload::Target;
use phasegate_host::{Host, HostConfig, HostPorts, PluginSet};
use phasegate_rehearsal::rehearse::Rehearsal;
use phasegate_rehearsal::scenario::{self, HttpRule, Scenario};
use phasegate_runtime::plugin_ports::Grants;
use phasegate_runtime::ports::{Call, Clock, Plugins};
use phasegate_store::MemoryJournal;
use phasegate_world::clock::SystemClock;
use phasegate_world::http::LiveHttp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use fixture::fixture;

#[path = "shared/fixture.rs"]
mod fixture;

const NAME: &str = "wasi-http";
/// How long a call may take.
const DEADLINE: Span = Span::from_secs(30);

/// The common release of the scenarios, whose gate `version` is asked over `wasi:http` instead.
const RELEASE: &str = r#"
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: "1.1.0"
change: minor
target: {simulated: {}}
namespace: shop
workload:
  deployment: shop
  container: app
  image: registry.example/shop:{version}
  service: shop

gates:
  pods:
    plugin: workload
    policy: {interval: 10s, failureLimit: 1}
  version:
    plugin: wasi-http
    config: {authority: "shop.shop.svc:80", plain: true, path: /version, timeoutMs: 5000}

phases:
  - name: deploy
    strategy:
      plugin: rolling
      gates: [pods]
      config: {timeout: 3m}
  - name: verify
    steps:
      - check: [version]
"#;

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test reads what the repository and its build hold"
)]
fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo xtask plugins` before the tests",
            file.display()
        )
    })
}

/// The world of the scenarios, with these rules for HTTP.
fn scenario(rules: Vec<HttpRule>) -> Scenario {
    let file = scenarios().join("world.yaml");
    let mut scenario = scenario::load("world.yaml", &read(&file)).unwrap().scenario;
    scenario.http = rules;
    scenario
}

fn rehearse(scenario: &Scenario) -> Rehearsal {
    let overrides = Overrides::default();
    let names: Vec<_> = builtin::NAMES.iter().copied().chain([NAME]).collect();
    let loaded = release::load("release.yaml", RELEASE.as_bytes(), &overrides, &names).unwrap();
    let file = scenarios().join("release.yaml");
    let common = release::load("release.yaml", &read(&file), &overrides, &names).unwrap();
    let mut components = plugins::of_release(&common, &scenarios()).unwrap();
    components.push(fixture(NAME, read));
    rehearsal::play(Inputs {
        loaded: &loaded,
        policy: &Policy::default(),
        scenario,
        components,
        credentials: Arc::new(Invented),
        cache: None,
        seed: scenario.seed,
    })
    .unwrap()
}

#[test]
fn a_release_is_rehearsed_with_a_gate_that_speaks_wasi_http() {
    let slow = HttpRule {
        host: Some("shop.shop.svc*".into()),
        after: Some(Span::from_secs(3)),
        body: Some("1.1.0".into()),
        ..HttpRule::default()
    };
    let scenario = scenario(vec![slow]);
    let played = rehearse(&scenario);
    let text = played.story.text();
    assert_eq!(
        (played.end.as_str(), &played.faults[..]),
        ("succeeded", &[][..]),
        "{text}"
    );
    assert!(text.contains("version: pass, 200 [] 1.1.0"), "{text}");
    let urls: Vec<_> = played.exchanges.iter().map(|e| e.url.as_str()).collect();
    assert_eq!(urls, ["http://shop.shop.svc:80/version"]);
    assert_eq!(rehearse(&scenario).story.text(), text, "the same seed");
}

fn call(now: Timestamp) -> Call {
    Call {
        epoch: 0,
        slot: phasegate_core::strategy::Slot::Stable,
        run: "r-1".into(),
        name: "shop".into(),
        version: "1.1.0".into(),
        previous_version: None,
        environment: String::new(),
        change: "minor".into(),
        started_by: "operator".into(),
        key: "r-1/verify/version".into(),
        target: Target {
            cluster: "simulated".into(),
            namespace: "shop".into(),
            workload: "shop".into(),
            deployment: "shop".into(),
            container: "app".into(),
            service: Some("shop".into()),
            config_maps: Vec::new(),
            secrets: Vec::new(),
            beside: None,
        },
        image: String::new(),
        deadline: now.plus(DEADLINE),
        attempt: 1,
    }
}

async fn ask(plugins: &PluginSet, clock: &dyn Clock, config: Value) -> Result<String, Failure> {
    let now = clock.now();
    let interval = Interval {
        since: now,
        until: now,
    };
    let side = || Side {
        version: String::new(),
        service: String::new(),
        labels: Vec::new(),
    };
    let question = Question {
        window: interval,
        baseline: interval,
        candidate_weight: 10_000,
        candidate: side(),
        stable: side(),
        evaluation: 0,
        memory: None,
    };
    let gate = Use {
        plugin: NAME.into(),
        offer: NAME.into(),
        config,
    };
    let verdict = plugins.evaluate(&gate, &call(now), &question).await?;
    Ok(verdict.reason)
}

#[test]
fn waits_take_virtual_time_and_no_longer_than_they_may() {
    let rule = |path: &str, hang: bool, after: Span| HttpRule {
        path: Some(path.into()),
        after: Some(after),
        hang,
        body: Some("there".into()),
        ..HttpRule::default()
    };
    let scenario = scenario(vec![
        rule("/slow", false, Span::from_secs(3)),
        rule("/never", true, Span::ZERO),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let simulation = Simulation::begin(&scenario, scenario.seed).unwrap();
        let config = HostConfig {
            yields: false,
            ..HostConfig::default()
        };
        let world = &simulation.world;
        let journal = Arc::new(MemoryJournal::new("wasi-http"));
        let parts = world
            .engine(
                config,
                Arc::new(Invented),
                vec![fixture(NAME, read)],
                journal,
            )
            .unwrap();
        parts.prepare().await.unwrap();
        for (path, timeout, expected, took) in [
            ("/slow", None, Ok("200 [] there"), 3_000),
            ("/slow", Some(2_000), Err("HttpResponseTimeout"), 2_000),
            ("/never", Some(7_000), Err("HttpResponseTimeout"), 7_000),
            (
                "/never",
                None,
                Err("did not answer in time"),
                DEADLINE.as_millis(),
            ),
        ] {
            let config = json!({"authority": "shop.example", "path": path, "timeoutMs": timeout});
            let before = world.clock.now();
            let answer = ask(&parts.plugins, &*world.clock, config).await;
            let passed = world.clock.now().since(before);
            match (&answer, expected) {
                (Ok(answer), Ok(expected)) => assert_eq!(answer, expected),
                (Err(failure), Err(says)) => {
                    assert!(failure.message.contains(says), "{failure:?}");
                }
                _ => panic!("{path}: {answer:?}, not {expected:?}"),
            }
            assert_eq!(passed, Span::from_millis(took), "{path}");
        }
    });
}

/// What the server on this machine does with those who ask it.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).await?;
    let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    let endless = format!("{head}content-length: 1000000000000\r\n\r\n");
    if request.starts_with("GET /trickle") {
        stream.write_all(endless.as_bytes()).await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the server of the test is outside, where time is the wall's"
        )]
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
        loop {
            ticks.tick().await;
            stream.write_all(b"x").await?;
        }
    }
    if request.starts_with("GET /flood") {
        stream.write_all(endless.as_bytes()).await?;
        loop {
            stream.write_all(&[b'x'; 4096]).await?;
        }
    }
    if request.starts_with("GET /away") {
        let away = format!("{head}location: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        let away = away.replace("200 OK", "307 Temporary Redirect");
        return stream.write_all(away.as_bytes()).await;
    }
    let answer = format!("{head}content-length: 5\r\n\r\nhello");
    stream.write_all(answer.as_bytes()).await
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // One that breaks off is what is meant.
            tokio::spawn(async move { serve(stream).await.ok() });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_means_harm_ends_in_a_failure_and_the_next_one_is_asked() {
    let address = server().await.to_string();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ports = HostPorts {
        http: Arc::new(LiveHttp::new(Arc::clone(&clock))),
        objects: Arc::new(
            Simulation::begin(&scenario(Vec::new()), 1)
                .unwrap()
                .world
                .cluster,
        ),
        clock: Arc::clone(&clock),
        log: Arc::new(Discarded),
        credentials: Arc::new(Invented),
    };
    let host = Host::new(HostConfig::default(), ports).unwrap();
    let plugins = host.load(vec![fixture(NAME, read)], Grants::default());
    let asking = async |path: &str| {
        // Only what never ends is given up.
        let timeout = (path == "/trickle").then_some(500);
        let config =
            json!({"authority": address, "plain": true, "path": path, "timeoutMs": timeout});
        ask(&plugins, &*clock, config).await
    };
    assert_eq!(asking("/").await.as_deref(), Ok("200 [] hello"));
    for (path, says) in [
        ("/trickle", "HttpResponseTimeout"),
        ("/flood", "HttpResponseBodySize(Some(4194304))"),
    ] {
        let failure = asking(path).await.unwrap_err();
        assert_eq!(failure.code.to_string(), "PG0308", "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
        assert_eq!(
            asking("/").await.as_deref(),
            Ok("200 [] hello"),
            "after {path}"
        );
    }
    assert_eq!(asking("/away").await.as_deref(), Ok("307 [] "));
}
