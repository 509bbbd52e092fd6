//! One plugin that supplies every kind: a switchboard in ConfigMap `switchboard`.
//!
//! `cargo build --release --target wasm32-unknown-unknown --example every_kind` makes a component.

use phasegate_plugin::strategy::{self, Amount};
use phasegate_plugin::{
    Action, Ask, Call, Error, Gate, Migrator, Notice, Notifier, Question, Result, Router,
    Situation, Split, Step, Strategy, Verdict, action, artifacts, kubernetes, log, migrator,
    router, runner,
};
use serde_json::{Value, json};

/// Needs no setting.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Switchboard {}

const MAP: [&str; 3] = ["v1", "ConfigMap", "switchboard"];

fn board(call: &Call) -> Result<Value> {
    let [version, kind, name] = MAP;
    Ok(kubernetes::get(version, kind, &call.namespace, name)?)
}

fn switch(call: &Call, data: &Value) -> Result<()> {
    let [version, kind, name] = MAP;
    let change = json!({ "data": data });
    let _: Value = kubernetes::patch(version, kind, &call.namespace, name, &change)?;
    Ok(())
}

impl Strategy for Switchboard {
    const NAME: &'static str = "promote";
    const SUMMARY: &'static str = "promotes at once";

    fn plan(&self, situation: &Situation) -> Result<Vec<Step>> {
        let scale = strategy::Scale {
            slot: strategy::Slot::Candidate,
            replicas: Amount::Count(situation.workload.replicas),
            timeout_ms: 1000,
        };
        Ok(vec![Step::new("scale", strategy::Action::Scale(scale))])
    }
}

impl Gate for Switchboard {
    const NAME: &'static str = "lit";
    const SUMMARY: &'static str = "passes while the light is on, and remembers how often it was";

    fn evaluate(&self, question: &Question) -> Result<Verdict> {
        let times: u32 = question.remembered()?.unwrap_or_default();
        match board(&question.call)?.pointer("/data/light") {
            Some(light) if light == "on" => Verdict::pass("the light is on").remember(&(times + 1)),
            Some(_) => Ok(Verdict::fail("the light is off")),
            None => Ok(Verdict::inconclusive("there is no light")),
        }
    }
}

impl Router for Switchboard {
    const NAME: &'static str = "switch";
    const SUMMARY: &'static str = "writes the candidate's weight down";

    fn supports(&self, _call: &Call) -> Result<router::Features> {
        Ok(router::Features {
            weights: true,
            header_match: false,
            mirror: false,
            extra: "{}".to_owned(),
        })
    }

    fn snapshot(&self, call: &Call, _target: &router::Target) -> Result<Value> {
        Ok(board(call)?.get("data").cloned().unwrap_or_default())
    }

    fn set(&self, call: &Call, _target: &router::Target, split: &Split) -> Result<()> {
        switch(
            call,
            &json!({ "weight": split.candidate_weight.to_string() }),
        )
    }

    fn read(&self, call: &Call, _target: &router::Target) -> Result<router::Reading> {
        let board = board(call)?;
        let weight = board.pointer("/data/weight").and_then(Value::as_str);
        let candidate_weight = weight.unwrap_or("0").parse();
        let split = Split {
            candidate_weight: candidate_weight.map_err(|_| "the weight is no number")?,
            headers: Vec::new(),
            mirror_weight: 0,
        };
        Ok(router::Reading {
            desired: split,
            accepted: None,
            settled: true,
        })
    }

    fn restore(&self, call: &Call, _target: &router::Target, snapshot: &Value) -> Result<()> {
        switch(call, snapshot)
    }
}

impl Migrator for Switchboard {
    const NAME: &'static str = "rewire";
    const SUMMARY: &'static str = "runs the tool `rewire`";

    fn inspect(&self, _call: &Call) -> Result<migrator::Database> {
        Err(Error::permanent("there is no database"))
    }

    fn apply(&self, _call: &Call, migrations: &[migrator::Planned]) -> Result<migrator::Report> {
        let ids: Vec<String> = migrations
            .iter()
            .map(|planned| planned.id.clone())
            .collect();
        let command = runner::Command::new("apply", "rewire").args(&ids);
        let output = command.secret_env("PASSWORD", "board").run()?;
        Ok(migrator::Report {
            before: Vec::new(),
            after: ids.clone(),
            ids,
            failed: (output.exit_code != 0).then_some(migrator::Breakdown::Unknown),
            transcript: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }

    fn verify(&self, call: &Call) -> Result<migrator::Report> {
        self.apply(call, &[])
    }
}

impl Action for Switchboard {
    const NAME: &'static str = "keep";
    const SUMMARY: &'static str = "keeps the board as an artifact of the run";

    fn prepare(&self, call: &Call) -> Result<action::Preparation> {
        let token = board(call)?.get("data").cloned().unwrap_or_default();
        Ok(action::Preparation::new("keep the board", &token).reversible())
    }

    fn run(&self, _call: &Call, token: &Value) -> Result<action::Outcome> {
        let kept = artifacts::write("board.json", token.to_string().as_bytes())?;
        let outcome = action::Outcome::new(format!("kept {} bytes", kept.size));
        Ok(outcome.outputs(&json!({ "artifact": kept.name })))
    }

    fn probe(&self, _call: &Call, _token: &Value) -> Result<action::Progress> {
        Ok(match artifacts::stat("board.json") {
            Some(_) => action::Progress::Done,
            None => action::Progress::NotDone,
        })
    }

    fn undo(&self, call: &Call, token: &Value) -> Result<()> {
        switch(call, token)
    }
}

impl Notifier for Switchboard {
    const NAME: &'static str = "ring";
    const SUMMARY: &'static str = "writes to the log";

    fn notify(&self, call: &Call, notice: &Notice) -> Result<Option<Value>> {
        log::info(format!("{}: {}", call.release.name, notice.title));
        Ok(Some(json!({ "rang": true })))
    }
}

phasegate_plugin::export! {
    name: "switchboard",
    summary: "One of every kind",
    strategies: [Switchboard],
    gates: [Switchboard],
    migrators: [Switchboard],
    routers: [Switchboard],
    actions: [Switchboard],
    notifiers: [Switchboard],
    asks: [
        Ask::Kubernetes { group: "", kind: "ConfigMap", verbs: &["get", "patch"] },
        Ask::Run("rewire"),
        Ask::Artifacts,
    ],
}
