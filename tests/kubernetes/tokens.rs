//! Credentials that expire in the middle of a canary.
//!
//! A token is bound to a Secret, and is worth nothing once that is deleted: the API server gives none that lasts less
//! than ten minutes.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::space::Space;
use crate::traffic::{CANARY, route, workload, write};

/// How long the API server may go on believing a token that it has seen.
const BELIEVED: Duration = Duration::from_secs(12);
const ROLES: [&str; 4] = ["in-place", "beside", "gateway-api", "watching"];

struct Scene {
    space: Space,
    desk: Desk,
    plane: Plane,
}

impl Scene {
    /// A release by an account whose token is in a file, or comes from a program.
    fn new(name: &str, soak: &str, user: impl FnOnce(&PathBuf) -> Value) -> Self {
        let space = Space::new(name);
        workload(&space, "shop", None);
        route(&space);
        let desk = Desk::of(&space, &ROLES);
        write(&desk, &space, CANARY, soak);
        let plane = Plane::new(
            Desk::admin(&space).kubeconfig(),
            &space.name,
            Door::Route("shop"),
        );
        let mut config: Value =
            serde_json::from_slice(&fs::read(desk.kubeconfig()).unwrap()).unwrap();
        config["users"][0]["user"] = user(&desk.kubeconfig().with_file_name("token"));
        fs::write(desk.kubeconfig(), config.to_string()).unwrap();
        Self { space, desk, plane }
    }

    fn token(&self, bound_to: &str) -> String {
        self.space
            .kubectl(&["create", "secret", "generic", bound_to]);
        let kind = "--bound-object-kind=Secret";
        let name = format!("--bound-object-name={bound_to}");
        let token = self
            .space
            .kubectl(&["create", "token", "deployer", kind, &name]);
        token.trim().to_owned()
    }

    fn give(&self, text: &str) {
        let path = self.desk.kubeconfig().with_file_name("token");
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Tokens that are bound to this are worth nothing any more.
    fn expire(&self, bound_to: &str) {
        self.space.kubectl(&["delete", "secret", bound_to]);
        thread::sleep(BELIEVED);
    }
}

fn in_a_file(path: &PathBuf) -> Value {
    json!({"tokenFile": path})
}

fn by_a_program(path: &PathBuf) -> Value {
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [path],
        "interactiveMode": "Never",
    }})
}

/// What a credential program prints. It is asked again as soon as the token is about to expire.
fn credential(token: &str) -> String {
    json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"},
    })
    .to_string()
}

#[test]
fn a_token_that_is_renewed_in_time_holds_nothing_up() {
    let scene = Scene::new("token-renewed", "25s", by_a_program);
    scene.give(&credential(&scene.token("first")));
    let run = scene.desk.start(&["run", "release.yaml"]);
    run.until("soak for 25s");
    scene.give(&credential(&scene.token("second")));
    scene.expire("first");
    let ended = run.end().expect(0);
    assert!(!ended.stdout.contains("PG0412"), "{}", ended.stdout);
    scene.plane.end().served_by(&["1", "2"]);
    assert_eq!(scene.space.image("shop"), "registry.test/shop:2");
}

#[test]
fn a_token_that_expires_holds_a_canary_until_there_is_another() {
    let scene = Scene::new("token-expired", "20s", in_a_file);
    scene.give(&scene.token("first"));
    let run = scene.desk.start(&["run", "release.yaml"]);
    run.until("soak for 20s");
    scene.expire("first");
    run.until("held up");
    scene.give(&scene.token("second"));
    let ended = run.end().expect(0);
    assert!(ended.stdout.contains("[PG0412]"), "{}", ended.stdout);
    scene.plane.end().served_by(&["1", "2"]);
    assert_eq!(scene.space.image("shop"), "registry.test/shop:2");
    scene.space.only(&["shop"]);
}

#[test]
fn an_abort_waits_for_a_token_and_is_not_lost() {
    let scene = Scene::new("token-abort", "5m", in_a_file);
    scene.give(&scene.token("first"));
    let run = scene.desk.start(&["run", "release.yaml"]);
    run.until("soak for 5m");
    scene.expire("first");
    run.until("held up");
    scene
        .desk
        .run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    assert_eq!(
        scene.space.get(&["deployments"])["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    scene.give(&scene.token("second"));
    run.end().expect(1);
    scene.plane.end().served_by(&["1", "2"]);
    assert_eq!(scene.space.image("shop"), "registry.test/shop:1");
    scene.space.only(&["shop"]);
}
