//! A story on the real cluster, by the program as people start it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use phasegate_core::event::Record;
use phasegate_core::run::{Run, State};
use phasegate_runtime::ports::Journal;
use phasegate_store::SqliteJournal;

use super::Played;
use super::accounts;
use super::briefly::Story;
use super::fates;
use super::mishaps::Mishaps;
use super::people::People;
use super::remains::{KINDS, Remains};
use super::stage;
use super::town::Town;
use super::within;
use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::proxy::Proxy;
use crate::space::Space;

/// Plays it to its end.
pub(super) fn play(space: &Space, story: &Story) -> Played {
    let over = AtomicBool::new(false);
    let (desk, told) = thread::scope(|scope| {
        let befalling = fates::befall(scope, space, &story.scenario, &over);
        let over = Over(&over);
        let played = through(space, story);
        drop(over);
        befalling.map(ScopedJoinHandle::join).transpose().unwrap();
        played
    });
    let (run, records) = records(&desk);
    Played {
        end: end(&run, &records),
        run,
        records,
        remains: remains(space),
        told,
    }
}

/// Sets the stage and plays it there; the desk, and what was said.
fn through(space: &Space, story: &Story) -> (Desk, String) {
    let version = story.release["version"].as_str().unwrap();
    stage::set(space, &story.scenario, version);
    let desk = Desk::admin(space);
    let town = Town::new(desk.kubeconfig(), &space.name, &story.scenario);
    let release = stage::release(space, story, &town.address);
    desk.write("release.yaml", &release);
    desk.write("policy.yaml", &accounts::named(&story.policy.to_string()));
    // Nobody else says in a route's status that it is followed.
    let door = match (routed(story), has_customers(story)) {
        (true, _) => Some(Door::Route("shop")),
        (false, true) => Some(Door::Service("shop")),
        (false, false) => None,
    };
    let plane = door.map(|door| Plane::new(desk.kubeconfig(), &space.name, door));
    if story.within {
        assert!(plane.is_none(), "there are no customers here");
        let told = within::play(&desk, &town, &release, story);
        return (desk, told);
    }
    let mishaps = Mishaps::of(&story.scenario);
    let proxy = mishaps.clone().map(|mishaps| {
        let between = Arc::clone(&mishaps);
        Proxy::over(&desk, move |upstream| between.between(upstream))
    });
    let told = People::new(space, &desk, &town, story, mishaps).play();
    drop(proxy);
    let tally = plane.map(Plane::end);
    if let Some(tally) = tally.filter(|_| has_customers(story)) {
        assert_eq!(tally.failures, 0, "{tally:#?}\n{told}");
    }
    (desk, told)
}

/// A story that is over when the value goes, however it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Customers whose requests are counted: none of these stories turns one away. They come by HTTPRoutes and Services: there is
/// nobody who follows a VirtualService or an Ingress.
fn has_customers(story: &Story) -> bool {
    let traffic = story.scenario["traffic"].as_array();
    let elsewhere = ["VirtualService", "Ingress"];
    traffic.is_some_and(|traffic| !traffic.is_empty())
        && !elsewhere.iter().any(|kind| has(story, kind))
}

fn routed(story: &Story) -> bool {
    has(story, "HTTPRoute")
}

fn has(story: &Story, kind: &str) -> bool {
    let objects = story.scenario["cluster"]["objects"].as_array().unwrap();
    objects.iter().any(|object| object["kind"] == kind)
}

/// What is on the cluster now.
pub(super) fn remains(space: &Space) -> Remains {
    let mut remains = Remains::new(&space.name);
    for (_, plural) in KINDS {
        let list = space.get(&[plural]);
        for object in list["items"].as_array().unwrap() {
            remains.take(plural, object);
        }
    }
    remains
}

fn records(desk: &Desk) -> (String, Vec<Record>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let Ok(journal) = SqliteJournal::look(desk.state()) else {
            return Default::default();
        };
        // The newest comes first: what was to take the run's place.
        let runs = journal.runs(3).await.unwrap();
        assert!(runs.len() < 3, "{runs:?}");
        match runs.last() {
            Some(entry) => (entry.run.clone(), journal.read(&entry.run).await.unwrap().0),
            None => Default::default(),
        }
    })
}

fn end(run: &str, records: &[Record]) -> String {
    if records.is_empty() {
        return "not-started".to_owned();
    }
    match Run::replay(run, records).unwrap().state() {
        State::Ended { end } => end.to_string().replace(' ', "-"),
        other => format!("{other:?}"),
    }
}
