use phasegate_core::diagnostic::codes;
use phasegate_core::failure::Kind;
use phasegate_core::workload::Colours;
use phasegate_runtime::ports::{Cluster, Located};
use serde_json::json;

use super::*;

const BLUE: &str = "/apis/apps/v1/namespaces/shop/deployments/web-blue";
const GREEN: &str = "/apis/apps/v1/namespaces/shop/deployments/web-green";

/// A Deployment whose selector and pods have these labels.
fn labelled(name: &str, replicas: u32, labels: &Value) -> Value {
    let mut object = deployment();
    object["metadata"]["name"] = name.into();
    object["spec"]["replicas"] = replicas.into();
    object["spec"]["selector"]["matchLabels"] = labels.clone();
    object["spec"]["template"]["metadata"]["labels"] = labels.clone();
    object
}

fn service(selector: &Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": selector}})
}

fn colours() -> Colours {
    Colours {
        label: "version".to_owned(),
        values: ["blue".to_owned(), "green".to_owned()],
    }
}

fn in_front() -> Target {
    Target {
        service: Some("web".to_owned()),
        ..target()
    }
}

async fn locate(server: &Server, colours: Option<&Colours>, routed: bool) -> Located {
    let cluster = server.cluster();
    let located = cluster.locate(&in_front(), colours, routed).await;
    assert!(server.writes().is_empty());
    located.unwrap()
}

fn refusal(located: &Located) -> &Failure {
    located.beside.as_ref().unwrap_err()
}

fn words<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn without_colours_the_candidate_gets_a_name_and_a_label_of_its_own() {
    let server = Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
        "GET",
        SERVICE,
        service(&json!({"app": "web"})),
    );
    let located = locate(&server, None, true).await;
    assert_eq!(located.deployment, "web");
    assert_eq!(located.beside.ok(), super::beside().beside);
}

#[tokio::test]
async fn without_a_router_the_service_reaches_the_candidate_too() {
    let tracked = json!({"app": "web", "track": "stable"});
    let server = Server::default()
        .ok("GET", DEPLOYMENT, labelled("web", 4, &tracked))
        .ok("GET", SERVICE, service(&json!({"app": "web"})));
    let beside = locate(&server, None, false).await.beside.unwrap();
    assert_eq!(beside.labels, words([("track", "candidate")]));
    assert_eq!(
        beside.candidate_selector,
        words([("app", "web"), ("track", "candidate")])
    );

    // Nothing but the Service's own label: the slot is told by one that is added.
    let plain = || {
        Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
            "GET",
            SERVICE,
            service(&json!({"app": "web"})),
        )
    };
    let beside = locate(&plain(), None, false).await.beside.unwrap();
    assert_eq!(beside.labels, words([("phasegate.dev/slot", "candidate")]));

    let scaled = plain().ok(
        "GET",
        AUTOSCALERS,
        json!({"items": [autoscaler("web-hpa", "web", 2, 8)]}),
    );
    let located = locate(&scaled, None, false).await;
    let failure = refusal(&located);
    assert_eq!(failure.code, codes::NO_PLACE_BESIDE);
    for part in ["`web`", "`web-hpa`", "`track: stable`"] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn without_a_service_stable_is_the_one_with_the_name() {
    let server = Server::default().ok("GET", DEPLOYMENT, deployment());
    let located = server.cluster().locate(&target(), None, false).await;
    let located = located.unwrap();
    assert_eq!(located.deployment, "web");
    let beside = located.beside.unwrap();
    assert_eq!(
        (beside.service, beside.candidate_selector),
        (None, words([("app", "web-candidate")]))
    );
}

