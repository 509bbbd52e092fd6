//! The autoscaler as an actor.

use super::*;

const HPA: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web";

fn hpa(name: &str, target: &str, least: u32, most: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": least, "maxReplicas": most,
        },
    })
}

/// `web` with so many pods and an autoscaler, whose metrics call for what the rule says.
fn scaled(replicas: i64, (least, most): (u32, u32), wants: Option<Count>) -> Hand {
    let config = Config {
        autoscalers: wants
            .map(|wants| AutoscalerRule {
                hpa: "web*".to_owned(),
                wants: Some(wants),
                needs: None,
            })
            .into_iter()
            .collect(),
        ..Config::default()
    };
    let mut hand = Hand::new(config);
    let manifests = [
        web(replicas, "web:1"),
        service(),
        hpa("web", "web", least, most),
    ];
    hand.cluster.seed(&manifests).unwrap();
    hand
}

impl Hand {
    fn replicas(&mut self) -> i64 {
        self.get(WEB)["spec"]["replicas"].as_i64().unwrap()
    }

    fn set_replicas(&mut self, count: i64) {
        let patch = json!({"spec": {"replicas": count}});
        let (code, _) = self.patch("merge-patch+json", &format!("{WEB}/scale"), &patch);
        assert_eq!(code, 200);
    }

    /// Changes the autoscaler just after it looked, so that it looks again a whole period later.
    fn set_hpa(&mut self, spec: &Value) {
        let (code, answer) = self.patch("merge-patch+json", HPA, &json!({ "spec": spec }));
        assert_eq!(code, 200, "{answer}");
    }

    fn said(&mut self, kind: &str) -> (String, String) {
        let hpa = self.get(HPA);
        let conditions = hpa["status"]["conditions"].as_array().unwrap().clone();
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        (text("status"), text("reason"))
    }
}

#[test]
fn what_is_out_of_bounds_is_brought_back_at_the_next_look() {
    let mut hand = scaled(3, (2, 5), None);
    assert_eq!(hand.replicas(), 3);
    hand.set_replicas(9);
    hand.pass(Span::from_secs(14));
    let early = hand.replicas();
    hand.pass(Span::from_secs(1));
    assert_eq!((early, hand.replicas()), (9, 5));
    hand.set_replicas(1);
    hand.pass(Span::from_secs(15));
    assert_eq!(hand.replicas(), 2);
    hand.set_hpa(&json!({"minReplicas": 4}));
    hand.pass(Span::from_secs(15));
    assert_eq!(hand.replicas(), 4);
    let status = hand.get(HPA)["status"].clone();
    assert_eq!(status["desiredReplicas"], 4);
    assert!(status["lastScaleTime"].is_string(), "{status}");
    assert_eq!(
        hand.said("AbleToScale"),
        ("True".into(), "SucceededRescale".into())
    );
    hand.pass(Span::from_secs(30));
    assert_eq!(
        hand.get(HPA)["status"]["currentReplicas"],
        4,
        "the pods are there meanwhile"
    );
}

#[test]
fn within_bounds_it_undoes_what_somebody_scales_by_hand() {
    let mut hand = scaled(3, (2, 8), Some(Count::Always(3)));
    for by_hand in [6, 2] {
        hand.set_replicas(by_hand);
        hand.pass(Span::from_secs(15));
        assert_eq!(hand.replicas(), 3, "after {by_hand}");
    }
    let events = hand.get("/api/v1/namespaces/default/events");
    let told = events["items"].as_array().unwrap().iter().any(|event| {
        event["reason"] == "SuccessfulRescale"
            && event["message"].as_str().unwrap().contains("New size: 3")
    });
    assert!(told, "{events}");
}

