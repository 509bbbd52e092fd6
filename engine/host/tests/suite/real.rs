//! The plugins that come with the engine, in a world that the tests control.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use phasegate_core::effect::{Deed, Notice, Severity};
use phasegate_core::failure::Kind;
use phasegate_core::strategy::{Action, Amount, Placement};
use phasegate_core::verdict::Status;
use phasegate_host::{HostConfig, Limits, Workshop};
use phasegate_runtime::plugin_ports::Grants;
use phasegate_runtime::ports::{Capability, Component, Plugins, Seen};
use serde_json::json;

use crate::support::{
    Memory, START, World, built_in, call, healthy_workload, question, settings, situation, using,
};

#[tokio::test]
async fn rolling_plans_a_deploy_and_a_check() {
    let plugins = World::new().load(built_in("rolling"), Limits::default());
    let strategy = using("rolling", json!({"maxSurge": 2, "timeout": "90s"}));
    let steps = plugins
        .plan(&strategy, &call(), &situation())
        .await
        .unwrap();
    let Action::Deploy {
        placement,
        replicas,
        surge,
        ..
    } = &steps[0].action
    else {
        panic!("{steps:?}");
    };
    assert_eq!(*placement, Placement::InPlace);
    assert_eq!(*replicas, Amount::Percent(100));
    assert_eq!(surge.as_deref(), Some("2"));
    assert!(
        matches!(&steps[1].action, Action::Check { .. }),
        "{steps:?}"
    );
}

#[tokio::test]
async fn canary_plans_pods_on_either_side_where_there_is_no_router() {
    let plugins = World::new().load(built_in("canary"), Limits::default());
    let config = json!({"weights": [50], "soak": "10m"});
    let steps = plugins
        .plan(&using("canary", config), &call(), &situation())
        .await
        .unwrap();
    // Half of three are two of four.
    let pods: Vec<_> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Deploy { replicas, .. } | Action::Scale { replicas, .. } => Some(*replicas),
            _ => None,
        })
        .collect();
    let expected = [Amount::Count(2), Amount::Count(2), Amount::Percent(100)];
    assert_eq!(pods, expected, "{steps:?}");
    assert!(
        matches!(
            steps.last().map(|step| &step.action),
            Some(Action::Promote { .. })
        ),
        "{steps:?}"
    );
}

#[tokio::test]
async fn a_list_of_steps_is_checked_by_schema_and_then_by_the_plugin() {
    let plugins = World::new().load(built_in("canary"), Limits::default());
    let problems = async |steps| {
        let config = json!({"steps": steps});
        let found = plugins.validate("strategy", &using("canary", config)).await;
        found.unwrap()
    };
    let fine = json!([
        {"setHeaderRoute": {"match": [{"headerName": "x-team", "headerValue": {"exact": "shop"}}]}},
        {"setCanaryScale": {"matchTrafficWeight": true}},
        {"pause": {}}, {"setWeight": 10}, {"pause": {"duration": "1h30m"}}, {"check": []}, {"mirror": 5},
    ]);
    assert_eq!(problems(fine).await, []);
    let by_schema = problems(json!([{"setWeight": 101}])).await;
    assert_eq!(by_schema.len(), 1, "{by_schema:?}");
    let by_plugin = problems(json!([{"setWeight": 20}, {"setWeight": 10}])).await;
    assert_eq!(by_plugin[0].pointer, "/steps/1/setWeight");
}

#[tokio::test]
async fn a_config_is_checked_by_schema_and_then_by_the_plugin() {
    let plugins = World::new().load(built_in("rolling"), Limits::default());
    let problems = async |config| {
        let found = plugins
            .validate("strategy", &using("rolling", config))
            .await;
        found.unwrap()
    };
    assert_eq!(problems(json!({})).await, []);
    let by_schema = problems(json!({"maxSurge": 1, "polcy": true})).await;
    assert!(by_schema[0].message.contains("polcy"), "{by_schema:?}");
    let by_plugin = problems(json!({"maxSurge": 0, "maxUnavailable": 0})).await;
    assert_eq!(by_plugin[0].pointer, "/maxUnavailable");
}

