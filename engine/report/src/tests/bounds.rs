//! However long a run is and however much its plugins say, a report stays small.

use phasegate_core::verdict::{Measurement, Status};

use super::plans::{minutes, plan};
use super::strict::read;
use super::world::{World, verdict};
use crate::limits;
use crate::page;

/// The most bytes of a page, whatever the run was.
const MOST: usize = 4 << 20;

#[test]
fn fifty_thousand_records_are_a_page_of_bounded_size() {
    let mut plan = plan(minutes(24 * 60), &["errors", "latency", "lag"]);
    for gate in plan.gates.values_mut() {
        gate.policy.inconclusive_limit = 1_000_000;
    }
    let mut world = World::new(plan, |gate, since| {
        // Every gate loses its data at another pace.
        let second = since.as_millis() / 1000;
        let blank = (second / 60).is_multiple_of(gate.len() as u64) && since > minutes(2);
        let value = f64::from(u32::try_from(second % 997).unwrap());
        let status = if blank {
            Status::Inconclusive
        } else {
            Status::Pass
        };
        Some(verdict(
            status,
            (!blank).then_some(value),
            Some(value / 2.0),
        ))
    });
    world.rest();
    assert!(world.records.len() > 50_000, "{}", world.records.len());
    let report = world.report();
    let text = page(&report);
    assert!(text.len() < MOST / 4, "{} bytes", text.len());
    let read = read(&text);
    assert!(read.text.contains("24h measured"));
    assert!(read.text.contains("Drawn from"), "thinned without a word");
    let what = "stretches of equal verdicts of gate errors";
    let words = format!("{} of ", limits::STREAKS);
    assert!(read.text.contains(&words) && read.text.contains(what));
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.len() < 2 * MOST, "{} bytes of JSON", json.len());
}

#[test]
fn many_gates_with_much_to_say_are_a_page_of_bounded_size() {
    let gates: Vec<String> = (0..30).map(|n| format!("gate-{n:02}")).collect();
    let names: Vec<&str> = gates.iter().map(String::as_str).collect();
    let mut world = World::new(plan(minutes(20), &names), |_, since| {
        let second = since.as_millis() / 1000;
        let mut verdict = verdict(Status::Pass, Some(1.0), Some(2.0));
        let first: Measurement = verdict.measurements[0].clone();
        for more in 0..9_u32 {
            let mut measurement = first.clone();
            measurement.name = format!("figure {more} <&> {}", "long ".repeat(60));
            measurement.unit = "unit ".repeat(60);
            measurement.limit = format!("<= {}", second % 50);
            measurement.candidate = Some(f64::from(u32::try_from(second % 97).unwrap()) / 7.0);
            measurement.band =
                ["normal", "warn", "alert"][usize::try_from(second % 3).unwrap()].to_owned();
            measurement.status = Status::Fail;
            verdict.measurements.push(measurement);
        }
        Some(verdict)
    });
    world.rest();
    let report = world.report();
    let text = page(&report);
    assert!(text.len() < MOST, "{} bytes", text.len());
    let read = read(&text);
    for (what, of, shown) in [
        ("gates", 30, limits::GATES),
        ("figures of gate gate-00", 10, limits::FIGURES),
    ] {
        let left = report.left_out.iter().find(|left| left.what == what);
        let left = left.unwrap_or_else(|| panic!("{what} are not said to be left out"));
        assert_eq!((left.of, left.shown), (of, shown));
        let words = format!("{shown} of {of} {what} are shown");
        assert!(read.text.contains(&words), "{words}");
    }
}

#[test]
fn many_commands_are_cut_in_the_middle() {
    use phasegate_core::event::Command;
    let mut world = World::new(plan(minutes(5), &["errors"]), |_, _| {
        Some(verdict(Status::Pass, Some(1.0), None))
    });
    world.until_step("verify/soak");
    for round in 0..400 {
        let reason = Some(format!("round {round}"));
        world.command("ann", Command::Pause { reason });
        world.command("ann", Command::Continue { drift: None });
    }
    world.rest();
    let report = world.report();
    let commands = &report.people.commands;
    assert_eq!(commands.len(), limits::PEOPLE);
    assert_eq!(commands[0].detail, "round 0");
    assert_eq!(commands[limits::PEOPLE - 2].detail, "round 399");
    let text = page(&report);
    assert!(text.contains("100 of 800 commands are shown"));
    assert!(text.contains("marks of the timeline are shown"));
    assert!(text.len() < MOST);
}
