//! What holds for any history.

use proptest::prelude::*;

use super::plans::*;
use super::sim::*;
use crate::diagnostic::codes;
use crate::effect::*;
use crate::event::*;
use crate::failure::{Failure, Kind};
use crate::plan::{Action as PlanAction, PhaseApproval, Plan};
use crate::run::{End, Run, State};
use crate::time::{Span, Timestamp};
use crate::verdict::Status;

/// A plan with something of everything.
fn rich() -> Plan {
    let mut plan = with_strategy();
    plan.approvals.push(PhaseApproval {
        before: "deploy".to_owned(),
        requirement: requirement("lead", &["bob", "eve"], 1),
    });
    plan.phases[0].steps.push(step(
        "preflight/attest",
        PlanAction::Attest {
            name: "backup".to_owned(),
            prompt: "is there one?".to_owned(),
        },
    ));
    plan.phases[1].steps.push(step(
        "deploy/tell",
        PlanAction::Notify {
            notifier: "chat".to_owned(),
            title: "nearly".to_owned(),
            text: "there".to_owned(),
        },
    ));
    plan.phases[1].strategies[0].steps.clear();
    plan
}

fn command(which: usize, digest: &str) -> (&'static str, Command) {
    let approve = Command::Approve {
        plan: digest.to_owned(),
        requirement: None,
    };
    match which % 15 {
        0 => ("bob", abort()),
        1 => ("bob", Command::Pause { reason: None }),
        2 => ("bob", Command::Continue { drift: None }),
        3 => (
            "bob",
            Command::Continue {
                drift: Some(DriftAnswer::Adopt),
            },
        ),
        4 => (
            "bob",
            Command::Continue {
                drift: Some(DriftAnswer::Force),
            },
        ),
        5 | 6 => ("bob", approve),
        7 | 8 => (
            "bob",
            Command::Attest {
                name: "backup".to_owned(),
                text: "yes".to_owned(),
            },
        ),
        9 => ("bob", Command::Retry),
        10 => (
            "bob",
            Command::Skip {
                step: "restore".to_owned(),
            },
        ),
        11 => (
            "bob",
            Command::HandOver {
                reason: "r".to_owned(),
            },
        ),
        12 => ("bob", Command::RollBack { reason: None }),
        13 => ("bob", supersede("run-2", &[])),
        _ => ("bob", Command::Discharge { obligation: 1 }),
    }
}

