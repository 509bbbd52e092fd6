//! A plugin as a whole: what it offers and asks for, and how a call finds its way.

use serde_json::Value;

use crate::bindings::meta::exports::phasegate::meta::meta as wit;
use crate::call::pick;
use crate::config::{self, Config};
use crate::{
    Call, Error, Problem, Result, Split, action, gate, migrator, notifier, router, strategy,
};

pub use wit::{Capability, Description};

/// One thing that a plugin can do, by the name that releases use.
pub struct Offer {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    summary: &'static str,
    schema: fn() -> String,
    check: fn(&str) -> Vec<Problem>,
}

impl Offer {
    pub(crate) const fn new<T: Config>(
        kind: &'static str,
        name: &'static str,
        summary: &'static str,
        check: fn(&str) -> Vec<Problem>,
    ) -> Self {
        Self {
            kind,
            name,
            summary,
            schema: config::schema::<T>,
            check,
        }
    }

    fn describe(&self) -> wit::Offer {
        wit::Offer {
            kind: self.kind.to_owned(),
            name: self.name.to_owned(),
            summary: self.summary.to_owned(),
            config_schema: (self.schema)(),
        }
    }
}

/// What a plugin asks for. It gets this only where the operator grants it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Requests to this authority: `sentry.io:443`, `*.sentry.io:443`.
    Http(&'static str),
    /// Requests to the host of the URL that the config has at this JSON pointer.
    HttpFromConfig(&'static str),
    /// Kubernetes objects of one kind.
    Kubernetes {
        /// The API group; empty for the core group.
        group: &'static str,
        /// The kind.
        kind: &'static str,
        /// `get`, `find`, `apply`, `patch`, `remove`.
        verbs: &'static [&'static str],
    },
    /// Running this program through the engine's runner.
    Run(&'static str),
    /// Reading and writing the files that belong to the run.
    Artifacts,
}

impl Ask {
    fn describe(self) -> Capability {
        match self {
            Self::Http(authority) => Capability::Http(authority.to_owned()),
            Self::HttpFromConfig(pointer) => Capability::HttpFromConfig(pointer.to_owned()),
            Self::Kubernetes { group, kind, verbs } => Capability::Kubernetes(wit::Objects {
                group: group.to_owned(),
                kind: kind.to_owned(),
                verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            }),
            Self::Run(program) => Capability::Run(program.to_owned()),
            Self::Artifacts => Capability::Artifacts,
        }
    }
}

/// A plugin, as [`export!`](crate::export) puts it into the static `PLUGIN`. Its methods are what
/// the engine calls; tests call them too, within [`Fake::run`](crate::testing::Fake::run).
pub struct Plugin {
    /// The plugin's name.
    pub name: &'static str,
    /// Its version: the crate's.
    pub version: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// The strategies that it supplies.
    pub strategies: &'static [strategy::Entry],
    /// The gates that it supplies.
    pub gates: &'static [gate::Entry],
    /// The migrators that it supplies.
    pub migrators: &'static [migrator::Entry],
    /// The routers that it supplies.
    pub routers: &'static [router::Entry],
    /// The actions that it supplies.
    pub actions: &'static [action::Entry],
    /// The notifiers that it supplies.
    pub notifiers: &'static [notifier::Entry],
    /// What it asks for.
    pub asks: &'static [Ask],
}

impl Plugin {
    fn offers(&self) -> impl Iterator<Item = &'static Offer> {
        let strategies = self.strategies.iter().map(|entry| &entry.offer);
        let gates = self.gates.iter().map(|entry| &entry.offer);
        let migrators = self.migrators.iter().map(|entry| &entry.offer);
        let routers = self.routers.iter().map(|entry| &entry.offer);
        let actions = self.actions.iter().map(|entry| &entry.offer);
        let notifiers = self.notifiers.iter().map(|entry| &entry.offer);
        strategies
            .chain(gates)
            .chain(migrators)
            .chain(routers)
            .chain(actions)
            .chain(notifiers)
    }

    /// What the plugin says of itself.
    #[must_use]
    pub fn describe(&self) -> Description {
        Description {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            summary: self.summary.to_owned(),
            offers: self.offers().map(Offer::describe).collect(),
            asks: self.asks.iter().map(|ask| ask.describe()).collect(),
            extra: "{}".to_owned(),
        }
    }

    /// Faults of a config.
    #[must_use]
    pub fn validate(&self, kind: &str, offer: &str, config: &str) -> Vec<Problem> {
        let mut offers = self.offers();
        match offers.find(|found| found.kind == kind && found.name == offer) {
            Some(found) => (found.check)(config),
            None => vec![Problem::new(
                "",
                format!("this plugin has no {kind} `{offer}`"),
            )],
        }
    }

    /// Asks a gate.
    ///
    /// # Errors
    ///
    /// As the gate, and where there is no such gate or the config is at fault. So for all below.
    pub fn evaluate(&self, question: &gate::Question) -> Result<gate::Verdict> {
        let offer = &question.call.offer;
        pick(self.gates, |entry| &entry.offer, "gate", offer)?.evaluate(question)
    }

    /// Has a strategy plan.
    ///
    /// # Errors
    ///
    /// As the strategy.
    pub fn plan(&self, situation: &strategy::Situation) -> Result<Vec<strategy::Step>> {
        self.strategy(situation)?.plan(situation)
    }

    /// Has a strategy revise what remains.
    ///
    /// # Errors
    ///
    /// As the strategy.
    pub fn revise(
        &self,
        situation: &strategy::Situation,
        done: &[strategy::Outcome],
        remaining: &[strategy::Step],
    ) -> Result<Option<Vec<strategy::Step>>> {
        self.strategy(situation)?.revise(situation, done, remaining)
    }

    fn strategy(&self, situation: &strategy::Situation) -> Result<&'static strategy::Entry> {
        let offer = &situation.call.offer;
        pick(self.strategies, |entry| &entry.offer, "strategy", offer)
    }

    /// Has a notifier tell people.
    ///
    /// # Errors
    ///
    /// As the notifier.
    pub fn notify(&self, call: &Call, notice: &notifier::Notice) -> Result<Option<Value>> {
        pick(
            self.notifiers,
            |entry| &entry.offer,
            "notifier",
            &call.offer,
        )?
        .notify(call, notice)
    }

    fn router(&self, call: &Call) -> Result<&'static router::Entry> {
        pick(self.routers, |entry| &entry.offer, "router", &call.offer)
    }

    /// Asks a router what it can do.
    ///
    /// # Errors
    ///
    /// As the router.
    pub fn supports(&self, call: &Call) -> Result<router::Features> {
        (self.router(call)?.supports)(call)
    }

    /// Has a router remember how things are.
    ///
    /// # Errors
    ///
    /// As the router.
    pub fn snapshot(&self, call: &Call, target: &router::Target) -> Result<Value> {
        (self.router(call)?.snapshot)(call, target)
    }

    /// Has a router share traffic.
    ///
    /// # Errors
    ///
    /// As the router.
    pub fn set(&self, call: &Call, target: &router::Target, split: &Split) -> Result<()> {
        (self.router(call)?.set)(call, target, split)
    }

    /// Asks a router how traffic is shared.
    ///
    /// # Errors
    ///
    /// As the router.
    pub fn read(&self, call: &Call, target: &router::Target) -> Result<router::Reading> {
        (self.router(call)?.read)(call, target)
    }

    /// Has a router put things back.
    ///
    /// # Errors
    ///
    /// As the router, and where the snapshot isn't JSON.
    pub fn restore(&self, call: &Call, target: &router::Target, snapshot: &str) -> Result<()> {
        (self.router(call)?.restore)(call, target, &json("the snapshot", snapshot)?)
    }

    fn migrator(&self, call: &Call) -> Result<&'static migrator::Entry> {
        pick(
            self.migrators,
            |entry| &entry.offer,
            "migrator",
            &call.offer,
        )
    }

    /// Asks a migrator what is applied.
    ///
    /// # Errors
    ///
    /// As the migrator.
    pub fn inspect(&self, call: &Call) -> Result<migrator::Database> {
        (self.migrator(call)?.inspect)(call)
    }

    /// Has a migrator apply migrations.
    ///
    /// # Errors
    ///
    /// As the migrator.
    pub fn apply(&self, call: &Call, migrations: &[migrator::Planned]) -> Result<migrator::Report> {
        (self.migrator(call)?.apply)(call, migrations)
    }

    /// Has a migrator compare the schema with the history.
    ///
    /// # Errors
    ///
    /// As the migrator.
    pub fn verify(&self, call: &Call) -> Result<migrator::Report> {
        (self.migrator(call)?.verify)(call)
    }

    /// Has a migrator go back.
    ///
    /// # Errors
    ///
    /// As the migrator.
    pub fn revert(&self, call: &Call, to: &[String]) -> Result<migrator::Report> {
        (self.migrator(call)?.revert)(call, to)
    }

    /// Has a migrator stop.
    ///
    /// # Errors
    ///
    /// As the migrator.
    pub fn cancel_migration(&self, call: &Call) -> Result<()> {
        (self.migrator(call)?.cancel)(call)
    }

    fn action(&self, call: &Call) -> Result<&'static action::Entry> {
        pick(self.actions, |entry| &entry.offer, "action", &call.offer)
    }

    /// Has an action look.
    ///
    /// # Errors
    ///
    /// As the action.
    pub fn prepare(&self, call: &Call) -> Result<action::Preparation> {
        (self.action(call)?.prepare)(call)
    }

    /// Has an action happen.
    ///
    /// # Errors
    ///
    /// As the action, and where the token isn't JSON. So for all below.
    pub fn run(&self, call: &Call, token: &str) -> Result<action::Outcome> {
        (self.action(call)?.run)(call, &json("the token", token)?)
    }

    /// Asks what became of an action.
    ///
    /// # Errors
    ///
    /// As the action.
    pub fn probe(&self, call: &Call, token: &str) -> Result<action::Progress> {
        (self.action(call)?.probe)(call, &json("the token", token)?)
    }

    /// Has an action undone.
    ///
    /// # Errors
    ///
    /// As the action.
    pub fn undo(&self, call: &Call, token: &str) -> Result<()> {
        (self.action(call)?.undo)(call, &json("the token", token)?)
    }

    /// Has an action stopped.
    ///
    /// # Errors
    ///
    /// As the action.
    pub fn cancel_action(&self, call: &Call, token: &str) -> Result<()> {
        (self.action(call)?.cancel)(call, &json("the token", token)?)
    }
}

fn json(what: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::permanent(format!("{what} is not JSON: {error}")))
}
