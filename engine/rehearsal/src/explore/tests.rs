use super::*;
use crate::scenario;

fn passed(point: Point, direction: Direction, step: &str) -> Seen {
    Seen {
        point,
        direction,
        step: step.to_owned(),
        record: None,
    }
}

fn all(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().collect()
}

fn call(kind: Kind, nth: u32) -> Point {
    Point::Call {
        kind,
        subject: (kind == Kind::Evaluate).then(|| "deploy/check pods".to_owned()),
        nth,
    }
}

fn there_and_back() -> Vec<Seen> {
    use Direction::{Back, Forward};
    vec![
        passed(Point::Record(1), Forward, "planned"),
        passed(call(Kind::Change, 1), Forward, "deploy/deploy"),
        passed(Point::Record(2), Forward, "deploy/deploy"),
        passed(Point::Record(3), Forward, "deploy/deploy"),
        passed(call(Kind::Evaluate, 1), Forward, "deploy/check"),
        passed(call(Kind::Evaluate, 2), Forward, "deploy/check"),
        passed(Point::Record(4), Back, "rolling back"),
        passed(call(Kind::Change, 1), Back, "rolling back"),
    ]
}

fn names(cases: &[Case]) -> Vec<String> {
    cases.iter().map(Case::to_string).collect()
}

#[test]
fn every_point_fails_in_every_way_that_it_can() {
    let cases = names(&singles(&all(&there_and_back()[..3])));
    assert_eq!(
        cases,
        [
            "record#1 forward death-before",
            "record#1 forward death-after",
            "record#1 forward abort",
            "change#1 forward fails",
            "change#1 forward conflict",
            "change#1 forward denied",
            "change#1 forward answer-lost",
            "change#1 forward request-lost",
            "change#1 forward death",
            "change#1 forward stale-epoch",
            "record#2 forward death-before",
            "record#2 forward death-after",
            "record#2 forward abort",
        ]
    );
    let gate = names(&singles(&all(&there_and_back()[4..5])));
    assert_eq!(
        gate,
        [
            "fails",
            "denied",
            "hang",
            "trap",
            "pending",
            "says-fail",
            "no-data"
        ]
        .map(|what| format!("evaluate[deploy/check pods]#1 forward {what}"))
    );
}

#[test]
fn a_run_turns_back_once_in_each_step_at_each_intent_and_at_a_gate_of_each_step() {
    let mut seen = there_and_back();
    seen[3].record = Some(Sort::Intent);
    // Another gate of the same step leads to the same way back.
    let mut other = seen[4].clone();
    other.point = Point::Call {
        kind: Kind::Evaluate,
        subject: Some("deploy/check errors".to_owned()),
        nth: 1,
    };
    seen.insert(5, other);
    let turns: Vec<String> = turns(&seen).iter().map(Fault::to_string).collect();
    assert_eq!(
        turns,
        [
            "record#1 forward abort",
            "record#2 forward abort",
            "record#3 forward abort",
            "evaluate[deploy/check pods]#1 forward says-fail",
        ]
    );
}

#[test]
fn of_what_a_step_asks_over_and_over_the_first_times_and_the_last_are_left() {
    let mut seen = Vec::new();
    for nth in 1..=9 {
        seen.push(passed(
            call(Kind::Evaluate, nth),
            Direction::Forward,
            "deploy/soak",
        ));
        let mut record = passed(
            Point::Record(u64::from(nth)),
            Direction::Forward,
            "deploy/soak",
        );
        record.record = Some(Sort::Routine("judged"));
        seen.push(record);
        // What changes something, and what is no routine, is never like another.
        seen.push(passed(
            call(Kind::Change, nth),
            Direction::Back,
            "rolling back",
        ));
        seen.push(passed(
            Point::Record(u64::from(100 + nth)),
            Direction::Forward,
            "deploy/soak",
        ));
    }
    let left = distinct(&seen);
    let count = |fits: &dyn Fn(&Seen) -> bool| left.iter().filter(|seen| fits(seen)).count();
    assert_eq!(count(&|seen| seen.record.is_some()), ALIKE + 1);
    assert_eq!(count(&|seen| seen.direction == Direction::Back), 9);
    assert_eq!(left.len(), 2 * (ALIKE + 1) + 2 * 9);
    let last = passed(call(Kind::Evaluate, 9), Direction::Forward, "deploy/soak");
    assert!(left.contains(&&last));
    let before = left.len();
    // Each step has its own.
    seen.push(passed(
        call(Kind::Evaluate, 1),
        Direction::Forward,
        "verify/soak",
    ));
    assert_eq!(distinct(&seen).len(), before + 1);
}

