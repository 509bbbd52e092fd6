//! The examples, as they are found in their folders: every scenario ends as it says, and is told the same again.

use std::path::{Path, PathBuf};

use super::harness::{self, Case, transcript};

/// Scenarios whose transcripts are kept, so that a change of what people read is seen.
const GOLDEN: [(&str, &str); 3] = [
    ("payments-canary", "scenario.yaml"),
    ("payments-canary", "scenario-errors.yaml"),
    ("checkout-bluegreen", "scenario-late-rollback.yaml"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Every folder, and the names of its scenarios.
fn all() -> Vec<(PathBuf, Vec<String>)> {
    let only = std::env::var("ONLY").unwrap_or_default();
    let folders = inside(&root()).into_iter().filter(|path| path.is_dir());
    let with_scenarios = folders.map(|folder| {
        let files = inside(&folder).into_iter().map(|path| name(&path));
        let scenarios =
            files.filter(|file| file.starts_with("scenario") && file.ends_with(".yaml"));
        let wanted = scenarios.filter(|file| format!("{}/{file}", name(&folder)).contains(&only));
        let wanted = wanted.collect();
        (folder, wanted)
    });
    with_scenarios.collect()
}

/// What is wrong with a scenario, however often it is played.
fn play(case: &Case, seed: u64, times: usize) -> Vec<String> {
    let played = case.play(seed);
    let text = transcript(case, &played);
    let mut wrong: Vec<String> = played
        .faults
        .iter()
        .map(|fault| format!("{} with seed {seed}: {fault}\n{text}", case.name))
        .collect();
    for _ in 1..times {
        let again = transcript(case, &case.play(seed));
        if text != again {
            let difference = harness::difference(&text, &again);
            wrong.push(format!(
                "{}: the same seed tells another story:\n{difference}",
                case.name
            ));
        }
    }
    wrong
}

#[test]
fn every_scenario_of_every_example_ends_as_it_says() {
    let examples = all();
    let played: usize = examples.iter().map(|(_, scenarios)| scenarios.len()).sum();
    assert!(played > 0, "no scenario was played");
    let of_one = |(folder, scenarios): &(PathBuf, Vec<String>)| -> Vec<String> {
        let cases = scenarios.iter().map(|file| Case::of(folder, file));
        cases.flat_map(|case| play(&case, 1, 2)).collect()
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = examples
            .iter()
            .map(|example| scope.spawn(move || of_one(example)))
            .collect();
        let played = threads.into_iter().map(|thread| thread.join().unwrap());
        played.flatten().collect()
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

#[test]
fn what_an_example_expects_holds_with_other_seeds_too() {
    let mut wrong = Vec::new();
    for (folder, scenarios) in all() {
        // The first is the one that succeeds, and comes to every step of the plan.
        if scenarios.iter().any(|file| file == "scenario.yaml") {
            let case = Case::of(&folder, "scenario.yaml");
            wrong.extend([77, 4_242_424_242].map(|seed| play(&case, seed, 1)));
        }
    }
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

#[test]
fn every_example_has_a_scenario_that_succeeds_and_others_that_do_not() {
    for (folder, scenarios) in all() {
        let ends: Vec<(&String, String)> = scenarios
            .iter()
            .map(|file| {
                let expect = Case::of(&folder, file).scenario.expect;
                let end = expect.end.unwrap_or_else(|| {
                    panic!("{}/{file} doesn't say how the run ends", folder.display())
                });
                // What is asserted of the end alone would hold whatever the way there was like.
                let besides = expect.image.is_some()
                    || expect.as_before.is_some()
                    || expect.reason.is_some()
                    || !expect.story.is_empty();
                assert!(besides, "{}/{file} expects too little", folder.display());
                (file, end)
            })
            .collect();
        if std::env::var_os("ONLY").is_some() {
            continue;
        }
        let first = ends.iter().find(|(file, _)| *file == "scenario.yaml");
        let first = first.map(|(_, end)| end.as_str());
        assert_eq!(first, Some("succeeded"), "{}", folder.display());
        assert!(
            ends.iter().any(|(_, end)| end != "succeeded"),
            "{}: nothing fails",
            folder.display()
        );
    }
}

#[test]
fn the_readme_of_an_example_tells_of_each_of_its_scenarios() {
    for (folder, scenarios) in all() {
        let readme = folder.join("README.md");
        let text = std::fs::read_to_string(&readme)
            .unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
        for scenario in scenarios {
            let told = scenario == "scenario.yaml" || text.contains(&format!("`{scenario}`"));
            assert!(told, "{} forgets {scenario}", readme.display());
        }
    }
}

#[test]
fn the_kept_transcripts_of_examples_are_told_again() {
    let mut wrong = Vec::new();
    for (example, scenario) in GOLDEN {
        let case = Case::of(&root().join(example), scenario);
        let text = transcript(&case, &case.play(1));
        let golden = format!("{example}.{}.txt", scenario.trim_end_matches(".yaml"));
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(golden);
        if let Err(difference) = harness::compare(&golden, &text) {
            wrong.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}
