//! Phases and their steps.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::check::exactly_one;
use crate::time::Span;

/// A named stretch of the run: a strategy that plans the steps, or the steps themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawPhase", into = "RawPhase")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long the phase may take in all.
    pub timeout: Option<Span>,
    /// Whether the old version can't come back once the phase is done.
    pub point_of_no_return: bool,
    /// What it does.
    pub body: Body,
}

/// What a phase does.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A plugin plans the steps.
    Strategy(Strategy),
    /// The steps stand in the release.
    Steps(Vec<Step>),
}

impl Phase {
    /// The strategy, if one plans this phase.
    #[must_use]
    pub fn strategy(&self) -> Option<&Strategy> {
        match &self.body {
            Body::Strategy(strategy) => Some(strategy),
            Body::Steps(_) => None,
        }
    }

    /// The steps with their ids, in order: the id that is given, or `phase/kind-n`, where `n` counts
    /// the steps of that kind in this phase from 1. None where a strategy plans them.
    #[must_use]
    pub fn steps(&self) -> Vec<(String, &StepAction)> {
        let Body::Steps(steps) = &self.body else {
            return Vec::new();
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut named = Vec::with_capacity(steps.len());
        for Step { id, action, .. } in steps {
            let kind = action.kind();
            let count = counts.entry(kind).or_default();
            *count = count.saturating_add(1);
            let default = || format!("{}/{kind}-{count}", self.name);
            named.push((id.clone().unwrap_or_else(default), action));
        }
        named
    }

    /// The steps that are actions, by their places.
    pub(super) fn acts(&self) -> impl Iterator<Item = (usize, &Act)> {
        let steps: &[Step] = match &self.body {
            Body::Steps(steps) => steps,
            Body::Strategy(_) => &[],
        };
        let steps = steps.iter().enumerate();
        steps.filter_map(|(place, step)| match &step.action {
            StepAction::Act(act) => Some((place, act)),
            _ => None,
        })
    }

    /// The same, to be filled in.
    pub(super) fn acts_mut(&mut self) -> impl Iterator<Item = (usize, &mut Act)> {
        let steps: &mut [Step] = match &mut self.body {
            Body::Steps(steps) => steps,
            Body::Strategy(_) => &mut [],
        };
        let steps = steps.iter_mut().enumerate();
        steps.filter_map(|(place, step)| match &mut step.action {
            StepAction::Act(act) => Some((place, act)),
            _ => None,
        })
    }
}

/// A plugin that plans the steps of a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// The plugin.
    pub plugin: String,
    /// Which of the plugin's strategies, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The strategy's own config.
    #[serde(default = "super::empty_config")]
    pub config: serde_json::Value,
    /// The gates that the strategy's checks and soaks ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// The actions of the release that the strategy may use, by name. For each workload it says when, if at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
}

/// The smallest thing that a phase contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawStep", into = "RawStep")]
pub struct Step {
    /// Its name in the journal and on the screen, if one is given.
    pub id: Option<String>,
    /// Whether the old version can't come back once the step is done.
    pub point_of_no_return: bool,
    /// What it does.
    pub action: StepAction,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepAction {
    /// Ask gates until each has passed.
    Check(Vec<String>),
    /// Hold for a measured time and keep asking.
    Soak(Soak),
    /// Wait for people to approve.
    Approve(Approve),
    /// Wait for a person to vouch for something.
    Attest(Attest),
    /// Have a plugin do something beside the workloads.
    Act(Act),
    /// Tell people.
    Notify(Notify),
}

impl StepAction {
    /// The word as it stands in the file.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Check(_) => "check",
            Self::Soak(_) => "soak",
            Self::Approve(_) => "approve",
            Self::Attest(_) => "attest",
            Self::Act(_) => "act",
            Self::Notify(_) => "notify",
        }
    }
}

/// Hold for a measured time and keep asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Soak {
    /// How long, in measured time: a gap in the measurements adds nothing.
    #[serde(rename = "for")]
    pub duration: Span,
    /// How often the workload is looked at; gates have intervals of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// The gates to keep asking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
}

/// Wait for people to approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    /// What they are asked.
    pub prompt: String,
    /// Who may approve: anybody who holds one of these roles.
    pub roles: Vec<String>,
    /// How many people must approve.
    #[serde(default = "super::one")]
    pub count: u32,
    /// How long an approval holds. The policy's length if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Span>,
}

/// Wait for a person to vouch for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attest {
    /// The attestation's name, which `phasegate attest` takes.
    pub name: String,
    /// What must be vouched for.
    pub prompt: String,
}

