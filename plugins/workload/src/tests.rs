use phasegate_plugin::testing::{Fake, question};
use phasegate_plugin::{Error, Result, Status, Verdict};
use serde_json::{Value, json};

use super::PLUGIN;

const NEW: &str = "registry.example/shop:1.4.0";
const OLD: &str = "registry.example/shop:1.3.0";

fn deployment(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "shop", "namespace": "shop", "generation": 7 },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "shop" } } },
        "status": { "observedGeneration": 7 },
    })
}

fn pod(name: &str, image: &str, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "shop", "labels": { "app": "shop" } },
        "spec": { "containers": [
            { "name": "proxy", "image": "envoy:1" }, { "name": "web", "image": image },
        ] },
        "status": {
            "phase": "Running",
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
            "containerStatuses": [{ "name": "web", "restartCount": 0, "state": { "running": {} } }],
        },
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    *object
        .pointer_mut(pointer)
        .expect("the pointer leads somewhere") = value;
    object
}

fn judge(config: Value, objects: impl IntoIterator<Item = Value>) -> Result<Verdict> {
    let mut world = objects.into_iter().fold(Fake::new(), Fake::kubernetes);
    world.run(|| PLUGIN.evaluate(&question("workload", config)))
}

fn verdict(objects: impl IntoIterator<Item = Value>) -> (Status, String) {
    let verdict = judge(json!({}), objects).unwrap();
    (verdict.status, verdict.reason)
}

fn failed(reason: &str) -> (Status, String) {
    (Status::Fail, reason.to_owned())
}

#[test]
fn it_passes_when_every_pod_runs_the_image_and_is_ready() {
    let objects = [deployment(2), pod("a", NEW, true), pod("b", NEW, true)];
    let verdict = judge(json!({}), objects).unwrap();
    assert_eq!(verdict.status, Status::Pass);
    assert_eq!(
        verdict.reason,
        format!("2 of 2 pods of shop are ready on {NEW}")
    );
    let figures: Vec<_> = verdict
        .measurements
        .iter()
        .map(|m| (m.name.as_str(), m.candidate, m.limit.as_str(), m.status))
        .collect();
    assert_eq!(
        figures,
        [
            ("ready", Some(2.0), ">= 2", Status::Pass),
            ("updated", Some(2.0), "= 2", Status::Pass),
            ("restarts", Some(0.0), "<= 0", Status::Pass),
        ]
    );
}

#[test]
fn a_pod_on_the_old_image_fails() {
    let objects = [deployment(2), pod("a", NEW, true), pod("b", OLD, true)];
    assert_eq!(
        verdict(objects),
        failed(&format!("pod b runs {OLD} instead of {NEW}"))
    );
}

#[test]
fn an_unready_pod_fails_and_says_why() {
    let unready = with(
        pod("b", NEW, false),
        "/status/conditions/0",
        json!({ "type": "Ready", "status": "False", "message": "containers with unready status: [web]" }),
    );
    let expected = failed("pod b is not ready: containers with unready status: [web]");
    assert_eq!(
        verdict([deployment(2), pod("a", NEW, true), unready]),
        expected
    );
}

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600_000;

