//! A strategy's steps as the plan has them: put under the phase's name, promotions spelled out, and what
//! is taken out of service last.

use std::collections::BTreeMap;

use crate::approval;
use crate::diagnostic::{Diagnostic, codes, listed};
use crate::plan::{Action, Phase, Step, Workload};
use crate::spec::policy::Policy;
use crate::strategy::{self, Amount, Placement, Slot, Split};
use crate::time::Span;

/// How long a data plane may take to take a split.
const ROUTE_TIMEOUT: Span = Span::from_mins(2);
/// How long the pods of what is taken out of service may take to be gone.
const RETIRE_TIMEOUT: Span = Span::from_mins(5);

/// Fills a strategy's phase with what the strategy planned for each workload.
///
/// With several workloads nothing is taken out of service before the last of them has come to that.
pub(super) fn fill(
    phase: &mut Phase,
    workloads: &[Workload],
    policy: &Policy,
    actions: &BTreeMap<String, Action>,
) -> Result<(), Diagnostic> {
    let mut steps = Vec::new();
    for (place, (planned, workload)) in phase.strategies.iter().zip(workloads).enumerate() {
        let context = Context {
            phase,
            place,
            workload,
            alone: workloads.len() == 1,
            allowed: Some(Allowed { policy, actions }),
        };
        steps.extend(context.steps(&planned.steps)?);
    }
    phase.steps = retired_last(steps);
    Ok(())
}

/// The same steps, with what takes stable out of service at the end.
pub(super) fn retired_last(steps: Vec<Step>) -> Vec<Step> {
    let retires = |step: &Step| {
        matches!(
            &step.action,
            Action::Retire {
                slot: Slot::Stable,
                ..
            }
        )
    };
    let (last, mut first): (Vec<_>, Vec<_>) = steps.into_iter().partition(retires);
    first.extend(last);
    first
}

/// Where steps are put.
pub(super) struct Context<'a> {
    pub(super) phase: &'a Phase,
    pub(super) place: usize,
    pub(super) workload: &'a Workload,
    /// Whether the release has no other workload, so that ids need not name it.
    pub(super) alone: bool,
    /// None in a revision, which can't ask for anybody or anything new.
    pub(super) allowed: Option<Allowed<'a>>,
}

/// What a plan may ask for.
#[derive(Clone, Copy)]
pub(super) struct Allowed<'a> {
    /// Who may agree.
    policy: &'a Policy,
    /// The actions of the phase, by name.
    actions: &'a BTreeMap<String, Action>,
}

