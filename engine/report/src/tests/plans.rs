//! A plan to run: approval, preflight, deploy, a check and a soak.

use std::collections::BTreeMap;

use phasegate_core::judge::GatePolicy;
use phasegate_core::plan::{
    Action, DueTask, FORMAT, Gate, Notifier, Phase, Pin, Plan, RollbackPolicy, Step, Subject, Use,
    Workload,
};
use phasegate_core::spec::Change;
use phasegate_core::spec::policy::Policy;
use phasegate_core::strategy::{Amount, Placement};
use phasegate_core::time::Span;
use phasegate_core::workload::{Baseline, Rollout, Settings, Target};

pub(super) fn minutes(count: u64) -> Span {
    Span::from_mins(count)
}

fn gate() -> Gate {
    Gate {
        offer: Use {
            plugin: "probe".to_owned(),
            offer: "errors".to_owned(),
            config: serde_json::Value::Null,
        },
        policy: GatePolicy {
            interval: Span::from_secs(10),
            initial_delay: Span::ZERO,
            sustained: Span::ZERO,
            failure_limit: 0,
            inconclusive_limit: 10,
            error_limit: 10,
            timeout: Span::from_secs(5),
            bands: BTreeMap::new(),
            hold: minutes(5),
        },
    }
}

fn step(id: &str, action: Action) -> Step {
    Step::new(id.to_owned(), action)
}

fn phase(name: &str, steps: Vec<Step>) -> Phase {
    Phase {
        name: name.to_owned(),
        steps,
        gates: Vec::new(),
        actions: Vec::new(),
        timeout: None,
        strategies: Vec::new(),
    }
}

/// Check, deploy, and soak for so long under these gates.
pub(super) fn plan(soak: Span, gates: &[&str]) -> Plan {
    let names: Vec<String> = gates.iter().map(|&gate| gate.to_owned()).collect();
    let deploy = Action::Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(100),
        surge: None,
        unavailable: None,
        timeout: minutes(5),
    };
    let check = Action::Check {
        gates: names.clone(),
    };
    let soak = Action::Soak {
        duration: soak,
        interval: Span::from_secs(10),
        gates: names.clone(),
    };
    let due = |on: &str, task: &str| DueTask {
        after: minutes(1440),
        task: task.to_owned(),
        on: on.to_owned(),
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
            image: "shop/api:1.5.0".to_owned(),
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
                uid: "uid-1".to_owned(),
                resource_version: "7".to_owned(),
                revision: 3,
                settings: Settings {
                    image: "shop/api:1.4.0".to_owned(),
                    replicas: 3,
                    rollout: Rollout::RollingUpdate {
                        surge: "1".to_owned(),
                        unavailable: "0".to_owned(),
                    },
                },
                version: "1.4.0".to_owned(),
                ready: 3,
                autoscaler: None,
                template_digest: "template".to_owned(),
                self_healing: None,
                labels: BTreeMap::new(),
                idle: None,
            },
        }],
        plugins: BTreeMap::from([(
            "probe".to_owned(),
            Pin {
                source: "path:./probe.wasm".to_owned(),
                digest: "sha256:0123".to_owned(),
                version: "0.1.0".to_owned(),
            },
        )]),
        gates: names.into_iter().map(|name| (name, gate())).collect(),
        notifiers: BTreeMap::<String, Notifier>::new(),
        phases: vec![
            phase("deploy", vec![step("deploy/deploy", deploy)]),
            phase(
                "verify",
                vec![step("verify/check", check), step("verify/soak", soak)],
            ),
        ],
        approvals: Vec::new(),
        calendar: Policy::default(),
        rollback: RollbackPolicy {
            target: minutes(5),
            step_timeout: minutes(5),
            retries: 3,
            keep: None,
        },
        due: vec![
            due("succeeded", "tag the release"),
            due("rolled-back", "write the post-mortem"),
        ],
        people_timeout: minutes(120),
        minimum_soak: Span::from_secs(30),
    }
}
