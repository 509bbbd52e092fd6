//! A plugin of every kind, called natively in a scripted world.

#![expect(clippy::unwrap_used, reason = "a helper of the tests may fail them")]

use phasegate_plugin::migrator::{Breakdown, Planned};
use phasegate_plugin::notifier::Severity;
use phasegate_plugin::router::Target;
use phasegate_plugin::testing::{Fake, call, notice, question, situation};
use phasegate_plugin::{Capability, Error, Split, Status, action::Progress};
use serde_json::{Value, json};

#[path = "../examples/every_kind.rs"]
mod every_kind;

use every_kind::PLUGIN;

fn world(data: &Value) -> Fake {
    Fake::new().kubernetes(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "switchboard", "namespace": "shop" }, "data": data,
    }))
}

fn data(world: &Fake) -> Value {
    world
        .cluster()
        .object("ConfigMap", "shop", "switchboard")
        .unwrap()["data"]
        .clone()
}

#[test]
fn the_description_lists_every_offer_and_every_ask() {
    let description = PLUGIN.describe();
    let offers: Vec<_> = description
        .offers
        .iter()
        .map(|offer| (offer.kind.as_str(), offer.name.as_str()))
        .collect();
    let expected = [
        ("strategy", "promote"),
        ("gate", "lit"),
        ("migrator", "rewire"),
        ("router", "switch"),
        ("action", "keep"),
        ("notifier", "ring"),
    ];
    assert_eq!(offers, expected);
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(description.asks[1], Capability::Run("rewire".to_owned()));
}

#[test]
fn an_offer_that_is_not_there_is_refused_by_name() {
    let answer = Fake::new().run(|| PLUGIN.evaluate(&question("dark", json!({}))));
    let expected = "this plugin has no gate `dark`; it has: lit";
    assert_eq!(answer, Err(Error::permanent(expected)));
}

#[test]
fn a_config_that_does_not_fit_is_refused_where_it_is_wrong() {
    let answer = Fake::new().run(|| PLUGIN.evaluate(&question("lit", json!({ "x": 1 }))));
    let expected = Error::misconfigured("/x", "unknown field `x`, there are no fields");
    assert_eq!(answer, Err(expected.clone()));
    let problems = PLUGIN.validate("gate", "lit", r#"{"x":1}"#);
    assert_eq!(Error::from(problems), expected);
}

#[test]
fn a_gate_reads_the_cluster_and_its_memory() {
    let mut world = world(&json!({ "light": "on" }));
    let mut question = question("lit", json!({}));
    question.memory = Some("2".to_owned());
    let verdict = world.run(|| PLUGIN.evaluate(&question)).unwrap();
    assert_eq!(
        (verdict.status, verdict.memory.as_deref()),
        (Status::Pass, Some("3"))
    );

    question.memory = Some("{".to_owned());
    assert!(matches!(
        world.run(|| PLUGIN.evaluate(&question)),
        Err(Error::Permanent(_))
    ));
}

#[test]
fn a_strategy_plans() {
    let situation = situation("promote", json!({}));
    let steps = Fake::new().run(|| PLUGIN.plan(&situation)).unwrap();
    assert_eq!(steps[0].id, "scale");
}

#[test]
fn a_router_puts_things_back() {
    let target = Target {
        stable_service: "shop".to_owned(),
        candidate_service: "shop-candidate".to_owned(),
        port: None,
    };
    let split = Split {
        candidate_weight: 2500,
        headers: vec![],
        mirror_weight: 0,
    };
    let mut world = world(&json!({ "weight": "0" }));
    let call = call("switch", json!({}));
    world.run(|| {
        let snapshot = PLUGIN.snapshot(&call, &target).unwrap().to_string();
        PLUGIN.set(&call, &target, &split).unwrap();
        assert_eq!(PLUGIN.read(&call, &target).unwrap().desired, split);
        PLUGIN.restore(&call, &target, &snapshot).unwrap();
    });
    assert_eq!(data(&world), json!({ "weight": "0" }));
}

#[test]
fn a_migrator_runs_its_tool() {
    let mut world = Fake::new().tool("rewire 001", 1, "sparks", "");
    let planned = Planned {
        id: "001".to_owned(),
        checksum: None,
    };
    let report = world
        .run(|| PLUGIN.apply(&call("rewire", json!({})), &[planned]))
        .unwrap();
    assert_eq!(
        (report.failed, report.transcript.as_str()),
        (Some(Breakdown::Unknown), "sparks")
    );
    assert_eq!(world.commands(), [["rewire", "001"]]);
}

#[test]
fn an_action_prepares_runs_is_probed_and_undone() {
    let mut world = world(&json!({ "light": "on" }));
    let call = call("keep", json!({}));
    world.run(|| {
        let token = PLUGIN.prepare(&call).unwrap().token;
        assert_eq!(PLUGIN.probe(&call, &token), Ok(Progress::NotDone));
        let outcome = PLUGIN.run(&call, &token).unwrap();
        assert_eq!(outcome.outputs, r#"{"artifact":"board.json"}"#);
        assert_eq!(PLUGIN.probe(&call, &token), Ok(Progress::Done));
        PLUGIN.undo(&call, r#"{"light":"off"}"#).unwrap();
    });
    assert_eq!(data(&world), json!({ "light": "off" }));
}

#[test]
fn a_notifier_tells_and_the_log_hears() {
    let mut world = Fake::new();
    let notice = notice("succeeded", Severity::Success, "done");
    let thread = world.run(|| PLUGIN.notify(&call("ring", json!({})), &notice));
    assert_eq!(thread, Ok(Some(json!({ "rang": true }))));
    assert_eq!(world.logged()[0].message, "shop: done");
}

#[test]
fn what_is_not_scripted_fails_the_test_that_asks_for_it() {
    let asks = || {
        let mut world = Fake::new().http("GET http://known/", 200, "");
        world.run(|| phasegate_plugin::http::get("http://unknown/").send())
    };
    let panic = std::panic::catch_unwind(asks).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    let expected = "no answer is scripted for `GET http://unknown/`, only for: GET http://known/";
    assert_eq!(message, expected);
}

#[test]
fn a_gate_is_written_in_under_forty_lines() {
    let readme = include_str!("../README.md");
    let code = readme.split("```rust\n").nth(1).unwrap();
    let code = code.split("```").next().unwrap();
    let lines = code.lines().filter(|line| !line.starts_with("# ")).count();
    assert!(code.contains("impl Gate for") && code.contains("export!"));
    assert!(lines < 40, "{lines} lines");
}
