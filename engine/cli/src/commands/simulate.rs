//! `phasegate simulate`: a simulated cluster as a process of its own.

use std::sync::Arc;

use phasegate_core::config::ConfigKind;
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::spec::API_VERSION;
use phasegate_core::spec::release::{self, DEFAULT_NAMESPACE, Loaded};
use phasegate_core::time::Span;
use phasegate_rehearsal::network::Network;
use phasegate_rehearsal::scenario::{self, Scenario};
use phasegate_rehearsal::server::{ScaledClock, ServeOptions, SharedCluster, serve};
use phasegate_rehearsal::web::Web;
use phasegate_runtime::ports::Clock;
use phasegate_world::clock::{MAX_SCALE, SystemClock};
use phasegate_world::entropy;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Simulate;
use crate::console::Console;
use crate::exit::{Exit, Outcome, internal};
use crate::files;
use crate::simulated::Listening;

/// The version that a workload is at before its first release to a cluster that no scenario describes.
const EARLIER: &str = "0.0.0";
/// How many replicas it has then.
const REPLICAS: u32 = 3;
/// How often it is looked whether somebody asked something, in real time.
const IDLE_POLL: Span = Span::from_secs(1);

/// The JSON Schema of scenario files.
pub(super) fn schema() -> Value {
    scenario::schema()
}

/// What is wrong with a scenario file, the objects in it included.
pub(super) fn check(file: &str, bytes: &[u8]) -> Result<(), Diagnostics> {
    scenario::load_whole(file, bytes).map(drop)
}

/// Loads a scenario file.
pub(super) fn load(file: &str) -> Result<Scenario, Diagnostics> {
    Ok(scenario::load_whole(file, &files::read(file)?)?.scenario)
}

/// Serves a simulated cluster until it is told to stop or nobody asks anything for a while.
pub(super) async fn simulate(args: &Simulate, console: &Console) -> Outcome {
    let scenario = match &args.scenario {
        Some(file) => load(file)?,
        None => empty()?,
    };
    let speed = speed(args.speed)?;
    // Two clusters are two, even if the one takes the place of the other: a run knows its target by the uid.
    let seed = match args.seed {
        Some(seed) => seed,
        None => entropy::seed().map_err(|e| internal("there is no randomness").caused_by(&e))?,
    };
    let cluster = scenario.cluster(seed)?;
    let clock = ScaledClock::starting_at(scenario.start(), speed);
    let shared = SharedCluster::new(cluster, Arc::new(clock));
    let network = Network::new(shared.clone(), Web::new(&scenario));
    let refused = |e: std::io::Error| {
        Diagnostic::new(
            codes::CLUSTER_UNREACHABLE,
            format!("can't listen at {}", args.listen),
        )
        .caused_by(&e)
        .hint("port 0 takes a free one")
    };
    if !args.listen.ip().is_loopback() {
        return Err(Diagnostic::new(
            codes::INVALID_VALUE,
            "a simulated cluster asks nobody who they are, so it listens on this machine only",
        )
        .expected("an address of the loopback, for example 127.0.0.1:0")
        .found(args.listen.to_string())
        .into());
    }
    let listener = TcpListener::bind(args.listen).await.map_err(refused)?;
    let url = format!("http://{}", listener.local_addr().map_err(refused)?);
    let signals =
        |kind| signal(kind).map_err(|e| internal("signals can't be listened to").caused_by(&e));
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;
    let listening = Listening {
        url: url.clone(),
        pid: std::process::id(),
    };
    if console.json() {
        let text = serde_json::to_string(&listening)
            .map_err(|e| internal("an address can't be written as JSON").caused_by(&e))?;
        console.data(&text)?;
    } else {
        console.data(&url)?;
        console.note(&format!("try: kubectl --server {url} get pods -A"));
    }
    let options = ServeOptions {
        handler: Some(network.handler()),
        ..ServeOptions::default()
    };
    let watched = shared.clone();
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = idle(&watched, args.idle_timeout) => {}
        }
    };
    serve(listener, shared, options, stop)
        .await
        .map_err(|e| internal("the simulated cluster can't go on listening").caused_by(&e))?;
    Ok(Exit::Succeeded)
}

/// Returns once nobody has asked anything for so long; never, without a limit.
async fn idle(shared: &SharedCluster, timeout: Option<Span>) {
    let Some(timeout) = timeout else {
        return std::future::pending().await;
    };
    let mut last = None;
    let mut since = SystemClock.now();
    loop {
        let now = SystemClock.now();
        SystemClock
            .sleep_until(now.plus(IDLE_POLL.min(timeout)))
            .await;
        let asked = shared.with(|cluster| {
            let requests = cluster.requests();
            (requests.len(), requests.last().map(|request| request.at))
        });
        let now = SystemClock.now();
        if last != Some(asked) {
            last = Some(asked);
            since = now;
        } else if now.since(since) >= timeout {
            return;
        }
    }
}

