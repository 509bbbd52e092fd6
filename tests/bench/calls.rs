//! A plugin's call on a fresh instance, through the host and through wasmtime alone.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use phasegate_cli::compose::{Discarded, Invented, Simulation};
use phasegate_core::plan::Use;
use phasegate_core::strategy::Situation;
use phasegate_core::time::Span;
use phasegate_core::workload::Target as Workload;
use phasegate_host::{Host, HostConfig, HostPorts, PluginSet};
use phasegate_runtime::plugin_ports::Grants;
use phasegate_runtime::ports::{Call, Clock, Component, Plugins};
use phasegate_world::clock::SystemClock;
use serde_json::json;

use crate::bare::{self, Bare};
use crate::row::{Row, Target};
use crate::statistics::{micros, percentile};

/// The host and the peer take turns, so that a hiccup of the machine meets both.
const ROUNDS: usize = 40;
const CALLS_PER_ROUND: usize = 250;
/// Gates by name make the config as long as the longest that people write: about 1 KB.
const GATES: usize = 36;
/// `deploy`, one `check`, and a `soak`.
const STEPS: usize = 3;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(both())
}

async fn both() -> anyhow::Result<Vec<Row>> {
    let component = phasegate_cli::plugins::shipped("rolling").map_err(|e| anyhow!("{e}"))?;
    let (host, plugins) = host(component.clone())?;
    let bare = Bare::new(&host, &component.bytes)?;
    let gates: Vec<String> = (0..GATES)
        .map(|n| format!("no-more-complaints-than-{n:03}"))
        .collect();
    let config = json!({ "gates": gates, "soak": { "for": "5m" }, "timeout": "4m" });
    let through_bare = bare::situation(config.to_string(), gates.clone());
    let strategy = Use {
        plugin: "rolling".to_owned(),
        offer: "rolling".to_owned(),
        config,
    };
    let situation = Situation {
        workload: "shop".to_owned(),
        replicas: 3,
        autoscaler: None,
        live: None,
        router: None,
        gates,
        actions: Vec::new(),
    };
    let call = call();
    let (mut by_host, mut by_peer) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        // The first round warms up.
        let counts = round > 0;
        for _ in 0..CALLS_PER_ROUND {
            let start = Instant::now();
            let steps = plugins.plan(&strategy, &call, &situation).await;
            let took = micros(start.elapsed());
            if steps.map_err(|failure| anyhow!("{failure}"))?.len() != STEPS {
                bail!("the plan has not {STEPS} steps");
            }
            if counts {
                by_host.push(took);
            }
        }
        for _ in 0..CALLS_PER_ROUND {
            let start = Instant::now();
            let steps = bare.plan(&through_bare).await.context("bare wasmtime")?;
            let took = micros(start.elapsed());
            if steps != STEPS {
                bail!("the peer's plan has not {STEPS} steps");
            }
            if counts {
                by_peer.push(took);
            }
        }
    }
    let name = |p| format!("plugin call on a fresh instance, {p}");
    Ok(vec![
        Row::new(name("p50"), percentile(&by_host, 50), "µs")
            .beside("bare wasmtime", percentile(&by_peer, 50))
            .wanted(Target::AtMost(1.5)),
        Row::new(name("p99"), percentile(&by_host, 99), "µs")
            .beside("bare wasmtime", percentile(&by_peer, 99))
            .wanted(Target::AtMost(1.5)),
    ])
}

/// A host as an engine has it: limits, the clock on the wall, a world behind it.
fn host(component: Component) -> anyhow::Result<(Arc<Host>, PluginSet)> {
    let scenario = crate::rehearsals::scenario()?;
    let simulation = Simulation::begin(&scenario, 1).map_err(|e| anyhow!("{e}"))?;
    let ports = HostPorts {
        http: simulation.world.http,
        objects: Arc::new(simulation.world.cluster),
        clock: Arc::new(SystemClock),
        log: Arc::new(Discarded),
        credentials: Arc::new(Invented),
    };
    let host = Host::new(HostConfig::default(), ports).map_err(|e| anyhow!("{e}"))?;
    let plugins = host.load(vec![component], Grants::default());
    Ok((host, plugins))
}

fn call() -> Call {
    Call {
        epoch: 1,
        slot: phasegate_core::strategy::Slot::Stable,
        run: "bench".to_owned(),
        name: "bench".to_owned(),
        version: "2.0.0".to_owned(),
        previous_version: Some("1.0.0".to_owned()),
        environment: "staging".to_owned(),
        change: "minor".to_owned(),
        started_by: "bench".to_owned(),
        key: "bench/1".to_owned(),
        target: Workload {
            cluster: "simulated".to_owned(),
            namespace: "shop".to_owned(),
            workload: "shop".to_owned(),
            deployment: "shop".to_owned(),
            container: "app".to_owned(),
            service: Some("shop".to_owned()),
            config_maps: Vec::new(),
            secrets: Vec::new(),
            beside: None,
        },
        image: "shop:2.0.0".to_owned(),
        deadline: SystemClock.now().plus(Span::from_mins(60)),
        attempt: 1,
    }
}
