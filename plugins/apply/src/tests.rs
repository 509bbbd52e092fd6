use phasegate_plugin::Call;
use phasegate_plugin::action::{Preparation, Progress};
use phasegate_plugin::testing::{Fake, call};
use phasegate_plugin::{Error, Result};
use serde_json::{Value, json};

use super::{Before, MARK, PLUGIN, before};

fn settings(data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"},
        "data": data,
    })
}

fn policy(port: u16) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]},
    })
}

fn act(objects: &[Value]) -> Call {
    let mut act = call("apply", json!({"objects": objects}));
    act.key = "run-1/after/act-1/prepare".to_owned();
    act
}

fn prepared(fake: &mut Fake, act: &Call) -> Preparation {
    fake.run(|| PLUGIN.prepare(act)).unwrap()
}

/// Calls until it isn't pending any more, and returns how often it was.
fn until_done<T>(mut turn: impl FnMut() -> Result<T>) -> (usize, Result<T>) {
    for calls in 0..20 {
        match turn() {
            Err(Error::Pending(_)) => {}
            end => return (calls, end),
        }
    }
    panic!("it never ends");
}

fn run(fake: &mut Fake, act: &Call, token: &str) -> (usize, Result<String>) {
    until_done(|| {
        let outcome = fake.run(|| PLUGIN.run(act, token))?;
        Ok(outcome.summary)
    })
}

fn undo(fake: &mut Fake, act: &Call, token: &str) -> (usize, Result<()>) {
    until_done(|| fake.run(|| PLUGIN.undo(act, token)))
}

fn probe(fake: &mut Fake, act: &Call, token: &str) -> Progress {
    fake.run(|| PLUGIN.probe(act, token)).unwrap()
}

fn of<'a>(fake: &'a Fake, kind: &str, name: &str) -> Option<&'a Value> {
    fake.cluster().object(kind, "shop", name)
}

/// Of an object, what people see of it.
fn plain(object: Option<&Value>) -> Value {
    let mut object = object.cloned().unwrap_or_default();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    object
}

/// What kubectl owns of it.
fn by_kubectl(mut object: Value, fields: &Value) -> Value {
    object["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Update", "fieldsV1": fields}]);
    object
}

#[test]
fn what_is_made_is_removed_and_one_object_is_changed_by_a_call() {
    let objects = [settings(&json!({"mode": "new"})), policy(80)];
    let act = act(&objects);
    let mut fake = Fake::new();
    let preparation = prepared(&mut fake, &act);
    assert!(preparation.reversible);
    assert_eq!(
        preparation.summary,
        "will make ConfigMap settings, NetworkPolicy shop"
    );
    let token = preparation.token;
    assert_eq!(probe(&mut fake, &act, &token), Progress::NotDone);
    let first = fake.run(|| PLUGIN.run(&act, &token));
    assert!(matches!(first, Err(Error::Pending(_))), "{first:?}");
    assert_eq!(probe(&mut fake, &act, &token), Progress::Running);
    assert!(of(&fake, "NetworkPolicy", "shop").is_none(), "the order");
    let (_, end) = run(&mut fake, &act, &token);
    assert_eq!(end.unwrap(), "applied 2 of 2 objects");
    assert_eq!(probe(&mut fake, &act, &token), Progress::Done);
    let mark = &of(&fake, "ConfigMap", "settings").unwrap()["metadata"]["annotations"][MARK];
    let mark = mark.as_str().unwrap();
    assert!(mark.starts_with("shop:run-1/after/act-1 "), "{mark}");
    assert_eq!(run(&mut fake, &act, &token).0, 0, "nothing is left to do");
    let back = fake.run(|| PLUGIN.undo(&act, &token));
    assert!(matches!(back, Err(Error::Pending(_))), "{back:?}");
    assert!(of(&fake, "NetworkPolicy", "shop").is_none());
    assert!(
        of(&fake, "ConfigMap", "settings").is_some(),
        "the other order"
    );
    for _ in 0..2 {
        undo(&mut fake, &act, &token).1.unwrap();
        assert!(of(&fake, "ConfigMap", "settings").is_none());
    }
}

