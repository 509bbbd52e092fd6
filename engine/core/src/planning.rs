//! Making a plan: from the release, the facts and what the strategy said, to everything that a run will do.
//!
//! The planner in the runtime asks the world; what is done with the answers is decided here, so that
//! the same inputs give the same plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::approval;
use crate::config::{self, Versioned};
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::judge::{BandAction, GatePolicy};
use crate::plan::{
    self, Action, DueTask, Gate, Notifier, Phase, Pin, Plan, PlannedBy, RollbackPolicy, Step,
    Subject, Use, Workload,
};
use crate::run::check_plan;
use crate::spec::policy::Policy;
use crate::spec::release::{self, Body, Loaded, StepAction};
use crate::spec::tighten::Effective;
use crate::strategy::{self, RouterFeatures, Situation};
use crate::time::Span;
use crate::workload::{Baseline, Target};

mod acts;
mod revise;
mod steps;

pub use revise::revise;

/// Finds the name of an offer: kind, plugin, and the offer's name where the release gives one.
pub type ResolveOffer<'a> = dyn Fn(&str, &str, Option<&str>) -> Result<String, Diagnostic> + 'a;

/// All that a plan is made of.
pub struct Inputs<'a> {
    /// The release.
    pub loaded: &'a Loaded,
    /// What is released, in order.
    pub workloads: Vec<Workload>,
    /// The plugins that it uses.
    pub pins: BTreeMap<String, Pin>,
    /// How offers are found.
    pub resolve: &'a ResolveOffer<'a>,
    /// What each strategy phase's strategy planned, by phase name: for each workload, in order.
    pub planned: BTreeMap<String, Vec<Vec<strategy::Step>>>,
    /// The operator's policy.
    pub policy: &'a Policy,
    /// The release held against it.
    pub effective: &'a Effective,
}

/// What a strategy is told of the workload.
#[must_use]
pub fn situation(
    target: &Target,
    baseline: &Baseline,
    router: Option<RouterFeatures>,
    gates: &[String],
    actions: &[String],
) -> Situation {
    Situation {
        workload: target.workload.clone(),
        replicas: baseline.settings.replicas,
        autoscaler: baseline.autoscaler,
        live: target
            .beside
            .as_ref()
            .and_then(|beside| beside.live.clone()),
        router,
        gates: gates.to_vec(),
        actions: actions.to_vec(),
    }
}

/// What is being released, once the facts are known.
#[must_use]
pub fn subject(loaded: &Loaded, previous_version: &str) -> Subject {
    Subject {
        name: loaded.release.metadata.name.clone(),
        version: loaded.version.clone(),
        previous_version: previous_version.to_owned(),
        environment: loaded.environment.clone(),
        change: loaded.release.change,
    }
}

/// Makes the plan.
///
/// # Errors
/// Every fault that keeps the plan from being made, and the first invariant that it would break.
pub fn assemble(inputs: &Inputs<'_>) -> Result<Plan, Diagnostics> {
    let release = &inputs.loaded.release;
    let mut faults = Diagnostics::new();
    let gates = collect(
        &mut faults,
        release
            .gates
            .iter()
            .map(|(name, gate)| Ok((name.clone(), gate_of(inputs, gate)?))),
    );
    let notifiers = collect(
        &mut faults,
        release
            .notifications
            .iter()
            .map(|n| Ok((n.name.clone(), notifier_of(inputs, n)?))),
    );
    let mut phases = Vec::new();
    for phase in &release.phases {
        match phase_of(inputs, phase) {
            Ok(phase) => phases.push(phase),
            Err(fault) => faults.push(fault),
        }
    }
    attestations(inputs, &mut phases);
    if !faults.is_empty() {
        return Err(faults);
    }
    let rollback = &release.rollback;
    let mut plan = Plan {
        format: plan::FORMAT,
        subject: subject(inputs.loaded, &previous_version(&inputs.workloads)),
        workloads: inputs.workloads.clone(),
        plugins: BTreeMap::new(),
        gates,
        notifiers,
        phases,
        approvals: inputs.effective.approvals.clone(),
        calendar: calendar(inputs.policy),
        rollback: RollbackPolicy {
            target: rollback.target,
            step_timeout: rollback.step_timeout,
            retries: rollback.retries,
            keep: leaves(&inputs.workloads).then_some(rollback.keep),
        },
        due: release.due.iter().map(due_of).collect(),
        people_timeout: release.people_timeout,
        minimum_soak: inputs.effective.minimum_soak,
    };
    plan.plugins = acts::pins_of(&plan, &inputs.pins);
    checked(plan)
}

