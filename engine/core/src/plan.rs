//! The plan: all that a run will do, computed before anything runs. It is written into the journal,
//! so its types are a format of their own and carry a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::Versioned;
use crate::judge::GatePolicy;
use crate::run::limits::WATCH_INTERVAL;
use crate::spec::Change;
use crate::spec::policy::Policy;
use crate::strategy::{Amount, Placement, RouterFeatures, Slot, Split, Step as StrategyStep};
use crate::time::Span;
use crate::workload::{Baseline, Target};

/// The version of the plan's format that this engine writes.
pub const FORMAT: u32 = 1;
/// Most steps that a plan may hold.
pub const MAX_STEPS: usize = 200;

/// Which bytes a plugin is, wherever it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Where it came from: `builtin:rolling`, `path:./mine.wasm`.
    pub source: String,
    /// `sha256:` and the digest of the component.
    pub digest: String,
    /// The version that the plugin says it is.
    pub version: String,
}

/// One offer of a plugin, with its config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Use {
    /// The plugin's name in the release.
    pub plugin: String,
    /// Which of its offers.
    pub offer: String,
    /// The offer's config.
    pub config: Value,
}

/// A gate of the release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// What is asked.
    #[serde(flatten)]
    pub offer: Use,
    /// How its verdicts over time become a decision.
    pub policy: GatePolicy,
}

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Who tells.
    #[serde(flatten)]
    pub offer: Use,
    /// The events that it tells of; empty for all.
    pub on: Vec<String>,
    /// Whether a failure to tell is retried and, in the end, told through the fallback.
    pub critical: bool,
    /// Another notifier of the plan.
    #[serde(default)]
    pub fallback: Option<String>,
}

/// What is being released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The release's name.
    pub name: String,
    /// The version that is to serve.
    pub version: String,
    /// The version that serves.
    pub previous_version: String,
    /// The environment's name.
    pub environment: String,
    /// The type of change.
    pub change: Change,
}

/// One of the things that are released: a Deployment, with what stands in front of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its name in the release.
    pub name: String,
    /// The image that is to run.
    pub image: String,
    /// Where.
    pub target: Target,
    /// What is there now.
    pub baseline: Baseline,
    /// What shares traffic between stable and candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// The ConfigMaps and Secrets that are versioned with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<Versioned>,
}

/// What shares traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Router {
    /// Who does.
    #[serde(flatten)]
    pub offer: Use,
    /// What it can do.
    pub features: RouterFeatures,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Action {
    /// Bring the new version up, and wait until every pod of it is ready.
    Deploy {
        /// In stable's Deployment or in one beside it.
        #[serde(default)]
        placement: Placement,
        /// How many pods.
        replicas: Amount,
        /// `maxSurge` for the time of the run; none keeps the workload's own.
        surge: Option<String>,
        /// `maxUnavailable` for the time of the run; none keeps the workload's own.
        unavailable: Option<String>,
        /// How long it may take.
        timeout: Span,
    },
    /// Change the number of pods, and wait until it is reached.
    Scale {
        /// Whose.
        #[serde(default)]
        slot: Slot,
        /// How many.
        replicas: Amount,
        /// How long it may take.
        timeout: Span,
    },
    /// Share traffic, and wait until the data plane has followed.
    Route {
        /// How.
        split: Split,
        /// How long the data plane may take to follow once it has taken the split.
        settle: Span,
        /// How long it may take to take it.
        timeout: Span,
    },
    /// The candidate's Deployment is stable's from now on.
    Promote,
    /// Take a version out of service.
    Retire {
        /// Which.
        slot: Slot,
        /// How long its objects are kept, with no pods; then their removal is owed.
        after: Span,
        /// Delete the objects rather than keep them with no pods.
        remove: bool,
        /// How long it may take.
        timeout: Span,
    },
    /// Ask gates until each has passed.
    Check {
        /// Gates by name.
        gates: Vec<String>,
    },
    /// Hold for a measured time, and keep asking.
    Soak {
        /// How long.
        duration: Span,
        /// How often the workload itself is looked at.
        interval: Span,
        /// Gates by name.
        gates: Vec<String>,
    },
    /// Wait for people to agree.
    Approve {
        /// What they are asked.
        prompt: String,
        /// What must be met.
        requirement: Requirement,
    },
    /// Wait for a person to vouch for something.
    Attest {
        /// The attestation's name.
        name: String,
        /// What must be vouched for.
        prompt: String,
    },
    /// Have a plugin do something beside the workloads.
    Act {
        /// The name that the release gives it, where a strategy uses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Which.
        offer: Use,
        /// Whether `objects` of its config are what manifests of the release describe.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        manifests: bool,
        /// How long it may take.
        timeout: Span,
    },
    /// Tell people.
    Notify {
        /// The notifier's name in the plan.
        notifier: String,
        /// A line.
        title: String,
        /// The whole.
        text: String,
    },
}