fn speed(asked: Option<f64>) -> Result<f64, Diagnostic> {
    match asked {
        None => Ok(1.0),
        Some(speed) if speed > 0.0 && speed <= MAX_SCALE => Ok(speed),
        Some(speed) => Err(Diagnostic::new(
            codes::IMPOSSIBLE_NUMBER,
            "time can't go at this speed",
        )
        .expected(format!("a number above 0 and at most {MAX_SCALE}"))
        .found(speed.to_string())),
    }
}

/// A cluster with nothing in it.
fn empty() -> Result<Scenario, Diagnostics> {
    let text = "apiVersion: phasegate.dev/v1alpha1\nkind: Scenario\n";
    Ok(scenario::load("empty.yaml", text.as_bytes())?.scenario)
}

/// A scenario in which the workloads of a release are there at an earlier version, and nothing goes wrong.
pub(super) fn scenario_for(loaded: &Loaded) -> Result<String, Diagnostic> {
    let namespace = &loaded.namespace;
    let mut objects = Vec::new();
    if namespace != DEFAULT_NAMESPACE {
        objects.push(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        );
    }
    for (_, workload) in loaded.release.workloads() {
        objects.extend(objects_of(workload, namespace));
    }
    let scenario = json!({
        "apiVersion": API_VERSION,
        "kind": "Scenario",
        "cluster": {"objects": objects},
    });
    // JSON is YAML too.
    serde_json::to_string_pretty(&scenario)
        .map_err(|e| internal("a scenario can't be written as JSON").caused_by(&e))
}

/// A Deployment, what stands in front of it, and what belongs to it. Of two colours the first one serves.
fn objects_of(workload: &release::Workload, namespace: &str) -> Vec<Value> {
    let mut labels = json!({"app": workload.deployment});
    let mut name = workload.deployment.clone();
    if let (Some(colours), Some(labels)) = (&workload.colours, labels.as_object_mut()) {
        let [live, _] = &colours.values;
        name = format!("{name}-{live}");
        labels.insert(colours.label.clone(), live.as_str().into());
    }
    let about = |kind: &str, named: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": named, "namespace": namespace}});
    let container = container_of(workload);
    let mut objects = vec![json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container]},
            },
        },
    })];
    if let Some(service) = &workload.service {
        let mut object = about("Service", service);
        if let Some(fields) = object.as_object_mut() {
            let spec = json!({"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]});
            fields.insert("spec".to_owned(), spec);
        }
        objects.push(object);
    }
    objects.extend(workload.config_maps.iter().map(|n| about("ConfigMap", n)));
    objects.extend(workload.secrets.iter().map(|n| about("Secret", n)));
    for config in &workload.configs {
        let Some((kind, name)) = config.named() else {
            continue;
        };
        let mut object = about(kind.as_str(), name);
        // One that is looked for as well is there once.
        objects.retain(|other| *other != object);
        if let Some(fields) = object.as_object_mut().filter(|_| !config.rotate.is_empty()) {
            let keys = config.rotate.keys();
            let before: Map<String, Value> = keys
                .map(|key| (key.clone(), format!("{key} of {EARLIER}").into()))
                .collect();
            fields.insert("stringData".to_owned(), before.into());
        }
        objects.push(object);
    }
    objects
}

/// The released container, which uses what is versioned with it.
fn container_of(workload: &release::Workload) -> Value {
    let mut container = json!({"name": workload.container, "image": workload.image_for(EARLIER)});
    let versioned = workload.configs.iter().filter_map(|config| config.named());
    let sources: Vec<Value> = versioned
        .map(|(kind, name)| match kind {
            ConfigKind::Secret => json!({"secretRef": {"name": name}}),
            _ => json!({"configMapRef": {"name": name}}),
        })
        .collect();
    if let Some(fields) = container.as_object_mut().filter(|_| !sources.is_empty()) {
        fields.insert("envFrom".to_owned(), sources.into());
    }
    container
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_scenario_is_one() {
        assert!(empty().unwrap().cluster(1).is_ok());
    }

    #[test]
    fn a_speed_that_makes_no_sense_is_refused() {
        assert_eq!(speed(None), Ok(1.0));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(speed(Some(bad)).is_err(), "{bad}");
        }
    }
}