/// The fault of a plan that deploys what serves already: gates that pass on what has served all along prove nothing,
/// and there would be nothing to go back to.
#[must_use]
pub fn changes_nothing(plan: &Plan) -> Option<Diagnostic> {
    let mut steps = plan.phases.iter().flat_map(|phase| &phase.steps);
    let deploys = steps.any(|step| matches!(step.action, Action::Deploy { .. }));
    let serves = |workload: &Workload| {
        let settings = &workload.baseline.settings;
        let content = workload.configs.iter().all(Versioned::serves);
        workload.image == settings.image && content && workload.baseline.ready >= settings.replicas
    };
    if !deploys || !plan.workloads.iter().all(serves) {
        return None;
    }
    let mut images: Vec<&str> = plan.workloads.iter().map(|w| w.image.as_str()).collect();
    images.dedup();
    let fault = Diagnostic::new(
        codes::ALREADY_SERVES,
        format!(
            "version {} serves already: there is nothing to deploy",
            plan.subject.version
        ),
    );
    let fault = fault
        .expected("an image or a configuration that does not serve yet, of one workload at least")
        .found(images.join(", "))
        .hint("give another version, for example with `--version`");
    Some(fault)
}

/// Whether copies are left that only the way back needs.
fn leaves(workloads: &[Workload]) -> bool {
    workloads
        .iter()
        .any(|workload| !config::left(&workload.configs).is_empty())
}

/// The version that serves; where several workloads have different ones, each of them.
fn previous_version(workloads: &[Workload]) -> String {
    let versions = workloads.iter().map(|workload| &workload.baseline.version);
    let mut seen: Vec<&str> = Vec::new();
    for version in versions {
        if !seen.contains(&version.as_str()) {
            seen.push(version);
        }
    }
    seen.join(", ")
}

/// What the policy wants vouched for comes before the first change, wherever the release's own phases stand.
fn attestations(inputs: &Inputs<'_>, phases: &mut [Phase]) {
    let Some(first) = phases.iter_mut().find(|phase| !phase.strategies.is_empty()) else {
        return;
    };
    let rules = inputs.effective.attestations.iter();
    let steps = rules.map(|rule| {
        let action = Action::Attest {
            name: rule.name.clone(),
            prompt: rule.prompt.clone(),
        };
        Step::new(format!("{}/attest-{}", first.name, rule.name), action)
    });
    let steps = steps.collect::<Vec<_>>();
    first.steps.splice(0..0, steps);
}

fn checked(plan: Plan) -> Result<Plan, Diagnostics> {
    let mut ids = BTreeSet::new();
    let mut count: usize = 0;
    for (_, step) in plan.steps() {
        count = count.saturating_add(1);
        if !ids.insert(step.id.as_str()) {
            return Err(Diagnostic::new(
                codes::DUPLICATE_NAME,
                format!("two steps of the plan are called `{}`", step.id),
            )
            .into());
        }
    }
    if count > plan::MAX_STEPS {
        return Err(
            Diagnostic::new(codes::TOO_MANY, format!("the plan has {count} steps"))
                .expected(format!("at most {}", plan::MAX_STEPS))
                .into(),
        );
    }
    let soaks = plan.steps().find_map(|(_, step)| match &step.action {
        Action::Soak { duration, .. } if *duration < plan.minimum_soak => {
            Some((step.id.clone(), *duration))
        }
        _ => None,
    });
    if let Some((id, duration)) = soaks {
        return Err(
            Diagnostic::new(codes::PLAN_REFUSED, format!("{id} soaks for {duration}"))
                .expected(format!("at least {}", plan.minimum_soak))
                .into(),
        );
    }
    let healed = plan
        .workloads
        .iter()
        .find_map(|workload| workload.baseline.self_healing.as_ref());
    if let Some(tool) = healed {
        return Err(Diagnostic::new(
            codes::PLAN_REFUSED,
            "a GitOps tool would undo what the run does",
        )
        .found(tool.clone())
        .hint("switch self-healing off for this workload while Phasegate releases it")
        .into());
    }
    if let Err(broken) = check_plan(&plan) {
        return Err(Diagnostic::new(codes::PLAN_REFUSED, broken.to_string())
            .hint("change the strategy's config, or the strategy")
            .into());
    }
    Ok(plan)
}

