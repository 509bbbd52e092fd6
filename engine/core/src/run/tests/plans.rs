//! Plans to run.

use std::collections::BTreeMap;

use crate::config::{self, ConfigCopy, ConfigKind, Content, Versioned};
use crate::judge::GatePolicy;
use crate::plan::*;
use crate::spec::Change;
use crate::spec::policy::Policy;
use crate::strategy::{self, Amount, Placement, Slot};
use crate::time::Span;
use crate::workload::{Baseline, Beside, Rollout, Settings, Target};

pub(in crate::run) const OLD: &str = "shop/api:1.4.0";
pub(in crate::run) const NEW: &str = "shop/api:1.5.0";
pub(in crate::run) const UID: &str = "uid-1";

pub(in crate::run) fn secs(s: u64) -> Span {
    Span::from_secs(s)
}

pub(in crate::run) fn mins(m: u64) -> Span {
    Span::from_mins(m)
}

pub(in crate::run) fn offer(plugin: &str) -> Use {
    Use {
        plugin: plugin.to_owned(),
        offer: plugin.to_owned(),
        config: serde_json::json!({"ratio": 0.1, "nested": {"z": 1, "a": [1.5, 2]}}),
    }
}

pub(in crate::run) fn policy() -> GatePolicy {
    GatePolicy {
        interval: secs(10),
        initial_delay: Span::ZERO,
        sustained: Span::ZERO,
        failure_limit: 0,
        inconclusive_limit: 2,
        error_limit: 2,
        timeout: secs(10),
        bands: BTreeMap::new(),
        hold: mins(5),
    }
}

pub(in crate::run) fn gate() -> Gate {
    Gate {
        offer: offer("probe"),
        policy: policy(),
    }
}

pub(in crate::run) fn step(id: &str, action: Action) -> Step {
    Step::new(id.to_owned(), action)
}

pub(in crate::run) fn deploy() -> Action {
    Action::Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(100),
        surge: Some("25%".to_owned()),
        unavailable: Some("0".to_owned()),
        timeout: mins(5),
    }
}

pub(in crate::run) fn check(gates: &[&str]) -> Action {
    Action::Check {
        gates: gates.iter().map(|&gate| gate.to_owned()).collect(),
    }
}

pub(in crate::run) fn soak(duration: Span, gates: &[&str]) -> Action {
    Action::Soak {
        duration,
        interval: secs(10),
        gates: gates.iter().map(|&gate| gate.to_owned()).collect(),
    }
}

pub(in crate::run) fn phase(name: &str, steps: Vec<Step>) -> Phase {
    Phase {
        name: name.to_owned(),
        steps,
        gates: vec!["health".to_owned(), "errors".to_owned()],
        actions: Vec::new(),
        timeout: None,
        strategies: Vec::new(),
    }
}

pub(in crate::run) fn requirement(name: &str, people: &[&str], count: u32) -> Requirement {
    Requirement {
        name: name.to_owned(),
        roles: vec!["lead".to_owned()],
        people: people.iter().map(|&person| person.to_owned()).collect(),
        count,
        starter_may_approve: false,
        expires: mins(60),
    }
}

pub(in crate::run) fn notifier(critical: bool, fallback: Option<&str>) -> Notifier {
    Notifier {
        offer: offer("chat"),
        on: Vec::new(),
        critical,
        fallback: fallback.map(str::to_owned),
    }
}

