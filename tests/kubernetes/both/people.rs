//! The people of a story on the real cluster, who do what it says when it says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use phasegate_core::time::Span;
use serde_json::Value;

use super::accounts;
use super::autoscaler;
use super::briefly::Story;
use super::mishaps::Mishaps;
use super::town::Town;
use crate::desk::{Desk, Heard, Started};
use crate::space::Space;

/// How long a run may say nothing.
const SILENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether the engine is to die.
const LOOK: Duration = Duration::from_millis(100);

/// An act, and when its time comes.
struct Due {
    at: Instant,
    by: Option<&'static str>,
    deed: Value,
}

impl Due {
    fn new(at: Instant, act: &Value) -> Self {
        Self {
            at,
            by: accounts::of(&act["by"]),
            deed: act["do"].clone(),
        }
    }
}

/// Those who take part in a story.
pub(super) struct People<'a> {
    space: &'a Space,
    desk: &'a Desk,
    town: &'a Town,
    mishaps: Option<Arc<Mishaps>>,
    starter: Option<&'static str>,
    begin: Instant,
    due: Vec<Due>,
    waiting: Vec<Value>,
    deaths: Vec<Value>,
    /// A run that is to take this one's place. It awaits an approval that nobody gives.
    successor: Option<Started>,
    dry: bool,
    told: String,
}

fn span(text: &Value) -> Duration {
    let text = text.as_str().unwrap_or("0s");
    text.parse::<Span>().unwrap().to_std()
}

impl<'a> People<'a> {
    pub(super) fn new(
        space: &'a Space,
        desk: &'a Desk,
        town: &'a Town,
        story: &Story,
        mishaps: Option<Arc<Mishaps>>,
    ) -> Self {
        let list = |name: &str| story.scenario[name].as_array().unwrap().clone();
        Self {
            space,
            desk,
            town,
            mishaps,
            starter: accounts::of(&story.scenario["startedBy"]),
            begin: Instant::now(),
            due: Vec::new(),
            waiting: [list("acts"), autoscaler::deeds(&story.scenario)].concat(),
            deaths: list("deaths"),
            successor: None,
            dry: story.scenario["dryRun"] == true,
            told: String::new(),
        }
    }

    /// Starts the release and does what there is to do; what was said.
    pub(super) fn play(mut self) -> String {
        let command = if self.dry { "plan" } else { "run" };
        let arguments = [
            command,
            "release.yaml",
            "--policy",
            "policy.yaml",
            "--output",
            "json",
        ];
        self.awaits_death();
        let mut run = self.desk.start_as(self.starter, &arguments);
        loop {
            if self.mishaps.as_ref().is_some_and(|mishaps| mishaps.dies()) {
                run = self.dies(run);
            }
            let next = self.due.iter().map(|due| due.at).min();
            let death = self.death();
            let until = next.into_iter().chain(death).min();
            let wait = until.map_or(SILENCE, |at| at.saturating_duration_since(Instant::now()));
            let looks = self.mishaps.is_some();
            let wait = if looks { wait.min(LOOK) } else { wait };
            match run.hear(wait) {
                Heard::Line(line) => self.hears(&line),
                Heard::Nothing if looks && until.is_none_or(|at| Instant::now() < at) => {}
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
        let death = self.deaths.first()?;
        death["at"]
            .is_string()
            .then(|| self.begin + span(&death["at"]))
    }

    fn awaits_death(&self) {
        if let Some(mishaps) = &self.mishaps {
            mishaps.expect(self.deaths.first());
        }
    }

    fn hears(&mut self, line: &str) {
        self.told.push_str(line);
        self.told.push('\n');
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        if line["type"] == "changed" {
            self.town.has_changed();
        }
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
            let timed = timed.iter();
            self.due
                .extend(timed.map(|act| Due::new(begin + span(&act["at"]), act)));
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
        let fitting = fitting.iter();
        self.due
            .extend(fitting.map(|act| Due::new(now + span(&act["after"]), act)));
    }

    /// Kills the engine, and starts another one after the time that the story says. Who waits to take the run's place sits at
    /// the same machine, and goes first: no run takes it in the simulated world either.
    fn dies(&mut self, run: Started) -> Started {
        let death = self.deaths.remove(0);
        let waited = self.successor.take().is_some();
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
        self.awaits_death();
        // By its name, where another run waits to begin.
        let run = if waited { &["shop-"][..] } else { &[] };
        let resume = [&["resume", "--output", "json"], run].concat();
        self.desk.start_as(self.starter, &resume)
    }

    /// Does what is due first.
    fn act(&mut self) {
        let first = (0..self.due.len())
            .min_by_key(|index| self.due[*index].at)
            .unwrap();
        let Due { by, deed, .. } = self.due.remove(first);
        let deed = match deed {
            Value::String(name) => (name, Value::Null),
            Value::Object(fields) => fields.into_iter().next().unwrap(),
            other => panic!("{other}"),
        };
        let text = deed.1.as_str().unwrap_or_default();
        let number = deed.1.to_string();
        let part = |name: &str| deed.1[name].as_str().unwrap_or_default();
        let arguments = match deed.0.as_str() {
            "abort" | "pause" => vec![deed.0.as_str(), "--reason", "as the story says"],
            "continue" if text.is_empty() => vec!["continue"],
            "continue" => vec!["continue", "--drift", text],
            "approve" if text.is_empty() => vec!["approve"],
            "approve" => vec!["approve", "--requirement", text],
            "attest" => vec!["attest", part("name"), "--text", part("text")],
            "retry" => vec!["retry"],
            "skip" => vec!["skip", text],
            "handOver" => vec!["hand-over", "--reason", text],
            "rollback" => vec!["rollback", "shop-", "--reason", "as the story says"],
            "dueDone" => vec!["due", "done", "shop-", &number],
            "secondRun" => return self.second_run(),
            "supersede" => return self.supersede(by),
            "autoscale" => {
                let wants = deed.1["wants"].as_i64().unwrap();
                return autoscaler::looks(self.space, part("hpa"), wants);
            }
            "create" => {
                self.space
                    .run(&["create", "-f", "-"], Some(&deed.1))
                    .unwrap();
                return;
            }
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
        let ended = self.desk.run_as(by, &arguments);
        ended.stdout.lines().for_each(|line| self.hears(line));
        self.told.push_str(&ended.stderr);
    }

    /// Somebody begins a newer run in this one's place. It gets the target, and changes nothing.
    fn supersede(&mut self, by: Option<&'static str>) {
        let policy = r#"{
            "apiVersion": "phasegate.dev/v1alpha1", "kind": "Policy",
            "roles": {"nobody": ["nobody-at-all"]}, "approvals": [{"roles": ["nobody"]}]
        }"#;
        self.desk.write("successor.yaml", policy);
        let newer = [
            "run",
            "release.yaml",
            "--policy",
            "successor.yaml",
            "--version",
            "1.2.0",
            "--supersede",
        ];
        self.successor = Some(self.desk.start_as(by, &newer));
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
