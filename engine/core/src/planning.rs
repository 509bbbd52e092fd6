//! Making a plan: from the release, the facts and what the strategy said, to everything that a run will do.
//!
//! The planner in the runtime asks the world; what is done with the answers is decided here, so that
//! the same inputs give the same plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::approval;
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::judge::{BandAction, GatePolicy};
use crate::plan::{
    self, Action, DueTask, Gate, Notifier, Phase, Pin, Plan, PlannedBy, RollbackPolicy, Step,
    Subject, Use,
};
use crate::run::check_plan;
use crate::spec::policy::Policy;
use crate::spec::release::{self, Body, Loaded, StepAction};
use crate::spec::tighten::Effective;
use crate::strategy::{self, Placement, Situation, Slot};
use crate::time::Span;
use crate::workload::{Baseline, Target};

/// Finds the name of an offer: kind, plugin, and the offer's name where the release gives one.
pub type ResolveOffer<'a> = dyn Fn(&str, &str, Option<&str>) -> Result<String, Diagnostic> + 'a;

/// All that a plan is made of.
pub struct Inputs<'a> {
    /// The release.
    pub loaded: &'a Loaded,
    /// Where it goes.
    pub target: Target,
    /// What is there.
    pub baseline: Baseline,
    /// The plugins that it uses.
    pub pins: BTreeMap<String, Pin>,
    /// How offers are found.
    pub resolve: &'a ResolveOffer<'a>,
    /// What each strategy phase's strategy planned, by phase name.
    pub planned: BTreeMap<String, Vec<strategy::Step>>,
    /// The operator's policy.
    pub policy: &'a Policy,
    /// The release held against it.
    pub effective: &'a Effective,
}

/// What a strategy is told of the workload.
#[must_use]
pub fn situation(target: &Target, baseline: &Baseline, gates: &[String]) -> Situation {
    Situation {
        workload: target.deployment.clone(),
        replicas: baseline.settings.replicas,
        autoscaler: baseline.autoscaler,
        gates: gates.to_vec(),
        actions: Vec::new(),
    }
}