#[tokio::test]
async fn after_a_swap_the_other_name_serves_and_the_first_is_the_candidates() {
    let kept = || labelled("web", 0, &json!({"app": "web"}));
    let swapped = || labelled("web-candidate", 4, &json!({"app": "web-candidate"}));
    let selecting = |server: Server, value: &str| {
        server
            .ok("GET", CANDIDATE, swapped())
            .ok("GET", SERVICE, service(&json!({"app": value})))
    };
    for server in [
        selecting(
            Server::default().ok("GET", DEPLOYMENT, kept()),
            "web-candidate",
        ),
        selecting(Server::default(), "web-candidate"),
    ] {
        let located = locate(&server, None, true).await;
        assert_eq!(located.deployment, "web-candidate");
        let beside = located.beside.unwrap();
        assert_eq!(beside.deployment, "web");
        assert_eq!(beside.labels, words([("app", "web")]));
    }
    // Selected by both, the one that has pods.
    let both = |base: u32, other: u32| {
        let labels = json!({"app": "web", "track": "stable"});
        let mut candidate = labels.clone();
        candidate["track"] = "candidate".into();
        Server::default()
            .ok("GET", DEPLOYMENT, labelled("web", base, &labels))
            .ok(
                "GET",
                CANDIDATE,
                labelled("web-candidate", other, &candidate),
            )
            .ok("GET", SERVICE, service(&json!({"app": "web"})))
    };
    for (base, other, expected) in [(4, 0, "web"), (0, 4, "web-candidate"), (0, 0, "web")] {
        let located = locate(&both(base, other), None, false).await;
        assert_eq!(located.deployment, expected, "{base} {other}");
    }
}

#[tokio::test]
async fn a_place_that_is_taken_is_refused_with_what_to_do() {
    let server = |replicas: u32, value: &str| {
        let labels = json!({"app": value});
        Server::default()
            .ok("GET", DEPLOYMENT, deployment())
            .ok(
                "GET",
                CANDIDATE,
                labelled("web-candidate", replicas, &labels),
            )
            .ok("GET", SERVICE, service(&json!({"app": "web"})))
    };
    let idle = locate(&server(0, "web-candidate"), None, true).await;
    assert!(idle.beside.is_ok(), "{idle:?}");

    let running = locate(&server(3, "web-candidate"), None, true).await;
    assert_eq!(running.deployment, "web");
    let failure = refusal(&running);
    assert_eq!(
        (failure.kind, failure.code),
        (Kind::Conflict, codes::NO_PLACE_BESIDE)
    );
    for part in ["`web-candidate`", "wants 3", "scale it to 0"] {
        assert!(failure.message.contains(part), "{failure}");
    }

    let preview =
        server(0, "web-candidate").ok("GET", CANDIDATE_SERVICE, service(&json!({"app": "other"})));
    let located = locate(&preview, None, true).await;
    assert!(
        refusal(&located)
            .message
            .contains("Service `web-candidate`"),
        "{located:?}"
    );

    // Its selector can't become what it would have to be.
    let mut two = server(0, "web-candidate");
    let labels = json!({"app": "web-candidate", "tier": "x"});
    two.script.lock().unwrap().remove(1);
    two = two.ok("GET", CANDIDATE, labelled("web-candidate", 0, &labels));
    let located = locate(&two, None, true).await;
    assert!(
        refusal(&located)
            .message
            .contains("A selector can't be changed"),
        "{located:?}"
    );
}