/// Have a plugin do something beside the workloads. It is undone on the way back, if it can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Act {
    /// The plugin.
    pub plugin: String,
    /// Which of the plugin's actions, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The action's own config.
    #[serde(default = "super::empty_config")]
    pub config: serde_json::Value,
    /// Manifests for an action that takes some: whoever plans reads them, and the action gets what they describe as
    /// `objects` of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<super::Manifests>,
    /// How long it may take, from looking to being done.
    #[serde(default = "act_timeout")]
    pub timeout: Span,
}

const fn act_timeout() -> Span {
    Span::from_mins(10)
}

/// Tell people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    /// The notification of the release to tell through.
    pub notification: String,
    /// A line.
    pub title: String,
    /// The whole text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// A phase of the run: give either `strategy` or `steps`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Phase", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["strategy"]}, {"required": ["steps"]}]))]
struct RawPhase {
    /// Its name: lower-case letters, digits and hyphens.
    name: String,
    /// How long the phase may take in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    /// Whether the old version can't come back once the phase is done: what goes wrong later leaves the new version
    /// where it is, and calls people.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    point_of_no_return: bool,
    /// A plugin that plans the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strategy: Option<Strategy>,
    /// The steps themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<Step>>,
}

impl TryFrom<RawPhase> for Phase {
    type Error = String;

    fn try_from(raw: RawPhase) -> Result<Self, Self::Error> {
        let body = exactly_one(
            "a phase",
            [
                ("strategy", raw.strategy.map(Body::Strategy)),
                ("steps", raw.steps.map(Body::Steps)),
            ],
        )?;
        Ok(Self {
            name: raw.name,
            timeout: raw.timeout,
            point_of_no_return: raw.point_of_no_return,
            body,
        })
    }
}

impl From<Phase> for RawPhase {
    fn from(phase: Phase) -> Self {
        let (strategy, steps) = match phase.body {
            Body::Strategy(strategy) => (Some(strategy), None),
            Body::Steps(steps) => (None, Some(steps)),
        };
        Self {
            name: phase.name,
            timeout: phase.timeout,
            point_of_no_return: phase.point_of_no_return,
            strategy,
            steps,
        }
    }
}

/// A step of a phase: give exactly one of `check`, `soak`, `approve`, `attest`, `act` and `notify`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Step", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["check"]}, {"required": ["soak"]}, {"required": ["approve"]}, {"required": ["attest"]}, {"required": ["act"]}, {"required": ["notify"]}
]))]
struct RawStep {
    /// Its name in the journal and on the screen; `phase/kind-n` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Whether the old version can't come back once the step is done: what goes wrong later leaves the new version
    /// where it is, and calls people. For a step that stands for what can't be undone, such as an attestation that
    /// old columns were dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    point_of_no_return: bool,
    /// Ask these gates until each has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Vec<String>>,
    /// Hold for a measured time and keep asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soak: Option<Soak>,
    /// Wait for people to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approve: Option<Approve>,
    /// Wait for a person to vouch for something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attest: Option<Attest>,
    /// Have a plugin do something beside the workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
    /// Tell people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<Notify>,
}

impl TryFrom<RawStep> for Step {
    type Error = String;

    fn try_from(raw: RawStep) -> Result<Self, Self::Error> {
        let action = exactly_one(
            "a step",
            [
                ("check", raw.check.map(StepAction::Check)),
                ("soak", raw.soak.map(StepAction::Soak)),
                ("approve", raw.approve.map(StepAction::Approve)),
                ("attest", raw.attest.map(StepAction::Attest)),
                ("act", raw.act.map(StepAction::Act)),
                ("notify", raw.notify.map(StepAction::Notify)),
            ],
        )?;
        Ok(Self {
            id: raw.id,
            point_of_no_return: raw.point_of_no_return,
            action,
        })
    }
}

impl From<Step> for RawStep {
    fn from(step: Step) -> Self {
        let mut raw = Self {
            id: step.id,
            point_of_no_return: step.point_of_no_return,
            ..Self::default()
        };
        match step.action {
            StepAction::Check(gates) => raw.check = Some(gates),
            StepAction::Soak(soak) => raw.soak = Some(soak),
            StepAction::Approve(approve) => raw.approve = Some(approve),
            StepAction::Attest(attest) => raw.attest = Some(attest),
            StepAction::Act(act) => raw.act = Some(act),
            StepAction::Notify(notify) => raw.notify = Some(notify),
        }
        raw
    }
}
