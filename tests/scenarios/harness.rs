//! Loads a scenario's folder, plays it, and writes down what happened.
//!
//! A folder holds `scenario.yaml`, and where they differ from those beside this file `release.yaml` and
//! `policy.yaml`. A scenario without objects plays in the common world: three pods of `shop` 1.0.0.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use phasegate_cli::compose::{self, Simulation};
use phasegate_cli::rehearsal::{self, Inputs};
use phasegate_cli::{builtin, contents, manifests, plugins};
use phasegate_core::diagnostic::Diagnostics;
use phasegate_core::plan::Plan;
use phasegate_core::run::Run;
use phasegate_core::spec::policy::{self, Policy};
use phasegate_core::spec::release::{self, Loaded, Overrides};
use phasegate_core::time::Span;
use phasegate_host::{HostConfig, Workshop};
use phasegate_rehearsal::cluster::LoggedRequest;
use phasegate_rehearsal::observer;
use phasegate_rehearsal::rehearse::Rehearsal;
use phasegate_rehearsal::scenario::{self, Scenario};
use phasegate_runtime::planner;
use phasegate_store::MemoryJournal;

/// Where plugins are loaded, once for all of the suite.
fn workshop() -> &'static Workshop {
    static WORKSHOP: OnceLock<Workshop> = OnceLock::new();
    WORKSHOP.get_or_init(|| Workshop::new().unwrap())
}

/// A folder.
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// The release.
    pub(crate) loaded: Loaded,
    /// The policy.
    pub(crate) policy: Policy,
    /// The scenario.
    pub(crate) scenario: Scenario,
}

fn good<T>(what: &Path, result: Result<T, Diagnostics>) -> T {
    match result {
        Ok(value) => value,
        Err(faults) => panic!("{}: {faults}", what.display()),
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn own_or_common(folder: &Path, name: &str) -> PathBuf {
    let own = folder.join(name);
    if own.exists() {
        own
    } else {
        folder.parent().unwrap().join(name)
    }
}

/// The policy that a scenario names, by its place from the scenario's folder.
pub(crate) fn policy_of(folder: &Path, scenario: &Scenario) -> Policy {
    let Some(name) = &scenario.policy else {
        return Policy::default();
    };
    let path = folder.join(name);
    good(&path, policy::load(name, &read(&path))).policy
}

impl Case {
    /// All folders, in order.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        folders.sort();
        folders.iter().map(|folder| Self::load(folder)).collect()
    }

    /// One folder.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = own_or_common(folder, "release.yaml");
        let overrides = Overrides::default();
        let mut loaded = good(
            &path,
            release::load("release.yaml", &read(&path), &overrides, &builtin::NAMES),
        );
        good(&path, contents::fill(&mut loaded, folder));
        good(&path, manifests::fill(&mut loaded, folder));
        let path = own_or_common(folder, "policy.yaml");
        let policy = good(&path, policy::load("policy.yaml", &read(&path))).policy;
        let world = folder.parent().unwrap().join("world.yaml");
        let world = good(&world, scenario::load("world.yaml", &read(&world))).scenario;
        let path = folder.join("scenario.yaml");
        let mut scenario = good(&path, scenario::load("scenario.yaml", &read(&path))).scenario;
        assert!(
            scenario.expect.end.is_some(),
            "{}: a scenario here says how the run ends",
            path.display()
        );
        if scenario.cluster.objects.is_empty() {
            scenario.cluster.objects = world.cluster.objects;
        }
        scenario.cluster.pods.extend(world.cluster.pods);
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            folder: folder.to_owned(),
            loaded,
            policy,
            scenario,
        }
    }

    /// An example: its release in the world of one of its scenarios, under the policy that this one names.
    pub(crate) fn of(folder: &Path, scenario: &str) -> Self {
        let path = folder.join("release.yaml");
        let overrides = Overrides::default();
        let loaded = release::load("release.yaml", &read(&path), &overrides, &builtin::NAMES);
        let file = folder.join(scenario);
        let example = folder.file_name().unwrap().to_string_lossy();
        let scenario_name = scenario;
        let scenario = good(&file, scenario::load(scenario, &read(&file))).scenario;
        Self {
            name: format!("{example}/{scenario_name}"),
            folder: folder.to_owned(),
            loaded: good(&path, loaded),
            policy: policy_of(folder, &scenario),
            scenario,
        }
    }

    /// Plays it.
    pub(crate) fn play(&self, seed: u64) -> Rehearsal {
        self.play_as(&self.scenario, seed)
    }

    /// Plays it in another world than its own.
    pub(crate) fn play_as(&self, scenario: &Scenario, seed: u64) -> Rehearsal {
        let components = match plugins::of_release(&self.loaded, &self.folder) {
            Ok(components) => components,
            Err(faults) => panic!("run `cargo xtask plugins` before the tests: {faults}"),
        };
        let inputs = Inputs {
            loaded: &self.loaded,
            policy: &self.policy,
            scenario,
            components,
            credentials: Arc::new(compose::Invented),
            cache: None,
            seed,
        };
        match rehearsal::play_in(Some(workshop()), inputs) {
            Ok(rehearsal) => rehearsal,
            Err(fault) => panic!("{}: {fault:?}", self.name),
        }
    }

    /// Plans it and does no more. Returns the plan and what the cluster was asked for it.
    pub(crate) fn plan(&self) -> (Plan, Vec<LoggedRequest>) {
        let components = plugins::of_release(&self.loaded, &self.folder).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let simulation = Simulation::begin(&self.scenario, self.scenario.seed).unwrap();
            let config = HostConfig {
                workshop: Some(workshop().clone()),
                yields: false,
                ..HostConfig::default()
            };
            let journal = Arc::new(MemoryJournal::new("plan"));
            let parts = simulation
                .world
                .engine(config, Arc::new(compose::Invented), components, journal)
                .unwrap();
            let world = &parts.engine.world;
            let prepared =
                planner::prepare(world, &self.loaded, &self.policy, "simulated", "operator");
            let plan = good(&self.folder, prepared.await).plan;
            let requests = simulation
                .cluster
                .with(|cluster| cluster.requests().to_vec());
            (plan, requests)
        })
    }

    /// Holds a transcript against the golden one of its folder.
    pub(crate) fn compare(&self, text: &str) -> Result<(), String> {
        compare(&self.folder.join("transcript.txt"), text)
    }
}

