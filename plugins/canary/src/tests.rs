use phasegate_plugin::strategy::{Action, Amount, Autoscaler, RouterFeatures, Slot};
use phasegate_plugin::testing::{Fake, situation};
use phasegate_plugin::{Error, Problem, Result, Situation, Step};
use phasegate_plugins_shared::testing::count;
use serde_json::{Value, json};

use super::PLUGIN;

mod acting;
mod config;
mod laws;
mod replicas;
mod revising;
mod router;
mod table;

const SECOND: u32 = 1000;
const MINUTE: u32 = 60 * SECOND;

/// Ten replicas and no router.
fn bare(config: Value) -> Situation {
    let mut situation = situation("canary", config);
    situation.workload.replicas = 10;
    situation
}

/// Ten replicas behind a router that can do everything.
fn routed(config: Value) -> Situation {
    let mut situation = bare(config);
    situation.router = Some(RouterFeatures {
        weights: true,
        header_match: true,
        mirror: true,
        extra: "{}".to_owned(),
    });
    situation
}

fn autoscaled(mut situation: Situation, minimum: u32, maximum: u32) -> Situation {
    situation.workload.autoscaler = Some(Autoscaler { minimum, maximum });
    situation
}

fn plan(situation: &Situation) -> Result<Vec<Step>> {
    Fake::new().run(|| PLUGIN.plan(situation))
}

fn refused(situation: &Situation) -> Vec<Problem> {
    match plan(situation) {
        Err(Error::Misconfigured(problems)) => problems,
        other => panic!("{other:?}"),
    }
}

/// A step as a person would note it down; percentages of replicas stay as they are.
fn note(step: &Step) -> String {
    let amount = |amount: &Amount| match amount {
        Amount::Count(count) => count.to_string(),
        Amount::Percent(percent) => format!("{percent}%"),
    };
    let what = match &step.action {
        Action::Deploy(deploy) => format!("candidate {}", amount(&deploy.replicas)),
        Action::Scale(scale) => {
            let slot = match scale.slot {
                Slot::Stable => "stable",
                Slot::Candidate => "candidate",
            };
            format!("{slot} {}", amount(&scale.replicas))
        }
        Action::Route(route) => {
            let headers = route.split.headers.iter();
            let headers: String = headers
                .map(|h| format!(" {}={}", h.name, h.value))
                .collect();
            let mirror = match route.split.mirror_weight {
                0 => String::new(),
                mirror => format!(" mirror {mirror}"),
            };
            format!("traffic {}{headers}{mirror}", route.split.candidate_weight)
        }
        Action::Check(check) => format!("ask {:?}", check.gates),
        Action::Soak(soak) => format!(
            "{}s every {}s {:?}",
            soak.duration_ms / SECOND,
            soak.interval_ms / SECOND,
            soak.gates
        ),
        Action::Approve(approve) => format!("{} ({})", approve.prompt, approve.count),
        Action::Promote(_) => "promote".to_owned(),
        Action::Act(action) => format!("act {action}"),
        other => panic!("{other:?}"),
    };
    format!("{}: {what}", step.id)
}

fn notes(situation: &Situation) -> Vec<String> {
    plan(situation).unwrap().iter().map(note).collect()
}
