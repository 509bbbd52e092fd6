//! The plugins of one release.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Deed, Done, Notice, Progress, Reading};
use phasegate_core::failure::{Failure, Kind as FailureKind, Problem};
use phasegate_core::plan::{Pin, Use};
use phasegate_core::strategy::{RouterFeatures, Situation, Split, Step, StepOutcome};
use phasegate_core::time::Timestamp;
use phasegate_core::verdict::{Question, Verdict};
use phasegate_core::workload::Target;
use phasegate_runtime::plugin_ports::Grants;
use phasegate_runtime::ports::{Call, Component, Description, Plugins, Stamp};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::bindings::phasegate::types::common;
use crate::call::{self, Mismatch};
use crate::host::Host;
use crate::kind::Kind;
use crate::limits::OFFLINE_WALL;
use crate::plugin::{Plugin, offline};
use crate::rights::Rights;
use crate::state::{Scope, State};
use crate::wasi::Surroundings;
use crate::{convert, fault, grants, json, schema};

/// The plugins of a release by the names that it gives them.
pub struct PluginSet {
    pub(crate) host: Arc<Host>,
    plugins: BTreeMap<String, Slot>,
    grants: Grants,
}

struct Slot {
    component: Component,
    // A failure isn't kept: reading a cache or compiling may succeed the next time.
    plugin: OnceCell<Arc<Plugin>>,
}

impl PluginSet {
    pub(crate) fn new(host: Arc<Host>, components: Vec<Component>, grants: Grants) -> Self {
        let plugins = components
            .into_iter()
            .map(|component| {
                let plugin = OnceCell::new();
                (component.name.clone(), Slot { component, plugin })
            })
            .collect();
        Self {
            host,
            plugins,
            grants,
        }
    }

    /// Loads all plugins now, those that must be compiled beside each other. Returns the failures by
    /// the plugins' names.
    pub async fn prepare(&self) -> Vec<(String, Failure)> {
        let loads = self.plugins.keys().map(|name| async move {
            let failure = self.plugin(name).await.err()?;
            Some((name.clone(), failure))
        });
        join_all(loads).await.into_iter().flatten().collect()
    }

    pub(crate) async fn plugin(&self, name: &str) -> Result<&Arc<Plugin>, Failure> {
        let slot = self.plugins.get(name).ok_or_else(|| {
            Failure::new(
                FailureKind::Misconfigured,
                codes::PLUGIN_NOT_FOUND,
                format!("the release has no plugin `{}`", fault::cut(name)),
            )
        })?;
        slot.plugin
            .get_or_try_init(|| async {
                let host = &self.host;
                let mut granted = self.grants.to(name).to_vec();
                granted.extend(grants::to(&host.grants, &slot.component)?);
                host.workshop.plugin(host, &slot.component, &granted).await
            })
            .await
    }

    /// What a call of this kind starts from: the rights, the clock and the limits of that kind.
    pub(crate) fn start(
        &self,
        plugin: &Plugin,
        kind: Kind,
        offer: &Use,
        call: &Call,
    ) -> Result<Start, Failure> {
        let host = &*self.host;
        plugin.schema(kind.name(), &offer.offer)?;
        let config = self.config(plugin, offer)?;
        let rights = Rights::of_call(
            Arc::clone(&plugin.name),
            kind,
            call,
            plugin.entitlement.clone(),
            &offer.config,
        );
        let clock = &host.ports.clock;
        let surroundings = match kind {
            Kind::Strategy => Surroundings::fixed(),
            _ => {
                let attempt = call.attempt.to_string();
                Surroundings::of_the_world(clock, host.seed, &[&plugin.name, &call.key, &attempt])
            }
        };
        let scope = Scope {
            plugin: Arc::clone(&plugin.name),
            key: call.key.clone(),
            effect: writes(kind, call),
        };
        let ports = Arc::clone(&host.ports);
        Ok(Start {
            state: State::new(scope, rights, ports, host.limits, surroundings),
            until: call
                .deadline
                .min(clock.now().plus(clock.budget(host.limits.wall))),
            call: convert::call(call, &offer.offer, config),
        })
    }

    fn config(&self, plugin: &Plugin, offer: &Use) -> Result<String, Failure> {
        let config = offer.config.to_string();
        let most = self.host.limits.json_bytes;
        if config.len() > most {
            let detail = format!("its config is larger than {most} bytes");
            return Err(fault::permanent(&plugin.name, &detail));
        }
        Ok(config)
    }
}

/// The effect that a plugin performs, where its kind may write and the call is made in a run.
fn writes(kind: Kind, call: &Call) -> Option<(Target, Stamp)> {
    let writes = matches!(kind, Kind::Router | Kind::Action) && call.epoch > 0;
    let stamp = || Stamp {
        run: call.run.clone(),
        epoch: call.epoch,
        key: call.key.clone(),
    };
    writes.then(|| (call.target.clone(), stamp()))
}

/// What a call starts from.
pub(crate) struct Start {
    pub(crate) state: State,
    pub(crate) until: Timestamp,
    pub(crate) call: common::Call,
}

/// The functions of a kind; an error where the plugin isn't of that kind.
macro_rules! exported {
    ($plugin:expr, $field:ident, $kind:expr) => {
        $plugin.exports.$field.clone().ok_or_else(|| {
            fault::interface(
                &$plugin.name,
                &format!("it does not export {}", $kind.interface()),
            )
        })
    };
}
pub(crate) use exported;