/// What is being released, once the facts are known.
#[must_use]
pub fn subject(loaded: &Loaded, baseline: &Baseline) -> Subject {
    Subject {
        name: loaded.release.metadata.name.clone(),
        version: loaded.version.clone(),
        previous_version: baseline.version.clone(),
        environment: loaded.environment.clone(),
        change: loaded.release.change,
        image: loaded.image(),
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
    let plan = Plan {
        format: plan::FORMAT,
        subject: subject(inputs.loaded, &inputs.baseline),
        target: inputs.target.clone(),
        baseline: inputs.baseline.clone(),
        plugins: inputs.pins.clone(),
        gates,
        notifiers,
        phases,
        approvals: inputs.effective.approvals.clone(),
        calendar: calendar(inputs.policy),
        rollback: RollbackPolicy {
            target: rollback.target,
            step_timeout: rollback.step_timeout,
            retries: rollback.retries,
        },
        due: release.due.iter().map(due_of).collect(),
        people_timeout: release.people_timeout,
        minimum_soak: inputs.effective.minimum_soak,
    };
    checked(plan)
}

/// What the policy wants vouched for comes before the first change, wherever the release's own phases stand.
fn attestations(inputs: &Inputs<'_>, phases: &mut [Phase]) {
    let Some(first) = phases.iter_mut().find(|phase| phase.strategy.is_some()) else {
        return;
    };
    let mut steps = Vec::new();
    for rule in &inputs.effective.attestations {
        steps.push(Step {
            id: format!("{}/attest-{}", first.name, rule.name),
            action: Action::Attest {
                name: rule.name.clone(),
                prompt: rule.prompt.clone(),
            },
            outage: false,
            point_of_no_return: false,
        });
    }
    // The strategy's own words stay one to one with its steps, for a later revision.
    if let Some(planned) = &mut first.strategy {
        for step in &steps {
            let action = strategy::Action::Other {
                name: "attest".to_owned(),
                params: serde_json::Value::Null,
            };
            planned.steps.insert(
                0,
                strategy::Step {
                    id: step.id.clone(),
                    action,
                    extra: serde_json::Value::Null,
                },
            );
        }
    }
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
    if let Some(tool) = &plan.baseline.self_healing {
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
        timeout: phase.timeout,
        strategy: None,
    };
    match &phase.body {
        Body::Strategy(strategy) => {
            let planned = inputs.planned.get(&phase.name).cloned().unwrap_or_default();
            out.gates.clone_from(&strategy.gates);
            out.steps = strategy_steps(&planned, &phase.name, &strategy.gates)?;
            let offer = offer(
                inputs,
                "strategy",
                &strategy.plugin,
                strategy.offer.as_deref(),
                &strategy.config,
            )?;
            out.strategy = Some(PlannedBy {
                offer,
                steps: planned,
            });
        }
        Body::Steps(_) => {
            for (id, action) in phase.steps() {
                let action = step_of(inputs, &id, action);
                out.steps.push(Step {
                    id,
                    action,
                    outage: false,
                    point_of_no_return: false,
                });
            }
        }
    }
    Ok(out)
}

fn step_of(inputs: &Inputs<'_>, id: &str, action: &StepAction) -> Action {
    match action {
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
    }
}

/// A strategy's steps as the plan has them. Their ids are put under the phase's name.
fn strategy_steps(
    steps: &[strategy::Step],
    phase: &str,
    gates: &[String],
) -> Result<Vec<Step>, Diagnostic> {
    let mut out = Vec::new();
    for step in steps {
        let named = |asked: &[String]| {
            if asked.is_empty() {
                gates.to_vec()
            } else {
                asked.to_vec()
            }
        };
        let unsupported = |what: &str| {
            Diagnostic::new(
                codes::STEP_UNSUPPORTED,
                format!(
                    "the strategy's step `{}` is {what}, which this engine can't do yet",
                    step.id
                ),
            )
            .expected("in-place deploy, scale of stable, check or soak")
            .hint("use the strategy `rolling` or `recreate`")
        };
        let action = match &step.action {
            strategy::Action::Deploy {
                placement: Placement::InPlace,
                replicas,
                surge,
                unavailable,
                timeout,
            } => Action::Deploy {
                replicas: *replicas,
                surge: surge.clone(),
                unavailable: unavailable.clone(),
                timeout: *timeout,
            },
            strategy::Action::Scale {
                slot: Slot::Stable,
                replicas,
                timeout,
            } => Action::Scale {
                replicas: *replicas,
                timeout: *timeout,
            },
            strategy::Action::Check { gates } => Action::Check {
                gates: named(gates),
            },
            strategy::Action::Soak {
                duration,
                interval,
                gates,
            } => Action::Soak {
                duration: *duration,
                interval: *interval,
                gates: named(gates),
            },
            strategy::Action::Deploy { .. } => {
                return Err(unsupported("a deployment beside stable"));
            }
            strategy::Action::Scale { .. } => {
                return Err(unsupported("a scaling of the candidate"));
            }
            strategy::Action::Route { .. } => return Err(unsupported("a shift of traffic")),
            strategy::Action::Approve { .. } => return Err(unsupported("an approval")),
            strategy::Action::Promote { .. } => return Err(unsupported("a promotion")),
            strategy::Action::Retire { .. } => return Err(unsupported("a retirement")),
            strategy::Action::Act { .. } => return Err(unsupported("an action")),
            strategy::Action::Other { name, .. } => return Err(unsupported(name)),
        };
        if let Action::Check { gates: named } | Action::Soak { gates: named, .. } = &action
            && let Some(dangling) = named.iter().find(|gate| !gates.contains(gate))
        {
            return Err(Diagnostic::new(codes::DANGLING_NAME, format!("the strategy's step `{}` asks the gate `{dangling}`, which its phase does not have", step.id))
                .expected(gates.join(", ")));
        }
        let outage = step
            .extra
            .get("outage")
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(false);
        out.push(Step {
            id: format!("{phase}/{}", step.id),
            action,
            outage,
            point_of_no_return: false,
        });
    }
    Ok(out)
}

/// Puts a strategy's other remaining steps in the place of those after `step`, if the rules allow it: no gate
/// and no approval is dropped, no soak falls below its minimum, and the invariants hold.
///
/// # Errors
/// Why the revision is refused; `phases` is as it was.
pub fn revise(
    plan: &Plan,
    phases: &mut Vec<Phase>,
    phase: usize,
    step: usize,
    steps: &[strategy::Step],
) -> Result<(), String> {
    let before = phases.clone();
    let Some(revised) = phases.get_mut(phase) else {
        return Err("there is no such phase".to_owned());
    };
    let keep = step.saturating_add(1);
    let new =
        strategy_steps(steps, &revised.name, &revised.gates).map_err(|fault| fault.to_string())?;
    let old = revised.steps.split_off(keep.min(revised.steps.len()));
    let verdict = allowed(&old, &new, plan.minimum_soak);
    revised.steps.extend(new);
    if let Some(planned) = &mut revised.strategy {
        planned.steps.truncate(keep);
        planned.steps.extend_from_slice(steps);
    }
    let mut whole = plan.clone();
    whole.phases.clone_from(phases);
    let verdict = verdict.and_then(|()| {
        checked(whole)
            .map(|_| ())
            .map_err(|faults| faults.to_string())
    });
    if verdict.is_err() {
        *phases = before;
    }
    verdict
}

fn allowed(old: &[Step], new: &[Step], minimum_soak: Span) -> Result<(), String> {
    let gates = |steps: &[Step]| {
        let mut names = BTreeSet::new();
        for step in steps {
            if let Action::Check { gates } | Action::Soak { gates, .. } = &step.action {
                names.extend(gates.iter().cloned());
            }
        }
        names
    };
    if let Some(dropped) = gates(old).difference(&gates(new)).next() {
        return Err(format!("it drops the gate {dropped}"));
    }
    let approvals = |steps: &[Step]| {
        steps
            .iter()
            .filter(|step| matches!(step.action, Action::Approve { .. } | Action::Attest { .. }))
            .map(|step| step.id.clone())
            .collect::<BTreeSet<_>>()
    };
    if let Some(dropped) = approvals(old).difference(&approvals(new)).next() {
        return Err(format!("it drops {dropped}"));
    }
    for step in new {
        let Action::Soak { duration, .. } = &step.action else {
            continue;
        };
        let before =
            old.iter()
                .find(|before| before.id == step.id)
                .and_then(|before| match &before.action {
                    Action::Soak { duration, .. } => Some(*duration),
                    _ => None,
                });
        let least = before.map_or(minimum_soak, |before| before.min(minimum_soak));
        if *duration < least {
            return Err(format!(
                "{} soaks for {duration}, at least {least} is asked",
                step.id
            ));
        }
    }
    Ok(())
}
