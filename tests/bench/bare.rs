//! The peer of a plugin's call: wasmtime alone, on the host's own engine, with bindings of its own.
//!
//! It does what nobody can do without: a store, an instance, the typed call. No limits, no checks of
//! what comes back, no clock, and its arguments are ready before the clock starts.

use anyhow::Context;
use phasegate_host::Host;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package phasegate:bench;

            world bare {
                export phasegate:strategy/strategy@0.1.0;
            }
        ",
        exports: { default: async },
    });
}

use bindings::exports::phasegate::strategy::strategy as wit;
use bindings::phasegate::types::common;

/// Epochs that a call may take: they interrupt nothing, but are counted as in the host.
const NEVER: u64 = u64::MAX / 2;

pub(crate) struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
    indices: wit::GuestIndices,
}

impl Bare {
    pub(crate) fn new(host: &Host, component: &[u8]) -> anyhow::Result<Self> {
        let engine = host.engine().clone();
        let component = Component::from_binary(&engine, component)?;
        let mut linker = Linker::new(&engine);
        // A plan that asks the engine for something would fail, and so would the benchmark.
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let indices = wit::GuestIndices::new(&pre)?;
        Ok(Self {
            engine,
            pre,
            indices,
        })
    }

    /// Plans on a fresh instance. Gives the number of steps.
    pub(crate) async fn plan(&self, situation: &wit::Situation) -> anyhow::Result<usize> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(NEVER);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let guest = self.indices.load(&mut store, &instance)?;
        let steps = guest.call_plan(&mut store, situation).await?;
        Ok(steps.ok().context("the plugin failed")?.len())
    }
}

/// The same question as the host puts it.
pub(crate) fn situation(config: String, gates: Vec<String>) -> wit::Situation {
    let call = common::Call {
        release: common::Release {
            run: "bench".into(),
            name: "bench".into(),
            version: "2.0.0".into(),
            previous_version: Some("1.0.0".into()),
            environment: "staging".into(),
            change: "minor".into(),
            started_by: "bench".into(),
            extra: "{}".into(),
        },
        offer: "rolling".into(),
        config,
        key: "bench/1".into(),
        namespace: "shop".into(),
        service: "shop".into(),
        deadline: u64::MAX,
        extra: r#"{"workload":{"container":"app","deployment":"shop","image":"shop:2.0.0","service":"shop"}}"#.into(),
    };
    wit::Situation {
        call,
        workload: wit::Workload {
            name: "shop".into(),
            replicas: 3,
            autoscaler: None,
            live: None,
            extra: "{}".into(),
        },
        router: None,
        gates,
        actions: Vec::new(),
    }
}
