//! What a component exports: the contracts' functions, for every type that has a plugin.

use crate::bindings::imports::phasegate::types::common::{Call, Failure, Problem, Split};
use crate::bindings::{action, gate, meta, migrator, notifier, router, strategy};
use crate::{Error, Plugin};

use action::exports::phasegate::action::action as action_wit;
use gate::exports::phasegate::gate::gate as gate_wit;
use meta::exports::phasegate::meta::meta as meta_wit;
use migrator::exports::phasegate::migrator::migrator as migrator_wit;
use notifier::exports::phasegate::notifier::notifier as notifier_wit;
use router::exports::phasegate::router::router as router_wit;
use strategy::exports::phasegate::strategy::strategy as strategy_wit;

/// A type that stands for a component. Made by [`export!`](crate::export).
pub trait Exported {
    /// What the component contains.
    fn plugin() -> &'static Plugin;
}

/// Runs a call: a panic in it is heard of, and an error takes the contracts' shape.
fn call<T: Exported, R>(call: impl FnOnce(&Plugin) -> Result<R, Error>) -> Result<R, Failure> {
    #[cfg(target_arch = "wasm32")]
    crate::log::panics();
    call(T::plugin()).map_err(Failure::from)
}

impl<T: Exported> meta_wit::Guest for T {
    fn describe() -> meta_wit::Description {
        #[cfg(target_arch = "wasm32")]
        crate::log::panics();
        T::plugin().describe()
    }

    fn validate(kind: String, offer: String, config: String) -> Vec<Problem> {
        #[cfg(target_arch = "wasm32")]
        crate::log::panics();
        T::plugin().validate(&kind, &offer, &config)
    }
}

impl<T: Exported> gate_wit::Guest for T {
    fn evaluate(question: gate_wit::Question) -> Result<gate_wit::Verdict, Failure> {
        call::<T, _>(|plugin| plugin.evaluate(&question))
    }
}

impl<T: Exported> strategy_wit::Guest for T {
    fn plan(situation: strategy_wit::Situation) -> Result<Vec<strategy_wit::Step>, Failure> {
        call::<T, _>(|plugin| plugin.plan(&situation))
    }

    fn revise(
        situation: strategy_wit::Situation,
        done: Vec<strategy_wit::Outcome>,
        remaining: Vec<strategy_wit::Step>,
    ) -> Result<Option<Vec<strategy_wit::Step>>, Failure> {
        call::<T, _>(|plugin| plugin.revise(&situation, &done, &remaining))
    }
}

impl<T: Exported> notifier_wit::Guest for T {
    fn notify(called: Call, notice: notifier_wit::Notice) -> Result<Option<String>, Failure> {
        call::<T, _>(|plugin| {
            let thread = plugin.notify(&called, &notice)?;
            Ok(thread.map(|thread| thread.to_string()))
        })
    }
}

impl<T: Exported> router_wit::Guest for T {
    fn supports(called: Call) -> Result<router_wit::Features, Failure> {
        call::<T, _>(|plugin| plugin.supports(&called))
    }

    fn snapshot(called: Call, target: router_wit::Target) -> Result<String, Failure> {
        call::<T, _>(|plugin| Ok(plugin.snapshot(&called, &target)?.to_string()))
    }

    fn set(called: Call, target: router_wit::Target, split: Split) -> Result<(), Failure> {
        call::<T, _>(|plugin| plugin.set(&called, &target, &split))
    }

    fn read(called: Call, target: router_wit::Target) -> Result<router_wit::Reading, Failure> {
        call::<T, _>(|plugin| plugin.read(&called, &target))
    }

    fn restore(called: Call, target: router_wit::Target, snapshot: String) -> Result<(), Failure> {
        call::<T, _>(|plugin| plugin.restore(&called, &target, &snapshot))
    }
}

impl<T: Exported> migrator_wit::Guest for T {
    fn inspect(called: Call) -> Result<migrator_wit::Database, Failure> {
        call::<T, _>(|plugin| plugin.inspect(&called))
    }

    fn apply(
        called: Call,
        migrations: Vec<migrator_wit::Planned>,
    ) -> Result<migrator_wit::Report, Failure> {
        call::<T, _>(|plugin| plugin.apply(&called, &migrations))
    }

    fn verify(called: Call) -> Result<migrator_wit::Report, Failure> {
        call::<T, _>(|plugin| plugin.verify(&called))
    }

    fn revert(called: Call, to: Vec<String>) -> Result<migrator_wit::Report, Failure> {
        call::<T, _>(|plugin| plugin.revert(&called, &to))
    }

    fn cancel(called: Call) -> Result<(), Failure> {
        call::<T, _>(|plugin| plugin.cancel_migration(&called))
    }
}

impl<T: Exported> action_wit::Guest for T {
    fn prepare(called: Call) -> Result<action_wit::Preparation, Failure> {
        call::<T, _>(|plugin| plugin.prepare(&called))
    }

    fn run(called: Call, token: String) -> Result<action_wit::Outcome, Failure> {
        call::<T, _>(|plugin| plugin.run(&called, &token))
    }

    fn probe(called: Call, token: String) -> Result<action_wit::Progress, Failure> {
        call::<T, _>(|plugin| plugin.probe(&called, &token))
    }

    fn undo(called: Call, token: String) -> Result<(), Failure> {
        call::<T, _>(|plugin| plugin.undo(&called, &token))
    }

    fn cancel(called: Call, token: String) -> Result<(), Failure> {
        call::<T, _>(|plugin| plugin.cancel_action(&called, &token))
    }
}
