//! Calls of routers. Each is one function of the contract on a fresh instance.

use phasegate_core::effect::Reading;
use phasegate_core::failure::Failure;
use phasegate_core::plan::Use;
use phasegate_core::strategy::{RouterFeatures, Split};
use phasegate_runtime::ports::Call;
use serde_json::Value;

use crate::call::{self, Mismatch};
use crate::kind::Kind;
use crate::set::{PluginSet, Start, exported};
use crate::{convert, fault, json};

/// Calls one function of a router with the call, the target and what else it takes.
macro_rules! routed {
    ($set:expr, $router:expr, $call:expr, $function:ident $(, $argument:expr)*) => {{
        let plugin = $set.plugin(&$router.plugin).await?;
        let indices = exported!(plugin, router, Kind::Router)?;
        let target = convert::router::target($call);
        let Start { state, until, call } = $set.start(plugin, Kind::Router, $router, $call)?;
        call::perform(&$set.host, &plugin.pre, state, until, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                guest.$function(store, &call, &target $(, &$argument)*).await
            })
        })
        .await
    }};
}

impl PluginSet {
    pub(crate) async fn router_supports(
        &self,
        router: &Use,
        call: &Call,
    ) -> Result<RouterFeatures, Failure> {
        let plugin = self.plugin(&router.plugin).await?;
        let indices = exported!(plugin, router, Kind::Router)?;
        let Start { state, until, call } = self.start(plugin, Kind::Router, router, call)?;
        let features = call::perform(
            &self.host,
            &plugin.pre,
            state,
            until,
            move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                    guest.call_supports(store, &call).await
                })
            },
        )
        .await?;
        Ok(convert::router::features(&features))
    }

    pub(crate) async fn router_snapshot(
        &self,
        router: &Use,
        call: &Call,
    ) -> Result<Value, Failure> {
        let snapshot = routed!(self, router, call, call_snapshot)?;
        json::parse(&snapshot, self.host.limits.json_bytes).map_err(|detail| {
            fault::permanent(&router.plugin, &format!("its snapshot is {detail}"))
        })
    }

    pub(crate) async fn router_set(
        &self,
        router: &Use,
        call: &Call,
        split: &Split,
    ) -> Result<(), Failure> {
        let split = convert::router::split_out(split);
        routed!(self, router, call, call_set, split)
    }

    pub(crate) async fn router_read(&self, router: &Use, call: &Call) -> Result<Reading, Failure> {
        let reading = routed!(self, router, call, call_read)?;
        convert::router::reading(reading)
            .map_err(|detail| fault::permanent(&router.plugin, &detail))
    }

    pub(crate) async fn router_restore(
        &self,
        router: &Use,
        call: &Call,
        snapshot: &Value,
    ) -> Result<(), Failure> {
        let snapshot = snapshot.to_string();
        routed!(self, router, call, call_restore, snapshot)
    }
}