#[tokio::test]
async fn an_in_place_release_needs_no_service_that_fits() {
    let server = Server::default().ok("GET", DEPLOYMENT, deployment()).ok(
        "GET",
        SERVICE,
        service(&json!({"app": "front"})),
    );
    let located = locate(&server, None, true).await;
    assert_eq!(located.deployment, "web");
    let failure = refusal(&located);
    for part in ["`web`", "app=front", "app=web"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    let mut expression = deployment();
    expression["spec"]["selector"]["matchExpressions"] =
        json!([{"key": "app", "operator": "In", "values": ["web"]}]);
    let server = Server::default().ok("GET", DEPLOYMENT, expression).ok(
        "GET",
        SERVICE,
        service(&json!({"app": "web"})),
    );
    let located = locate(&server, None, true).await;
    assert!(
        refusal(&located).message.contains("expression about `app`"),
        "{located:?}"
    );
}

#[tokio::test]
async fn the_colour_that_the_service_selects_is_live() {
    let of = |colour: &str| json!({"app": "web", "version": colour});
    let server = |live: &str| {
        Server::default()
            .ok("GET", BLUE, labelled("web-blue", 4, &of("blue")))
            .ok("GET", SERVICE, service(&of(live)))
    };
    let located = locate(&server("blue"), Some(&colours()), true).await;
    assert_eq!(located.deployment, "web-blue");
    let beside = located.beside.unwrap();
    assert_eq!(beside.deployment, "web-green");
    assert_eq!(
        (beside.live.as_deref(), beside.colour.as_deref()),
        (Some("blue"), Some("green"))
    );
    assert_eq!(beside.labels, words([("version", "green")]));
    assert_eq!(
        beside.stable_selector,
        words([("app", "web"), ("version", "blue")])
    );
    assert_eq!(
        beside.candidate_selector,
        words([("app", "web"), ("version", "green")])
    );

    let both = server("green").ok("GET", GREEN, labelled("web-green", 4, &of("green")));
    let located = locate(&both, Some(&colours()), true).await;
    assert_eq!(located.deployment, "web-green");
    // Blue still has its pods.
    assert!(refusal(&located).message.contains("wants 4"), "{located:?}");

    let unrouted = locate(&server("blue"), Some(&colours()), false).await;
    assert!(
        refusal(&unrouted).message.contains("`router`"),
        "{unrouted:?}"
    );
}

#[tokio::test]
async fn a_deployment_without_a_colour_is_adopted_and_the_first_colour_is_the_candidates() {
    // Neither the selector has a colour, nor is there a Deployment of the one that it has.
    for (selector, labels, colour) in [
        (json!({"app": "web"}), json!({"app": "web"}), "blue"),
        (
            json!({"app": "web", "version": "blue"}),
            json!({"app": "web", "version": "blue"}),
            "green",
        ),
    ] {
        let server = Server::default()
            .ok("GET", DEPLOYMENT, labelled("web", 4, &labels))
            .ok("GET", SERVICE, service(&selector));
        let located = locate(&server, Some(&colours()), true).await;
        assert_eq!(located.deployment, "web");
        let beside = located.beside.unwrap();
        assert_eq!(beside.deployment, format!("web-{colour}"));
        assert_eq!(
            (beside.live, beside.colour.as_deref()),
            (None, Some(colour))
        );
        assert_eq!(
            beside.labels.get("version").map(String::as_str),
            Some(colour)
        );
        assert_eq!(beside.candidate_selector.get("version").unwrap(), colour);
    }
}

#[tokio::test]
async fn where_nothing_serves_it_is_said_what_was_looked_for_and_found() {
    let failure = async |server: Server, target: Target, colours: Option<&Colours>| {
        let located = server.cluster().locate(&target, colours, true).await;
        let failure = located.unwrap_err();
        assert_eq!(
            (failure.kind, failure.code),
            (Kind::Permanent, codes::WORKLOAD_NOT_FOUND)
        );
        failure.message
    };
    let message = failure(Server::default(), target(), None).await;
    assert!(
        message.contains("no Deployment `web` in namespace `shop`"),
        "{message}"
    );

    let other = Server::default().ok("GET", CANDIDATE, candidate()).ok(
        "GET",
        SERVICE,
        service(&json!({"app": "web"})),
    );
    let message = failure(other, in_front(), None).await;
    for part in ["`web-candidate`", "app=web"] {
        assert!(message.contains(part), "{message}");
    }

    let no_service = Server::default().ok("GET", DEPLOYMENT, deployment());
    let message = failure(no_service, in_front(), None).await;
    assert!(message.contains("no Service `web`"), "{message}");

    let red = Server::default()
        .ok("GET", SERVICE, service(&json!({"version": "red"})))
        .ok("GET", DEPLOYMENT, deployment());
    let message = failure(red, in_front(), Some(&colours())).await;
    for part in [
        "`web-blue`",
        "`web-green`",
        "`web`",
        "version=red",
        "`version: blue`",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = failure(Server::default(), target(), Some(&colours())).await;
    assert!(message.contains("names none"), "{message}");
}