pub(in crate::run) fn with_phases(phases: Vec<Phase>) -> Plan {
    let settings = Settings {
        image: OLD.to_owned(),
        replicas: 3,
        rollout: Rollout::RollingUpdate {
            surge: "1".to_owned(),
            unavailable: "0".to_owned(),
        },
    };
    Plan {
        format: FORMAT,
        subject: Subject {
            name: "shop".to_owned(),
            version: "1.5.0".to_owned(),
            previous_version: "1.4.0".to_owned(),
            environment: "production".to_owned(),
            change: Change::Minor,
        },
        workloads: vec![Workload {
            name: "api".to_owned(),
            image: NEW.to_owned(),
            router: None,
            configs: Vec::new(),
            target: Target {
                cluster: "simulated".to_owned(),
                namespace: "shop".to_owned(),
                workload: "api".to_owned(),
                deployment: "api".to_owned(),
                container: "api".to_owned(),
                service: Some("api".to_owned()),
                config_maps: Vec::new(),
                secrets: Vec::new(),
                beside: None,
            },
            baseline: Baseline {
                uid: UID.to_owned(),
                resource_version: "7".to_owned(),
                revision: 3,
                settings,
                version: "1.4.0".to_owned(),
                ready: 3,
                autoscaler: None,
                template_digest: "template".to_owned(),
                self_healing: None,
                labels: BTreeMap::new(),
                idle: None,
            },
        }],
        plugins: BTreeMap::new(),
        gates: [("health".to_owned(), gate()), ("errors".to_owned(), gate())].into(),
        notifiers: [("chat".to_owned(), notifier(false, None))].into(),
        phases,
        approvals: Vec::new(),
        calendar: Policy::default(),
        rollback: RollbackPolicy {
            target: mins(5),
            step_timeout: mins(5),
            retries: 3,
            keep: None,
        },
        due: vec![
            DueTask {
                after: mins(60),
                task: "tag the release".to_owned(),
                on: "succeeded".to_owned(),
            },
            DueTask {
                after: mins(30),
                task: "write the post-mortem".to_owned(),
                on: "rolled-back".to_owned(),
            },
        ],
        people_timeout: mins(120),
        minimum_soak: secs(30),
    }
}

/// The ConfigMap that a workload is released with: a copy of its own for the new version.
pub(in crate::run) fn versioned(of: &str) -> Versioned {
    let data = [("level".to_owned(), "new".to_owned())].into();
    Versioned {
        copy: ConfigCopy {
            kind: ConfigKind::ConfigMap,
            of: of.to_owned(),
            name: config::copy_of_data("api", of, &data),
            content: Content::Release { data },
        },
        before: of.to_owned(),
        idle: None,
        there: false,
        changes: Vec::new(),
    }
}

/// The same with two ConfigMaps that are versioned.
pub(in crate::run) fn configured(mut plan: Plan) -> Plan {
    for workload in &mut plan.workloads {
        workload.configs = vec![versioned("flags"), versioned("limits")];
    }
    plan
}

/// The same where stable refers to copies that earlier releases left, and what is kept beside it to older ones: these are
/// to go an hour after success.
pub(in crate::run) fn released_before(plan: Plan) -> Plan {
    let mut plan = configured(plan);
    plan.rollback.keep = Some(mins(60));
    for workload in &mut plan.workloads {
        for config in &mut workload.configs {
            config.before = format!("{}-pgaaaaaaaaaa", config.copy.of);
        }
        if let Some(config) = workload.configs.first_mut() {
            config.idle = Some(format!("{}-pgbbbbbbbbbb", config.copy.of));
        }
    }
    plan
}

/// The same with a pod template of the release, and a ConfigMap on top of it.
pub(in crate::run) fn templated(mut plan: Plan) -> Plan {
    for workload in &mut plan.workloads {
        let copy = |name: &str, content| ConfigCopy {
            kind: ConfigKind::Template,
            of: "api".to_owned(),
            name: name.to_owned(),
            content,
        };
        let kept = Versioned {
            copy: copy(
                OLD_TEMPLATE,
                Content::Live {
                    deployment: "api".to_owned(),
                    uid: UID.to_owned(),
                    digest: workload.baseline.template_digest.clone(),
                },
            ),
            before: OLD_TEMPLATE.to_owned(),
            idle: None,
            there: false,
            changes: Vec::new(),
        };
        let new = Versioned {
            copy: copy(
                NEW_TEMPLATE,
                Content::Manifest {
                    digest: NEW_TEMPLATE.to_owned(),
                    alone: "alone".to_owned(),
                },
            ),
            ..kept.clone()
        };
        workload.configs = vec![kept, new, versioned("flags")];
    }
    plan
}

/// The copies of the pod templates.
pub(in crate::run) const OLD_TEMPLATE: &str = "api-pg0000000000";
pub(in crate::run) const NEW_TEMPLATE: &str = "api-pg1111111111";