#[test]
fn an_earlier_releases_object_gets_its_fields_back_also_those_that_are_gone() {
    let earlier = act(&[settings(&json!({"mode": "old", "only-before": "1"}))]);
    let mut fake = Fake::new();
    let token = prepared(&mut fake, &earlier).token;
    run(&mut fake, &earlier, &token).1.unwrap();
    let before = plain(of(&fake, "ConfigMap", "settings"));

    let mut later = act(&[settings(&json!({"mode": "new", "extra": "yes"}))]);
    later.key = "run-2/after/act-1/prepare".to_owned();
    let preparation = prepared(&mut fake, &later);
    assert_eq!(preparation.summary, "will change ConfigMap settings");
    let token = preparation.token;
    run(&mut fake, &later, &token).1.unwrap();
    let data = &of(&fake, "ConfigMap", "settings").unwrap()["data"];
    assert_eq!(*data, json!({"mode": "new", "extra": "yes"}));
    undo(&mut fake, &later, &token).1.unwrap();
    assert_eq!(plain(of(&fake, "ConfigMap", "settings")), before);
    // And once more, by a call that doesn't know that it is done.
    assert_eq!(undo(&mut fake, &later, &token), (0, Ok(())));
}

#[test]
fn what_is_as_it_is_to_be_is_not_written() {
    let first = act(&[policy(80)]);
    let mut fake = Fake::new();
    let token = prepared(&mut fake, &first).token;
    run(&mut fake, &first, &token).1.unwrap();
    let mut second = act(&[policy(80)]);
    second.key = "run-2/after/act-1/prepare".to_owned();
    let preparation = prepared(&mut fake, &second);
    assert_eq!(
        preparation.summary,
        "will leave as it is NetworkPolicy shop"
    );
    let token = preparation.token;
    assert_eq!(probe(&mut fake, &second, &token), Progress::Done);
    let (pending, end) = run(&mut fake, &second, &token);
    assert_eq!(pending, 0);
    assert_eq!(
        end.unwrap(),
        "applied 0 of 1 objects, 1 were as they are to be"
    );
    assert_eq!(undo(&mut fake, &second, &token), (0, Ok(())));
    let mark = &of(&fake, "NetworkPolicy", "shop").unwrap()["metadata"]["annotations"][MARK];
    let mark = mark.as_str().unwrap();
    assert!(
        mark.starts_with("shop:run-1/after/act-1 "),
        "the first one's: {mark}"
    );
    // A cluster's own way to write it makes no difference, nor that a default came to it.
    let mut live = of(&fake, "NetworkPolicy", "shop").unwrap().clone();
    live["metadata"]["managedFields"] = json!([{"apiVersion": "networking.k8s.io/v1", "fieldsV1": {
        "f:metadata": {"f:annotations": {(format!("f:{MARK}")): {}}},
        "f:spec": {"f:podSelector": {}, "f:ingress": {}},
    }}]);
    live["spec"]["ingress"][0]["ports"][0]["protocol"] = json!("TCP");
    let same = |live: &Value| before(&policy(80), Some(live)).unwrap() == Before::Same;
    assert!(same(&live));
    // But that somebody else has taken a field does.
    let ours = live.pointer_mut("/metadata/managedFields/0/fieldsV1/f:spec");
    ours.unwrap().as_object_mut().unwrap().remove("f:ingress");
    assert!(!same(&live));
}

