//! What clients' writes do to what serves.

use super::gateway::{candidate_service, gateway, route, rules};
use super::*;

fn counted(pods: &[(&str, u32)]) -> BTreeMap<String, u32> {
    pods.iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[test]
fn a_write_is_kept_with_what_served_before_and_after_it() {
    let mut hand = Hand::with_web(Config::default(), 2);
    hand.cluster.record_history();
    let selector = json!({"spec": {"selector": {"app": "other"}}});
    let service = "/api/v1/namespaces/default/services/web";
    hand.patch("merge-patch+json", service, &selector);
    hand.pass(Span::from_millis(100));
    hand.patch("merge-patch+json", WEB, &json!({"spec": {"replicas": 1}}));
    hand.pass(Span::from_secs(10));
    hand.ask("DELETE", WEB, &Value::Null);
    let moves = hand.cluster.moves();
    let shown: Vec<(u64, Kind, &str, bool)> = moves
        .iter()
        .map(|step| {
            (
                step.seq,
                step.kind,
                step.name.as_str(),
                step.after.is_some(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (1, Kind::Service, "web", true),
            (2, Kind::Deployment, "web", true),
            (3, Kind::Deployment, "web", false),
        ]
    );
    let two = counted(&[("web", 2)]);
    let [flip, scale, delete] = moves else {
        panic!("{moves:?}")
    };
    let reach = |picture: &Picture| picture.services["web"].clone();
    let before = reach(&flip.scene_before);
    assert_eq!(
        (&before.chosen, &before.ready, &before.routed),
        (&two, &two, &two)
    );
    let after = reach(&flip.scene_after);
    // The selector chooses nobody any more, and the data plane has not heard of it.
    assert_eq!(
        (after.chosen.len(), after.strength(), &after.routed),
        (0, 0, &two)
    );
    assert_eq!(reach(&scale.scene_before).routed, two);
    let replicas = |picture: &Picture| picture.deployments.get("web").map(|d| d.replicas);
    assert_eq!(
        [&scale.scene_before, &scale.scene_after].map(|scene| replicas(scene)),
        [Some(2), Some(1)]
    );
    assert_eq!(replicas(&delete.scene_after), None);
    assert_eq!(delete.before.as_ref().unwrap()["spec"]["replicas"], 1);
}

#[test]
fn what_changes_nothing_and_what_controllers_do_is_no_clients_write() {
    let mut hand = Hand::with_web(Config::default(), 2);
    hand.patch("merge-patch+json", WEB, &json!({"spec": {"replicas": 3}}));
    assert_eq!(hand.cluster.moves().len(), 0, "nobody asked for them yet");
    hand.cluster.record_history();
    hand.pass(Span::from_secs(10));
    hand.ask("PATCH", &format!("{WEB}?dryRun=All"), &json!({}));
    let dry = format!("{WEB}?dryRun=All");
    hand.patch("merge-patch+json", &dry, &json!({"spec": {"replicas": 9}}));
    hand.patch("merge-patch+json", WEB, &json!({"spec": {"replicas": -1}}));
    hand.patch("merge-patch+json", WEB, &json!({"spec": {"replicas": 3}}));
    hand.ask(
        "POST",
        "/api/v1/namespaces/default/configmaps",
        &json!({"metadata": {"name": "a"}}),
    );
    hand.get(WEB);
    assert_eq!(hand.cluster.moves().len(), 0);
    hand.ask("DELETE", DEPLOYMENTS, &Value::Null);
    assert_eq!(hand.cluster.moves().len(), 1);
}

#[test]
fn a_picture_has_what_routes_say_and_what_the_data_plane_does() {
    let mut hand = Hand::new(Config::default());
    let mut both = rules(90, 10);
    both.as_array_mut().unwrap().push(json!({
        "matches": [{"headers": [{"name": "x-canary", "value": "always"}]}],
        "backendRefs": [{"name": "web-candidate", "port": 80}],
    }));
    let mut at_once = web(2, "web:1");
    at_once["spec"]["strategy"] = json!({"type": "Recreate"});
    let objects = [
        at_once,
        service(),
        candidate_service(),
        gateway(),
        route(&rules(100, 0)),
    ];
    hand.cluster.seed(&objects).unwrap();
    hand.reroute(&both);
    let picture = hand.cluster.picture("default");
    let shares = |marked: bool, weights: &[(&str, u64)]| Shares {
        marked,
        weights: weights
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight))
            .collect(),
    };
    assert_eq!(
        picture.wanted["web"],
        [
            shares(false, &[("web", 90), ("web-candidate", 10)]),
            shares(true, &[("web-candidate", 1)]),
        ]
    );
    assert_eq!(
        picture.live["web"],
        [shares(false, &[("web", 100), ("web-candidate", 0)])]
    );
    assert_eq!(
        picture.backends("web").into_iter().collect::<Vec<_>>(),
        ["web", "web-candidate"]
    );
    let strength = Strength {
        replicas: 2,
        all_at_once: true,
    };
    assert_eq!(
        picture.deployments,
        BTreeMap::from([("web".to_owned(), strength)])
    );
    assert_eq!(picture.services["web-candidate"], Reach::default());
}
