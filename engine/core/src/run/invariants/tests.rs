use super::super::tests::plans::*;
use super::super::tests::sim::*;
use super::*;
use crate::effect::{Change, Effect, Fields, Id};
use crate::event::Event;
use crate::plan::{Phase as PlanPhase, Step as PlanStep};
use crate::strategy::{Amount, Judged, Placement, Slot, StepOutcome};
use crate::workload::Rollout;

fn scale(id: &str, replicas: Amount) -> PlanStep {
    let timeout = mins(5);
    step(
        id,
        Step::Scale {
            slot: Slot::Stable,
            replicas,
            timeout,
        },
    )
}

fn bring_up(replicas: Amount, surge: Option<&str>, unavailable: Option<&str>) -> PlanStep {
    step(
        "bring-up",
        Step::Deploy {
            placement: Placement::InPlace,
            replicas,
            surge: surge.map(str::to_owned),
            unavailable: unavailable.map(str::to_owned),
            timeout: mins(5),
        },
    )
}

fn outage(mut step: PlanStep) -> PlanStep {
    step.outage = true;
    step
}

fn refused(steps: Vec<PlanStep>) -> Option<u8> {
    check_plan(&with_phases(vec![phase("deploy", steps)]))
        .err()
        .map(|broken| broken.number)
}

const ALL: Amount = Amount::Percent(100);
const NONE: Amount = Amount::Count(0);

#[test]
fn plans_that_take_capacity_away_are_refused_unless_they_say_so() {
    let cases: Vec<(&str, Vec<PlanStep>, Option<u8>)> = vec![
        ("in place", vec![bring_up(ALL, None, None)], None),
        (
            "no deployment",
            vec![step("check", check(&["health"]))],
            Some(5),
        ),
        (
            "down without a word",
            vec![scale("down", NONE), bring_up(ALL, None, None)],
            Some(5),
        ),
        (
            "down",
            vec![outage(scale("down", NONE)), bring_up(ALL, None, None)],
            None,
        ),
        (
            "down and not up again",
            vec![bring_up(ALL, None, None), outage(scale("down", NONE))],
            Some(5),
        ),
        (
            "down once more, after the outage is over",
            vec![
                outage(scale("down", NONE)),
                bring_up(ALL, None, None),
                scale("again", NONE),
                scale("up", ALL),
            ],
            Some(5),
        ),
        (
            "fewer pods",
            vec![bring_up(Amount::Percent(60), None, None)],
            Some(5),
        ),
        (
            "more pods",
            vec![bring_up(Amount::Percent(200), None, None)],
            None,
        ),
        (
            "all may be missing, in percent",
            vec![bring_up(ALL, None, Some("100%"))],
            Some(1),
        ),
        (
            "all may be missing, in pods",
            vec![bring_up(ALL, None, Some("3"))],
            Some(1),
        ),
        ("one stays", vec![bring_up(ALL, None, Some("2"))], None),
        (
            "percentages are rounded down",
            vec![bring_up(ALL, Some("0"), Some("99%"))],
            None,
        ),
        (
            "declared",
            vec![outage(bring_up(ALL, None, Some("100%")))],
            None,
        ),
        (
            "what can't be read",
            vec![bring_up(ALL, None, Some("most"))],
            Some(1),
        ),
        (
            "a gate that isn't there",
            vec![
                bring_up(ALL, None, None),
                step("check", check(&["nowhere"])),
            ],
            Some(6),
        ),
    ];
    for (name, steps, wanted) in cases {
        assert_eq!(refused(steps), wanted, "{name}");
    }
}

#[test]
fn a_workload_that_replaces_all_pods_at_once_has_an_outage_to_declare() {
    let mut plan = with_phases(vec![phase("deploy", vec![bring_up(ALL, None, None)])]);
    plan.workloads[0].baseline.settings.rollout = Rollout::Recreate;
    assert_eq!(check_plan(&plan).unwrap_err().number, 1);
    plan.phases[0].steps[0] = bring_up(ALL, Some("1"), Some("0"));
    check_plan(&plan).unwrap();
    // Nothing serves with no pods, so nothing is lost.
    plan.phases[0].steps[0] = bring_up(ALL, None, None);
    plan.workloads[0].baseline.settings.replicas = 0;
    check_plan(&plan).unwrap();
}

#[test]
fn a_single_pod_without_surge_is_an_outage() {
    let mut plan = with_phases(vec![phase(
        "deploy",
        vec![bring_up(ALL, Some("0"), Some("25%"))],
    )]);
    plan.workloads[0].baseline.settings.replicas = 1;
    // Kubernetes makes one of two that come to nothing.
    assert_eq!(check_plan(&plan).unwrap_err().number, 1);
    plan.phases[0].steps[0] = bring_up(ALL, Some("25%"), Some("25%"));
    check_plan(&plan).unwrap();
}

fn number(result: Result<(), Illegal>) -> Option<u8> {
    match result {
        Err(Illegal::Broken(broken)) => Some(broken.number),
        Err(other) => panic!("{other}"),
        Ok(()) => None,
    }
}

/// A run that soaks, with the way forward behind it.
fn soaking() -> Run {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    sim.run
}

fn write(run: &Run, direction: Direction, step: Option<&str>, fields: Fields) -> Option<u8> {
    let effect = Effect {
        workload: 0,
        id: Id(900),
        key: "a/new/key".to_owned(),
        direction,
        step: step.map(str::to_owned),
        request: Request::Change {
            change: Change {
                slot: crate::strategy::Slot::Stable,
                fields,
                uid: UID.to_owned(),
                expected_image: None,
                marked: true,
            },
        },
    };
    number(run.check(&run.summary(), &[Action::Perform(effect)]))
}

