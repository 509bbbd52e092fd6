use phasegate_plugin::action::Progress;
use phasegate_plugin::testing::{Fake, call};
use phasegate_plugin::{Call, Error};
use serde_json::{Value, json};

use super::{MARK, PLUGIN};

fn act() -> Call {
    let job = json!({"image": "registry.example/tools:1", "command": ["tools", "repair"]});
    call("event-repair", json!({"deployment": "worker", "job": job}))
}

fn deployment(wanted: u32, there: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "worker", "namespace": "shop", "generation": 4},
        "spec": {"replicas": wanted, "selector": {"matchLabels": {"app": "worker"}}},
        "status": {"observedGeneration": 4, "replicas": there, "availableReplicas": there},
    })
}

fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "status": {"phase": "Running"},
    })
}

fn worker(fake: &Fake) -> Value {
    let found = fake.cluster().object("Deployment", "shop", "worker");
    found.unwrap().clone()
}

/// The Deployment as its controller makes it: `there` pods, and a new generation where the last write changed the number.
fn followed(fake: Fake, generation: u64, there: u32) -> Fake {
    let mut worker = worker(&fake);
    worker["metadata"]["generation"] = json!(generation);
    worker["status"] = json!({
        "observedGeneration": generation, "replicas": there, "availableReplicas": there,
    });
    fake.kubernetes(worker)
}

fn job(fake: &Fake, token: &str) -> Option<Value> {
    let token: Value = serde_json::from_str(token).unwrap();
    let name = token["job"].as_str().unwrap();
    fake.cluster().object("Job", "shop", name).cloned()
}

fn ended(fake: Fake, token: &str, condition: &str) -> Fake {
    let mut job = job(&fake, token).unwrap();
    let condition = json!({"type": condition, "status": "True", "reason": "R", "message": "m"});
    job["status"] = json!({"conditions": [condition]});
    fake.kubernetes(job)
}

fn waits(fake: &mut Fake, token: &str) {
    let told = fake.run(|| PLUGIN.run(&act(), token));
    assert!(matches!(told, Err(Error::Pending(_))), "{told:?}");
}

fn fails(fake: &mut Fake, token: &str, says: &str) {
    let told = fake.run(|| PLUGIN.run(&act(), token)).unwrap_err();
    assert!(
        matches!(&told, Error::Permanent(text) if text.contains(says)),
        "{told:?}"
    );
}

fn probe(fake: &mut Fake, token: &str) -> Progress {
    fake.run(|| PLUGIN.probe(&act(), token)).unwrap()
}

fn prepared() -> (Fake, String) {
    let mut fake = Fake::new().kubernetes(deployment(3, 3));
    let prepared = fake.run(|| PLUGIN.prepare(&act())).unwrap();
    assert!(prepared.reversible);
    (fake, prepared.token)
}

/// Up to where the Job runs.
fn running() -> (Fake, String) {
    let (mut fake, token) = prepared();
    waits(&mut fake, &token);
    let mut fake = followed(fake, 5, 0);
    waits(&mut fake, &token);
    assert!(job(&fake, &token).is_some());
    (fake, token)
}

#[test]
fn the_job_runs_once_no_pod_is_left_and_the_number_comes_back() {
    let (mut fake, token) = prepared();
    assert_eq!(probe(&mut fake, &token), Progress::NotDone);
    waits(&mut fake, &token);
    assert_eq!(worker(&fake)["spec"]["replicas"], 0);
    assert_eq!(probe(&mut fake, &token), Progress::Running);
    // The Deployment counts none any more, but one is still on its way out.
    let leaving = pod("worker-1", &json!({"app": "worker"}));
    let mut fake = followed(fake, 5, 0).kubernetes(leaving.clone());
    waits(&mut fake, &token);
    assert_eq!(job(&fake, &token), None);
    let mut gone = leaving;
    gone["status"]["phase"] = json!("Succeeded");
    let mut fake = fake.kubernetes(gone);
    for _ in 0..2 {
        waits(&mut fake, &token);
        assert!(job(&fake, &token).is_some());
        assert_eq!(probe(&mut fake, &token), Progress::Running);
    }
    let mut fake = ended(fake, &token, "Complete");
    assert_eq!(probe(&mut fake, &token), Progress::Running);
    waits(&mut fake, &token);
    assert_eq!(worker(&fake)["spec"]["replicas"], 3);
    assert_eq!(worker(&fake)["metadata"]["annotations"][MARK], Value::Null);
    let mut fake = followed(fake, 6, 2);
    waits(&mut fake, &token);
    assert_eq!(probe(&mut fake, &token), Progress::Running);
    let mut fake = followed(fake, 6, 3);
    assert_eq!(probe(&mut fake, &token), Progress::Done);
    let told = fake.run(|| PLUGIN.run(&act(), &token)).unwrap().summary;
    assert!(told.contains("its 3 pods"), "{told}");
    fake.run(|| PLUGIN.undo(&act(), &token)).unwrap();
    assert_eq!(worker(&fake)["spec"]["replicas"], 3);
}

#[test]
fn a_job_that_fails_gives_the_number_back() {
    let (fake, token) = running();
    let mut fake = ended(fake, &token, "Failed");
    for _ in 0..2 {
        fails(&mut fake, &token, "R: m");
        assert_eq!(worker(&fake)["spec"]["replicas"], 3);
        assert_eq!(probe(&mut fake, &token), Progress::Running);
    }
}

