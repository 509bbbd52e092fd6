//! What becomes of pods, and what the controllers make of it.

use serde_json::{Value, json};

use crate::space::{Space, deployment, first, job};

fn is_ready(pod: &Value) -> Option<&Value> {
    let conditions = pod["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whole seconds since midnight of a time as Kubernetes writes it.
fn seconds(time: &Value) -> u32 {
    let time = time.as_str().unwrap();
    let part = |from: usize| time[from..from + 2].parse::<u32>().unwrap();
    part(11) * 3600 + part(14) * 60 + part(17)
}

#[test]
fn three_pods_are_ready_after_their_time_and_serve_and_go() {
    let space = Space::new("ready");
    let annotations = json!({"test.phasegate.dev/ready-after": "3s"});
    let shop = deployment("shop", 3, "registry.test/shop:1", &annotations);
    space.apply(&shop).unwrap();
    space.kubectl(&["expose", "deployment", "shop", "--port=80"]);
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
    let pods = space.pods();
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        assert_eq!(pod["status"]["phase"], "Running", "{pod}");
        assert!(
            pod["spec"]["nodeName"].is_string(),
            "bound by the scheduler: {pod}"
        );
        let ready = seconds(&is_ready(pod).unwrap()["lastTransitionTime"]);
        let began = seconds(&pod["status"]["startTime"]);
        // Both are cut to whole seconds; a day ends between them at times.
        assert!((ready + 86_400 - began) % 86_400 >= 2, "{pod}");
    }
    let mut addresses: Vec<_> = pods.iter().map(|pod| &pod["status"]["podIP"]).collect();
    let served = space.until("the Service leads to all three", || {
        let slices = space.get(&["endpointslices"]);
        let endpoints = slices["items"][0]["endpoints"].as_array()?.clone();
        let ready = |endpoint: &Value| endpoint["conditions"]["ready"] == true;
        (endpoints.len() == 3 && endpoints.iter().all(ready)).then_some(endpoints)
    });
    let mut served: Vec<_> = served
        .iter()
        .map(|endpoint| &endpoint["addresses"][0])
        .collect();
    addresses.sort_by_key(|address| address.to_string());
    served.sort_by_key(|address| address.to_string());
    assert_eq!(addresses, served);

    space.kubectl(&["delete", "deployment", "shop"]);
    space.until("all pods are gone", || {
        space.pods().is_empty().then_some(())
    });
}

#[test]
fn an_image_that_cannot_be_pulled_is_said_and_can_come_after_all() {
    let space = Space::new("pull");
    let annotations = json!({"test.phasegate.dev/fate": "image-pull"});
    let shop = deployment("shop", 1, "registry.test/shop:typo", &annotations);
    space.apply(&shop).unwrap();
    let pod = space.until_waits("ErrImagePull");
    assert_eq!(pod["status"]["phase"], "Pending");
    let message = first(&pod)["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("registry.test/shop:typo"), "{message}");
    let pod = space.until_waits("ImagePullBackOff");
    assert!(is_ready(&pod).is_none());
    space.until("the kubelet's event is there", || {
        let events = space.get(&["events", "--field-selector=reason=Failed"]);
        let event = events["items"].as_array()?.first()?.clone();
        (event["involvedObject"]["kind"] == "Pod" && event["type"] == "Warning").then_some(())
    });

    let name = pod["metadata"]["name"].as_str().unwrap();
    space.kubectl(&["annotate", "pod", name, "test.phasegate.dev/fate-"]);
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
}

#[test]
fn a_version_that_crashes_never_serves_and_the_old_one_goes_on() {
    let space = Space::new("crash");
    let annotations = json!({
        "test.phasegate.dev/fate.2": "crash",
        "test.phasegate.dev/exit-code.2": "7",
    });
    let shop = deployment("shop", 3, "registry.test/shop:1", &annotations);
    space.apply(&shop).unwrap();
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);

    space.ships("2");
    let pod = space.until_waits("CrashLoopBackOff");
    // The first restart comes at once, so that the wait begins with the second end.
    assert_eq!(first(&pod)["restartCount"], 1, "{pod}");
    assert_eq!(
        first(&pod)["lastState"]["terminated"]["exitCode"],
        7,
        "{pod}"
    );
    assert_eq!(first(&pod)["image"], "registry.test/shop:2");
    assert_eq!(
        pod["status"]["phase"], "Running",
        "as the kubelet calls it: {pod}"
    );
    assert_eq!(
        space.get(&["deployment/shop"])["status"]["readyReplicas"],
        3
    );

    space.kubectl(&["rollout", "undo", "deployment/shop"]);
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
    space.until("only the old version is left", || {
        let pods = space.pods();
        let old = |pod: &Value| first(pod)["image"] == "registry.test/shop:1";
        (pods.len() == 3 && pods.iter().all(old)).then_some(())
    });
}

#[test]
fn a_pod_that_runs_unready_is_no_endpoint() {
    let space = Space::new("unready");
    let annotations = json!({"test.phasegate.dev/fate": "not-ready"});
    let shop = deployment("shop", 1, "registry.test/shop:1", &annotations);
    space.apply(&shop).unwrap();
    space.kubectl(&["expose", "deployment", "shop", "--port=80"]);
    space.until("the endpoint is told to be unready", || {
        let slices = space.get(&["endpointslices"]);
        let endpoint = slices["items"][0]["endpoints"].as_array()?.first()?.clone();
        let runs = space.pods().first()?["status"]["phase"] == "Running";
        (runs && endpoint["conditions"]["ready"] == false).then_some(())
    });
}

#[test]
fn a_job_ends_as_its_pod_does() {
    let space = Space::new("job");
    space.apply(&job("good", &json!({}))).unwrap();
    let annotations = json!({"test.phasegate.dev/exit-code": "3"});
    space.apply(&job("bad", &annotations)).unwrap();
    space.kubectl(&[
        "wait",
        "--for=condition=Complete",
        "job/good",
        "--timeout=120s",
    ]);
    space.kubectl(&[
        "wait",
        "--for=condition=Failed",
        "job/bad",
        "--timeout=120s",
    ]);
    let bad = space.get(&["job/bad"]);
    let reasons: Vec<_> = bad["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert!(
        reasons
            .iter()
            .any(|condition| condition["reason"] == "BackoffLimitExceeded"),
        "{bad}"
    );
    let pods = space.get(&["pods", "-l", "batch.kubernetes.io/job-name=bad"]);
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 1, "tried once");
    assert_eq!(
        first(&pods[0])["state"]["terminated"]["exitCode"],
        3,
        "{}",
        pods[0]
    );
    assert_eq!(space.get(&["job/good"])["status"]["succeeded"], 1);
}