#[tokio::test]
async fn every_plugin_says_what_it_is() {
    let names = [
        "rolling",
        "recreate",
        "blue-green",
        "canary",
        "service-selector",
        "gateway-api",
        "istio",
        "nginx",
        "workload",
        "http",
        "prometheus",
        "window",
        "webhook",
        "slack",
    ];
    let plugins = World::new()
        .host(settings(Limits::default()))
        .load(names.map(built_in).into(), Grants::default());
    assert_eq!(plugins.prepare().await, []);
    for name in names {
        let (pin, description) = plugins.describe(name).await.unwrap();
        assert_eq!(pin.source, format!("builtin:{name}"));
        assert_eq!(pin.version, description.version);
        assert!(description.offers.iter().any(|offer| offer.name == name));
    }
}

#[tokio::test]
async fn workload_reads_the_cluster() {
    let world = World::new();
    healthy_workload(&world);
    let plugins = world.load(built_in("workload"), Limits::default());
    let gate = using("workload", json!({}));
    let verdict = plugins.evaluate(&gate, &call(), &question()).await.unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
}

#[tokio::test]
async fn what_an_action_removes_is_the_object_that_it_has_read() {
    let world = World::new();
    let wanted = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "flags", "namespace": "shop"}, "data": {"a": "1"},
    });
    let mut live = wanted.clone();
    let metadata = json!({
        "name": "flags", "namespace": "shop", "uid": "u", "resourceVersion": "7",
        "annotations": {"phasegate.dev/applied-by": "shop:r-1/act 0"},
        "managedFields": [{"apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}}],
    });
    live["metadata"] = metadata;
    let objects = [("ConfigMap".to_owned(), vec![live])];
    *world.objects.lock().unwrap() = objects.into();
    let plugins = world.load(built_in("apply"), Limits::default());
    let action = using("apply", json!({"objects": [wanted]}));
    let token = json!({"mark": "shop:r-1/act", "before": ["absent"]});
    // Pending: whether it is gone is looked at by the next call.
    let undone = plugins.act(&action, &call(), &Deed::Undo { token }).await;
    let removals = world.removals.lock().unwrap().clone();
    let read = Seen {
        uid: "u".into(),
        version: "7".into(),
    };
    assert_eq!(removals, [("flags".to_owned(), Some(read))], "{undone:?}");
}

/// The same plugin, not taken for one that comes with the engine.
fn stranger(name: &str) -> Component {
    Component {
        source: format!("path:{name}.wasm"),
        ..built_in(name)
    }
}

#[tokio::test]
async fn a_stranger_needs_a_grant_and_is_told_which() {
    let world = World::new();
    healthy_workload(&world);
    let gate = using("workload", json!({}));
    let ungranted = world.load(stranger("workload"), Limits::default());
    let failure = ungranted
        .evaluate(&gate, &call(), &question())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.to_string().as_str()),
        (Kind::Denied, "PG0306")
    );
    assert!(
        failure
            .message
            .contains("under plugins.grants: `- {plugin: \"workload\", digest: \"sha256:"),
        "{failure:?}"
    );

    let objects = |group: &str, kind: &str| Capability::Kubernetes {
        group: group.into(),
        kind: kind.into(),
        verbs: vec!["get".into(), "find".into()],
    };
    let mut grants = Grants::default();
    let all = vec![objects("apps", "Deployment"), objects("", "Pod")];
    grants.0.insert("workload".into(), all);
    let granted = world
        .host(settings(Limits::default()))
        .load(vec![stranger("workload")], grants);
    let verdict = granted.evaluate(&gate, &call(), &question()).await.unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
}