#[test]
fn somebody_elses_object_gets_what_is_added_and_loses_it_again() {
    let theirs = by_kubectl(
        settings(&json!({"mode": "plain"})),
        &json!({"f:data": {"f:mode": {}}}),
    );
    let act = act(&[settings(&json!({"mode": "plain", "extra": "yes"}))]);
    let mut fake = Fake::new().kubernetes(theirs.clone());
    let token = prepared(&mut fake, &act).token;
    run(&mut fake, &act, &token).1.unwrap();
    let data = &of(&fake, "ConfigMap", "settings").unwrap()["data"];
    assert_eq!(*data, json!({"mode": "plain", "extra": "yes"}));
    undo(&mut fake, &act, &token).1.unwrap();
    assert_eq!(
        plain(of(&fake, "ConfigMap", "settings")),
        plain(Some(&theirs))
    );
}

#[test]
fn what_somebody_else_owns_is_not_forced_and_named() {
    let theirs = by_kubectl(
        settings(&json!({"mode": "plain"})),
        &json!({"f:data": {"f:mode": {}}}),
    );
    let act = act(&[settings(&json!({"mode": "new"}))]);
    let mut fake = Fake::new().kubernetes(theirs.clone());
    let token = prepared(&mut fake, &act).token;
    let refused = run(&mut fake, &act, &token).1.unwrap_err();
    let Error::Permanent(text) = &refused else {
        panic!("{refused:?}")
    };
    for says in ["ConfigMap settings", "\"kubectl\"", ".data.mode"] {
        assert!(text.contains(says), "{text}");
    }
    undo(&mut fake, &act, &token).1.unwrap();
    assert_eq!(of(&fake, "ConfigMap", "settings"), Some(&theirs));
}

#[test]
fn what_somebody_did_after_it_was_looked_at_is_left_alone() {
    let objects = [policy(80)];
    let act = act(&objects);
    // Made meanwhile.
    let mut fake = Fake::new();
    let token = prepared(&mut fake, &act).token;
    let theirs = policy(443);
    let mut fake = fake.kubernetes(theirs.clone());
    let refused = run(&mut fake, &act, &token).1.unwrap_err().to_string();
    assert!(refused.contains("made by somebody else"), "{refused}");
    undo(&mut fake, &act, &token).1.unwrap();
    assert_eq!(of(&fake, "NetworkPolicy", "shop"), Some(&theirs));
    // Changed, by another release of this engine.
    let mut fake = Fake::new();
    let token = prepared(&mut fake, &act).token;
    run(&mut fake, &act, &token).1.unwrap();
    let mut other = self::act(&[policy(443)]);
    other.key = "run-2/after/act-1/prepare".to_owned();
    let token_of_the_other = prepared(&mut fake, &other).token;
    run(&mut fake, &other, &token_of_the_other).1.unwrap();
    let refused = undo(&mut fake, &act, &token).1.unwrap_err().to_string();
    assert!(refused.contains("applied anew"), "{refused}");
    let port = &of(&fake, "NetworkPolicy", "shop").unwrap()["spec"]["ingress"][0]["ports"][0];
    assert_eq!(port["port"], 443);
    // Once the other one is taken back, this one can be.
    undo(&mut fake, &other, &token_of_the_other).1.unwrap();
    undo(&mut fake, &act, &token).1.unwrap();
    assert!(of(&fake, "NetworkPolicy", "shop").is_none());
}

#[test]
fn an_object_that_is_gone_since_is_for_people() {
    let first = act(&[settings(&json!({"mode": "old"}))]);
    let mut fake = Fake::new();
    let token = prepared(&mut fake, &first).token;
    run(&mut fake, &first, &token).1.unwrap();
    let second = act(&[settings(&json!({"mode": "new"}))]);
    let token = prepared(&mut fake, &second).token;
    let mut fake = Fake::new();
    for refused in [
        run(&mut fake, &second, &token).1.unwrap_err(),
        undo(&mut fake, &second, &token).1.unwrap_err(),
    ] {
        let text = refused.to_string();
        assert!(text.contains("removed by somebody else"), "{text}");
    }
    assert!(of(&fake, "ConfigMap", "settings").is_none());
}