/// Holds a transcript against a golden one, or writes that anew where `UPDATE` is set.
pub(crate) fn compare(golden: &Path, text: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(golden, text).unwrap();
    }
    let before = std::fs::read_to_string(golden).unwrap_or_default();
    if before == text {
        return Ok(());
    }
    Err(format!(
        "the transcript is another one (UPDATE=1 writes it anew):\n{}",
        difference(&before, text)
    ))
}

/// The first lines in which two texts differ.
pub(crate) fn difference(before: &str, after: &str) -> String {
    let mut out = String::new();
    let (mut before, mut after) = (before.lines(), after.lines());
    for number in 1.. {
        let (was, is) = (before.next(), after.next());
        if was.is_none() && is.is_none() {
            break;
        }
        if was != is {
            let _ = writeln!(
                out,
                "line {number}\n  was: {}\n  is:  {}",
                was.unwrap_or("(nothing)"),
                is.unwrap_or("(nothing)")
            );
            if out.lines().count() > 15 {
                break;
            }
        }
    }
    out
}

/// Digests are those of the plugins that this machine has built.
fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        let _ = write!(out, "sha256:…{rest}");
    }
    out
}

/// What is left of a rehearsal for people to read: the story, and what the observer counted.
pub(crate) fn transcript(case: &Case, rehearsal: &Rehearsal) -> String {
    let mut out = String::new();
    if let Some(about) = &case.scenario.about {
        let _ = writeln!(out, "# {about}\n");
    }
    out.push_str(&rehearsal.story.text());
    if let Some(plan) = &rehearsal.planned {
        let plan = without_digests(&rehearsal::plan_in_words(plan, &case.scenario));
        let _ = writeln!(out, "\n{plan}");
    }
    let _ = writeln!(out, "\nend: {}", rehearsal.end);
    let run = rehearsal.run.as_ref();
    if let Some(took) = run.and_then(Run::rollback_time)
        && rehearsal.end == "rolled-back"
    {
        let target = run.map_or(Span::ZERO, |run| run.plan().rollback.target);
        let within = if took <= target { "within" } else { "over" };
        let _ = writeln!(
            out,
            "the way back took {took}, {within} its target of {target}"
        );
    }
    let changes = observer::changes_by_kind(&rehearsal.requests);
    let changes: Vec<String> = changes
        .iter()
        .map(|(kind, count)| format!("{count} to {kind}"))
        .collect();
    let changes = if changes.is_empty() {
        "none".to_owned()
    } else {
        changes.join(", ")
    };
    let _ = writeln!(out, "changes: {changes}");
    if let Some(fewest) = rehearsal.fewest_ready {
        let _ = writeln!(out, "fewest ready endpoints: {fewest}");
    }
    if !rehearsal.traffic.is_empty() {
        let totals = observer::totals(&rehearsal.traffic);
        let _ = writeln!(
            out,
            "requests: {:.0}, {:.0} failed, {:.0} mirrored",
            totals.requests, totals.failed, totals.mirrored
        );
    }
    for compared in observer::compared(&rehearsal.records) {
        let _ = writeln!(out, "compared: {compared}");
    }
    for notice in observer::notices(&rehearsal.exchanges) {
        let _ = writeln!(out, "notice: {notice}");
    }
    if let Some(run) = run {
        let owed = run.obligations().iter();
        for owed in owed.filter(|owed| owed.discharged.is_none()) {
            let _ = writeln!(out, "owed: {} (due {})", owed.task, owed.due);
        }
    }
    for fault in &rehearsal.faults {
        let _ = writeln!(out, "FAULT: {fault}");
    }
    out
}