#[async_trait]
impl Plugins for PluginSet {
    async fn describe(&self, plugin: &str) -> Result<(Pin, Description), Failure> {
        let plugin = self.plugin(plugin).await?;
        Ok((plugin.pin.clone(), plugin.description.clone()))
    }

    async fn validate(&self, kind: &str, offer: &Use) -> Result<Vec<Problem>, Failure> {
        let plugin = self.plugin(&offer.plugin).await?;
        let found = schema::problems(plugin.schema(kind, &offer.offer)?, &offer.config);
        if !found.is_empty() {
            return Ok(found);
        }
        let host = &*self.host;
        let clock = &host.ports.clock;
        let until = clock.now().plus(clock.budget(OFFLINE_WALL));
        let state = offline(host, &plugin.name);
        let config = self.config(plugin, offer)?;
        let meta = plugin.exports.meta.clone();
        let (kind, offer) = (kind.to_owned(), offer.offer.clone());
        let problems = call::perform(host, &plugin.pre, state, until, move |store, instance| {
            Box::pin(async move {
                let guest = meta.load(&mut *store, instance).map_err(Mismatch::of)?;
                Ok(Ok(guest
                    .call_validate(store, &kind, &offer, &config)
                    .await?))
            })
        })
        .await?;
        Ok(convert::problems(problems))
    }

    async fn plan(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
    ) -> Result<Vec<Step>, Failure> {
        let plugin = self.plugin(&strategy.plugin).await?;
        let indices = exported!(plugin, strategy, Kind::Strategy)?;
        let Start { state, until, call } = self.start(plugin, Kind::Strategy, strategy, call)?;
        let situation = convert::strategy::situation(call, situation);
        let steps = call::perform(
            &self.host,
            &plugin.pre,
            state,
            until,
            move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                    guest.call_plan(store, &situation).await
                })
            },
        )
        .await?;
        convert::strategy::steps(steps, self.host.limits.json_bytes)
            .map_err(|detail| fault::permanent(&plugin.name, &detail))
    }

    async fn revise(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
        done: &[StepOutcome],
        remaining: &[Step],
    ) -> Result<Option<Vec<Step>>, Failure> {
        let plugin = self.plugin(&strategy.plugin).await?;
        let indices = exported!(plugin, strategy, Kind::Strategy)?;
        let Start { state, until, call } = self.start(plugin, Kind::Strategy, strategy, call)?;
        let situation = convert::strategy::situation(call, situation);
        let done = convert::strategy::outcomes(done);
        let remaining = convert::strategy::steps_out(remaining);
        let steps = call::perform(
            &self.host,
            &plugin.pre,
            state,
            until,
            move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                    guest
                        .call_revise(store, &situation, &done, &remaining)
                        .await
                })
            },
        )
        .await?;
        steps
            .map(|steps| convert::strategy::steps(steps, self.host.limits.json_bytes))
            .transpose()
            .map_err(|detail| fault::permanent(&plugin.name, &detail))
    }

    async fn evaluate(
        &self,
        gate: &Use,
        call: &Call,
        question: &Question,
    ) -> Result<Verdict, Failure> {
        let plugin = self.plugin(&gate.plugin).await?;
        let indices = exported!(plugin, gate, Kind::Gate)?;
        let Start { state, until, call } = self.start(plugin, Kind::Gate, gate, call)?;
        let question = convert::gate::question(call, question);
        let verdict = call::perform(
            &self.host,
            &plugin.pre,
            state,
            until,
            move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                    guest.call_evaluate(store, &question).await
                })
            },
        )
        .await?;
        convert::gate::verdict(verdict, self.host.limits.json_bytes)
            .map_err(|detail| fault::permanent(&plugin.name, &detail))
    }

    async fn supports(&self, router: &Use, call: &Call) -> Result<RouterFeatures, Failure> {
        self.router_supports(router, call).await
    }

    async fn snapshot(&self, router: &Use, call: &Call) -> Result<Value, Failure> {
        self.router_snapshot(router, call).await
    }

    async fn route(&self, router: &Use, call: &Call, split: &Split) -> Result<(), Failure> {
        self.router_set(router, call, split).await
    }

    async fn reading(&self, router: &Use, call: &Call) -> Result<Reading, Failure> {
        self.router_read(router, call).await
    }

    async fn unroute(&self, router: &Use, call: &Call, snapshot: &Value) -> Result<(), Failure> {
        self.router_restore(router, call, snapshot).await
    }

    async fn act(&self, action: &Use, call: &Call, deed: &Deed) -> Result<Done, Failure> {
        self.action_does(action, call, deed).await
    }

    async fn progress(
        &self,
        action: &Use,
        call: &Call,
        token: &Value,
    ) -> Result<Progress, Failure> {
        self.action_progress(action, call, token).await
    }

    async fn notify(
        &self,
        notifier: &Use,
        call: &Call,
        notice: &Notice,
    ) -> Result<Option<Value>, Failure> {
        let plugin = self.plugin(&notifier.plugin).await?;
        let indices = exported!(plugin, notifier, Kind::Notifier)?;
        let Start { state, until, call } = self.start(plugin, Kind::Notifier, notifier, call)?;
        let notice = convert::notifier::notice(notice);
        let thread = call::perform(
            &self.host,
            &plugin.pre,
            state,
            until,
            move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                    guest.call_notify(store, &call, &notice).await
                })
            },
        )
        .await?;
        thread
            .map(|text| json::parse(&text, self.host.limits.json_bytes))
            .transpose()
            .map_err(|detail| fault::permanent(&plugin.name, &format!("its thread is {detail}")))
    }
}
