//! The one place where effects are performed and probed.

use std::sync::Arc;

use phasegate_core::config;
use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{
    Create, Deed, Done, Effect, Outcome, Piece, Progress, Request, Successor,
};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::plan::{Action, Plan, Router, Use, Workload};
use phasegate_core::planning;
use phasegate_core::strategy::Slot;
use phasegate_core::time::Span;
use phasegate_core::workload::{Marks, Target};
use serde_json::Value;

use crate::ports::{Call, ChangeError, ClaimRecord, Clock, Cluster, Plugins, Stamp};

/// How long a notifier may take.
pub const NOTIFY_TIMEOUT: Span = Span::from_secs(30);
/// How long a router may take.
pub const ROUTER_TIMEOUT: Span = Span::from_secs(30);
/// How long one call of an action may take; what takes longer says that it isn't finished.
pub const ACTION_TIMEOUT: Span = Span::from_secs(30);
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
            handed_over_by: None,
        }
    }

    /// The claim of the run that comes after this one. It names no plan: that is made later.
    fn kept_for(&self, successor: &Successor, key: &str) -> ClaimRecord {
        ClaimRecord {
            run: successor.run.clone(),
            plan: String::new(),
            started_by: successor.started_by.clone(),
            key: key.to_owned(),
            handed_over_by: Some(self.run.clone()),
        }
    }

    /// The action that the effect's step has.
    fn action(&self, effect: &Effect) -> Option<&Use> {
        let id = effect.step.as_deref()?;
        let mut steps = self.plan.steps();
        steps.find_map(|(_, step)| match &step.action {
            Action::Act { offer, .. } if step.id == id => Some(offer),
            _ => None,
        })
    }

    /// Where in the release a plugin is called.
    #[must_use]
    pub fn call(&self, workload: &Workload, key: &str, clock: &dyn Clock, timeout: Span) -> Call {
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
            target: workload.target.clone(),
            slot: Slot::Stable,
            image: workload.image.clone(),
            epoch: self.epoch,
            deadline: clock.now().plus(clock.budget(timeout)),
            attempt: 1,
        }
    }
}

/// Performs an effect. Never fails: what goes wrong is an outcome.
pub async fn perform(world: &World, context: &Context, effect: &Effect) -> Outcome {
    let Some(workload) = context.plan.workload(effect.workload) else {
        return unplanned("workload", &effect.workload.to_string());
    };
    let target = &workload.target;
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
        Request::Create {
            create: Create {
                copy: Some(copy), ..
            },
        } => written(
            world.cluster.copy(target, copy, &stamp).await,
            Done::Created,
        ),
        Request::Remove {
            piece: Piece::Config(place),
            ..
        } => match workload.configs.get(*place) {
            Some(config) => written(
                world
                    .cluster
                    .remove_copy(target, &config.copy, &stamp)
                    .await,
                Done::Removed,
            ),
            None => unplanned("configuration", &place.to_string()),
        },
        Request::Remove {
            piece: Piece::Left(place),
            ..
        } => match config::left(&workload.configs).get(*place) {
            Some(left) => written(
                world.cluster.remove_left(target, left, &stamp).await,
                Done::Removed,
            ),
            None => unplanned("old configuration", &place.to_string()),
        },
        Request::Create { create } => written(
            world.cluster.create(target, create, &stamp).await,
            Done::Created,
        ),
        Request::Remove { slot, piece } => written(
            world.cluster.remove(target, *slot, *piece, &stamp).await,
            Done::Removed,
        ),
        Request::Bound { slot, minimum } => written(
            world.cluster.bound(target, *slot, *minimum, &stamp).await,
            Done::Bounded,
        ),
        Request::Snapshot | Request::Route { .. } | Request::Reading | Request::Unroute { .. } => {
            route(world, context, workload, effect).await
        }
        Request::Release { to: None } => {
            written(world.cluster.release(target, &stamp).await, Done::Released)
        }
        Request::Release { to: Some(to) } => {
            let claim = context.kept_for(to, &effect.key);
            written(
                world.cluster.hand_over(target, &claim, &stamp).await,
                Done::Released,
            )
        }
        Request::Observe { watched } => {
            let seen = match watched {
                true => world.cluster.glance(target).await,
                false => world.cluster.observe(target).await,
            };
            read(seen, |seen| Done::Observed {
                observation: Box::new(seen),
            })
        }
        Request::Diagnose => read(world.cluster.diagnose(target).await, |diagnosis| {
            Done::Diagnosed { diagnosis }
        }),
        Request::Evaluate { gate, question } => {
            let Some(planned) = context.plan.gates.get(gate) else {
                return unplanned("gate", gate);
            };
            let timeout = planned.policy.timeout;
            let mut call = context.call(workload, &effect.key, &*world.clock, timeout);
            if question.candidate.labels != question.stable.labels {
                call.slot = Slot::Candidate;
            }
            let answer = world.plugins.evaluate(&planned.offer, &call, question);
            read(within(world, timeout, answer).await, |verdict| {
                Done::Judged {
                    verdict: Box::new(verdict),
                }
            })
        }
        Request::Revise {
            replicas,
            done,
            remaining,
        } => {
            let mut phases = context.plan.phases.iter();
            let Some((phase, strategy)) =
                phases.find_map(|phase| Some((phase, phase.strategies.get(effect.workload)?)))
            else {
                return unplanned("strategy", "of the plan");
            };
            let call = context.call(workload, &effect.key, &*world.clock, STRATEGY_TIMEOUT);
            let features = workload.router.as_ref().map(|router| router.features);
            let baseline = &workload.baseline;
            let (gates, actions) = (&phase.gates, &phase.actions);
            let mut situation = planning::situation(target, baseline, features, gates, actions);
            situation.replicas = *replicas;
            let answer = world
                .plugins
                .revise(&strategy.offer, &call, &situation, done, remaining);
            read(within(world, STRATEGY_TIMEOUT, answer).await, |steps| {
                Done::Revised { steps }
            })
        }
        Request::Act { deed } => act(world, context, workload, effect, deed).await,
        Request::Notify { notifier, notice } => {
            let Some(planned) = context.plan.notifiers.get(notifier) else {
                return unplanned("notifier", notifier);
            };
            let call = context.call(workload, &effect.key, &*world.clock, NOTIFY_TIMEOUT);
            let answer = world.plugins.notify(&planned.offer, &call, notice);
            read(within(world, NOTIFY_TIMEOUT, answer).await, |thread| {
                Done::Notified { thread }
            })
        }
    }
}

