//! The one place where effects are performed and probed.

use std::sync::Arc;

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Done, Effect, Outcome, Progress, Request};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::plan::{Phase, Plan, Step};
use phasegate_core::planning;
use phasegate_core::time::Span;

use crate::ports::{Call, ChangeError, ClaimRecord, Clock, Cluster, Plugins, Stamp};

/// How long a notifier may take.
pub const NOTIFY_TIMEOUT: Span = Span::from_secs(30);
/// How long a strategy may take.
pub const STRATEGY_TIMEOUT: Span = Span::from_secs(10);

/// The outside world, as the engine reaches it.
#[derive(Clone)]
pub struct World {
    /// The target's cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The release's plugins.
    pub plugins: Arc<dyn Plugins>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What every effect of a run has in common.
#[derive(Clone)]
pub struct Context {
    /// The run.
    pub run: String,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Who started it.
    pub started_by: String,
    /// The epoch of this engine.
    pub epoch: u64,
}

impl Context {
    fn stamp(&self, effect: &Effect) -> Stamp {
        Stamp {
            run: self.run.clone(),
            epoch: self.epoch,
            key: effect.key.clone(),
        }
    }

    fn claim(&self, key: &str, plan: &str, started_by: &str) -> ClaimRecord {
        ClaimRecord {
            run: self.run.clone(),
            plan: plan.to_owned(),
            started_by: started_by.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Where in the release a plugin is called.
    #[must_use]
    pub fn call(&self, key: &str, clock: &dyn Clock, timeout: Span) -> Call {
        let subject = &self.plan.subject;
        Call {
            run: self.run.clone(),
            name: subject.name.clone(),
            version: subject.version.clone(),
            previous_version: Some(subject.previous_version.clone()),
            environment: subject.environment.clone(),
            change: subject.change.to_string(),
            started_by: self.started_by.clone(),
            key: key.to_owned(),
            target: self.plan.target.clone(),
            image: subject.image.clone(),
            deadline: clock.now().plus(clock.budget(timeout)),
            attempt: 1,
        }
    }
}

/// Performs an effect. Never fails: what goes wrong is an outcome.
pub async fn perform(world: &World, context: &Context, effect: &Effect) -> Outcome {
    let target = &context.plan.target;
    let stamp = context.stamp(effect);
    match &effect.request {
        Request::Claim { plan, started_by } => {
            let claim = context.claim(&effect.key, plan, started_by);
            written(
                world.cluster.claim(target, &claim, &stamp).await,
                Done::Claimed,
            )
        }
        Request::Change { change } => written(
            world.cluster.change(target, change, &stamp).await,
            Done::Changed,
        ),
        Request::Release => written(world.cluster.release(target, &stamp).await, Done::Released),
        Request::Observe => read(world.cluster.observe(target).await, |seen| Done::Observed {
            observation: Box::new(seen),
        }),
        Request::Diagnose => read(world.cluster.diagnose(target).await, |diagnosis| {
            Done::Diagnosed { diagnosis }
        }),
        Request::Evaluate { gate, question } => {
            let Some(planned) = context.plan.gates.get(gate) else {
                return unplanned("gate", gate);
            };
            let timeout = planned.policy.timeout;
            let call = context.call(&effect.key, &*world.clock, timeout);
            let answer = world.plugins.evaluate(&planned.offer, &call, question);
            read(within(world, timeout, answer).await, |verdict| {
                Done::Judged {
                    verdict: Box::new(verdict),
                }
            })
        }
        Request::Revise { done, remaining } => {
            let of_step = |phase: &&Phase| {
                let named = |step: &Step| effect.step.as_ref() == Some(&step.id);
                phase.steps.iter().any(named)
            };
            let phase = context.plan.phases.iter().find(of_step);
            let Some((phase, strategy)) =
                phase.and_then(|phase| Some((phase, phase.strategy.as_ref()?)))
            else {
                return unplanned("strategy", "of the plan");
            };
            let call = context.call(&effect.key, &*world.clock, STRATEGY_TIMEOUT);
            let situation = planning::situation(target, &context.plan.baseline, &phase.gates);
            let answer = world
                .plugins
                .revise(&strategy.offer, &call, &situation, done, remaining);
            read(within(world, STRATEGY_TIMEOUT, answer).await, |steps| {
                Done::Revised { steps }
            })
        }
        Request::Notify { notifier, notice } => {
            let Some(planned) = context.plan.notifiers.get(notifier) else {
                return unplanned("notifier", notifier);
            };
            let call = context.call(&effect.key, &*world.clock, NOTIFY_TIMEOUT);
            let answer = world.plugins.notify(&planned.offer, &call, notice);
            read(within(world, NOTIFY_TIMEOUT, answer).await, |thread| {
                Done::Notified { thread }
            })
        }
    }
}

/// Finds out what became of an effect whose outcome is missing.
pub async fn probe(world: &World, context: &Context, effect: &Effect) -> Progress {
    let target = &context.plan.target;
    let unknown = |failure: Failure| Progress::Unknown {
        message: failure.to_string(),
    };
    match &effect.request {
        Request::Claim { .. } => match world.cluster.claimed(target).await {
            Ok(Some(claim)) if claim.run == context.run => Progress::Done(Done::Claimed),
            Ok(_) => Progress::NotDone,
            Err(failure) => unknown(failure),
        },
        Request::Release => match world.cluster.claimed(target).await {
            Ok(Some(claim)) if claim.run == context.run => Progress::NotDone,
            Ok(_) => Progress::Done(Done::Released),
            Err(failure) => unknown(failure),
        },
        Request::Change { change } => match world.cluster.changed(target, change).await {
            Ok((marks, _)) if marks.effect.as_deref() == Some(effect.key.as_str()) => {
                Progress::Done(Done::Changed)
            }
            // The last write takes the marks off: then the fields themselves must tell.
            Ok((marks, equal)) if !change.marked && equal && marks.effect.is_none() => {
                Progress::Done(Done::Changed)
            }
            Ok(_) => Progress::NotDone,
            Err(failure) => unknown(failure),
        },
        // Reads are asked again, notices are sent again: there is nothing to find out.
        Request::Observe
        | Request::Diagnose
        | Request::Evaluate { .. }
        | Request::Revise { .. }
        | Request::Notify { .. } => Progress::NotDone,
    }
}

fn written(answer: Result<(), ChangeError>, done: Done) -> Outcome {
    match answer {
        Ok(()) => Outcome::Done(done),
        Err(ChangeError::Failed(failure)) => Outcome::Failed { failure },
        Err(ChangeError::Unknown(message)) => Outcome::Unknown { message },
    }
}

fn read<T>(answer: Result<T, Failure>, done: impl FnOnce(T) -> Done) -> Outcome {
    match answer {
        Ok(value) => Outcome::Done(done(value)),
        Err(failure) => Outcome::Failed { failure },
    }
}

fn unplanned(what: &str, name: &str) -> Outcome {
    let message = format!("the plan has no {what} `{name}`");
    Outcome::Failed {
        failure: Failure::new(Kind::Permanent, codes::INTERNAL, message),
    }
}

async fn within<T>(
    world: &World,
    timeout: Span,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let deadline = world.clock.now().plus(world.clock.budget(timeout));
    tokio::select! {
        biased;
        answer = answer => answer,
        () = world.clock.sleep_until(deadline) => {
            Err(Failure::new(Kind::Timeout, codes::PLUGIN_TIMED_OUT, format!("no answer in {timeout}")))
        }
    }
}