#[tokio::test]
async fn http_asks_the_host_in_its_config_with_a_credential_it_never_sees() {
    let world = World::new();
    world.answers(200, r#"{"seen": "Bearer planted-secret"}"#);
    let plugins = world.load(built_in("http"), Limits::default());
    let gate = using(
        "http",
        json!({"url": "https://shop.example/health", "credential": "token"}),
    );
    let verdict = plugins.evaluate(&gate, &call(), &question()).await.unwrap();
    assert_eq!(verdict.status, Status::Pass, "{verdict:?}");
    assert!(!format!("{verdict:?}").contains("planted-secret"));
    let requests = world.requests.lock().unwrap();
    assert_eq!(requests[0].url, "https://shop.example:443/health");
    let sent = requests[0]
        .headers
        .iter()
        .find(|h| h.name == "authorization");
    assert_eq!(sent.unwrap().value, "Bearer planted-secret");
}

#[tokio::test]
async fn a_credential_goes_only_where_it_belongs() {
    let world = World::new();
    world.answers(200, "{}");
    let plugins = world.load(built_in("http"), Limits::default());
    let gate = using(
        "http",
        json!({"url": "https://evil.example/", "credential": "token"}),
    );
    let failure = plugins
        .evaluate(&gate, &call(), &question())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, Kind::Denied, "{failure:?}");
    assert!(
        world.requests.lock().unwrap().is_empty(),
        "nothing was sent"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_ends_in_the_worlds_time() {
    let world = World::new();
    world.hangs();
    let plugins = world.load(built_in("http"), Limits::default());
    let gate = using("http", json!({"url": "https://shop.example/health"}));
    let failure = plugins
        .evaluate(&gate, &call(), &question())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.to_string().as_str()),
        (Kind::Timeout, "PG0304")
    );
    let now = phasegate_runtime::ports::Clock::now(&*world).as_millis();
    assert_eq!(now, START + Limits::default().wall.as_millis());
}

fn notice() -> Notice {
    Notice {
        event: "succeeded".into(),
        severity: Severity::Success,
        title: "shop 1.4.1 serves".into(),
        text: "all is well".into(),
        fields: Vec::new(),
        links: Vec::new(),
        thread: None,
    }
}

#[tokio::test]
async fn webhook_posts_the_notice() {
    let world = World::new();
    world.answers(204, "");
    let plugins = world.load(built_in("webhook"), Limits::default());
    let notifier = using("webhook", json!({"url": "http://chat:8080/hook"}));
    plugins.notify(&notifier, &call(), &notice()).await.unwrap();
    let requests = world.requests.lock().unwrap();
    assert_eq!(requests[0].method, "POST");
    let body = String::from_utf8(requests[0].body.clone().unwrap()).unwrap();
    assert!(body.contains("shop 1.4.1 serves"), "{body}");
}

