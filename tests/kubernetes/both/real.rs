//! A story on the real cluster, by the program as people start it, and by people who do what the story says.

use std::time::{Duration, Instant};

use phasegate_core::event::Record;
use phasegate_core::run::{Run, State};
use phasegate_core::time::Span;
use phasegate_runtime::ports::Journal;
use phasegate_store::SqliteJournal;
use serde_json::Value;

use super::Played;
use super::briefly::Story;
use super::remains::{KINDS, Remains};
use super::stage;
use super::town::Town;
use crate::desk::{Desk, Heard, Started};
use crate::plane::{Door, Plane};
use crate::space::Space;

/// How long a run may say nothing.
const SILENCE: Duration = Duration::from_secs(120);

/// Plays it to its end.
pub(super) fn play(space: &Space, story: &Story) -> Played {
    let version = story.release["version"].as_str().unwrap();
    stage::set(space, &story.scenario, version);
    let desk = Desk::admin(space);
    let town = Town::new(desk.kubeconfig(), &space.name, &story.scenario["http"]);
    let release = stage::release(space, story, &town.address);
    desk.write("release.yaml", &release);
    desk.write("policy.yaml", &story.policy.to_string());
    // Nobody else says in a route's status that it is followed.
    let plane =
        routed(story).then(|| Plane::new(desk.kubeconfig(), &space.name, Door::Route("shop")));
    let told = People::new(space, &desk, story).play();
    drop(plane);
    let (run, records) = records(&desk);
    Played {
        end: end(&run, &records),
        run,
        records,
        remains: remains(space),
        told,
    }
}