impl Action {
    /// Whether the step changes something outside.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(
            self,
            Self::Deploy { .. }
                | Self::Scale { .. }
                | Self::Route { .. }
                | Self::Retire { .. }
                | Self::Act { .. }
        )
    }

    /// Whether it writes the settings of stable's Deployment.
    #[must_use]
    pub const fn writes_stable(&self) -> bool {
        matches!(
            self,
            Self::Deploy {
                placement: Placement::InPlace,
                ..
            } | Self::Scale {
                slot: Slot::Stable,
                ..
            }
        )
    }

    /// A word for it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Scale { .. } => "scale",
            Self::Route { .. } => "route",
            Self::Promote => "promote",
            Self::Retire { .. } => "retire",
            Self::Check { .. } => "check",
            Self::Soak { .. } => "soak",
            Self::Approve { .. } => "approve",
            Self::Attest { .. } => "attest",
            Self::Act { .. } => "act",
            Self::Notify { .. } => "notify",
        }
    }
}

/// The smallest thing that a plan contains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique within the plan.
    pub id: String,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// The workload it is about, by its place in the plan.
    #[serde(default)]
    pub workload: usize,
    /// The step of the strategy's plan that it comes from, by its id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether it says itself that nothing serves while it is under way.
    #[serde(default)]
    pub outage: bool,
    /// Whether the old version can't come back once the step is done.
    #[serde(default)]
    pub point_of_no_return: bool,
}

impl Step {
    /// A step of the release as a whole.
    #[must_use]
    pub const fn new(id: String, action: Action) -> Self {
        Self {
            id,
            action,
            workload: 0,
            origin: None,
            outage: false,
            point_of_no_return: false,
        }
    }
}

/// A named stretch of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// The gates that a strategy's step without names means.
    #[serde(default)]
    pub gates: Vec<String>,
    /// The actions of the release that a strategy's step may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// How long the phase may take, people's waiting included.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The strategy that planned the steps, where one did, and what it said, for `revise`: for each workload
    /// one, in the order of the workloads.
    #[serde(default)]
    pub strategies: Vec<PlannedBy>,
}

/// A strategy and its plan in its own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedBy {
    /// The strategy.
    #[serde(flatten)]
    pub offer: Use,
    /// What it returned.
    pub steps: Vec<StrategyStep>,
}

/// How the way back is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPolicy {
    /// How long the way back should take; the report says whether it did.
    pub target: Span,
    /// How long stable may take to be ready again before people are called.
    pub step_timeout: Span,
    /// How often a write that fails is tried again before people are called.
    pub retries: u32,
    /// How long after success the copies are kept that only the way back needs; none where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
}

/// Something to be done after the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueTask {
    /// How long after the end.
    pub after: Span,
    /// What.
    pub task: String,
    /// After which end: `succeeded` or `rolled-back`.
    pub on: String,
}

/// What people must agree to, and who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Names it in the plan.
    pub name: String,
    /// The roles of which one is needed, for people to read.
    pub roles: Vec<String>,
    /// Who holds one of these roles.
    pub people: Vec<String>,
    /// How many must agree.
    pub count: u32,
    /// Whether who started the run may be one of them.
    pub starter_may_approve: bool,
    /// How long an approval holds.
    pub expires: Span,
}

/// An approval that a phase waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseApproval {
    /// The phase.
    pub before: String,
    /// What must be met.
    pub requirement: Requirement,
}