impl Context<'_> {
    /// What the plan has for a strategy's steps.
    pub(super) fn steps(&self, planned: &[strategy::Step]) -> Result<Vec<Step>, Diagnostic> {
        let mut out = Vec::new();
        for step in planned {
            let outage = extra(step, "outage");
            for (suffix, action) in self.actions(step)? {
                self.knows_gates(step, &action)?;
                out.push(Step {
                    id: self.id(&format!("{}{suffix}", step.id)),
                    action,
                    workload: self.place,
                    origin: Some(step.id.clone()),
                    outage,
                    point_of_no_return: false,
                });
            }
        }
        Ok(out)
    }

    fn id(&self, step: &str) -> String {
        if self.alone {
            format!("{}/{step}", self.phase.name)
        } else {
            format!("{}/{}/{step}", self.phase.name, self.workload.name)
        }
    }

    fn actions(&self, step: &strategy::Step) -> Result<Vec<(&'static str, Action)>, Diagnostic> {
        let named = |asked: &[String]| {
            if asked.is_empty() {
                self.phase.gates.clone()
            } else {
                asked.to_vec()
            }
        };
        let action = match &step.action {
            strategy::Action::Deploy {
                placement,
                replicas,
                surge,
                unavailable,
                timeout,
            } => Action::Deploy {
                placement: *placement,
                replicas: *replicas,
                surge: surge.clone(),
                unavailable: unavailable.clone(),
                timeout: *timeout,
            },
            strategy::Action::Scale {
                slot,
                replicas,
                timeout,
            } => Action::Scale {
                slot: *slot,
                replicas: *replicas,
                timeout: *timeout,
            },
            strategy::Action::Route { split, settle } => {
                self.can_route(step, split)?;
                route(split.clone(), *settle)
            }
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
            strategy::Action::Approve { prompt, count } => self.approve(step, prompt, *count)?,
            strategy::Action::Promote { timeout } if !extra(step, "swap") => {
                return Ok(self.replacement(*timeout));
            }
            strategy::Action::Promote { .. } => {
                self.can_swap(step)?;
                Action::Promote
            }
            strategy::Action::Retire {
                slot,
                after,
                remove,
            } => Action::Retire {
                slot: *slot,
                after: *after,
                remove: *remove,
                timeout: RETIRE_TIMEOUT,
            },
            strategy::Action::Act { action } => self.act(step, action)?,
            strategy::Action::Other { name, .. } => return Err(unsupported(step, name)),
        };
        Ok(vec![("", action)])
    }

    /// Promotion by replacement: stable's Deployment takes the new version at full strength while the candidate
    /// still serves, then takes all traffic, and only then the candidate goes.
    fn replacement(&self, timeout: Span) -> Vec<(&'static str, Action)> {
        let mut stages = vec![(
            "-stable",
            Action::Deploy {
                placement: Placement::InPlace,
                replicas: Amount::Percent(100),
                surge: None,
                unavailable: None,
                timeout,
            },
        )];
        if self.workload.router.is_some() {
            stages.push(("-route", route(Split::default(), self.settle())));
        }
        let retire = Action::Retire {
            slot: Slot::Candidate,
            after: Span::ZERO,
            remove: true,
            timeout: RETIRE_TIMEOUT,
        };
        stages.push(("-retire", retire));
        stages
    }

    /// The longest that the strategy gives the data plane in any step of this workload.
    fn settle(&self) -> Span {
        let planned = self.phase.strategies.get(self.place);
        let steps = planned.into_iter().flat_map(|planned| &planned.steps);
        let settles = steps.filter_map(|step| match &step.action {
            strategy::Action::Route { settle, .. } => Some(*settle),
            _ => None,
        });
        settles.max().unwrap_or(Span::ZERO)
    }

    fn approve(
        &self,
        step: &strategy::Step,
        prompt: &str,
        count: u32,
    ) -> Result<Action, Diagnostic> {
        let id = self.id(&step.id);
        let Some(Allowed { policy, .. }) = self.allowed else {
            let same = |before: &Action| matches!(before, Action::Approve { .. });
            return self
                .before(&id, same)
                .ok_or_else(|| brought(step, "an approval"));
        };
        let roles = policy.roles.keys().cloned().collect::<Vec<_>>();
        let requirement = approval::requirement(policy, &id, &roles, count, None);
        if requirement.people.len() < usize::try_from(count).unwrap_or(usize::MAX) {
            return Err(Diagnostic::new(
                codes::PLAN_REFUSED,
                format!(
                    "the strategy's step `{}` waits for {count} people to agree",
                    step.id
                ),
            )
            .expected("at least as many people who hold a role in the policy")
            .found(requirement.people.len().to_string())
            .hint("give the policy roles, or leave the approval out of the strategy's config"));
        }
        Ok(Action::Approve {
            prompt: prompt.to_owned(),
            requirement,
        })
    }

    /// The action of that name. In a revision it is the one of that step, since the rights for others were never asked for.
    fn act(&self, step: &strategy::Step, action: &str) -> Result<Action, Diagnostic> {
        let Some(Allowed { actions, .. }) = self.allowed else {
            let id = self.id(&step.id);
            let same = |before: &Action| matches!(before, Action::Act { name: Some(name), .. } if name == action);
            return self
                .before(&id, same)
                .ok_or_else(|| brought(step, "an action"));
        };
        let has = || actions.keys().map(String::as_str);
        actions.get(action).cloned().ok_or_else(|| {
            let message = format!(
                "the strategy's step `{}` names the action `{action}`, which its phase does not have",
                step.id
            );
            Diagnostic::new(codes::DANGLING_NAME, message)
                .expected(listed(has()))
                .hint("name it under `actions` of the phase's `strategy`")
        })
    }

    /// What the plan has for a step that a revision keeps, if it is the same.
    fn before(&self, id: &str, same: impl Fn(&Action) -> bool) -> Option<Action> {
        let before = self.phase.steps.iter().find(|before| before.id == id)?;
        same(&before.action).then(|| before.action.clone())
    }

    /// A route of a gateway leads to the workload's Service by name: after a swap it would still have to lead
    /// to the candidate's, which goes with the run.
    fn can_swap(&self, step: &strategy::Step) -> Result<(), Diagnostic> {
        let weights = self
            .workload
            .router
            .as_ref()
            .is_some_and(|r| r.features.weights);
        if !weights {
            return Ok(());
        }
        Err(Diagnostic::new(
            codes::STEP_UNSUPPORTED,
            format!("the strategy's step `{}` promotes by swap", step.id),
        )
        .expected("a router that switches the Service itself, such as `service-selector`")
        .found("one that shares traffic by weight")
        .hint("promote by replacement, or use another router"))
    }

    fn can_route(&self, step: &strategy::Step, split: &Split) -> Result<(), Diagnostic> {
        let refused = |why: String| {
            Err(Diagnostic::new(
                codes::STEP_UNSUPPORTED,
                format!("the strategy's step `{}` {why}", step.id),
            )
            .hint("give the workload a `router` that can do it, or change the strategy's config"))
        };
        let Some(router) = &self.workload.router else {
            return refused(format!(
                "shifts traffic, and the workload {} has no router",
                self.workload.name
            ));
        };
        let plugin = &router.offer.plugin;
        if split.candidate_weight > strategy::WHOLE || split.mirror_weight > strategy::WHOLE {
            return refused(format!(
                "asks for more than all traffic: {} of {}",
                split.candidate_weight.max(split.mirror_weight),
                strategy::WHOLE
            ));
        }
        let whole = [0, strategy::WHOLE].contains(&split.candidate_weight);
        if !whole && !router.features.weights {
            return refused(format!("shares traffic by weight, which `{plugin}` can't"));
        }
        if !split.headers.is_empty() && !router.features.header_match {
            return refused(format!("matches headers, which `{plugin}` can't"));
        }
        if split.mirror_weight > 0 && !router.features.mirror {
            return refused(format!("mirrors traffic, which `{plugin}` can't"));
        }
        Ok(())
    }

    fn knows_gates(&self, step: &strategy::Step, action: &Action) -> Result<(), Diagnostic> {
        let (Action::Check { gates } | Action::Soak { gates, .. }) = action else {
            return Ok(());
        };
        let has = &self.phase.gates;
        match gates.iter().find(|gate| !has.contains(gate)) {
            None => Ok(()),
            Some(dangling) => Err(Diagnostic::new(
                codes::DANGLING_NAME,
                format!(
                    "the strategy's step `{}` asks the gate `{dangling}`, which its phase does not have",
                    step.id
                ),
            )
            .expected(has.join(", "))),
        }
    }
}

fn route(split: Split, settle: Span) -> Action {
    Action::Route {
        split,
        settle,
        timeout: ROUTE_TIMEOUT.plus(settle),
    }
}

/// A switch in a step's bag.
fn extra(step: &strategy::Step, name: &str) -> bool {
    let value = step.extra.get(name).and_then(serde_json::Value::as_bool);
    value.unwrap_or(false)
}

/// The fault of a revision that wants what nobody was asked about before the run.
fn brought(step: &strategy::Step, what: &str) -> Diagnostic {
    Diagnostic::new(
        codes::PLAN_REFUSED,
        format!(
            "the strategy's step `{}` is {what} that the plan did not have there",
            step.id
        ),
    )
}

fn unsupported(step: &strategy::Step, what: &str) -> Diagnostic {
    Diagnostic::new(
        codes::STEP_UNSUPPORTED,
        format!(
            "the strategy's step `{}` is {what}, which this engine can't do yet",
            step.id
        ),
    )
    .expected("deploy, scale, route, check, soak, approve, promote, retire or act")
}