/// An event of any kind, about an effect that may or may not be there.
fn any_event(sim: &Sim, kind: usize, which: usize) -> Event {
    let outstanding: Vec<Effect> = sim
        .run
        .outstanding
        .values()
        .map(|o| o.effect.clone())
        .collect();
    let picked = outstanding.get(which % outstanding.len().max(1)).cloned();
    let id = picked.as_ref().map_or(Id(which as u64), |effect| effect.id);
    let failure = Failure::new(
        if which.is_multiple_of(2) {
            Kind::Retryable
        } else {
            Kind::Denied
        },
        codes::INTERNAL,
        "no",
    );
    let done = match picked.as_ref().map(|effect| &effect.request) {
        Some(Request::Claim { .. }) => Done::Claimed,
        Some(Request::Change { .. }) => Done::Changed,
        Some(Request::Release { .. }) => Done::Released,
        Some(Request::Notify { .. }) => Done::Notified { thread: None },
        Some(Request::Revise { .. }) => Done::Revised { steps: None },
        Some(Request::Evaluate { .. }) => Done::Judged {
            verdict: Box::new(verdict(
                [Status::Pass, Status::Fail, Status::Inconclusive][which % 3],
            )),
        },
        _ => Done::Claimed,
    };
    match kind % 8 {
        0 => Event::Woke,
        1 => Event::Driving {
            engine: "e".to_owned(),
            epoch: which as u64,
        },
        2 => Event::Interrupted {
            cause: "c".to_owned(),
        },
        3 => match picked {
            Some(effect) => Event::Intended {
                effect: Box::new(effect),
            },
            None => Event::Woke,
        },
        4 => Event::Finished {
            effect: id,
            outcome: Outcome::Done(done),
        },
        5 => Event::Finished {
            effect: id,
            outcome: Outcome::Failed { failure },
        },
        6 => Event::Probed {
            effect: id,
            progress: match which % 3 {
                0 => Progress::NotDone,
                1 => Progress::Running { after: secs(1) },
                _ => Progress::Unknown {
                    message: "m".to_owned(),
                },
            },
        },
        _ => {
            let (who, command) = command(which, sim.run.digest());
            Event::Commanded {
                by: person(who),
                command,
                inbox: None,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// No event panics; an illegal one leaves the run as it was; time never goes back; replaying gives the same run.
    #[test]
    fn any_events_are_taken_or_refused(
        moves in prop::collection::vec((0usize..14, 0usize..40, 0u64..40_000), 1..120),
        going in any::<bool>(),
    ) {
        let mut sim = Sim::new(rich());
        sim.lenient = true;
        if going {
            sim.drive();
        }
        for (kind, which, wait) in moves {
            sim.world.now = sim.world.now.plus(Span::from_millis(wait));
            if kind >= 8 {
                // What the runtime would do, now and then.
                if sim.run.epoch().is_some() {
                    sim.step();
                }
                continue;
            }
            let event = any_event(&sim, kind, which);
            let before = sim.run.clone();
            let records = sim.records.len();
            let early = Record { at: Timestamp::from_millis(before.now().as_millis() - 1), event: event.clone() };
            prop_assert!(sim.run.after(&early).is_err());
            if sim.try_record(event.clone()).is_err() {
                prop_assert_eq!(&sim.run, &before);
                let late = Record { at: sim.world.now, event };
                prop_assert!(sim.run.apply(&late).is_err());
                prop_assert_eq!(&sim.run, &before);
                prop_assert_eq!(sim.records.len(), records);
            }
        }
        prop_assert_eq!(Run::replay(RUN, &sim.records).unwrap(), sim.run.clone());
        prop_assert!(sim.records.windows(2).all(|pair| pair[0].at <= pair[1].at));
    }

    /// Whatever goes wrong, the run comes to an end that is true, or calls people.
    #[test]
    fn any_mix_of_faults_comes_to_an_honest_end(
        which in 0usize..3,
        faults in prop::collection::vec((0usize..80, 0usize..5), 0..6),
        blind in prop::collection::btree_set(0usize..80, 0..4),
        deaths in prop::collection::vec((1usize..160, any::<bool>()), 0..4),
        commands in prop::collection::vec((1usize..160, 0usize..14), 0..5),
        leaves in prop::collection::vec(1usize..160, 0..2),
        gates in prop::collection::vec(0u8..20, 1..24),
        broken in 0u8..6,
    ) {
        let plan = [rolling(), recreate(), rich()][which].clone();
        let digest = plan.digest();
        let mut sim = Sim::new(plan)
            .faulty(move |world, _| {
                let (_, kind) = faults.iter().find(|(nth, _)| *nth == world.performed)?;
                Some(match kind {
                    0 => Fault::Fails(failure(Kind::Retryable)),
                    1 => Fault::Fails(failure(Kind::Denied)),
                    2 => Fault::Fails(failure(Kind::Timeout)),
                    3 => Fault::LostApplied,
                    _ => Fault::LostUnapplied,
                })
            })
            .judged(move |_, _, nth| match gates[nth as usize % gates.len()] {
                0 => Ok(Status::Fail),
                1 | 2 => Ok(Status::Inconclusive),
                3 => Err(Kind::Retryable),
                4 => Err(Kind::Pending),
                _ => Ok(Status::Pass),
            });
        sim.world.blind = std::rc::Rc::new(move |world, _| blind.contains(&world.performed));
        if broken == 0 {
            sim.world.never_ready = Some(NEW.to_owned());
        }
        for (at, before) in deaths {
            if before { sim.dies_before.insert(at) } else { sim.dies_after.insert(at) };
        }
        for (at, which) in commands {
            let (who, command) = command(which, &digest);
            // Handing over and skipping end elsewhere, which other tests are about.
            if !matches!(command, Command::HandOver { .. } | Command::Skip { .. }) {
                sim = sim.inject(at, Inject::Command(who, command));
            }
        }
        for at in leaves {
            sim = sim.inject(at, Inject::Leaves);
        }
        sim.rest();
        prop_assert!(sim.run.resting());
        sim.check_replay();
        // The faults stop, and people help.
        sim.world.faults = std::rc::Rc::new(|_, _| None);
        sim.world.blind = std::rc::Rc::new(|_, _| false);
        sim.injected.clear();
        sim.dies_before.clear();
        sim.dies_after.clear();
        for _ in 0..3 {
            if sim.run.stuck_now().is_some() {
                sim.command("bob", Command::Retry).unwrap();
                sim.rest();
            }
        }
        prop_assert!(sim.run.stuck_now().is_none(), "{}", sim.story());
        let ended = matches!(sim.run.state(), State::Ended { .. });
        prop_assert!(ended);
        prop_assert_ne!(sim.end(), End::RollbackStuck);
        sim.check_end();
    }

    /// A run is rebuilt from any prefix of its records, and what is under way can be had again from it.
    #[test]
    fn any_prefix_is_enough(length in 2usize..200, which in 0usize..3) {
        let mut sim = Sim::new([rolling(), recreate(), with_strategy()][which].clone());
        sim.drive();
        while sim.records.len() < length && !sim.ended() {
            sim.step();
        }
        let mut run = Run::replay(RUN, &sim.records).unwrap();
        prop_assert_eq!(&run, &sim.run);
        let driving = Record {
            at: sim.world.now.plus(secs(20)),
            event: Event::Driving { engine: "next".to_owned(), epoch: 99 },
        };
        let actions = run.apply(&driving).unwrap();
        let again: std::collections::BTreeSet<Id> = actions.iter().map(|action| match action {
            Action::Perform(effect) | Action::Probe(effect) => effect.id,
        }).collect();
        for id in sim.run.outstanding.keys() {
            let waits = matches!(run.outstanding.get(id).map(|o| o.phase), Some(super::super::state::Phase::Waiting { .. }));
            prop_assert!(again.contains(id) || waits || !run.wants(*id), "{id:?}");
        }
    }
}
