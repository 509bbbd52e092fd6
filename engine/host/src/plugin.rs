//! One plugin, loaded and checked: compiled, linked, every kind tried once, its description read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::Validator;
use phasegate_core::failure::Failure;
use phasegate_core::plan::Pin;
use phasegate_runtime::ports::{Capability, Component, Description};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::exports::phasegate::action::action;
use crate::bindings::exports::phasegate::gate::gate;
use crate::bindings::exports::phasegate::meta::meta;
use crate::bindings::exports::phasegate::migrator::migrator;
use crate::bindings::exports::phasegate::notifier::notifier;
use crate::bindings::exports::phasegate::router::router;
use crate::bindings::exports::phasegate::strategy::strategy;
use crate::call::{self, Mismatch};
use crate::host::Host;
use crate::kind::Kind;
use crate::limits::{COMPONENT_BYTES, OFFLINE_WALL};
use crate::rights::{Entitlement, Rights};
use crate::state::{Scope, State};
use crate::surface::Surface;
use crate::wasi::Surroundings;
use crate::{compiled, convert, fault, schema};

/// Where sources of plugins that come with the engine begin.
const BUILT_IN: &str = "builtin:";

/// Where the functions of each kind are. A kind that the plugin isn't has none: the whole world is
/// never asked for.
#[derive(Clone)]
pub(crate) struct Exports {
    pub(crate) meta: meta::GuestIndices,
    pub(crate) strategy: Option<strategy::GuestIndices>,
    pub(crate) gate: Option<gate::GuestIndices>,
    pub(crate) migrator: Option<migrator::GuestIndices>,
    pub(crate) router: Option<router::GuestIndices>,
    pub(crate) action: Option<action::GuestIndices>,
    pub(crate) notifier: Option<notifier::GuestIndices>,
}

impl Exports {
    fn find(pre: &InstancePre<State>, kinds: &[Kind]) -> wasmtime::Result<Self> {
        macro_rules! indices {
            ($kind:expr, $module:ident) => {
                if kinds.contains(&$kind) {
                    Some($module::GuestIndices::new(pre)?)
                } else {
                    None
                }
            };
        }
        Ok(Self {
            meta: meta::GuestIndices::new(pre)?,
            strategy: indices!(Kind::Strategy, strategy),
            gate: indices!(Kind::Gate, gate),
            migrator: indices!(Kind::Migrator, migrator),
            router: indices!(Kind::Router, router),
            action: indices!(Kind::Action, action),
            notifier: indices!(Kind::Notifier, notifier),
        })
    }

    /// Loads every kind: a record or variant that differs is found here and nowhere before.
    fn try_all(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
        macro_rules! load {
            ($($field:ident),*) => {
                $(if let Some(indices) = &self.$field {
                    indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                })*
            };
        }
        load!(strategy, gate, migrator, router, action, notifier);
        Ok(())
    }
}

/// A plugin that can be called.
pub(crate) struct Plugin {
    pub(crate) name: Arc<str>,
    pub(crate) pin: Pin,
    pub(crate) description: Description,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) entitlement: Entitlement,
    schemas: BTreeMap<(String, String), Validator>,
}

impl Plugin {
    /// Loads and checks a component.
    pub(crate) async fn load(
        host: &Host,
        component: &Component,
        grants: &[Capability],
    ) -> Result<Self, Failure> {
        let name = component.name.as_str();
        if component.bytes.len() > COMPONENT_BYTES {
            let found = format!("it has more than {COMPONENT_BYTES} bytes");
            return Err(fault::not_a_component(name, &found));
        }
        let kinds = Surface::read(name, &component.bytes)?.check(name)?;
        let compiled = compiled::load(host.engine(), host.cache.as_deref(), component).await?;
        let mismatch = |e: wasmtime::Error| fault::interface(name, &fault::chain(&e));
        let linker = &host.workshop.tools().linker;
        let pre = linker.instantiate_pre(&compiled).map_err(mismatch)?;
        let exports = Exports::find(&pre, &kinds).map_err(mismatch)?;
        let plugin: Arc<str> = name.into();
        let described = describe(host, &plugin, &pre, &exports).await?;
        let description = convert::meta::description(described, &kinds, host.limits.json_bytes)
            .map_err(|detail| fault::permanent(name, &detail))?;
        let mut schemas = BTreeMap::new();
        for offer in &description.offers {
            let schema = schema::compile(&offer.config_schema).map_err(|detail| {
                let (kind, offer) = (&offer.kind, &offer.name);
                fault::permanent(
                    name,
                    &format!("the config schema of {kind} `{offer}`: {detail}"),
                )
            })?;
            schemas.insert((offer.kind.clone(), offer.name.clone()), schema);
        }
        let built_in = component.source.starts_with(BUILT_IN);
        Ok(Self {
            pin: Pin {
                source: component.source.clone(),
                digest: component.digest.clone(),
                version: description.version.clone(),
            },
            entitlement: Entitlement {
                asks: description.asks.clone().into(),
                grants: (!built_in).then(|| grants.into()),
                digest: component.digest.as_str().into(),
            },
            name: plugin,
            description,
            pre,
            exports,
            schemas,
        })
    }

    /// The schema of an offer's config.
    pub(crate) fn schema(&self, kind: &str, offer: &str) -> Result<&Validator, Failure> {
        let found = self.schemas.get(&(kind.to_owned(), offer.to_owned()));
        found.ok_or_else(|| {
            let offers: Vec<_> = self
                .description
                .offers
                .iter()
                .map(|offer| format!("{} `{}`", offer.kind, offer.name))
                .collect();
            fault::unknown_offer(&self.name, kind, offer, &offers.join(", "))
        })
    }
}

/// The state of a call that belongs to no run: it may only log.
pub(crate) fn offline(host: &Host, plugin: &Arc<str>) -> State {
    let scope = Scope {
        plugin: Arc::clone(plugin),
        key: String::new(),
        effect: None,
    };
    State::new(
        scope,
        Rights::none(Arc::clone(plugin)),
        Arc::clone(&host.ports),
        host.limits,
        Surroundings::fixed(),
    )
}

async fn describe(
    host: &Host,
    plugin: &Arc<str>,
    pre: &InstancePre<State>,
    exports: &Exports,
) -> Result<meta::Description, Failure> {
    let clock = &host.ports.clock;
    let until = clock.now().plus(clock.budget(OFFLINE_WALL));
    let exports = exports.clone();
    call::perform(
        host,
        pre,
        offline(host, plugin),
        until,
        |store, instance| {
            Box::pin(async move {
                exports.try_all(store, instance)?;
                let meta = exports
                    .meta
                    .load(&mut *store, instance)
                    .map_err(Mismatch::of)?;
                Ok(Ok(meta.call_describe(store).await?))
            })
        },
    )
    .await
}