/// Has the step's action do what is asked.
async fn act(
    world: &World,
    context: &Context,
    workload: &Workload,
    effect: &Effect,
    deed: &Deed,
) -> Outcome {
    let Some(offer) = context.action(effect) else {
        return unplanned("action", effect.step.as_deref().unwrap_or_default());
    };
    let call = context.call(workload, &effect.key, &*world.clock, ACTION_TIMEOUT);
    let answer = world.plugins.act(offer, &call, deed);
    match within(world, ACTION_TIMEOUT, answer).await {
        Ok(done) => Outcome::Done(done),
        // It was stopped in the middle: nobody knows how far it came.
        Err(failure) if effect.request.changes() && stopped(failure.kind) => Outcome::Unknown {
            message: failure.to_string(),
        },
        Err(failure) => Outcome::Failed { failure },
    }
}

const fn stopped(kind: Kind) -> bool {
    matches!(kind, Kind::Trap | Kind::Timeout | Kind::OutOfMemory)
}

/// Asks the step's action what became of it.
async fn acted(
    world: &World,
    context: &Context,
    workload: &Workload,
    effect: &Effect,
    token: &Value,
) -> Progress {
    let Some(offer) = context.action(effect) else {
        return Progress::NotDone;
    };
    let call = context.call(workload, &effect.key, &*world.clock, ACTION_TIMEOUT);
    let answer = world.plugins.progress(offer, &call, token);
    match within(world, ACTION_TIMEOUT, answer).await {
        Ok(progress) => progress,
        Err(failure) => Progress::Unknown {
            message: failure.to_string(),
        },
    }
}

/// Has the workload's router do what is asked.
async fn route(world: &World, context: &Context, workload: &Workload, effect: &Effect) -> Outcome {
    let Some(Router { offer, .. }) = &workload.router else {
        return unplanned("router", &workload.name);
    };
    let plugins = &world.plugins;
    let call = context.call(workload, &effect.key, &*world.clock, ROUTER_TIMEOUT);
    let limit = ROUTER_TIMEOUT;
    match &effect.request {
        Request::Snapshot => {
            let both = async {
                let snapshot = plugins.snapshot(offer, &call).await?;
                Ok((snapshot, plugins.reading(offer, &call).await?))
            };
            read(within(world, limit, both).await, |(snapshot, reading)| {
                Done::Snapped { snapshot, reading }
            })
        }
        Request::Route { split } => {
            let answer = plugins.route(offer, &call, split);
            read(within(world, limit, answer).await, |()| Done::Routed)
        }
        Request::Unroute { snapshot } => {
            let answer = plugins.unroute(offer, &call, snapshot);
            read(within(world, limit, answer).await, |()| Done::Unrouted)
        }
        _ => {
            let answer = plugins.reading(offer, &call);
            read(within(world, limit, answer).await, |reading| Done::Read {
                reading,
            })
        }
    }
}

