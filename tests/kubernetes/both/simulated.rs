//! A story on the simulated cluster, in this process and in virtual time.

use std::sync::{Arc, OnceLock};

use phasegate_cli::compose::{Invented, Simulation};
use phasegate_cli::{builtin, contents, manifests, plugins};
use phasegate_core::spec::policy;
use phasegate_core::spec::release::{self, Overrides};
use phasegate_host::{HostConfig, Workshop};
use phasegate_rehearsal::rehearse::{self, Rehearsal, Stage};
use phasegate_rehearsal::scenario;
use phasegate_store::MemoryJournal;
use serde_json::Value;

use super::Played;
use super::briefly::Story;
use super::remains::{KINDS, Remains};

/// Where plugins are loaded, once for all stories.
fn workshop() -> &'static Workshop {
    static WORKSHOP: OnceLock<Workshop> = OnceLock::new();
    WORKSHOP.get_or_init(|| Workshop::new().unwrap())
}

/// Plays it to its end.
pub(super) fn play(story: &Story) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (rehearsal, remains) = runtime.block_on(stage(story));
    assert!(
        rehearsal.faults.is_empty(),
        "in the simulated world:\n{}\n{}",
        rehearsal.faults.join("\n"),
        rehearsal.story.text()
    );
    Played {
        run: rehearse::RUN.to_owned(),
        end: rehearsal.end,
        records: rehearsal.records,
        remains,
        told: rehearsal.story.text(),
    }
}

async fn stage(story: &Story) -> (Rehearsal, Remains) {
    let text = |value: &Value| value.to_string().into_bytes();
    let overrides = Overrides::default();
    let loaded = release::load(
        "release.yaml",
        &text(&story.release),
        &overrides,
        &builtin::NAMES,
    );
    let mut loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    contents::fill(&mut loaded, &story.folder).unwrap_or_else(|faults| panic!("{faults}"));
    manifests::fill(&mut loaded, &story.folder).unwrap_or_else(|faults| panic!("{faults}"));
    let policy = policy::load("policy.yaml", &text(&story.policy));
    let policy = policy.unwrap_or_else(|faults| panic!("{faults}")).policy;
    let scenario = scenario::load("scenario.yaml", &text(&story.scenario));
    let scenario = scenario
        .unwrap_or_else(|faults| panic!("{faults}"))
        .scenario;
    let components = plugins::of_release(&loaded, ".".as_ref()).unwrap();
    let simulation = Simulation::begin(&scenario, scenario.seed).unwrap();
    let config = HostConfig {
        grants: policy.plugins.grants.clone(),
        workshop: Some(workshop().clone()),
        yields: false,
        ..HostConfig::default()
    };
    let journal = |name: &str| Arc::new(MemoryJournal::new(name));
    let parts =
        simulation
            .world
            .engine(config, Arc::new(Invented), components, journal("rehearsal"));
    let cluster = simulation.cluster.clone();
    let rehearsal = rehearse::play(Stage {
        loaded: &loaded,
        policy: &policy,
        scenario: &scenario,
        cluster: simulation.cluster,
        network: simulation.network,
        engine: parts.unwrap().engine,
        elsewhere: journal("elsewhere"),
        trouble: None,
        soaks: None,
    })
    .await;
    let namespace = loaded.namespace.clone();
    let remains = cluster.with(|cluster| {
        let mut remains = Remains::new(&namespace);
        for (kind, plural) in KINDS {
            for object in cluster.list(kind, &namespace) {
                remains.take(plural, &object);
            }
        }
        remains
    });
    (rehearsal, remains)
}