#[test]
fn it_follows_the_load_up_at_once_and_down_only_when_that_has_held() {
    let wants = vec![
        (Span::ZERO, 3),
        (Span::from_mins(1), 20),
        (Span::from_mins(3), 3),
    ];
    let mut hand = scaled(3, (2, 10), Some(Count::Over(wants)));
    hand.pass(Span::from_secs(59));
    assert_eq!(hand.replicas(), 3);
    hand.pass(Span::from_secs(1));
    assert_eq!(hand.replicas(), 7, "no more than four at a time");
    assert_eq!(
        hand.said("ScalingLimited"),
        ("True".into(), "TooManyReplicas".into())
    );
    hand.pass(Span::from_secs(15));
    assert_eq!(hand.replicas(), 10, "no more than the bounds allow");
    // The load falls after three minutes; for five more, what it was before counts.
    hand.pass(Span::from_secs(380));
    assert_eq!(hand.replicas(), 10);
    hand.pass(Span::from_secs(60));
    assert_eq!(hand.replicas(), 3);
}

#[test]
fn a_target_that_was_scaled_to_nothing_is_left_alone() {
    let mut hand = scaled(3, (2, 8), Some(Count::Always(3)));
    hand.set_replicas(0);
    hand.pass(Span::from_mins(2));
    assert_eq!(hand.replicas(), 0);
    assert_eq!(
        hand.said("ScalingActive"),
        ("False".into(), "ScalingDisabled".into())
    );
}

#[test]
fn its_size_is_its_own_field_until_somebody_takes_it() {
    let mut hand = scaled(3, (4, 8), None);
    let owners = |hand: &mut Hand| -> Vec<String> {
        let web = hand.get(WEB);
        let entries = web["metadata"]["managedFields"].as_array().unwrap().clone();
        entries
            .iter()
            .filter(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object())
            .map(|entry| entry["manager"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        hand.replicas(),
        4,
        "brought into bounds before the beginning"
    );
    assert_eq!(owners(&mut hand), ["kube-controller-manager"]);
    assert_eq!(hand.apply(WEB, "engine", &web(5, "web:1")).0, 409);
    let forced = format!("{WEB}?force=true");
    assert_eq!(hand.apply(&forced, "engine", &web(5, "web:1")).0, 200);
    assert_eq!(owners(&mut hand), ["engine"]);
}

#[test]
fn two_that_count_the_same_pods_scale_neither() {
    let mut hand = scaled(3, (2, 8), Some(Count::Always(5)));
    // Made from the same manifest, with a selector that fits the other's pods as well.
    let mut beside = web(1, "web:2");
    beside["metadata"]["name"] = json!("web-candidate");
    hand.ask("POST", DEPLOYMENTS, &beside);
    let target = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    hand.ask("POST", target, &hpa("web-candidate", "web-candidate", 1, 8));
    hand.set_replicas(3);
    hand.pass(Span::from_mins(1));
    assert_eq!(hand.replicas(), 3);
    assert_eq!(
        hand.said("ScalingActive"),
        ("False".into(), "AmbiguousSelector".into())
    );
    // Bounds hold all the same.
    hand.set_hpa(&json!({"minReplicas": 4}));
    hand.pass(Span::from_secs(15));
    assert_eq!(hand.replicas(), 4);
    hand.ask("DELETE", &format!("{target}/web-candidate"), &Value::Null);
    hand.pass(Span::from_secs(15));
    assert_eq!(hand.replicas(), 5);
}

#[test]
fn what_it_can_not_scale_it_says() {
    let mut hand = scaled(3, (2, 8), None);
    for target in [json!({"kind": "StatefulSet"}), json!({"name": "gone"})] {
        hand.set_hpa(&json!({ "scaleTargetRef": target }));
        hand.pass(Span::from_secs(15));
        assert_eq!(
            hand.said("AbleToScale"),
            ("False".into(), "FailedGetScale".into())
        );
        hand.set_hpa(&json!({"scaleTargetRef": {"kind": "Deployment", "name": "web"}}));
        hand.pass(Span::from_secs(15));
        assert_eq!(hand.said("AbleToScale").0, "True");
    }
    hand.ask("DELETE", HPA, &Value::Null);
    hand.set_replicas(1);
    hand.pass(Span::from_mins(1));
    assert_eq!(hand.replicas(), 1, "one that is gone scales nothing");
}
