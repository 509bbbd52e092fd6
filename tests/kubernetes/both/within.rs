//! A story on the real cluster by an engine within this process: where its clock shows another day, or a plugin misbehaves by
//! script, which the program can't be told. The parts are put together as the program does it, but for these two.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use phasegate_cli::compose::World;
use phasegate_cli::{builtin, contents, manifests, plugins};
use phasegate_core::event::{Identity, Record};
use phasegate_core::run::Run;
use phasegate_core::spec::policy;
use phasegate_core::spec::release::{self, Overrides};
use phasegate_core::time::Span;
use phasegate_host::HostConfig;
use phasegate_rehearsal::misfortune::FaultyPlugins;
use phasegate_rehearsal::scenario::{self, Scenario};
use phasegate_runtime::engine::{GIVE_BACK, Observer, Options};
use phasegate_runtime::planner;
use phasegate_runtime::ports::Clock;
use phasegate_store::SqliteJournal;
use phasegate_world::clock::{ScaledClock, SystemClock};
use phasegate_world::credentials::LocalCredentials;

use super::accounts;
use super::briefly::Story;
use super::town::Town;
use crate::desk::{self, Desk};

/// How often the inbox is looked at.
const INBOX: Span = Span::from_millis(250);

/// Plays it; what was said.
pub(super) fn play(desk: &Desk, town: &Town, release: &str, story: &Story) -> String {
    for part in ["acts", "deaths", "faults"] {
        let part = story.scenario[part].as_array();
        assert!(
            part.is_none_or(Vec::is_empty),
            "only its clock and its plugins are odd"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(driven(desk, town, release, story))
}

fn world(client: kube::Client, scenario: &Scenario) -> World {
    let clock: Arc<dyn Clock> = match scenario.start {
        Some(_) => Arc::new(ScaledClock::new(scenario.start(), 1.0).unwrap()),
        None => Arc::new(SystemClock),
    };
    World::live(client, clock)
}

async fn driven(desk: &Desk, town: &Town, release: &str, story: &Story) -> String {
    let overrides = Overrides::default();
    let loaded = release::load(
        "release.yaml",
        release.as_bytes(),
        &overrides,
        &builtin::NAMES,
    );
    let mut loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    contents::fill(&mut loaded, &story.folder).unwrap_or_else(|faults| panic!("{faults}"));
    manifests::fill(&mut loaded, &story.folder).unwrap_or_else(|faults| panic!("{faults}"));
    let text = accounts::named(&story.policy.to_string());
    let policy = policy::load("policy.yaml", text.as_bytes());
    let policy = policy.unwrap_or_else(|faults| panic!("{faults}")).policy;
    let text = story.scenario.to_string();
    let scenario = scenario::load("scenario.yaml", text.as_bytes());
    let scenario = scenario
        .unwrap_or_else(|faults| panic!("{faults}"))
        .scenario;

    let world = world(desk::client(desk.kubeconfig()).await, &scenario);
    let components = plugins::of_release(&loaded, Path::new(".")).unwrap();
    let config = HostConfig {
        grants: policy.plugins.grants.clone(),
        ..HostConfig::default()
    };
    let journal = Arc::new(SqliteJournal::open(desk.state()).unwrap());
    let credentials = Arc::new(LocalCredentials::default());
    let parts = world
        .engine(config, credentials, components, journal)
        .unwrap();
    parts
        .prepare()
        .await
        .unwrap_or_else(|faults| panic!("{faults}"));
    let mut engine = parts.engine;
    let faulty = FaultyPlugins::new(engine.world.plugins, &scenario.plugins);
    engine.world.plugins = Arc::new(faulty);

    let by = Identity {
        name: "operator".to_owned(),
        verified_by: "scenario".to_owned(),
    };
    let prepared = planner::prepare(&engine.world, &loaded, &policy, "test", &by.name).await;
    let plan = prepared.unwrap_or_else(|faults| panic!("{faults}")).plan;
    let options = Options {
        engine: "engine-1".to_owned(),
        leave_when_waiting: false,
        inbox_poll: INBOX,
        give_back: GIVE_BACK,
    };
    let mut teller = Teller {
        town,
        told: String::new(),
    };
    let (_nudge, nudges) = tokio::sync::mpsc::channel(1);
    let came = engine
        .start("shop-within", plan, &by, &options, nudges, &mut teller)
        .await;
    if let Err(error) = came {
        writeln!(teller.told, "{error}").unwrap();
    }
    teller.told
}

struct Teller<'a> {
    town: &'a Town,
    told: String,
}

impl Observer for Teller<'_> {
    fn recorded(&mut self, _: u64, _: &Record, run: &Run) {
        for line in run.said() {
            if line.kind == "changed" {
                self.town.has_changed();
            }
            let step = line.step.as_deref().unwrap_or("run");
            writeln!(self.told, "{} {step}: {}", line.kind, line.message).unwrap();
        }
    }
}
