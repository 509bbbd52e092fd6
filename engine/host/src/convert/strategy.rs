//! A strategy's situation and steps.

use phasegate_core::plan::MAX_STEPS;
use phasegate_core::strategy::{
    Action, Amount, Autoscaler, Placement, Situation, Slot, Split, Step, StepOutcome,
};
use phasegate_core::verdict::Status;

use super::{duration_ms, pairs_in, pairs_out, span};
use crate::bindings::exports::phasegate::strategy::strategy as wit;
use crate::bindings::phasegate::types::common;
use crate::json;

pub(crate) fn situation(call: common::Call, situation: &Situation) -> wit::Situation {
    wit::Situation {
        call,
        workload: wit::Workload {
            name: situation.workload.clone(),
            replicas: situation.replicas,
            autoscaler: situation
                .autoscaler
                .map(|Autoscaler { minimum, maximum }| wit::Autoscaler { minimum, maximum }),
            live: situation.live.clone(),
            extra: "{}".into(),
        },
        router: situation.router.map(|router| wit::RouterFeatures {
            weights: router.weights,
            header_match: router.header_match,
            mirror: router.mirror,
            extra: "{}".into(),
        }),
        gates: situation.gates.clone(),
        actions: situation.actions.clone(),
    }
}

/// The steps that a strategy returned, or what is wrong with them.
pub(crate) fn steps(steps: Vec<wit::Step>, json_bytes: usize) -> Result<Vec<Step>, String> {
    if steps.len() > MAX_STEPS {
        return Err(format!(
            "it plans {} steps, more than {MAX_STEPS}",
            steps.len()
        ));
    }
    steps
        .into_iter()
        .map(|step| {
            let id = step.id;
            let at = |e: String| format!("step `{}`: {e}", crate::fault::cut_to(id.clone(), 100));
            let action = action(step.action, json_bytes).map_err(at)?;
            let extra = json::parse_bag(&step.extra, json_bytes).map_err(at)?;
            Ok(Step { id, action, extra })
        })
        .collect()
}

pub(crate) fn steps_out(steps: &[Step]) -> Vec<wit::Step> {
    steps
        .iter()
        .map(|step| wit::Step {
            id: step.id.clone(),
            action: action_out(&step.action),
            extra: if step.extra.is_null() {
                "{}".into()
            } else {
                step.extra.to_string()
            },
        })
        .collect()
}

pub(crate) fn outcomes(done: &[StepOutcome]) -> Vec<wit::Outcome> {
    done.iter()
        .map(|outcome| wit::Outcome {
            step: outcome.step.clone(),
            elapsed_ms: duration_ms(outcome.elapsed),
            judged: outcome
                .judged
                .iter()
                .map(|judged| wit::Judged {
                    gate: judged.gate.clone(),
                    status: match judged.status {
                        Status::Pass => "pass",
                        Status::Fail => "fail",
                        Status::Inconclusive => "inconclusive",
                    }
                    .into(),
                    values: judged.values.to_string(),
                })
                .collect(),
        })
        .collect()
}

fn action(action: wit::Action, json_bytes: usize) -> Result<Action, String> {
    Ok(match action {
        wit::Action::Deploy(deploy) => Action::Deploy {
            placement: match deploy.placement {
                wit::Placement::InPlace => Placement::InPlace,
                wit::Placement::Beside => Placement::Beside,
            },
            replicas: amount(deploy.replicas),
            surge: deploy.surge,
            unavailable: deploy.unavailable,
            timeout: span(deploy.timeout_ms),
        },
        wit::Action::Scale(scale) => Action::Scale {
            slot: slot(scale.slot),
            replicas: amount(scale.replicas),
            timeout: span(scale.timeout_ms),
        },
        wit::Action::Route(route) => Action::Route {
            split: Split {
                candidate_weight: route.split.candidate_weight,
                headers: pairs_in(route.split.headers),
                mirror_weight: route.split.mirror_weight,
            },
            settle: span(route.settle_ms),
        },
        wit::Action::Check(check) => Action::Check { gates: check.gates },
        wit::Action::Soak(soak) => Action::Soak {
            duration: span(soak.duration_ms),
            interval: span(soak.interval_ms),
            gates: soak.gates,
        },
        wit::Action::Approve(approve) => Action::Approve {
            prompt: approve.prompt,
            count: approve.count,
        },
        wit::Action::Promote(promote) => Action::Promote {
            timeout: span(promote.timeout_ms),
        },
        wit::Action::Retire(retire) => Action::Retire {
            slot: slot(retire.slot),
            after: span(retire.after_ms),
            remove: retire.remove,
        },
        wit::Action::Act(action) => Action::Act { action },
        wit::Action::Other(other) => Action::Other {
            name: other.kind,
            params: json::parse(&other.params, json_bytes)?,
        },
    })
}