/// A pod that was made at New Year, was taken by a node 3 s later, and says since the given second that it isn't ready.
fn starting(name: &str, unready_since: u32) -> Value {
    let mut pod = pod(name, NEW, false);
    pod["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    pod["status"]["startTime"] = json!("2026-01-01T00:00:03Z");
    let since = format!("2026-01-01T00:00:{unready_since:02}Z");
    pod["status"]["conditions"][0]["lastTransitionTime"] = json!(since);
    pod
}

/// The verdict so many seconds after New Year.
fn after(
    seconds: u64,
    config: Value,
    objects: impl IntoIterator<Item = Value>,
) -> (Status, String) {
    let world = Fake::new().at(NEW_YEAR + seconds * 1000);
    let mut world = objects.into_iter().fold(world, Fake::kubernetes);
    let verdict = world.run(|| PLUGIN.evaluate(&question("workload", config)));
    let verdict = verdict.unwrap();
    assert_eq!(verdict.measurements[0].status, verdict.status);
    (verdict.status, verdict.reason)
}

#[test]
fn of_a_pod_that_is_starting_nobody_can_tell_until_its_time_is_over() {
    let objects = || [deployment(2), pod("a", NEW, true), starting("b", 4)];
    let unknown = (Status::Inconclusive, "pod b is starting".to_owned());
    assert_eq!(after(119, json!({}), objects()), unknown);
    assert_eq!(
        after(120, json!({}), objects()),
        failed("pod b is not ready")
    );
    let longer = || json!({ "startup": "5m" });
    assert_eq!(after(299, longer(), objects()), unknown);
    assert_eq!(
        after(300, longer(), objects()),
        failed("pod b is not ready")
    );
    // No node has room for it yet.
    let mut waits = starting("b", 4);
    waits["status"] = json!({ "phase": "Pending" });
    let objects = [deployment(2), pod("a", NEW, true), waits];
    assert_eq!(after(60, json!({}), objects), unknown);
    let objects = [deployment(2), starting("a", 3), starting("b", 5)];
    let several = "2 pods are starting, a among them".to_owned();
    assert_eq!(
        after(60, json!({}), objects),
        (Status::Inconclusive, several)
    );
}

#[test]
fn a_pod_that_was_ready_or_has_restarted_is_not_starting() {
    let objects = [deployment(2), pod("a", NEW, true), starting("b", 6)];
    assert_eq!(after(10, json!({}), objects), failed("pod b is not ready"));
    let restarted = with(
        starting("b", 4),
        "/status/containerStatuses/0/restartCount",
        json!(1),
    );
    let objects = [deployment(2), pod("a", NEW, true), restarted];
    let tolerant = json!({ "maxRestarts": 1 });
    assert_eq!(after(10, tolerant, objects), failed("pod b is not ready"));
    // Beside one that is starting, another's fault is a fault.
    let objects = [deployment(2), starting("a", 4), pod("b", NEW, false)];
    assert_eq!(after(10, json!({}), objects), failed("pod b is not ready"));
    let objects = [deployment(3), starting("a", 4), pod("b", NEW, true)];
    assert_eq!(
        after(10, json!({}), objects),
        failed("2 of 3 pods are there")
    );
}

#[test]
fn a_pod_in_the_place_of_one_that_failed_is_not_waited_for() {
    let evicted = |image: &str| with(pod("c", image, false), "/status/phase", json!("Failed"));
    let objects = |image: &str| {
        let ready = pod("a", NEW, true);
        [deployment(2), ready, starting("b", 4), evicted(image)]
    };
    let told = after(10, json!({}), objects(NEW));
    assert_eq!(told, failed("pod b is not ready"));
    // One of the version before says nothing of this one.
    assert_eq!(after(10, json!({}), objects(OLD)).0, Status::Inconclusive);
    let mut looping = starting("b", 4);
    let init = json!([{ "name": "wait", "restartCount": 1, "state": {} }]);
    looping["status"]["initContainerStatuses"] = init;
    let told = after(10, json!({}), [deployment(1), looping]);
    assert_eq!(told, failed("pod b is not ready"));
}

#[test]
fn with_min_ready_only_pods_that_are_needed_are_waited_for() {
    let objects = || [deployment(2), pod("a", NEW, true), starting("b", 4)];
    let of = |needed: u32| after(10, json!({ "minReady": needed }), objects());
    assert_eq!(of(1).0, Status::Pass);
    assert_eq!(
        of(2),
        (Status::Inconclusive, "pod b is starting".to_owned())
    );
    assert_eq!(of(3), failed("1 pods are ready, 3 needed"));
}

#[test]
fn a_missing_pod_fails() {
    let objects = [deployment(2), pod("a", NEW, true)];
    assert_eq!(verdict(objects), failed("1 of 2 pods are there"));
}

#[test]
fn a_container_that_cannot_run_fails_before_anything_else() {
    for reason in ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"] {
        let waiting = json!([{
            "name": "web", "restartCount": 3,
            "state": { "waiting": { "reason": reason, "message": "no luck" } },
        }]);
        let stuck = with(pod("a", NEW, false), "/status/containerStatuses", waiting);
        let expected = format!("pod a can't run: container web is in {reason} (no luck)");
        assert_eq!(verdict([deployment(1), stuck]), failed(&expected));
    }
}