/// Everything a run will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// See [`FORMAT`].
    pub format: u32,
    /// What is being released.
    pub subject: Subject,
    /// What is released, in the order in which it is. Never empty.
    pub workloads: Vec<Workload>,
    /// Plugins by the name that the release gives them.
    pub plugins: BTreeMap<String, Pin>,
    /// Gates by name.
    pub gates: BTreeMap<String, Gate>,
    /// Notifiers by name.
    pub notifiers: BTreeMap<String, Notifier>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// What must be agreed to before the phase of that name begins.
    pub approvals: Vec<PhaseApproval>,
    /// When forward steps may be taken: a policy of which only the calendar is filled in.
    pub calendar: Policy,
    /// How the way back is gone.
    pub rollback: RollbackPolicy,
    /// What is owed afterwards.
    pub due: Vec<DueTask>,
    /// How long people may take before the run goes back.
    pub people_timeout: Span,
    /// The shortest soak that a strategy's revision may leave.
    pub minimum_soak: Span,
}

impl Plan {
    /// `sha256:` and the digest of the plan as JSON. Approvals are bound to it.
    #[must_use]
    pub fn digest(&self) -> String {
        // A plan holds only strings, numbers and maps with string keys: it always serialises.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let mut out = String::from("sha256:");
        for byte in Sha256::digest(&text) {
            out.push_str(&format!("{byte:02x}"));
        }
        out
    }

    /// Lets no soak last longer than it takes to ask each of its gates, and to look at the workload, so often.
    pub fn shorten_soaks(&mut self, times: u32) {
        let gates = &self.gates;
        let steps = self.phases.iter_mut().flat_map(|phase| &mut phase.steps);
        for step in steps {
            let Action::Soak {
                duration,
                interval,
                gates: asked,
            } = &mut step.action
            else {
                continue;
            };
            let policies = asked.iter().filter_map(|name| gates.get(name));
            let (mut slowest, mut first) = (WATCH_INTERVAL, Span::ZERO);
            for gate in policies {
                slowest = slowest.max(gate.policy.interval);
                first = first.max(gate.policy.initial_delay);
            }
            let every = match *interval {
                Span::ZERO => slowest,
                interval => interval,
            };
            *duration = first.plus(every.times(u64::from(times))).min(*duration);
        }
    }

    /// The workload at that place.
    #[must_use]
    pub fn workload(&self, place: usize) -> Option<&Workload> {
        self.workloads.get(place)
    }

    /// Every target, as text.
    #[must_use]
    pub fn targets(&self) -> String {
        let targets = self
            .workloads
            .iter()
            .map(|workload| workload.target.to_string());
        targets.collect::<Vec<_>>().join(", ")
    }

    /// The places of all workloads, in the order in which their targets are claimed: that of their names, so that two runs never wait
    /// for each other.
    #[must_use]
    pub fn claims(&self) -> Vec<usize> {
        let mut places = (0..self.workloads.len()).collect::<Vec<_>>();
        places.sort_by_key(|place| self.workloads.get(*place).map(|workload| &workload.target));
        places
    }

    /// Every use of a plugin but for those of steps.
    pub fn offers(&self) -> impl Iterator<Item = &Use> {
        let routers = self.workloads.iter().filter_map(|w| w.router.as_ref());
        let strategies = self.phases.iter().flat_map(|phase| &phase.strategies);
        (self.gates.values().map(|gate| &gate.offer))
            .chain(self.notifiers.values().map(|notifier| &notifier.offer))
            .chain(routers.map(|router| &router.offer))
            .chain(strategies.map(|strategy| &strategy.offer))
    }

    /// The actions that its steps are, and whether they are given manifests.
    pub fn acts(&self) -> impl Iterator<Item = (&Use, bool)> {
        self.steps().filter_map(|(_, step)| match &step.action {
            Action::Act {
                offer, manifests, ..
            } => Some((offer, *manifests)),
            _ => None,
        })
    }

    /// The approvals that it asks for, before phases and as steps.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        let phases = self.approvals.iter().map(|asked| &asked.requirement);
        let steps = self.steps().filter_map(|(_, step)| match &step.action {
            Action::Approve { requirement, .. } => Some(requirement),
            _ => None,
        });
        phases.chain(steps)
    }

    /// The steps of all phases, in order.
    pub fn steps(&self) -> impl Iterator<Item = (&Phase, &Step)> {
        self.phases
            .iter()
            .flat_map(|phase| phase.steps.iter().map(move |step| (phase, step)))
    }
}