#[test]
fn a_job_whose_pod_is_deleted_has_not_succeeded() {
    let space = Space::new("deleted");
    let annotations = json!({"test.phasegate.dev/ends-after": "1h"});
    space.apply(&job("long", &annotations)).unwrap();
    space.until("the pod runs", || {
        (space.pods().first()?["status"]["phase"] == "Running").then_some(())
    });
    space.kubectl(&["delete", "pods", "--all"]);
    space.kubectl(&[
        "wait",
        "--for=condition=Failed",
        "job/long",
        "--timeout=120s",
    ]);
}

#[test]
fn who_has_no_right_is_told_which_one() {
    let space = Space::new("rights");
    let token = space.kubectl(&["create", "token", "default"]);
    let ask = |space: &Space| {
        let token = format!("--token={}", token.trim());
        space.run(&[&token, "get", "deployments"], None)
    };
    let refused = ask(&space).unwrap_err();
    let who = format!("system:serviceaccount:{}:default", space.name);
    for part in [
        "Forbidden",
        &who,
        "cannot list",
        "\"deployments\"",
        &space.name,
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    space.kubectl(&[
        "create",
        "role",
        "reader",
        "--verb=list",
        "--resource=deployments.apps",
    ]);
    let account = format!("--serviceaccount={}:default", space.name);
    space.kubectl(&["create", "rolebinding", "reader", "--role=reader", &account]);
    space.until("the right is there", || ask(&space).ok());
}