#[test]
fn what_another_release_applies_is_refused_and_that_release_named() {
    let mut other = act(&[settings(&json!({"mode": "theirs"}))]);
    other.release.name = "cart".to_owned();
    let mut fake = Fake::new();
    let token = prepared(&mut fake, &other).token;
    run(&mut fake, &other, &token).1.unwrap();
    let ours = act(&[settings(&json!({"mode": "ours"}))]);
    let refused = fake.run(|| PLUGIN.prepare(&ours)).unwrap_err();
    let Error::Permanent(text) = &refused else {
        panic!("{refused:?}")
    };
    for says in ["ConfigMap settings", "release `cart`", MARK] {
        assert!(text.contains(says), "{text}");
    }
    // That release itself goes on with it, in its next run.
    let mut next = act(&[settings(&json!({"mode": "next"}))]);
    next.release.name = "cart".to_owned();
    let preparation = prepared(&mut fake, &next);
    assert_eq!(preparation.summary, "will change ConfigMap settings");
}

#[test]
fn what_is_removed_between_look_and_write_is_not_made_anew() {
    let mut live = policy(80);
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["resourceVersion"] = json!("7");
    let mut fake = Fake::new();
    let refused = fake.run(|| super::write(policy(443), Some(&live)));
    assert!(
        matches!(refused, Err(Error::Retryable { .. })),
        "{refused:?}"
    );
    assert!(of(&fake, "NetworkPolicy", "shop").is_none());
    fake.run(|| super::write(policy(443), None)).unwrap();
    assert!(of(&fake, "NetworkPolicy", "shop").is_some());
}

#[test]
fn an_object_without_a_name_is_refused() {
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let problems = PLUGIN.validate(
        "action",
        "apply",
        &json!({"objects": [nameless]}).to_string(),
    );
    assert_eq!(problems.first().unwrap().pointer, "/objects/0");
}

mod fields {
    use super::*;
    use crate::owned;

    /// As a cluster answers, with lists whose items are owned one by one.
    fn live() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "api", "namespace": "shop", "uid": "u",
                "labels": {"app": "api", "theirs": "x"},
                "managedFields": [{
                    "manager": "phasegate-plugin-apply", "operation": "Apply", "apiVersion": "v1",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {"v:\"ours\"": {}}},
                        "f:spec": {
                            "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}},
                            "f:selector": {},
                        },
                    },
                }],
                "finalizers": ["theirs", "ours"],
            },
            "spec": {
                "clusterIP": "10.0.0.1", "selector": {"app": "api"},
                "ports": [
                    {"name": "other", "port": 443, "protocol": "TCP", "targetPort": 443},
                    {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80},
                ],
            },
        })
    }

    #[test]
    fn a_configuration_is_what_is_ours_with_the_keys_of_its_items() {
        let config = owned::config(&live()).unwrap();
        assert_eq!(
            config,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "api", "namespace": "shop", "labels": {"app": "api"}, "finalizers": ["ours"]},
                "spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
            })
        );
        assert_eq!(owned::lost(&config, &live()), [""; 0]);
    }

    #[test]
    fn what_others_have_taken_is_named() {
        let wanted = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "api", "namespace": "shop", "labels": {"theirs": "y"}},
            "spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443}], "type": "ClusterIP"},
        });
        assert_eq!(
            owned::lost(&wanted, &live()),
            [".metadata.labels.theirs", ".spec.ports[1]", ".spec.type"]
        );
    }

    #[test]
    fn a_list_without_items_is_nobodys() {
        let wanted = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "api", "namespace": "shop", "labels": {"app": "api"}},
            "spec": {"selector": {"app": "api"}, "externalIPs": [], "sessionAffinityConfig": {"sets": []}},
        });
        assert_eq!(owned::lost(&wanted, &live()), [""; 0]);
    }

    #[test]
    fn fields_of_another_version_are_not_guessed_at() {
        let mut live = live();
        live["metadata"]["managedFields"][0]["apiVersion"] = json!("v1beta1");
        assert!(owned::config(&live).is_err());
    }
}