fn action_out(action: &Action) -> wit::Action {
    match action {
        Action::Deploy {
            placement,
            replicas,
            surge,
            unavailable,
            timeout,
        } => wit::Action::Deploy(wit::Deploy {
            placement: match placement {
                Placement::InPlace => wit::Placement::InPlace,
                Placement::Beside => wit::Placement::Beside,
            },
            replicas: amount_out(*replicas),
            surge: surge.clone(),
            unavailable: unavailable.clone(),
            timeout_ms: duration_ms(*timeout),
        }),
        Action::Scale {
            slot,
            replicas,
            timeout,
        } => wit::Action::Scale(wit::Scale {
            slot: slot_out(*slot),
            replicas: amount_out(*replicas),
            timeout_ms: duration_ms(*timeout),
        }),
        Action::Route { split, settle } => wit::Action::Route(wit::Route {
            split: common::Split {
                candidate_weight: split.candidate_weight,
                headers: pairs_out(&split.headers),
                mirror_weight: split.mirror_weight,
            },
            settle_ms: duration_ms(*settle),
        }),
        Action::Check { gates } => wit::Action::Check(wit::Check {
            gates: gates.clone(),
        }),
        Action::Soak {
            duration,
            interval,
            gates,
        } => wit::Action::Soak(wit::Soak {
            duration_ms: duration_ms(*duration),
            interval_ms: duration_ms(*interval),
            gates: gates.clone(),
        }),
        Action::Approve { prompt, count } => wit::Action::Approve(wit::Approve {
            prompt: prompt.clone(),
            count: *count,
        }),
        Action::Promote { timeout } => wit::Action::Promote(wit::Promote {
            timeout_ms: duration_ms(*timeout),
        }),
        Action::Retire {
            slot,
            after,
            remove,
        } => wit::Action::Retire(wit::Retire {
            slot: slot_out(*slot),
            after_ms: duration_ms(*after),
            remove: *remove,
        }),
        Action::Act { action } => wit::Action::Act(action.clone()),
        Action::Other { name, params } => wit::Action::Other(wit::Other {
            kind: name.clone(),
            params: params.to_string(),
        }),
    }
}

fn amount(amount: wit::Amount) -> Amount {
    match amount {
        wit::Amount::Count(count) => Amount::Count(count),
        wit::Amount::Percent(percent) => Amount::Percent(percent),
    }
}

fn amount_out(amount: Amount) -> wit::Amount {
    match amount {
        Amount::Count(count) => wit::Amount::Count(count),
        Amount::Percent(percent) => wit::Amount::Percent(percent),
    }
}

fn slot(slot: wit::Slot) -> Slot {
    match slot {
        wit::Slot::Stable => Slot::Stable,
        wit::Slot::Candidate => Slot::Candidate,
    }
}

fn slot_out(slot: Slot) -> wit::Slot {
    match slot {
        Slot::Stable => wit::Slot::Stable,
        Slot::Candidate => wit::Slot::Candidate,
    }
}

#[cfg(test)]
mod tests {
    use phasegate_core::time::Span;
    use phasegate_core::verdict::Pair;
    use serde_json::json;

    use super::*;

    fn every_action() -> Vec<Action> {
        let timeout = Span::from_secs(90);
        vec![
            Action::Deploy {
                placement: Placement::Beside,
                replicas: Amount::Percent(50),
                surge: Some("25%".into()),
                unavailable: None,
                timeout,
            },
            Action::Scale {
                slot: Slot::Stable,
                replicas: Amount::Count(3),
                timeout,
            },
            Action::Route {
                split: Split {
                    candidate_weight: 500,
                    headers: vec![Pair::new("x-canary", "1")],
                    mirror_weight: 10,
                },
                settle: timeout,
            },
            Action::Check {
                gates: vec!["a".into()],
            },
            Action::Soak {
                duration: timeout,
                interval: Span::ZERO,
                gates: Vec::new(),
            },
            Action::Approve {
                prompt: "go?".into(),
                count: 2,
            },
            Action::Promote { timeout },
            Action::Retire {
                slot: Slot::Candidate,
                after: timeout,
                remove: true,
            },
            Action::Act {
                action: "backup".into(),
            },
            Action::Other {
                name: "later".into(),
                params: json!({"x": 1}),
            },
        ]
    }

    #[test]
    fn steps_come_back_as_they_went() {
        let there: Vec<Step> = every_action()
            .into_iter()
            .enumerate()
            .map(|(n, action)| Step {
                id: format!("s{n}"),
                action,
                extra: if n == 0 {
                    json!({"outage": true})
                } else {
                    serde_json::Value::Null
                },
            })
            .collect();
        assert_eq!(steps(steps_out(&there), 1000), Ok(there));
    }

    #[test]
    fn too_many_steps_and_broken_bags_are_refused() {
        let step = |extra: &str| wit::Step {
            id: "s".into(),
            action: wit::Action::Act("x".into()),
            extra: extra.into(),
        };
        assert!(steps(vec![step(""); MAX_STEPS], 1000).is_ok());
        assert!(
            steps(vec![step(""); MAX_STEPS + 1], 1000)
                .unwrap_err()
                .contains("more than")
        );
        for bag in [
            "{",
            "[]",
            "1",
            &"[".repeat(500),
            &format!("{{\"x\":\"{}\"}}", "y".repeat(1000)),
        ] {
            let fault = steps(vec![step(bag)], 1000).unwrap_err();
            assert!(fault.starts_with("step `s`: "), "{fault}");
        }
    }
}
