use phasegate_plugin::Call;
use phasegate_plugin::action::Progress;
use phasegate_plugin::testing::{Fake, call};
use serde_json::{Value, json};

use super::PLUGIN;

fn config_map(data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"},
        "data": data,
    })
}

fn act() -> Call {
    let set = json!({"mode": "new", "extra": "yes", "old": null});
    call("configmap", json!({"name": "settings", "set": set}))
}

fn data(fake: &Fake) -> Value {
    fake.cluster()
        .object("ConfigMap", "shop", "settings")
        .unwrap()["data"]
        .clone()
}

#[test]
fn keys_are_set_and_put_back_and_others_stay() {
    let before = json!({"mode": "plain", "old": "1", "other": "x"});
    let mut fake = Fake::new().kubernetes(config_map(&before));
    let prepared = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    assert!(prepared.reversible);
    assert_eq!(
        fake.run(|| PLUGIN.probe(&act(), &prepared.token)).unwrap(),
        Progress::NotDone
    );
    for _ in 0..2 {
        fake.run(|| PLUGIN.run(&act(), &prepared.token)).unwrap();
        assert_eq!(
            data(&fake),
            json!({"mode": "new", "extra": "yes", "other": "x"})
        );
    }
    assert_eq!(
        fake.run(|| PLUGIN.probe(&act(), &prepared.token)).unwrap(),
        Progress::Done
    );
    for _ in 0..2 {
        fake.run(|| PLUGIN.undo(&act(), &prepared.token)).unwrap();
        assert_eq!(data(&fake), before);
    }
}

#[test]
fn where_nothing_was_changed_nothing_is_put_back() {
    let there = json!({"mode": "new", "extra": "yes"});
    let mut fake = Fake::new().kubernetes(config_map(&there));
    let prepared = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    fake.run(|| PLUGIN.run(&act(), &prepared.token)).unwrap();
    // The action before it, which had set the same, is undone first.
    let mut fake = fake.kubernetes(config_map(&json!({"mode": "plain"})));
    fake.run(|| PLUGIN.undo(&act(), &prepared.token)).unwrap();
    assert_eq!(data(&fake), json!({"mode": "plain"}));
}

#[test]
fn what_somebody_else_has_set_since_is_left_alone() {
    let mut fake = Fake::new().kubernetes(config_map(&json!({"mode": "plain"})));
    let prepared = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    fake.run(|| PLUGIN.run(&act(), &prepared.token)).unwrap();
    let mut fake = fake.kubernetes(config_map(&json!({"mode": "theirs", "extra": "yes"})));
    let refused = fake
        .run(|| PLUGIN.undo(&act(), &prepared.token))
        .unwrap_err();
    assert!(refused.to_string().contains("mode"), "{refused}");
    assert_eq!(data(&fake)["mode"], "theirs");
}

#[test]
fn what_somebody_set_after_it_was_looked_at_is_not_written_over() {
    let mut fake = Fake::new().kubernetes(config_map(&json!({"mode": "plain"})));
    let prepared = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    let theirs = json!({"mode": "theirs", "other": "y"});
    let mut fake = fake.kubernetes(config_map(&theirs));
    let refused = fake.run(|| PLUGIN.run(&act(), &prepared.token));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("mode"), "{refused}");
    assert_eq!(data(&fake), theirs);
    // What others set beside its keys is none of its business.
    let beside = json!({"mode": "plain", "other": "z"});
    let mut fake = fake.kubernetes(config_map(&beside));
    fake.run(|| PLUGIN.run(&act(), &prepared.token)).unwrap();
    let after = json!({"mode": "new", "extra": "yes", "other": "z"});
    assert_eq!(data(&fake), after);
}

#[test]
fn one_that_is_immutable_or_not_there_is_refused_first() {
    let mut object = config_map(&json!({}));
    object["immutable"] = json!(true);
    assert!(
        Fake::new()
            .kubernetes(object)
            .run(|| PLUGIN.prepare(&act()))
            .is_err()
    );
    assert!(Fake::new().run(|| PLUGIN.prepare(&act())).is_err());
}