/// Check, deploy, soak.
pub(in crate::run) fn rolling() -> Plan {
    with_phases(vec![
        phase("preflight", vec![step("preflight/1", check(&["health"]))]),
        phase(
            "deploy",
            vec![
                step("deploy/bring-up", deploy()),
                step("deploy/soak", soak(mins(1), &["health", "errors"])),
            ],
        ),
    ])
}

/// Down, deploy, check.
pub(in crate::run) fn recreate() -> Plan {
    let mut down = step(
        "deploy/down",
        Action::Scale {
            slot: Slot::Stable,
            replicas: Amount::Count(0),
            timeout: mins(5),
        },
    );
    down.outage = true;
    with_phases(vec![phase(
        "deploy",
        vec![
            down,
            step(
                "deploy/bring-up",
                Action::Deploy {
                    placement: Placement::InPlace,
                    replicas: Amount::Percent(100),
                    surge: None,
                    unavailable: None,
                    timeout: mins(5),
                },
            ),
            step("deploy/check", check(&["health"])),
        ],
    )])
}

/// The words in which a strategy would have planned `deploy/soak` and a check after it.
pub(in crate::run) fn with_strategy() -> Plan {
    let words = |id: &str, action| strategy::Step {
        id: id.to_owned(),
        action,
        extra: serde_json::Value::Null,
    };
    let mut plan = rolling();
    plan.phases[1]
        .steps
        .push(step("deploy/last", check(&["health"])));
    for (step, origin) in plan.phases[1]
        .steps
        .iter_mut()
        .zip(["bring-up", "soak", "last"])
    {
        step.origin = Some(origin.to_owned());
    }
    plan.phases[1].strategies = vec![PlannedBy {
        offer: offer("rolling"),
        steps: vec![
            words(
                "bring-up",
                strategy::Action::Deploy {
                    placement: Placement::InPlace,
                    replicas: Amount::Percent(100),
                    surge: None,
                    unavailable: None,
                    timeout: mins(5),
                },
            ),
            words(
                "soak",
                strategy::Action::Soak {
                    duration: mins(1),
                    interval: secs(10),
                    gates: Vec::new(),
                },
            ),
            words(
                "last",
                strategy::Action::Check {
                    gates: vec!["health".to_owned()],
                },
            ),
        ],
    }];
    plan
}

fn besides(replicas: u32) -> Action {
    Action::Deploy {
        placement: Placement::Beside,
        replicas: Amount::Count(replicas),
        surge: None,
        unavailable: None,
        timeout: mins(5),
    }
}

fn scaled(slot: Slot, replicas: u32) -> Action {
    Action::Scale {
        slot,
        replicas: Amount::Count(replicas),
        timeout: mins(5),
    }
}

fn routed(weight: u32) -> Action {
    Action::Route {
        split: strategy::Split::weight(weight),
        settle: secs(5),
        timeout: mins(2),
    }
}

fn retire(slot: Slot) -> Action {
    Action::Retire {
        slot,
        after: mins(60),
        remove: true,
        timeout: mins(5),
    }
}

/// A plan of one phase, with a place for a candidate.
pub(in crate::run) fn with_candidate(actions: Vec<(&str, Action)>, routed: bool) -> Plan {
    let steps = actions
        .into_iter()
        .map(|(id, action)| step(&format!("deploy/{id}"), action));
    let mut plan = with_phases(vec![phase("deploy", steps.collect())]);
    let workload = &mut plan.workloads[0];
    workload.target.beside = Some(Beside {
        deployment: "api-candidate".to_owned(),
        service: routed.then(|| "api-candidate".to_owned()),
        live: None,
        colour: None,
        labels: BTreeMap::new(),
        stable_selector: BTreeMap::new(),
        candidate_selector: BTreeMap::new(),
    });
    workload.router = routed.then(|| Router {
        offer: offer("router"),
        features: strategy::RouterFeatures {
            weights: true,
            header_match: true,
            mirror: true,
        },
    });
    plan
}

