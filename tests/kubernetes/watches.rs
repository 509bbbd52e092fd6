//! Watches that break, fall silent or are refused in the middle of a canary, and an API server that has too much to do.

use std::thread;
use std::time::Duration;

use crate::desk::Desk;
use crate::line::Mode;
use crate::plane::{Door, Plane};
use crate::proxy::Proxy;
use crate::space::Space;
use crate::traffic::{CANARY, ROLLING, desk, route, workload};

/// A workload with a route, and a desk that reaches the cluster through a proxy.
struct Scene {
    space: Space,
    desk: Desk,
    proxy: Proxy,
    plane: Plane,
}

impl Scene {
    fn new(name: &str, soak: &str) -> Self {
        let space = Space::new(name);
        workload(&space, "shop", None);
        route(&space);
        let desk = desk(&space, CANARY, soak);
        let plane = Plane::new(desk.kubeconfig(), &space.name, Door::Route("shop"));
        let proxy = Proxy::before(&desk);
        Self {
            space,
            desk,
            proxy,
            plane,
        }
    }

    /// The new version serves, and nobody was turned away.
    fn succeeded(self) {
        self.plane.end().served_by(&["1", "2"]);
        assert_eq!(self.space.image("shop"), "registry.test/shop:2");
        self.space.only(&["shop"]);
    }
}

fn rest(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
}

#[test]
fn watches_that_are_cut_again_and_again_go_on_where_they_were() {
    let scene = Scene::new("watch-cut", "5s");
    let run = scene
        .desk
        .start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 2s");
    let before = scene.proxy.asked();
    for _ in 0..10 {
        scene.proxy.cut();
        thread::sleep(Duration::from_millis(500));
    }
    run.end().expect(0);
    assert!(scene.proxy.asked() > before + 5, "they were opened again");
    assert_eq!(scene.proxy.open(), 0, "none outlasts the run");
    scene.succeeded();
}

#[test]
fn watches_that_fall_silent_delay_a_canary_and_do_not_mislead_it() {
    let scene = Scene::new("watch-silent", "3s");
    let run = scene
        .desk
        .start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 2s");
    assert!(scene.proxy.open() > 0);
    scene.proxy.set(Mode::Silent);
    run.end().expect(0);
    scene.succeeded();
}

#[test]
fn a_drift_that_no_watch_tells_of_is_noticed_all_the_same() {
    let scene = Scene::new("watch-drift", "5m");
    let run = scene
        .desk
        .start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5m");
    scene.proxy.set(Mode::Silent);
    scene.space.ships("9");
    run.until("somebody else changed it");
    scene
        .desk
        .run(&["abort", "--reason", "somebody else's"])
        .expect(0);
    run.end().expect(1);
    assert_eq!(scene.space.image("shop"), "registry.test/shop:9");
    scene.plane.end().served_by(&["1", "2", "9"]);
}

/// Nobody would look before the test's patience is over.
#[test]
fn a_drift_that_a_watch_tells_of_is_noticed_long_before_the_next_look() {
    let space = Space::new("watch-told");
    workload(&space, "shop", None);
    let desk = desk(&space, &ROLLING.replace("every: 1s", "every: 10m"), "20m");
    let run = desk.start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 20m");
    space.ships("9");
    run.until("somebody else changed it");
    desk.run(&["abort", "--reason", "somebody else's"])
        .expect(0);
    run.end().expect(1);
}

#[test]
fn what_the_server_has_forgotten_is_read_and_watched_from_there() {
    let scene = Scene::new("watch-gone", "8s");
    let run = scene
        .desk
        .start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 2s");
    scene.proxy.set(Mode::Refused(410, None));
    scene.proxy.cut();
    rest(3);
    scene.proxy.set(Mode::Well);
    run.until("soak for 8s");
    rest(4);
    assert!(scene.proxy.open() > 0, "they are watched again");
    run.end().expect(0);
    scene.succeeded();
}

/// Every request is answered so for a while.
fn busy(name: &str, status: u16, after: Option<u64>) {
    let scene = Scene::new(name, "5s");
    let run = scene
        .desk
        .start(&["run", "release.yaml", "--output", "json"]);
    run.until("soak for 5s");
    scene.proxy.set(Mode::Busy(status, after));
    scene.proxy.cut();
    rest(8);
    scene.proxy.set(Mode::Well);
    run.end().expect(0);
    scene.succeeded();
}

#[test]
fn a_server_that_asks_for_patience_is_given_it() {
    busy("busy-429", 429, Some(2));
}

#[test]
fn a_server_that_is_not_available_for_a_while_is_waited_for() {
    busy("busy-503", 503, None);
}