#[test]
fn writes_that_take_capacity_away_are_refused_whatever_asked_for_them() {
    let run = soaking();
    let replicas = |replicas| Fields {
        replicas: Some(replicas),
        ..Fields::default()
    };
    let forward = Some("deploy/bring-up");
    assert_eq!(
        write(&run, Direction::Forward, forward, replicas(0)),
        Some(5)
    );
    assert_eq!(write(&run, Direction::Forward, None, replicas(2)), Some(5));
    assert_eq!(write(&run, Direction::Forward, forward, replicas(3)), None);
    let all_at_once = Fields {
        image: Some("shop/api:9".to_owned()),
        rollout: Some(Rollout::Recreate),
        ..Fields::default()
    };
    assert_eq!(
        write(&run, Direction::Forward, forward, all_at_once),
        Some(1)
    );
    assert_eq!(write(&run, Direction::Back, None, replicas(2)), Some(1));
    let downgrade = Fields {
        image: Some("shop/api:1.3.0".to_owned()),
        ..Fields::default()
    };
    assert_eq!(write(&run, Direction::Back, None, downgrade), Some(4));
}

#[test]
fn a_configuration_stays_while_something_refers_to_it() {
    let mut sim = Sim::new(configured(rolling()));
    sim.until_step("deploy/soak");
    let remove = |run: &Run| {
        let effect = Effect {
            id: Id(99),
            key: "key".to_owned(),
            direction: Direction::Back,
            step: None,
            workload: 0,
            request: Request::Remove {
                slot: Slot::Candidate,
                piece: Piece::Config(0),
            },
        };
        number(run.check(&run.summary(), &[Action::Perform(effect)]))
    };
    assert_eq!(remove(&sim.run), Some(5));
    sim.command("bob", abort()).unwrap();
    sim.until_said("restored");
    assert_eq!(remove(&sim.run), None);
}

#[test]
fn an_outage_is_over_once_the_workload_is_at_strength() {
    let mut sim = Sim::new(recreate());
    sim.until_step("deploy/down");
    let fields = Fields {
        replicas: Some(0),
        ..Fields::default()
    };
    assert_eq!(
        write(
            &sim.run,
            Direction::Forward,
            Some("deploy/down"),
            fields.clone()
        ),
        None
    );
    sim.until_step("deploy/check");
    assert_eq!(
        write(&sim.run, Direction::Forward, Some("deploy/check"), fields),
        Some(5)
    );
}

#[test]
fn a_key_that_took_place_is_not_used_again() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    let intents = sim.records.iter().filter_map(|record| match &record.event {
        Event::Intended { effect } if effect.request.kind() == "change" => Some((**effect).clone()),
        _ => None,
    });
    for effect in intents {
        let again = [Action::Perform(effect)];
        assert_eq!(number(sim.run.check(&sim.run.summary(), &again)), Some(3));
    }
}

#[test]
fn two_writes_at_once_are_refused() {
    let mut run = soaking();
    run.request("one".to_owned(), None, Request::Release { to: None })
        .unwrap();
    assert_eq!(number(run.check(&run.summary(), &[])), None);
    run.request("two".to_owned(), None, Request::Release { to: None })
        .unwrap();
    assert_eq!(number(run.check(&run.summary(), &[])), Some(3));
}

#[test]
fn a_run_that_nothing_will_move_is_refused() {
    let mut run = soaking();
    run.outstanding.clear();
    run.gates.clear();
    run.set_stage(super::super::state::Stage::Done);
    run.known.changed = false;
    assert_eq!(number(run.check(&run.summary(), &[])), Some(2));
}

#[test]
fn a_run_does_not_turn_forward_again() {
    let mut sim = Sim::new(rolling());
    sim.until_step("deploy/soak");
    let forward = sim.run.clone();
    sim.command("bob", abort()).unwrap();
    assert_eq!(number(forward.check(&sim.run.summary(), &[])), Some(2));
}

#[test]
fn a_step_that_was_not_answered_is_not_done() {
    let run = soaking();
    let done = |judged: Vec<Judged>| {
        let mut after = run.clone();
        std::sync::Arc::make_mut(&mut after.outcomes).push(StepOutcome {
            step: "deploy/soak".to_owned(),
            elapsed: mins(1),
            judged,
        });
        number(after.check(&run.summary(), &[]))
    };
    let said = |gate: &str, status| Judged {
        gate: gate.to_owned(),
        status,
        values: serde_json::Value::Null,
    };
    let (health, errors) = (said("health", Status::Pass), said("errors", Status::Pass));
    assert_eq!(done(Vec::new()), Some(6));
    assert_eq!(done(vec![health.clone()]), Some(6));
    assert_eq!(
        done(vec![health.clone(), said("errors", Status::Inconclusive)]),
        Some(6)
    );
    assert_eq!(done(vec![health, errors]), None);
}

#[test]
fn an_approval_before_a_phase_without_steps_is_asked_before_the_next() {
    let mut plan = rolling();
    let empty: PlanPhase = phase("empty", Vec::new());
    plan.phases.insert(1, empty);
    plan.approvals.push(crate::plan::PhaseApproval {
        before: "empty".to_owned(),
        requirement: requirement("lead", &["bob"], 1),
    });
    let mut sim = Sim::new(plan);
    sim.until_said("awaiting");
    sim.pass(mins(30));
    assert!(!sim.world.deployed(), "nobody approved");
}
