//! Explorations: the example holds at every point of failure, and faults that are put into the engine's
//! ports are found, with the case that shows them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(clippy::disallowed_methods, reason = "the suite reads the example")]

#[path = "shared/fixture.rs"]
mod fixture;
#[path = "explore/mutants.rs"]
mod mutants;
#[path = "explore/repeats.rs"]
mod repeats;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use phasegate_cli::explore::{Explored, Options, explore};
use phasegate_cli::rehearsal::{Inputs, Remake};
use phasegate_cli::{builtin, compose, plugins};
use phasegate_core::diagnostic::Diagnostics;
use phasegate_core::spec::policy::{self, Policy};
use phasegate_core::spec::release::{self, Overrides};
use phasegate_rehearsal::scenario;
use phasegate_runtime::engine::Engine;

/// So many cases of each example are tried where nobody asks for more, spread over the table.
const SOME: usize = 20;
/// With so many every cell of an example's table is tried.
const ALL_CELLS: usize = 200;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The folders of the examples that have a scenario, in order.
fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root()).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("scenario.yaml").exists());
    folders.sort();
    folders
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn good<T>(result: Result<T, Diagnostics>) -> T {
    result.unwrap_or_else(|faults| panic!("{faults}"))
}

fn explored(folder: &Path, file: &str, limit: usize, remake: Option<Remake<'_>>) -> Explored {
    let overrides = Overrides::default();
    let text = read(&folder.join("release.yaml"));
    let loaded = release::load("release.yaml", &text, &overrides, &builtin::NAMES);
    let loaded = good(loaded);
    let components = plugins::of_release(&loaded, folder)
        .unwrap_or_else(|faults| panic!("run `cargo xtask plugins` before the tests: {faults}"));
    let scenario = good(scenario::load(file, &read(&folder.join(file)))).scenario;
    let policy = scenario
        .policy
        .as_ref()
        .map_or_else(Policy::default, |name| {
            good(policy::load(name, &read(&folder.join(name)))).policy
        });
    explored_with(
        &Inputs {
            loaded: &loaded,
            policy: &policy,
            scenario: &scenario,
            components,
            credentials: Arc::new(compose::Invented),
            cache: None,
            seed: 1,
        },
        limit,
        remake,
    )
}

fn explored_with(inputs: &Inputs<'_>, limit: usize, remake: Option<Remake<'_>>) -> Explored {
    let options = Options {
        limit,
        remake,
        full_soaks: false,
    };
    explore(inputs, options, &mut |_| {}).unwrap()
}

fn hello(file: &str, limit: usize, remake: Option<Remake<'_>>) -> Explored {
    explored(&root().join("hello"), file, limit, remake)
}

fn in_words(explored: &Explored) -> String {
    let broken = &explored.findings.broken;
    let lines: Vec<String> = broken
        .iter()
        .map(|broken| format!("{}: {}", broken.case, broken.faults.join("; ")))
        .collect();
    format!(
        "{:?}\n{}\n{}\n{}",
        explored.faults,
        lines.join("\n"),
        explored.findings.table(),
        explored.transcript.as_deref().unwrap_or_default()
    )
}

#[test]
fn the_example_holds_at_every_point_of_failure() {
    let explored = hello("scenario.yaml", usize::MAX, None);
    let findings = &explored.findings;
    assert_eq!(explored.end, "succeeded");
    assert_eq!(findings.broken_cases, 0, "{}", in_words(&explored));
    assert!(explored.faults.is_empty(), "{}", in_words(&explored));
    assert_eq!((explored.left_out(), findings.played), (0, explored.cases));
    assert!(findings.gaps().is_empty(), "{:?}", findings.gaps());
    for row in [
        "claim forward",
        "change forward",
        "evaluate forward",
        "observe forward",
        "release forward",
        "change back",
        "observe back",
        "diagnose back",
        "release back",
    ] {
        assert!(
            findings.table().contains(row),
            "{row}: {}",
            findings.table()
        );
    }
    let worst = findings.worst.as_ref().expect("some run went back");
    assert!(worst.took > phasegate_core::time::Span::ZERO);
    assert!(findings.ends["rolled-back"] > 100, "{:?}", findings.ends);
    assert!(findings.ends["succeeded"] > 100, "{:?}", findings.ends);
}

