//! Records come out of a journal as they went in, and a run with them.

use super::plans::*;
use super::sim::*;
use crate::diagnostic::codes;
use crate::effect::*;
use crate::event::*;
use crate::failure::{Failure, Kind, Problem};
use crate::plan::Plan;
use crate::run::Run;
use crate::strategy;
use crate::time::{Span, Timestamp};
use crate::verdict::*;
use crate::workload::*;

fn round(event: Event) {
    let record = Record {
        at: Timestamp::from_millis(1_790_000_000_123),
        event,
    };
    let text = serde_json::to_string(&record).unwrap();
    let read: Record = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(read, record, "{text}");
    let value = serde_json::to_value(&record).unwrap();
    assert_eq!(serde_json::from_value::<Record>(value).unwrap(), record);
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn observation() -> Observation {
    Observation {
        watched: false,
        at: Timestamp::from_millis(5),
        uid: UID.to_owned(),
        generation: 3,
        observed_generation: 2,
        settings: Settings {
            image: NEW.to_owned(),
            replicas: 3,
            rollout: Rollout::Recreate,
        },
        template_digest: "d".to_owned(),
        total: 4,
        updated: 1,
        ready: 3,
        available: 3,
        deadline_exceeded: true,
        marks: Marks {
            run: some("r"),
            epoch: Some(4),
            effect: None,
        },
        pods: vec![Pod {
            name: "p".to_owned(),
            image: NEW.to_owned(),
            ready: false,
            restarts: 2,
            waiting: some("CrashLoopBackOff"),
            terminating: true,
        }],
        autoscaler: None,
        beside: None,
    }
}

fn full_verdict() -> Verdict {
    Verdict {
        needs: Some(Span::from_millis(90_001)),
        memory: Some(serde_json::json!({"outcome": "done", "event": [1, 2.5, null]})),
        extra: serde_json::json!({"at": "now"}),
        links: vec![Link {
            title: "board".to_owned(),
            url: "https://example.com/".to_owned(),
        }],
        ..verdict(Status::Inconclusive)
    }
}

fn words() -> Vec<strategy::Step> {
    with_strategy().phases[1].strategies[0].clone().steps
}

fn dones() -> Vec<Done> {
    vec![
        Done::Claimed,
        Done::Changed,
        Done::Released,
        Done::Observed {
            observation: Box::new(observation()),
        },
        Done::Judged {
            verdict: Box::new(full_verdict()),
        },
        Done::Revised { steps: None },
        Done::Revised {
            steps: Some(words()),
        },
        Done::Diagnosed {
            diagnosis: Diagnosis {
                events: vec!["e".to_owned()],
                logs: Vec::new(),
            },
        },
        Done::Notified { thread: None },
        Done::Notified {
            thread: Some(serde_json::json!({"progress": "running"})),
        },
    ]
}

fn failures() -> Vec<Failure> {
    [
        Kind::Pending,
        Kind::Retryable,
        Kind::Permanent,
        Kind::Misconfigured,
        Kind::Trap,
        Kind::Timeout,
        Kind::OutOfMemory,
        Kind::Denied,
        Kind::Incompatible,
        Kind::Conflict,
        Kind::Fenced,
    ]
    .into_iter()
    .map(|kind| Failure {
        kind,
        code: codes::TARGET_BUSY,
        message: "no".to_owned(),
        after: (kind == Kind::Pending).then_some(Span::from_millis(1500)),
        problems: vec![Problem {
            pointer: "/a".to_owned(),
            message: "b".to_owned(),
        }],
    })
    .collect()
}

fn requests() -> Vec<Request> {
    let side = Side {
        version: "1".to_owned(),
        service: String::new(),
        labels: vec![Pair::new("a", "b")],
    };
    let interval = Interval {
        since: Timestamp::ZERO,
        until: Timestamp::from_millis(9),
    };
    let change = |fields| Request::Change {
        change: Change {
            slot: crate::strategy::Slot::Stable,
            fields,
            uid: UID.to_owned(),
            expected_image: None,
            marked: false,
        },
    };
    let full = Fields {
        image: some(NEW),
        replicas: Some(0),
        rollout: Some(Rollout::RollingUpdate {
            surge: "25%".to_owned(),
            unavailable: "0".to_owned(),
        }),
        configs: vec![crate::config::Reference {
            kind: crate::config::ConfigKind::Secret,
            of: "keys".to_owned(),
            name: "keys-pg0123456789".to_owned(),
        }],
    };
    vec![
        Request::Claim {
            plan: "sha256:1".to_owned(),
            started_by: "ann".to_owned(),
        },
        change(Fields::default()),
        change(full),
        Request::Release { to: None },
        Request::Release {
            to: Some(Successor {
                run: "run-2".to_owned(),
                started_by: "bob".to_owned(),
            }),
        },
        Request::Observe { watched: false },
        Request::Evaluate {
            gate: "health".to_owned(),
            question: Box::new(Question {
                window: interval,
                baseline: interval,
                candidate_weight: 10_000,
                candidate: side.clone(),
                stable: side,
                evaluation: 3,
                memory: Some(serde_json::json!([0.1, "x"])),
            }),
        },
        Request::Revise {
            replicas: 3,
            done: vec![strategy::StepOutcome {
                step: "s".to_owned(),
                elapsed: secs(3),
                judged: vec![strategy::Judged {
                    gate: "g".to_owned(),
                    status: Status::Fail,
                    values: serde_json::json!([{"candidate": 0.30000000000000004}]),
                }],
            }],
            remaining: words(),
        },
        Request::Diagnose,
        Request::Notify {
            notifier: "chat".to_owned(),
            notice: Box::new(Notice {
                event: "started".to_owned(),
                severity: Severity::Critical,
                title: "t".to_owned(),
                text: "x".to_owned(),
                fields: vec![Pair::new("run", "1")],
                links: Vec::new(),
                thread: Some(serde_json::json!("ts")),
            }),
        },
    ]
}

fn commands() -> Vec<Command> {
    let mut commands = vec![
        Command::Retry,
        Command::Supersede {
            run: "run-2".to_owned(),
            targets: vec!["simulated/shop/api".to_owned()],
        },
    ];
    for reason in [None, some("because")] {
        commands.push(Command::Abort {
            reason: reason.clone(),
        });
        commands.push(Command::Pause {
            reason: reason.clone(),
        });
        commands.push(Command::RollBack {
            reason: reason.clone(),
        });
        commands.push(Command::Approve {
            plan: "sha256:1".to_owned(),
            requirement: reason,
        });
    }
    for drift in [None, Some(DriftAnswer::Adopt), Some(DriftAnswer::Force)] {
        commands.push(Command::Continue { drift });
    }
    commands.push(Command::Attest {
        name: "n".to_owned(),
        text: "t".to_owned(),
    });
    commands.push(Command::Skip {
        step: "restore".to_owned(),
    });
    commands.push(Command::HandOver {
        reason: "r".to_owned(),
    });
    commands.push(Command::Discharge { obligation: 3 });
    commands
}

#[test]
fn every_event_is_read_as_it_was_written() {
    round(Event::Planned {
        plan: Box::new(with_strategy()),
        started_by: person("ann"),
        supersedes: Some("run-0".to_owned()),
    });
    round(Event::Driving {
        engine: "e".to_owned(),
        epoch: u64::MAX,
    });
    round(Event::Woke);
    for by in [None, some("run-2")] {
        round(Event::Unclaimed { workload: 1, by });
    }
    round(Event::Faulted {
        reason: "r".to_owned(),
    });
    round(Event::Interrupted {
        cause: "SIGTERM".to_owned(),
    });
}

#[test]
fn every_request_is_read_as_it_was_written() {
    for request in requests() {
        for (direction, step) in [
            (Direction::Forward, some("deploy/1")),
            (Direction::Back, None),
        ] {
            round(Event::Intended {
                effect: Box::new(Effect {
                    workload: 0,
                    id: Id(7),
                    key: "run/1".to_owned(),
                    direction,
                    step,
                    request: request.clone(),
                }),
            });
        }
    }
}

#[test]
fn every_outcome_is_read_as_it_was_written() {
    let finished = |outcome| {
        round(Event::Finished {
            effect: Id(7),
            outcome,
        });
    };
    let probed = |progress| {
        round(Event::Probed {
            effect: Id(7),
            progress,
        });
    };
    for done in dones() {
        finished(Outcome::Done(done.clone()));
        probed(Progress::Done(done));
    }
    for failure in failures() {
        finished(Outcome::Failed { failure });
    }
    finished(Outcome::Unknown {
        message: "m".to_owned(),
    });
    probed(Progress::NotDone);
    probed(Progress::Running {
        after: Span::from_millis(1),
    });
    probed(Progress::Unknown {
        message: "m".to_owned(),
    });
}

#[test]
fn every_command_is_read_as_it_was_written() {
    for command in commands() {
        for inbox in [None, Some(3)] {
            round(Event::Commanded {
                by: person("bob"),
                command: command.clone(),
                inbox,
            });
        }
    }
}

#[test]
fn a_plans_digest_survives_the_journal() {
    for mut plan in [rolling(), recreate(), with_strategy()] {
        for figure in [0.1 + 0.2, 1.0, 1e300, 5e-324, -0.0, 123_456_789.123_456_79] {
            plan.gates.get_mut("health").unwrap().offer.config =
                serde_json::json!({"z": figure, "a": {"y": [figure, null], "b": "ü"}});
            let text = serde_json::to_string(&plan).unwrap();
            let read: Plan = serde_json::from_str(&text).unwrap();
            assert_eq!(read, plan);
            assert_eq!(read.digest(), plan.digest());
        }
    }
}

#[test]
fn a_thread_of_nothing_is_no_thread() {
    let mut sim = Sim::new(rolling());
    sim.drive();
    let asked = |sim: &Sim| match &sim.records.last()?.event {
        Event::Intended { effect } if effect.request.kind() == "notify" => Some(effect.id),
        _ => None,
    };
    sim.until(|sim| asked(sim).is_some());
    let id = asked(&sim).unwrap();
    let null = Event::Finished {
        effect: id,
        outcome: Outcome::Done(Done::Notified {
            thread: Some(serde_json::Value::Null),
        }),
    };
    sim.try_record(null).unwrap();
    assert!(sim.run.threads.is_empty());
}

#[test]
fn a_journal_begins_with_a_plan_and_has_one() {
    assert!(Run::replay(RUN, &[]).is_err());
    let mut sim = Sim::new(rolling());
    sim.drive();
    assert!(Run::replay(RUN, &sim.records[1..]).is_err());
    let again = sim.records[0].event.clone();
    assert!(sim.try_record(again).is_err());
}
