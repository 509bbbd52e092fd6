use phasegate_plugin::action::Progress;
use phasegate_plugin::testing::{Fake, call};
use phasegate_plugin::{Call, Error};
use serde_json::{Value, json};

use super::PLUGIN;

fn act() -> Call {
    let config = json!({"command": ["migrate", "--all"], "envFrom": {"secrets": ["db"]}});
    call("job", config)
}

/// The Job that the token names, with a condition.
fn ended(fake: &Fake, token: &str, condition: &str) -> Value {
    let mut job = job(fake, token).clone();
    let condition = json!({"type": condition, "status": "True", "reason": "R", "message": "m"});
    job["status"] = json!({"conditions": [condition]});
    job
}

fn job<'a>(fake: &'a Fake, token: &str) -> &'a Value {
    let token: Value = serde_json::from_str(token).unwrap();
    let name = token["job"].as_str().unwrap();
    fake.cluster().object("Job", "shop", name).unwrap()
}

#[test]
fn it_runs_once_under_a_name_of_its_own_and_is_awaited() {
    let mut fake = Fake::new();
    let prepared = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    assert!(!prepared.reversible);
    let token = prepared.token.as_str();
    let probe = |fake: &mut Fake| fake.run(|| PLUGIN.probe(&act(), token)).unwrap();
    assert_eq!(probe(&mut fake), Progress::NotDone);
    for _ in 0..2 {
        let waits = fake.run(|| PLUGIN.run(&act(), token));
        assert!(matches!(waits, Err(Error::Pending(_))), "{waits:?}");
        assert_eq!(probe(&mut fake), Progress::Running);
    }
    let made = job(&fake, token).clone();
    assert_eq!(made["spec"]["backoffLimit"], 0);
    assert_eq!(made["spec"]["ttlSecondsAfterFinished"], 7 * 86_400);
    let pod = &made["spec"]["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example/shop:1.4.0");
    assert_eq!(container["command"], json!(["migrate", "--all"]));
    assert_eq!(container["envFrom"], json!([{"secretRef": {"name": "db"}}]));
    let complete = ended(&fake, token, "Complete");
    let mut fake = fake.kubernetes(complete);
    assert_eq!(probe(&mut fake), Progress::Done);
    assert!(fake.run(|| PLUGIN.run(&act(), token)).is_ok());

    let mut other = act();
    other.key.push('2');
    let second = fake.run(|| PLUGIN.prepare(&other)).unwrap();
    assert_ne!(second.token, prepared.token);
}

#[test]
fn one_that_failed_is_not_tried_again() {
    let mut fake = Fake::new();
    let token = fake.run(|| PLUGIN.prepare(&act())).unwrap().token;
    fake.run(|| PLUGIN.run(&act(), &token)).unwrap_err();
    let failed = ended(&fake, &token, "Failed");
    let mut fake = fake.kubernetes(failed.clone());
    for _ in 0..2 {
        let told = fake.run(|| PLUGIN.run(&act(), &token)).unwrap_err();
        assert!(
            matches!(&told, Error::Permanent(text) if text.contains("R: m")),
            "{told:?}"
        );
    }
    fake.run(|| PLUGIN.cancel_action(&act(), &token)).unwrap();
    assert_eq!(*job(&fake, &token), failed, "it is kept");
}

#[test]
fn one_that_is_cancelled_is_stopped_and_kept() {
    let mut fake = Fake::new();
    let token = fake.run(|| PLUGIN.prepare(&act())).unwrap().token;
    fake.run(|| PLUGIN.cancel_action(&act(), &token)).unwrap();
    fake.run(|| PLUGIN.run(&act(), &token)).unwrap_err();
    fake.run(|| PLUGIN.cancel_action(&act(), &token)).unwrap();
    assert_eq!(job(&fake, &token)["spec"]["suspend"], true);
}

#[test]
fn it_is_kept_as_long_as_it_is_said_and_an_hour_at_least() {
    let keeps = |keep: &str| {
        let mut call = act();
        call.config = json!({"keep": keep}).to_string();
        call
    };
    let mut fake = Fake::new();
    let token = fake.run(|| PLUGIN.prepare(&keeps("36h"))).unwrap().token;
    fake.run(|| PLUGIN.run(&keeps("36h"), &token)).unwrap_err();
    let spec = &job(&fake, &token)["spec"];
    assert_eq!(spec["ttlSecondsAfterFinished"], 36 * 3600);
    let problems = PLUGIN.validate("action", "job", &keeps("59m").config);
    assert_eq!(
        problems.first().map(|it| it.pointer.as_str()),
        Some("/keep")
    );
    assert!(
        PLUGIN
            .validate("action", "job", &keeps("1h").config)
            .is_empty()
    );
}

#[test]
fn one_that_may_have_run_and_gone_is_not_made_again() {
    let begin = 1_790_000_000_000;
    let day = 24 * 3_600_000;
    let mut fake = Fake::new().at(begin);
    let token = fake.run(|| PLUGIN.prepare(&act())).unwrap().token;
    let mut fake = Fake::new().at(begin + 7 * day - 1);
    let probed = fake.run(|| PLUGIN.probe(&act(), &token)).unwrap();
    assert_eq!(probed, Progress::NotDone);
    let mut fake = Fake::new().at(begin + 7 * day);
    let probed = fake.run(|| PLUGIN.probe(&act(), &token)).unwrap();
    assert_eq!(probed, Progress::Running, "`run` tells what is the matter");
    let told = fake.run(|| PLUGIN.run(&act(), &token)).unwrap_err();
    assert!(
        matches!(&told, Error::Permanent(text) if text.contains("may have run")),
        "{told:?}"
    );
}
