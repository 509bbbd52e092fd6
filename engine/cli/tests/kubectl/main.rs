//! A real `kubectl` against `phasegate simulate`: what people type works as on a cluster.
//!
//! `cargo xtask setup` finds the program, or fetches Debian's; every version of it since 1.20 will do.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, and set files up"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod lab;

use lab::Lab;

/// A Deployment that people bring along; `REPLICAS` and `VERSION` are replaced.
const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: shop}}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: app, image: 'registry.example/web:VERSION'}
";

fn web(replicas: u32, version: &str) -> String {
    let text = WEB.replace("REPLICAS", &replicas.to_string());
    text.replace("VERSION", version)
}

/// Applied on the server's side, by a person of that name, and there.
fn applied(lab: &Lab, manager: &str, text: &str) {
    lab.write("web.yaml", text);
    let manager = format!("--field-manager={manager}");
    lab.works(&["apply", "--server-side", &manager, "-f", "web.yaml"]);
    lab.works(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}

const IMAGE: &str = "jsonpath={.spec.template.spec.containers[0].image}";

#[test]
fn what_is_there_is_shown_as_a_table_as_documents_and_in_words() {
    let lab = Lab::open();
    let table = lab.works(&["get", "deployments"]);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    );
    assert_eq!(lines[1][..4], ["hello", "3/3", "3", "3"]);
    let wide = lab.works(&["get", "deployments", "-o", "wide"]);
    assert!(wide.contains("registry.example/hello:1.0.0"), "{wide}");
    let pods = lab.works(&["get", "pods", "-l", "app=hello"]);
    assert_eq!(pods.matches("Running").count(), 3, "{pods}");

    let yaml = lab.works(&["get", "deployment", "hello", "-o", "yaml"]);
    for part in ["kind: Deployment", "readyReplicas: 3", "maxSurge: "] {
        assert!(yaml.contains(part), "{part}: {yaml}");
    }
    let json = lab.works(&["get", "deployment", "hello", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["status"]["readyReplicas"], 3);

    let words = lab.works(&["describe", "deployment", "hello"]);
    for part in [
        "3 desired | 3 updated | 3 total | 3 available | 0 unavailable",
        "MinimumReplicasAvailable",
        "Scaled up replica set hello-",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let all = lab.works(&["get", "all"]);
    assert!(all.contains("service/hello"), "{all}");
    lab.fails(&["get", "deployment", "helo"], "NotFound");
}

#[test]
fn managers_of_fields_are_in_conflict_until_one_forces_it() {
    let lab = Lab::open();
    applied(&lab, "ada", &web(2, "1"));
    lab.write("web.yaml", &web(4, "1"));
    let by_linus = [
        "apply",
        "--server-side",
        "--field-manager=linus",
        "-f",
        "web.yaml",
    ];
    let refused = lab.fails(&by_linus, "conflict");
    for part in ["ada", ".spec.replicas"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let replicas = [
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.spec.replicas}",
    ];
    assert_eq!(lab.works(&replicas), "2");
    lab.works(&[&by_linus[..], &["--force-conflicts"]].concat());
    assert_eq!(lab.works(&replicas), "4");
    // What is the same as before is no change: the generation stays.
    let generation = [
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.metadata.generation}",
    ];
    let before = lab.works(&generation);
    lab.works(&by_linus);
    assert_eq!(lab.works(&generation), before);
}

#[test]
fn a_deployment_is_applied_patched_and_scaled() {
    let lab = Lab::open();
    lab.write("web.yaml", &web(2, "1"));
    lab.works(&["apply", "-f", "web.yaml"]);
    lab.write("web.yaml", &web(2, "2"));
    lab.works(&["apply", "-f", "web.yaml"]);
    lab.works(&[
        "wait",
        "--for=condition=available",
        "--timeout=60s",
        "deployment/web",
    ]);

    lab.works(&[
        "patch",
        "deployment",
        "web",
        "--type=merge",
        "-p",
        r#"{"metadata":{"labels":{"team":null,"tier":"front"}}}"#,
    ]);
    let labels = lab.works(&[
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.metadata.labels}",
    ]);
    assert_eq!(labels, r#"{"tier":"front"}"#);

    // A strategic patch merges the list of containers by name, where a merge patch would replace it.
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"proxy","image":"registry.example/proxy:1"}]}}}}"#;
    lab.works(&["patch", "deployment", "web", "-p", patch]);
    let images = "jsonpath={.spec.template.spec.containers[*].image}";
    let images = lab.works(&["get", "deployment", "web", "-o", images]);
    let mut images: Vec<&str> = images.split(' ').collect();
    images.sort_unstable();
    assert_eq!(
        images,
        ["registry.example/proxy:1", "registry.example/web:2"]
    );

    lab.works(&["scale", "deployment/web", "--replicas=5"]);
    lab.works(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let ready = lab.works(&[
        "get",
        "deployment",
        "web",
        "-o",
        "jsonpath={.status.readyReplicas}",
    ]);
    assert_eq!(ready, "5");
    lab.fails(
        &[
            "scale",
            "deployment/web",
            "--current-replicas=2",
            "--replicas=3",
        ],
        "5",
    );
    lab.fails(
        &[
            "patch",
            "deployment",
            "web",
            "--type=merge",
            "-p",
            r#"{"spec":{"replicas":-1}}"#,
        ],
        "must be greater than or equal to 0",
    );
}