#[test]
fn few_turns_are_spread_evenly() {
    let turns = turns(&there_and_back());
    assert_eq!(spread(turns.clone(), 3), turns);
    assert_eq!(spread(turns.clone(), 9), turns);
    assert_eq!(
        spread(turns.clone(), 2),
        [turns[1].clone(), turns[2].clone()]
    );
    assert_eq!(spread(turns.clone(), 1), [turns[2].clone()]);
    assert!(spread(turns, 0).is_empty());
    assert!(spread(Vec::new(), 0).is_empty());
}

#[test]
fn the_second_fault_falls_into_the_way_back() {
    let seen = there_and_back();
    let first = turns(&seen).remove(1);
    let cases = names(&pairs(&first, &all(&seen)));
    assert_eq!(cases.len(), 3 + 7);
    assert_eq!(
        cases[0],
        "record#2 forward abort, then record#4 back death-before"
    );
    assert!(cases.contains(&"record#2 forward abort, then change#1 back answer-lost".to_owned()));
    assert!(
        cases
            .iter()
            .all(|case| case.contains(", then ") && case.contains(" back "))
    );
}

#[test]
fn what_looks_for_a_lost_answer_fails_too() {
    let seen = there_and_back();
    let first = turns(&seen).remove(1);
    let cases = pairs(&first, &all(&seen));
    let lost = lost(&cases);
    assert_eq!(
        names(&lost),
        ["record#2 forward abort, then change#1 back answer-lost"]
    );
    let mut seen = seen;
    seen.push(passed(
        call(Kind::Probe, 1),
        Direction::Back,
        "rolling back",
    ));
    let cases = names(&triples(&lost[0], &all(&seen)));
    let before = "record#2 forward abort, then change#1 back answer-lost, then probe#1 back";
    assert_eq!(
        cases,
        ["fails", "denied", "answer-lost"].map(|what| format!("{before} {what}"))
    );
}

#[test]
fn a_limit_leaves_every_cell_of_the_table_its_case() {
    let seen = there_and_back();
    let cases = singles(&all(&seen));
    let cells: BTreeSet<String> = cases
        .iter()
        .map(|case| findings::cell(&case.0[0]))
        .collect();
    assert!(cells.len() < cases.len());
    let kept = limited(cases.clone(), cells.len());
    let still: BTreeSet<String> = kept.iter().map(|case| findings::cell(&case.0[0])).collect();
    assert_eq!(still, cells);
    assert_eq!(limited(cases.clone(), cases.len()), cases);
}

#[test]
fn the_shortest_broken_case_is_the_one_with_the_fewest_faults_and_then_the_earliest() {
    let seen = there_and_back();
    let first = turns(&seen).remove(1);
    let mut findings = Findings::default();
    findings.saw(&seen);
    let mut cases = pairs(&first, &all(&seen));
    cases.extend(singles(&all(&seen)));
    for case in cases {
        let broken = case.0.len() == 2 || case.to_string().starts_with("change");
        let faults = if broken {
            vec!["broken".to_owned()]
        } else {
            Vec::new()
        };
        let took = Span::from_secs(u64::from(case.to_string().contains("trap")));
        findings.add(case, "rolled-back", faults, Some(took));
    }
    let shortest = findings.shortest.as_ref().unwrap();
    assert_eq!(shortest.case.to_string(), "change#1 forward fails");
    assert_eq!(findings.broken_cases, 10 + 7 + 7);
    let worst = findings.worst.as_ref().unwrap();
    assert_eq!(worst.case, "evaluate[deploy/check pods]#1 forward trap");
    assert!(findings.gaps().is_empty(), "{:?}", findings.gaps());
    let table = findings.table();
    assert!(table.contains("change back"), "{table}");
    assert!(table.contains("-  hang: it is no plugin"), "{table}");
    assert!(
        table.contains("never asked for here, back: locate"),
        "{table}"
    );
}

#[test]
fn what_is_never_troubled_is_a_gap() {
    let mut findings = Findings::default();
    findings.saw(&there_and_back()[1..2]);
    assert_eq!(findings.gaps().len(), 7);
}

#[test]
fn a_scenario_keeps_its_demands_as_far_as_the_end_allows() {
    let text = "apiVersion: phasegate.dev/v1alpha1\nkind: Scenario\nexpect: {end: succeeded, image: a, readyEndpointsAtLeast: 3, changes: {deployments: 2}}\n";
    let scenario = scenario::load("s.yaml", text.as_bytes()).unwrap().scenario;
    let good = demands(&scenario, "succeeded");
    assert_eq!((good.image.as_deref(), good.as_before), (Some("a"), None));
    let back = demands(&scenario, "rolled-back");
    assert_eq!((back.image, back.as_before), (None, Some(true)));
    assert_eq!(back.ready_endpoints_at_least, Some(3));
    assert!(back.changes.is_none());
}
