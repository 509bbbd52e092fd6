//! Somebody else changes the workload in the middle of a canary, as `docs/kubernetes.md` tells it.

use serde_json::json;

use crate::desk::{Desk, Started};
use crate::plane::{Door, Plane};
use crate::space::Space;
use crate::traffic::{CANARY, desk, route, workload};

/// A canary in whose longest soak others get at the workload.
struct Scene {
    space: Space,
    desk: Desk,
    plane: Plane,
}

impl Scene {
    fn new(name: &str, soak: &str) -> (Self, Started) {
        let space = Space::new(name);
        workload(&space, "shop", None);
        route(&space);
        let desk = desk(&space, CANARY, soak);
        let plane = Plane::new(desk.kubeconfig(), &space.name, Door::Route("shop"));
        let run = desk.start(&["run", "release.yaml", "--output", "json"]);
        run.until(&format!("soak for {soak}"));
        let scene = Self { space, desk, plane };
        (scene, run)
    }

    /// The version that is left is the only one, and no customer was turned away.
    fn ends_with(self, version: &str) {
        let Self { space, plane, .. } = self;
        plane.end().served_by(&["1", "2"]);
        assert_eq!(space.image("shop"), format!("registry.test/shop:{version}"));
        space.only(&["shop"]);
    }
}

#[test]
fn a_number_of_replicas_that_somebody_sets_is_kept() {
    let (scene, run) = Scene::new("others-scale", "30s");
    let scale = ["scale", "deployment", "shop", "--replicas=6"];
    scene.space.kubectl(&scale);
    run.until("drift-adopted");
    run.end().expect(0);
    let shop = scene.space.get(&["deployment", "shop"]);
    assert_eq!(shop["spec"]["replicas"], 6);
    scene.ends_with("2");
}

#[test]
fn another_image_on_stable_is_asked_about_and_written_over_where_people_say_so() {
    let (scene, run) = Scene::new("others-force", "30s");
    scene.space.ships("0");
    run.until("\"type\":\"drift\"");
    scene.desk.run(&["continue", "--drift", "force"]).expect(0);
    run.end().expect(0);
    scene.space.until("the pods of 0 are gone", || {
        let pods = scene.space.pods();
        let old = pods
            .iter()
            .any(|p| p["spec"]["containers"][0]["image"] == "registry.test/shop:0");
        (!old).then_some(())
    });
    let Scene { space, plane, .. } = scene;
    assert_eq!(plane.end().failures, 0);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    space.only(&["shop"]);
}

#[test]
fn another_image_on_stable_is_somebodys_own_way_back_and_is_left_where_the_run_is_aborted() {
    let (scene, run) = Scene::new("others-abort", "5m");
    scene.space.ships("0");
    run.until("\"type\":\"drift\"");
    let abort = ["abort", "--reason", "somebody else is at it"];
    scene.desk.run(&abort).expect(0);
    run.end().expect(1);
    let Scene { space, plane, .. } = scene;
    assert_eq!(plane.end().failures, 0);
    assert_eq!(space.image("shop"), "registry.test/shop:0");
    space.only(&["shop"]);
}

#[test]
fn a_tool_that_applies_its_own_manifest_again_is_noticed_once_it_undoes_the_release() {
    let (scene, run) = Scene::new("others-gitops", "2s");
    let mut shop = scene.space.get(&["deployment", "shop"]);
    shop["status"].take();
    let manifest = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop"},
        "spec": shop["spec"],
    });
    run.until("has written image registry.test/shop:2");
    let arguments = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=gitops",
        "-f",
        "-",
    ];
    scene.space.run(&arguments, Some(&manifest)).unwrap();
    run.until("\"type\":\"drift\"");
    let abort = ["abort", "--reason", "the tool is to release it"];
    scene.desk.run(&abort).expect(0);
    run.end().expect(1);
    scene.ends_with("1");
}