fn routed(story: &Story) -> bool {
    let objects = story.scenario["cluster"]["objects"].as_array().unwrap();
    objects.iter().any(|object| object["kind"] == "HTTPRoute")
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
        let runs = journal.runs(2).await.unwrap();
        assert!(runs.len() < 2, "{runs:?}");
        match runs.first() {
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

/// An act, and when its time comes.
struct Due {
    at: Instant,
    deed: Value,
}

struct People<'a> {
    space: &'a Space,
    desk: &'a Desk,
    begin: Instant,
    due: Vec<Due>,
    waiting: Vec<Value>,
    deaths: Vec<Value>,
    dry: bool,
    told: String,
}

fn span(text: &Value) -> Duration {
    let text = text.as_str().unwrap_or("0s");
    text.parse::<Span>().unwrap().to_std()
}

impl<'a> People<'a> {
    fn new(space: &'a Space, desk: &'a Desk, story: &Story) -> Self {
        let list = |name: &str| story.scenario[name].as_array().unwrap().clone();
        Self {
            space,
            desk,
            begin: Instant::now(),
            due: Vec::new(),
            waiting: list("acts"),
            deaths: list("deaths"),
            dry: story.scenario["dryRun"] == true,
            told: String::new(),
        }
    }

    fn play(mut self) -> String {
        let command = if self.dry { "plan" } else { "run" };
        let arguments = [
            command,
            "release.yaml",
            "--policy",
            "policy.yaml",
            "--output",
            "json",
        ];
        let mut run = self.desk.start(&arguments);
        loop {
            let next = self.due.iter().map(|due| due.at).min();
            let death = self.death();
            let until = next.into_iter().chain(death).min();
            let wait = until.map_or(SILENCE, |at| at.saturating_duration_since(Instant::now()));
            match run.hear(wait) {
                Heard::Line(line) => self.hears(&line),
                Heard::Nothing if until.is_none() => {
                    panic!("it says nothing any more:\n{}", self.told)
                }
                Heard::Nothing if death.is_some_and(|at| at <= Instant::now()) => {
                    run = self.dies(run);
                }
                Heard::Nothing => self.act(),
                Heard::Ended => {
                    self.told.push_str(&run.end().stderr);
                    break;
                }
            }
        }
        // What people do after the end.
        while let Some(at) = self.due.iter().map(|due| due.at).min() {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            self.act();
        }
        assert!(
            self.waiting.is_empty(),
            "never came: {:?}\n{}",
            self.waiting,
            self.told
        );
        self.told
    }

    fn death(&self) -> Option<Instant> {
        let at = self.deaths.first()?;
        Some(self.begin + span(&at["at"]))
    }

    fn hears(&mut self, line: &str) {
        self.told.push_str(line);
        self.told.push('\n');
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        if line["type"] == "claimed"
            && line["step"].is_null()
            && self.told.matches("\"claimed\"").count() == 1
        {
            self.begin = Instant::now();
            let begin = self.begin;
            let (timed, waiting) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|act: &Value| act["when"].is_null());
            self.waiting = waiting;
            let timed: Vec<Value> = timed;
            self.due.extend(timed.into_iter().map(|act| Due {
                at: begin + span(&act["at"]),
                deed: act["do"].clone(),
            }));
        }
        let fits = |act: &Value| {
            let when = &act["when"];
            let is = |field: &str, of: &Value| when[field].is_null() || when[field] == *of;
            let message = line["message"].as_str().unwrap_or_default();
            !when.is_null()
                && is("line", &line["type"])
                && is("step", &line["step"])
                && when["message"]
                    .as_str()
                    .is_none_or(|part| message.contains(part))
        };
        let now = Instant::now();
        let (fitting, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(fits);
        self.waiting = waiting;
        let fitting: Vec<Value> = fitting;
        self.due.extend(fitting.into_iter().map(|act| Due {
            at: now + span(&act["after"]),
            deed: act["do"].clone(),
        }));
    }

    /// Kills the engine, and starts another one after the time that the story says.
    fn dies(&mut self, run: Started) -> Started {
        let death = self.deaths.remove(0);
        drop(run);
        let back = Instant::now() + span(&death["resumeAfter"]);
        while let Some(at) = self
            .due
            .iter()
            .map(|due| due.at)
            .min()
            .filter(|at| *at < back)
        {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            self.act();
        }
        std::thread::sleep(back.saturating_duration_since(Instant::now()));
        self.desk.start(&["resume", "--output", "json"])
    }

    /// Does what is due first.
    fn act(&mut self) {
        let first = (0..self.due.len())
            .min_by_key(|index| self.due[*index].at)
            .unwrap();
        let deed = self.due.remove(first).deed;
        let deed = match deed {
            Value::String(name) => (name, Value::Null),
            Value::Object(fields) => fields.into_iter().next().unwrap(),
            other => panic!("{other}"),
        };
        let text = deed.1.as_str().unwrap_or_default();
        let number = deed.1.to_string();
        let arguments = match deed.0.as_str() {
            "abort" | "pause" => vec![deed.0.as_str(), "--reason", "as the story says"],
            "continue" if text.is_empty() => vec!["continue"],
            "continue" => vec!["continue", "--drift", text],
            "retry" => vec!["retry"],
            "skip" => vec!["skip", text],
            "handOver" => vec!["hand-over", "--reason", text],
            "rollback" => vec!["rollback", "shop-", "--reason", "as the story says"],
            "dueDone" => vec!["due", "done", "shop-", &number],
            "secondRun" => return self.second_run(),
            "patch" => {
                let kind = deed.1["kind"].as_str().unwrap();
                let name = deed.1["name"].as_str().unwrap();
                let merge = deed.1["merge"].to_string();
                self.space
                    .kubectl(&["patch", kind, name, "--type=merge", "-p", &merge]);
                return;
            }
            other => panic!("nobody here can do `{other}`"),
        };
        let arguments = [&arguments[..], &["--output", "json"]].concat();
        let ended = self.desk.run(&arguments);
        ended.stdout.lines().for_each(|line| self.hears(line));
        self.told.push_str(&ended.stderr);
    }

    /// Somebody else begins a run of the same release elsewhere.
    fn second_run(&self) {
        let elsewhere = [
            "--state",
            "elsewhere",
            "run",
            "release.yaml",
            "--policy",
            "policy.yaml",
        ];
        let refused = self.desk.run(&elsewhere);
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    }
}