#[tokio::test]
async fn slack_answers_in_the_thread_that_the_engine_keeps() {
    let world = World::new();
    world.answers(200, r#"{"ok": true, "channel": "C1", "ts": "1.5"}"#);
    let plugins = world.load(built_in("slack"), Limits::default());
    let notifier = using(
        "slack",
        json!({"channel": "#releases", "credential": "token", "url": "https://shop.example/api"}),
    );
    let thread = plugins.notify(&notifier, &call(), &notice()).await.unwrap();
    assert_eq!(thread, Some(json!({"channel": "C1", "ts": "1.5"})));
    let later = Notice { thread, ..notice() };
    let none = plugins.notify(&notifier, &call(), &later).await.unwrap();
    assert_eq!(none, None);
    let requests = world.requests.lock().unwrap();
    assert_eq!(
        requests[1].url,
        "https://shop.example:443/api/chat.postMessage"
    );
    let secret = requests[1]
        .headers
        .iter()
        .find(|h| h.name == "authorization");
    assert_eq!(secret.unwrap().value, "Bearer planted-secret");
    let body: serde_json::Value =
        serde_json::from_slice(requests[1].body.as_ref().unwrap()).unwrap();
    assert_eq!(body["thread_ts"], "1.5");
}

/// The whole address is the secret: what the plugin is told and tells has the host only.
#[tokio::test]
async fn slack_posts_to_a_webhook_whose_address_it_never_sees() {
    let world = World::new();
    let plugins = world.load(built_in("slack"), Limits::default());
    let hook = |webhook: &str| using("slack", json!({"webhook": webhook, "credential": "hook"}));
    let notifier = hook("https://shop.example");
    world.answers(200, "ok");
    plugins.notify(&notifier, &call(), &notice()).await.unwrap();
    world.answers(
        404,
        "no_service at https://shop.example/services/T0/B0/planted-secret, nor planted-secret",
    );
    let failure = plugins
        .notify(&notifier, &call(), &notice())
        .await
        .unwrap_err();
    let told = format!("{failure:?}");
    assert!(
        told.contains("no_service at https://shop.example***"),
        "{told}"
    );
    assert!(!told.contains("planted"), "{told}");
    // A path of its own would be another address than the one that was vouched for.
    let other = hook("https://shop.example/mine");
    let refused = plugins
        .notify(&other, &call(), &notice())
        .await
        .unwrap_err();
    assert_eq!(refused.kind, Kind::Denied, "{refused:?}");
    let requests = world.requests.lock().unwrap();
    let urls: Vec<&str> = requests.iter().map(|sent| sent.url.as_str()).collect();
    let address = "https://shop.example:443/services/T0/B0/planted-secret";
    assert_eq!(urls, [address, address]);
    for sent in requests.iter() {
        assert!(!sent.headers.iter().any(|h| h.value.contains("planted")));
        let body = String::from_utf8_lossy(sent.body.as_ref().unwrap());
        assert!(!body.contains("planted"), "{body}");
    }
    let logged = format!("{:?}", world.lines.lock().unwrap());
    assert!(!logged.contains("planted"), "{logged}");
}

#[tokio::test]
async fn window_goes_by_the_worlds_clock() {
    // The world begins on Friday, 15 January 2027, at 08:00 UTC.
    let plugins = World::new().load(built_in("window"), Limits::default());
    let judge = async |days: &[&str]| {
        let windows = json!([{"days": days, "from": "09:00", "to": "10:00"}]);
        let gate = using(
            "window",
            json!({"zone": "Europe/Berlin", "windows": windows}),
        );
        plugins.evaluate(&gate, &call(), &question()).await.unwrap()
    };
    let open = judge(&["fri"]).await;
    assert_eq!(open.status, Status::Pass, "{open:?}");
    assert_eq!(
        open.reason,
        "open until fri 2027-01-15 10:00 (Europe/Berlin)"
    );
    let closed = judge(&["thu"]).await;
    assert_eq!(closed.status, Status::Fail, "{closed:?}");
    let opens = "it opens thu 2027-01-21 09:00 (Europe/Berlin)";
    assert!(closed.reason.ends_with(opens), "{}", closed.reason);
}

#[tokio::test]
async fn a_damaged_cache_heals_itself() {
    let cache = Arc::new(Memory::default());
    let describe = async || {
        let config = HostConfig {
            cache: Some(cache.clone()),
            ..settings(Limits::default())
        };
        let plugins = World::new()
            .host(config)
            .load(vec![built_in("rolling")], Grants::default());
        plugins.describe("rolling").await.unwrap();
        cache.puts.load(Ordering::SeqCst)
    };
    assert_eq!(describe().await, 1, "compiled and kept");
    assert_eq!(describe().await, 1, "found");
    let damage: [fn(&mut Vec<u8>); 5] = [
        |entry| *entry.last_mut().unwrap() ^= 1,
        |entry| entry[100] ^= 0x80,
        |entry| entry.truncate(entry.len() / 2),
        |entry| entry.clear(),
        |entry| *entry = b"something else".to_vec(),
    ];
    for (n, damage) in damage.into_iter().enumerate() {
        cache.entries.lock().unwrap().values_mut().for_each(damage);
        assert_eq!(describe().await, n as u64 + 2, "written anew");
        assert_eq!(describe().await, n as u64 + 2, "and found");
    }
}

#[tokio::test]
async fn hosts_that_share_a_workshop_load_a_plugin_once_and_reach_their_own_worlds() {
    let cache = Arc::new(Memory::default());
    let workshop = Workshop::new().unwrap();
    let notify = async |limits| {
        let config = HostConfig {
            cache: Some(cache.clone()),
            workshop: Some(workshop.clone()),
            ..settings(limits)
        };
        let world = World::new();
        world.answers(204, "");
        let plugins = world
            .host(config)
            .load(vec![built_in("webhook")], Grants::default());
        let notifier = using("webhook", json!({"url": "http://chat:8080/hook"}));
        plugins.notify(&notifier, &call(), &notice()).await.unwrap();
        let requests = world.requests.lock().unwrap().len();
        // Whoever loads it again has to compile it again.
        cache.entries.lock().unwrap().clear();
        (requests, cache.puts.load(Ordering::SeqCst))
    };
    assert_eq!(notify(Limits::default()).await, (1, 1));
    assert_eq!(notify(Limits::default()).await, (1, 1), "not loaded again");
    let others = Limits {
        host_calls: 3,
        ..Limits::default()
    };
    assert_eq!(notify(others).await, (1, 2), "other limits, another plugin");
}