fn collect<T>(
    faults: &mut Diagnostics,
    items: impl Iterator<Item = Result<(String, T), Diagnostic>>,
) -> BTreeMap<String, T> {
    let mut found = BTreeMap::new();
    for item in items {
        match item {
            Ok((name, value)) => {
                found.insert(name, value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    found
}

fn offer(
    inputs: &Inputs<'_>,
    kind: &str,
    plugin: &str,
    offer: Option<&str>,
    config: &serde_json::Value,
) -> Result<Use, Diagnostic> {
    let offer = (inputs.resolve)(kind, plugin, offer)?;
    Ok(Use {
        plugin: plugin.to_owned(),
        offer,
        config: config.clone(),
    })
}

fn gate_of(inputs: &Inputs<'_>, gate: &release::Gate) -> Result<Gate, Diagnostic> {
    let policy = &gate.policy;
    let bands = policy.bands.iter().map(|(band, action)| {
        let action = match action {
            release::BandAction::Continue => BandAction::Continue,
            release::BandAction::Warn => BandAction::Warn,
            release::BandAction::Hold => BandAction::Hold,
            release::BandAction::Rollback => BandAction::RollBack,
        };
        (band.clone(), action)
    });
    Ok(Gate {
        offer: offer(
            inputs,
            "gate",
            &gate.plugin,
            gate.offer.as_deref(),
            &gate.config,
        )?,
        policy: GatePolicy {
            interval: policy.interval,
            initial_delay: policy.initial_delay,
            sustained: policy.sustained.unwrap_or(Span::ZERO),
            failure_limit: policy.failure_limit,
            inconclusive_limit: policy.inconclusive_limit,
            error_limit: policy.error_limit,
            timeout: policy.timeout,
            bands: bands.collect(),
            hold: policy.on_inconclusive.hold(),
        },
    })
}

fn notifier_of(
    inputs: &Inputs<'_>,
    notification: &release::Notification,
) -> Result<Notifier, Diagnostic> {
    Ok(Notifier {
        offer: offer(
            inputs,
            "notifier",
            &notification.plugin,
            notification.offer.as_deref(),
            &notification.config,
        )?,
        on: notification
            .on
            .iter()
            .map(|event| event.as_str().to_owned())
            .collect(),
        critical: notification.critical,
        fallback: notification.fallback.clone(),
    })
}

fn due_of(due: &release::Due) -> DueTask {
    DueTask {
        after: due.after,
        task: due.task.clone(),
        on: due.on.as_str().to_owned(),
    }
}

/// The part of a policy that says when forward steps may be taken.
fn calendar(policy: &Policy) -> Policy {
    Policy {
        windows: policy.windows.clone(),
        holidays: policy.holidays.clone(),
        deny_day_before_holiday: policy.deny_day_before_holiday,
        freezes: policy.freezes.clone(),
        except_hotfix: policy.except_hotfix,
        ..Policy::default()
    }
}

fn phase_of(inputs: &Inputs<'_>, phase: &release::Phase) -> Result<Phase, Diagnostic> {
    let mut out = Phase {
        name: phase.name.clone(),
        steps: Vec::new(),
        gates: Vec::new(),
        actions: Vec::new(),
        timeout: phase.timeout,
        strategies: Vec::new(),
    };
    match &phase.body {
        Body::Strategy(strategy) => {
            out.gates.clone_from(&strategy.gates);
            out.actions.clone_from(&strategy.actions);
            let offer = offer(
                inputs,
                "strategy",
                &strategy.plugin,
                strategy.offer.as_deref(),
                &strategy.config,
            )?;
            let planned = inputs.planned.get(&phase.name);
            for steps in planned.into_iter().flatten() {
                out.strategies.push(PlannedBy {
                    offer: offer.clone(),
                    steps: steps.clone(),
                });
            }
            let actions = acts::of_strategy(inputs, strategy)?;
            steps::fill(&mut out, &inputs.workloads, inputs.policy, &actions)?;
        }
        Body::Steps(steps) => {
            for ((id, action), step) in phase.steps().into_iter().zip(steps) {
                let action = step_of(inputs, &id, action)?;
                out.steps.push(Step {
                    point_of_no_return: step.point_of_no_return,
                    ..Step::new(id, action)
                });
            }
        }
    }
    if let Some(last) = out.steps.last_mut() {
        last.point_of_no_return |= phase.point_of_no_return;
    }
    Ok(out)
}

fn step_of(inputs: &Inputs<'_>, id: &str, action: &StepAction) -> Result<Action, Diagnostic> {
    Ok(match action {
        StepAction::Check(gates) => Action::Check {
            gates: gates.clone(),
        },
        StepAction::Soak(soak) => Action::Soak {
            duration: soak.duration,
            interval: soak.every.unwrap_or(Span::ZERO),
            gates: soak.gates.clone(),
        },
        StepAction::Approve(approve) => Action::Approve {
            prompt: approve.prompt.clone(),
            requirement: approval::requirement(
                inputs.policy,
                id,
                &approve.roles,
                approve.count,
                approve.expires,
            ),
        },
        StepAction::Attest(attest) => Action::Attest {
            name: attest.name.clone(),
            prompt: attest.prompt.clone(),
        },
        StepAction::Notify(notify) => Action::Notify {
            notifier: notify.notification.clone(),
            title: notify.title.clone(),
            text: notify.text.clone(),
        },
        StepAction::Act(act) => acts::planned(inputs, None, act)?,
    })
}

#[cfg(test)]
mod tests;