#[test]
fn an_init_container_that_cannot_run_fails() {
    let statuses = json!({ "phase": "Pending", "initContainerStatuses": [
        { "name": "migrate", "state": { "waiting": { "reason": "CrashLoopBackOff" } } },
    ] });
    let stuck = with(pod("a", NEW, false), "/status", statuses);
    let expected = "pod a can't run: container migrate is in CrashLoopBackOff";
    assert_eq!(verdict([deployment(1), stuck]), failed(expected));
}

#[test]
fn restarts_are_counted_against_the_limit() {
    let restarted = || {
        with(
            pod("a", NEW, true),
            "/status/containerStatuses/0/restartCount",
            json!(2),
        )
    };
    let expected = failed("pod a restarted 2 times, 0 allowed");
    assert_eq!(verdict([deployment(1), restarted()]), expected);
    let tolerant = judge(json!({ "maxRestarts": 2 }), [deployment(1), restarted()]).unwrap();
    assert_eq!(tolerant.status, Status::Pass);
}

#[test]
fn with_min_ready_some_pods_may_be_missing_or_unready() {
    let objects = || [deployment(3), pod("a", NEW, true), pod("b", NEW, false)];
    assert_eq!(
        judge(json!({ "minReady": 1 }), objects()).unwrap().status,
        Status::Pass
    );
    let short = judge(json!({ "minReady": 2 }), objects()).unwrap();
    assert_eq!(
        (short.status, short.reason),
        failed("1 pods are ready, 2 needed")
    );
}

#[test]
fn terminating_evicted_and_foreign_pods_do_not_count() {
    let mut terminating = pod("b", OLD, true);
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let evicted = with(pod("c", OLD, false), "/status/phase", json!("Failed"));
    let foreign = with(
        pod("d", OLD, true),
        "/metadata/labels",
        json!({ "app": "blog" }),
    );
    let elsewhere = with(pod("e", OLD, true), "/metadata/namespace", json!("other"));
    let objects = [
        deployment(1),
        pod("a", NEW, true),
        terminating,
        evicted,
        foreign,
        elsewhere,
    ];
    assert_eq!(verdict(objects).0, Status::Pass);
}

#[test]
fn selectors_with_expressions_are_understood() {
    let expressions = json!({ "matchExpressions": [
        { "key": "app", "operator": "In", "values": ["shop", "store"] },
        { "key": "track", "operator": "DoesNotExist" },
    ] });
    let deployment = with(deployment(1), "/spec/selector", expressions);
    let canary = json!({ "app": "shop", "track": "canary" });
    let canary = with(pod("b", OLD, true), "/metadata/labels", canary);
    assert_eq!(
        verdict([deployment, pod("a", NEW, true), canary]).0,
        Status::Pass
    );
}

#[test]
fn what_is_not_there_to_be_judged_is_inconclusive() {
    let stale = with(deployment(1), "/status/observedGeneration", json!(6));
    let reason = "the cluster has not looked at the new shop yet";
    let expected = (Status::Inconclusive, reason.to_owned());
    assert_eq!(verdict([stale, pod("a", NEW, true)]), expected);

    let expected = (
        Status::Inconclusive,
        "Deployment shop has no pods".to_owned(),
    );
    assert_eq!(verdict([deployment(0)]), expected);

    let everything = with(deployment(1), "/spec/selector", json!({}));
    assert_eq!(
        verdict([everything, pod("a", NEW, true)]).0,
        Status::Inconclusive
    );
}

#[test]
fn a_deployment_that_does_not_exist_fails() {
    assert_eq!(
        verdict([]),
        failed("Deployment shop does not exist in shop")
    );
}

#[test]
fn a_silent_cluster_is_no_verdict() {
    let mut world = Fake::new().without_cluster("connection refused");
    let answer = world.run(|| PLUGIN.evaluate(&question("workload", json!({}))));
    let expected = "the cluster does not answer: connection refused";
    assert_eq!(answer, Err(Error::retryable(expected)));
}

#[test]
fn a_step_without_a_workload_is_no_verdict() {
    let mut question = question("workload", json!({}));
    question.call.extra = "{}".to_owned();
    let answer = Fake::new().run(|| PLUGIN.evaluate(&question));
    assert_eq!(
        answer,
        Err(Error::permanent("this step is about no workload"))
    );
}