/// PHASEGATE_EXPLORE says how many cases of each example are tried, `all` for every one: in a development build that takes long.
fn limit() -> usize {
    match std::env::var("PHASEGATE_EXPLORE").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number
            .parse()
            .expect("PHASEGATE_EXPLORE is a number or `all`"),
        Err(_) => SOME,
    }
}

#[test]
fn every_example_holds_wherever_it_is_tried() {
    let limit = limit();
    let examples = examples();
    assert!(!examples.is_empty());
    for folder in examples {
        let explored = explored(&folder, "scenario.yaml", limit, None);
        let findings = &explored.findings;
        let place = folder.display();
        assert!(
            explored.faults.is_empty() && findings.broken_cases == 0,
            "{place}: {}",
            in_words(&explored)
        );
        assert!(
            limit < ALL_CELLS || findings.gaps().is_empty(),
            "{place}: {:?}",
            findings.gaps()
        );
        assert_eq!(findings.played, explored.cases.min(limit), "{place}");
        eprintln!(
            "{place}: {} of {} cases, {:.1} rehearsals a second",
            findings.played,
            explored.cases,
            explored.rate()
        );
    }
}

#[test]
fn the_same_seed_finds_the_same() {
    let (once, again) = (
        hello("scenario.yaml", 60, None),
        hello("scenario.yaml", 60, None),
    );
    assert_eq!(once.findings, again.findings);
    assert_eq!(once.rehearsals, again.rehearsals);
}

#[test]
fn the_example_that_goes_back_by_itself_holds_too() {
    let explored = hello("scenario-crash.yaml", 200, None);
    assert_eq!(explored.end, "rolled-back");
    assert_eq!(explored.findings.broken_cases, 0, "{}", in_words(&explored));
    assert_eq!(explored.findings.played, 200);
    assert!(explored.left_out() > 0);
    assert!(
        explored.findings.gaps().is_empty(),
        "{:?}",
        explored.findings.gaps()
    );
}

/// Explores the example with a fault in its ports; says which case is the shortest that shows it.
fn found(mutant: &(dyn Fn(Engine) -> Engine + Sync), wanted: &str) -> String {
    let explored = hello("scenario.yaml", 150, Some(mutant));
    let shortest = explored
        .findings
        .shortest
        .as_ref()
        .unwrap_or_else(|| panic!("nothing was found\n{}", in_words(&explored)));
    assert!(
        shortest.faults.iter().any(|fault| fault.contains(wanted)),
        "{}",
        in_words(&explored)
    );
    assert!(explored.transcript.is_some_and(|text| !text.is_empty()));
    shortest.case.to_string()
}

#[test]
fn a_rollback_that_writes_nothing_is_found() {
    let case = found(
        &mutants::rollback_writes_nothing,
        "came to no end: rolling back",
    );
    assert!(case.contains("forward"), "{case}");
}

#[test]
fn a_rollback_that_leaves_its_marks_is_found() {
    let case = found(&mutants::marks_stay, "everything is as before: false");
    assert!(case.contains("forward"), "{case}");
}

#[test]
fn a_claim_that_is_never_let_go_of_on_the_way_back_is_found() {
    let case = found(&mutants::claim_stays, "the target is still claimed");
    assert!(case.contains("forward"), "{case}");
}

#[test]
fn an_intent_that_is_written_too_late_is_found_where_the_engine_dies_meanwhile() {
    let case = found(&mutants::intents_come_late, "the intent for");
    assert!(case.contains("death"), "{case}");
}