#[test]
fn a_rollout_is_followed_told_and_undone() {
    let lab = Lab::open();
    applied(&lab, "ada", &web(2, "1"));
    lab.works(&[
        "set",
        "image",
        "deployment/web",
        "app=registry.example/web:2",
    ]);
    let followed = lab.works(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert!(followed.contains("successfully rolled out"), "{followed}");
    let history = lab.works(&["rollout", "history", "deployment/web"]);
    let revisions: Vec<&str> = history
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.parse::<u32>().is_ok())
        .collect();
    assert_eq!(revisions, ["1", "2"], "{history}");
    let second = lab.works(&["rollout", "history", "deployment/web", "--revision=2"]);
    assert!(second.contains("registry.example/web:2"), "{second}");

    lab.works(&["rollout", "undo", "deployment/web"]);
    lab.works(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let image = lab.works(&["get", "deployment", "web", "-o", IMAGE]);
    assert_eq!(image, "registry.example/web:1");

    // A version that never comes up isn't waited for beyond the time given.
    lab.works(&[
        "set",
        "image",
        "deployment/web",
        "app=registry.example/broken:1",
    ]);
    lab.fails(
        &["rollout", "status", "deployment/web", "--timeout=2s"],
        "timed out",
    );
    lab.works(&["rollout", "undo", "deployment/web", "--to-revision=2"]);
    lab.works(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let image = lab.works(&["get", "deployment", "web", "-o", IMAGE]);
    assert_eq!(image, "registry.example/web:2");
}

#[test]
fn changes_are_watched_until_the_object_is_deleted() {
    let lab = Lab::open();
    applied(&lab, "ada", &web(1, "1"));
    let watching = lab.watch(&["get", "deployment", "web", "-w", "--no-headers"]);
    assert!(watching.next().contains("1/1"));
    lab.works(&["scale", "deployment/web", "--replicas=2"]);
    watching.until("2/2");
    lab.works(&[
        "delete",
        "deployment",
        "web",
        "--cascade=foreground",
        "--timeout=60s",
    ]);
    lab.fails(&["get", "deployment", "web"], "NotFound");
    assert_eq!(
        lab.works(&["get", "pods", "-l", "app=web", "-o", "name"]),
        ""
    );
}

/// Later versions send protobuf for these, and take no 415 for an answer.
#[test]
fn what_is_created_by_a_command_is_what_the_command_says() {
    let lab = Lab::open();
    let image = "--image=registry.example/hello:1.0.0";
    for command in [
        &[
            "create",
            "configmap",
            "settings",
            "--from-literal=colour=blue",
        ][..],
        &[
            "create",
            "secret",
            "generic",
            "token",
            "--from-literal=key=s3cret",
        ],
        &["create", "namespace", "elsewhere"],
        &["create", "job", "migrate", image, "--", "migrate", "--all"],
        &[
            "create",
            "deployment",
            "made",
            image,
            "--replicas=2",
            "--port=8080",
        ],
        &["create", "service", "clusterip", "made", "--tcp=80:8080"],
    ] {
        lab.works(command);
    }
    let of = |what: &[&str]| -> serde_json::Value {
        let text = lab.works(&[&["get", "-o", "json"], what].concat());
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(of(&["configmap", "settings"])["data"]["colour"], "blue");
    let secret = of(&["secret", "token"]);
    assert_eq!(
        (&secret["data"]["key"], &secret["type"]),
        (&"czNjcmV0".into(), &"Opaque".into())
    );
    assert_eq!(of(&["namespace", "elsewhere"])["status"]["phase"], "Active");
    let job = &of(&["job", "migrate"])["spec"]["template"]["spec"];
    let command = serde_json::json!(["migrate", "--all"]);
    assert_eq!(
        (&job["containers"][0]["command"], &job["restartPolicy"]),
        (&command, &"Never".into())
    );
    let port = &of(&["service", "made"])["spec"]["ports"][0];
    assert_eq!(
        (&port["port"], &port["targetPort"]),
        (&80.into(), &8080.into())
    );
    lab.works(&["rollout", "status", "deployment/made", "--timeout=60s"]);
    let made = of(&["deployment", "made"]);
    assert_eq!(made["status"]["readyReplicas"], 2);
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["containerPort"], 8080);
    lab.works(&[
        "wait",
        "--for=condition=complete",
        "job/migrate",
        "--timeout=60s",
    ]);
}