/// A third of the traffic, then all of it, then stable's Deployment takes the new version.
pub(in crate::run) fn canary() -> Plan {
    let mut plan = with_candidate(
        vec![
            ("up", besides(1)),
            ("a-third", routed(3000)),
            ("soak", soak(mins(1), &["health"])),
            ("full", scaled(Slot::Candidate, 3)),
            ("all", routed(10_000)),
            ("promote-stable", deploy()),
            ("promote-route", routed(0)),
            ("promote-retire", retire(Slot::Candidate)),
        ],
        true,
    );
    plan.workloads[0].baseline.autoscaler = Some(strategy::Autoscaler {
        minimum: 2,
        maximum: 6,
    });
    plan
}

/// Pod by pod, without a router.
pub(in crate::run) fn canary_by_replicas() -> Plan {
    with_candidate(
        vec![
            ("up", besides(1)),
            ("two-left", scaled(Slot::Stable, 2)),
            ("soak", soak(mins(1), &["health"])),
            ("full", scaled(Slot::Candidate, 3)),
            ("none-left", scaled(Slot::Stable, 0)),
            ("promote-stable", deploy()),
            ("promote-retire", retire(Slot::Candidate)),
        ],
        false,
    )
}

/// All at once, and stable is kept for an hour.
pub(in crate::run) fn blue_green() -> Plan {
    with_candidate(
        vec![
            ("up", besides(3)),
            ("preview", check(&["health"])),
            ("switch", routed(10_000)),
            ("soak", soak(mins(1), &["health"])),
            ("promote", Action::Promote),
            ("retire", retire(Slot::Stable)),
        ],
        true,
    )
}

/// Three services one after the other: in place, blue-green, and a canary. Stable of the second is taken out
/// of service last.
pub(in crate::run) fn three_services() -> Plan {
    let mut plan = rolling();
    plan.phases.truncate(1);
    let mut steps = Vec::new();
    for (place, (name, other)) in [("api", rolling()), ("web", blue_green()), ("pay", canary())]
        .into_iter()
        .enumerate()
    {
        let mut workload = other.workloads[0].clone();
        workload.name = name.to_owned();
        workload.target.workload = name.to_owned();
        let last = other.phases.len() - 1;
        for mut step in other.phases[last].steps.clone() {
            step.workload = place;
            step.id = format!("{name}/{}", step.id);
            steps.push(step);
        }
        if place == 0 {
            plan.workloads.clear();
        }
        plan.workloads.push(workload);
    }
    let retires = |step: &Step| {
        matches!(
            step.action,
            Action::Retire {
                slot: Slot::Stable,
                ..
            }
        )
    };
    let (last, mut first): (Vec<_>, Vec<_>) = steps.into_iter().partition(retires);
    first.extend(last);
    plan.phases.push(phase("deploy", first));
    plan
}

#[test]
fn a_soak_is_shortened_to_so_many_evaluations_of_its_slowest_gate_and_never_made_longer() {
    let soak = |duration, interval, gates: &[&str]| Action::Soak {
        duration,
        interval,
        gates: gates.iter().map(|name| (*name).to_owned()).collect(),
    };
    let mut slow = gate();
    slow.policy.interval = mins(2);
    slow.policy.initial_delay = mins(5);
    let steps = vec![
        step("a", soak(mins(90), Span::ZERO, &["health"])),
        step("b", soak(mins(90), Span::ZERO, &["health", "slow"])),
        step("c", soak(mins(90), secs(20), &["health", "slow"])),
        step("d", soak(mins(1), Span::ZERO, &["health"])),
        step("e", soak(mins(90), Span::ZERO, &[])),
    ];
    let mut plan = with_phases(vec![phase("p", steps)]);
    plan.gates.insert("slow".to_owned(), slow);
    plan.shorten_soaks(4);
    let lasts: Vec<Span> = plan
        .steps()
        .filter_map(|(_, step)| match step.action {
            Action::Soak { duration, .. } => Some(duration),
            _ => None,
        })
        .collect();
    // Four looks at the workload; five minutes and four times two; five minutes and four times twenty seconds.
    assert_eq!(lasts, [mins(2), mins(13), secs(380), mins(1), mins(2)]);
}