#[test]
fn one_that_is_cancelled_comes_back_once_the_job_has_stopped() {
    let (fake, token) = running();
    let name = job(&fake, &token).unwrap()["metadata"]["name"].clone();
    let works = pod("job-1", &json!({"job-name": name}));
    let mut fake = fake.kubernetes(works.clone());
    for _ in 0..2 {
        let waits = fake.run(|| PLUGIN.cancel_action(&act(), &token));
        assert!(matches!(waits, Err(Error::Pending(_))), "{waits:?}");
    }
    assert_eq!(job(&fake, &token).unwrap()["spec"]["suspend"], true);
    assert_eq!(worker(&fake)["spec"]["replicas"], 0);
    let mut stopped = works;
    stopped["status"]["phase"] = json!("Failed");
    let mut fake = fake.kubernetes(stopped);
    for _ in 0..2 {
        fake.run(|| PLUGIN.cancel_action(&act(), &token)).unwrap();
        fake.run(|| PLUGIN.undo(&act(), &token)).unwrap();
        assert_eq!(worker(&fake)["spec"]["replicas"], 3);
    }
}

#[test]
fn one_that_somebody_scaled_up_meanwhile_is_given_up() {
    for (number, generation, left) in [(3, 6, 3), (5, 6, 5), (0, 7, 3)] {
        let (fake, token) = running();
        let mut scaled = worker(&fake);
        scaled["spec"]["replicas"] = json!(number);
        let mut fake = followed(fake.kubernetes(scaled), generation, number);
        waits(&mut fake, &token);
        fails(&mut fake, &token, "somebody else");
        assert_eq!(job(&fake, &token).unwrap()["spec"]["suspend"], true);
        assert_eq!(worker(&fake)["spec"]["replicas"], left);
        // It has just done its work: that is not taken for a success either.
        let mut fake = ended(fake, &token, "Complete");
        assert_eq!(probe(&mut fake, &token), Progress::Running);
        fails(&mut fake, &token, "was stopped");
    }
}

#[test]
fn a_job_that_ended_while_somebody_scaled_up_is_no_success() {
    let (fake, token) = running();
    let mut scaled = worker(&fake);
    scaled["spec"]["replicas"] = json!(3);
    let mut fake = ended(followed(fake.kubernetes(scaled), 6, 3), &token, "Complete");
    waits(&mut fake, &token);
    fails(&mut fake, &token, "somebody else");
    let mut fake = followed(fake, 6, 3);
    assert_eq!(probe(&mut fake, &token), Progress::Running);
    fails(&mut fake, &token, "was stopped");
}

#[test]
fn a_number_that_was_changed_before_it_began_stays() {
    let (_, token) = prepared();
    let mut fake = Fake::new().kubernetes(deployment(5, 5));
    fails(&mut fake, &token, "somebody else");
    fake.run(|| PLUGIN.undo(&act(), &token)).unwrap();
    assert_eq!(worker(&fake)["spec"]["replicas"], 5);
}

#[test]
fn what_can_not_be_kept_without_pods_is_refused_first() {
    let hpa = |minimum: u32| {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "worker-hpa", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "worker"}, "minReplicas": minimum, "maxReplicas": 4},
        })
    };
    let mut fake = Fake::new().kubernetes(deployment(3, 3)).kubernetes(hpa(1));
    assert!(
        fake.run(|| PLUGIN.prepare(&act())).is_ok(),
        "it is off at 0"
    );
    let mut fake = fake.kubernetes(hpa(0));
    let refused = fake.run(|| PLUGIN.prepare(&act())).unwrap_err();
    assert!(refused.to_string().contains("worker-hpa"), "{refused}");

    let mut held = deployment(0, 0);
    held["metadata"]["annotations"] = json!({MARK: "4 other-job"});
    let mut fake = Fake::new().kubernetes(held);
    let refused = fake.run(|| PLUGIN.prepare(&act())).unwrap_err();
    assert!(refused.to_string().contains("another repair"), "{refused}");

    let own = call("event-repair", json!({"deployment": "shop", "job": {}}));
    let refused = Fake::new().run(|| PLUGIN.prepare(&own)).unwrap_err();
    assert!(refused.to_string().contains("released"), "{refused}");
}

#[test]
fn a_job_that_may_have_run_and_gone_is_not_made_again_and_the_number_comes_back() {
    let begin = 1_790_000_000_000;
    let mut fake = Fake::new().at(begin).kubernetes(deployment(2, 2));
    let token = fake.run(|| PLUGIN.prepare(&act())).unwrap().token;
    waits(&mut fake, &token);
    let mut fake = followed(fake, 5, 0).at(begin + 7 * 24 * 3_600_000);
    waits(&mut fake, &token);
    assert_eq!(worker(&fake)["spec"]["replicas"], 2);
    assert!(job(&fake, &token).is_none());
    let mut fake = followed(fake, 6, 2);
    let probed = fake.run(|| PLUGIN.probe(&act(), &token)).unwrap();
    assert_eq!(probed, Progress::Running, "`run` tells what is the matter");
    let told = fake.run(|| PLUGIN.run(&act(), &token)).unwrap_err();
    assert!(
        matches!(&told, Error::Permanent(text) if text.contains("may have run")),
        "{told:?}"
    );
}