/// Finds out what became of an effect whose outcome is missing.
pub async fn probe(world: &World, context: &Context, effect: &Effect) -> Progress {
    let Some(workload) = context.plan.workload(effect.workload) else {
        return Progress::NotDone;
    };
    let target = &workload.target;
    let ours = |marks: &Marks| marks.effect.as_deref() == Some(effect.key.as_str());
    let unknown = |failure: Failure| Progress::Unknown {
        message: failure.to_string(),
    };
    match &effect.request {
        Request::Claim { .. } => match world.cluster.claimed(target).await {
            Ok(Some(claim)) if claim.run == context.run => Progress::Done(Done::Claimed),
            Ok(_) => Progress::NotDone,
            Err(failure) => unknown(failure),
        },
        Request::Release { .. } => match world.cluster.claimed(target).await {
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
        Request::Create {
            create:
                Create {
                    copy: Some(copy), ..
                },
        } => match world.cluster.copied(target, copy).await {
            Ok(Some(found)) if ours(&found.marks) => Progress::Done(Done::Created),
            Ok(_) => Progress::NotDone,
            Err(failure) => unknown(failure),
        },
        Request::Remove {
            piece: Piece::Config(place),
            ..
        } => match workload.configs.get(*place) {
            Some(config) => match world.cluster.copied(target, &config.copy).await {
                Ok(None) => Progress::Done(Done::Removed),
                Ok(Some(_)) => Progress::NotDone,
                Err(failure) => unknown(failure),
            },
            None => Progress::NotDone,
        },
        // Whether it is still there tells nothing where something has come to need it: it is asked for anew.
        Request::Remove {
            piece: Piece::Left(_),
            ..
        } => Progress::NotDone,
        Request::Create { create } => {
            match world.cluster.found(target, Slot::Candidate, create.piece).await {
                Ok(Some(found)) if ours(&found.marks) => Progress::Done(Done::Created),
                Ok(_) => Progress::NotDone,
                Err(failure) => unknown(failure),
            }
        }
        Request::Remove { slot, piece } => {
            match world.cluster.found(target, *slot, *piece).await {
                Ok(None) => Progress::Done(Done::Removed),
                Ok(Some(_)) => Progress::NotDone,
                Err(failure) => unknown(failure),
            }
        }
        Request::Bound { slot, minimum } => {
            match world.cluster.found(target, *slot, Piece::Autoscaler).await {
                Ok(Some(found)) if found.minimum == Some(*minimum) => {
                    Progress::Done(Done::Bounded)
                }
                Ok(_) => Progress::NotDone,
                Err(failure) => unknown(failure),
            }
        }
        Request::Act {
            deed: Deed::Run { token },
        } => acted(world, context, workload, effect, token).await,
        // Taking back can be asked for again.
        Request::Act { .. } => Progress::NotDone,
        // Whoever shares traffic can be asked again for the same: what stands there already is not changed.
        Request::Route { .. }
        | Request::Unroute { .. }
        // Reads are asked again, notices are sent again: there is nothing to find out.
        | Request::Snapshot
        | Request::Reading
        | Request::Observe { .. }
        | Request::Diagnose
        | Request::Evaluate { .. }
        | Request::Revise { .. }
        | Request::Notify { .. } => Progress::NotDone,
    }
}

/// Lets go of a target that was kept for a run which does not begin after all. There is no journal that it
/// could be written to: what led to it is in that of the run before.
///
/// # Errors
/// [`ChangeError`].
pub async fn decline(
    cluster: &dyn Cluster,
    target: &Target,
    run: &str,
    epoch: u64,
) -> Result<(), ChangeError> {
    let stamp = Stamp {
        run: run.to_owned(),
        epoch,
        key: format!("{run}/declined"),
    };
    cluster.release(target, &stamp).await
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
