//! Each write that takes away what serves is found, and each that doesn't is let pass.

use phasegate_core::event::Identity;
use serde_json::json;

use super::*;
use crate::cluster::{Reach, Strength};

/// A namespace in which `blue` serves with three pods behind Service `shop`, and `green` is beside it.
fn colours(live: &str, green: u32) -> Picture {
    let reach = |name: &str, ready: u32| Reach {
        chosen: BTreeMap::from([(name.to_owned(), 3)]),
        ready: BTreeMap::from([(name.to_owned(), ready)]),
        routed: BTreeMap::from([(name.to_owned(), ready)]),
    };
    let strength = |name: &str| {
        (
            name.to_owned(),
            Strength {
                replicas: 3,
                all_at_once: false,
            },
        )
    };
    let ready = if live == "green" { green } else { 3 };
    Picture {
        deployments: BTreeMap::from([strength("blue"), strength("green")]),
        services: BTreeMap::from([("shop".to_owned(), reach(live, ready))]),
        ..Picture::default()
    }
}

/// A namespace in which a route shares traffic between `shop`, nine pods, and `candidate`.
fn canary(wanted: u64, live: u64, stable: u32, candidate: u32) -> Picture {
    let reach = |name: &str, ready: u32| {
        let pods = BTreeMap::from([(name.to_owned(), ready)]);
        let reach = Reach {
            chosen: pods.clone(),
            ready: pods.clone(),
            routed: pods,
        };
        (name.to_owned(), reach)
    };
    let strength = |name: &str, replicas| {
        (
            name.to_owned(),
            Strength {
                replicas,
                all_at_once: false,
            },
        )
    };
    let shares = |weight: u64| {
        let weights = [
            ("shop".to_owned(), 100 - weight),
            ("candidate".to_owned(), weight),
        ];
        let shares = Shares {
            marked: false,
            weights: BTreeMap::from(weights),
        };
        BTreeMap::from([("shop".to_owned(), vec![shares])])
    };
    Picture {
        deployments: BTreeMap::from([strength("shop", stable), strength("candidate", candidate)]),
        services: BTreeMap::from([reach("shop", stable), reach("candidate", candidate)]),
        wanted: shares(wanted),
        live: shares(live),
    }
}

struct Case {
    scene: Picture,
    service: Option<&'static str>,
    moves: Vec<Move>,
    requests: Vec<LoggedRequest>,
    records: Vec<Record>,
}

impl Case {
    fn new(scene: Picture) -> Self {
        Self {
            scene,
            service: Some("shop"),
            moves: Vec::new(),
            requests: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Somebody writes.
    fn write(
        &mut self,
        agent: &str,
        (kind, name): (Kind, &str),
        objects: [Option<Value>; 2],
        scenes: [&Picture; 2],
    ) {
        let seq = u64::try_from(self.moves.len()).unwrap() + 1;
        let at = Timestamp::from_millis(1_000_000 + seq * 1_000);
        let [before, after] = objects.map(|object| object.map(Arc::new));
        let [scene_before, scene_after] = scenes.map(|scene| Arc::new(scene.clone()));
        self.moves.push(Move {
            seq,
            at,
            kind,
            name: name.to_owned(),
            before,
            after,
            scene_before,
            scene_after,
        });
        self.requests.push(LoggedRequest {
            seq,
            at,
            method: "PATCH".to_owned(),
            path: format!("/namespaces/shop/{name}"),
            query: Vec::new(),
            user_agent: agent.to_owned(),
            field_manager: String::new(),
            status: Some(200),
            injected: false,
            version_before: 1,
            version_after: 2,
            object_before: None,
            object_after: None,
            changed: true,
        });
    }

    fn engine(&mut self, what: (Kind, &str), objects: [Option<Value>; 2], scenes: [&Picture; 2]) {
        self.write("phasegate/0.1.0 (effect r/x)", what, objects, scenes);
    }

    /// The engine makes a Service choose another colour.
    fn flip(&mut self, before: &Picture, after: &Picture) {
        let selector = |colour: &str| Some(json!({"spec": {"selector": {"colour": colour}}}));
        let objects = [selector("one"), selector("other")];
        self.engine((Kind::Service, "shop"), objects, [before, after]);
    }

    /// The engine changes a Deployment's size.
    fn scale(&mut self, agent: &str, name: &str, to: Option<u32>, before: &Picture) {
        let mut after = before.clone();
        match to {
            None => drop(after.deployments.remove(name)),
            Some(to) => after.deployments.get_mut(name).unwrap().replicas = to,
        }
        let object = |there: bool| there.then(|| json!({"spec": {"template": {}}}));
        let objects = [object(true), object(to.is_some())];
        self.write(agent, (Kind::Deployment, name), objects, [before, &after]);
    }

    fn reroute(&mut self, before: &Picture, after: &Picture) {
        let route = || Some(json!({"spec": {}}));
        self.engine(
            (Kind::HttpRoute, "shop"),
            [route(), route()],
            [before, after],
        );
    }

    fn judged(&self) -> Vec<String> {
        judge_writes(
            &self.scene,
            self.service,
            &self.moves,
            &self.requests,
            &self.records,
        )
    }

    /// Exactly one fault, which says so.
    fn fails(&self, part: &str) {
        let faults = self.judged();
        assert_eq!(faults.len(), 1, "{part}: {faults:?}");
        assert!(faults[0].contains(part), "{part}: {faults:?}");
    }

    fn holds(&self) {
        assert_eq!(self.judged(), Vec::<String>::new());
    }
}

const ENGINE: &str = "phasegate/0.1.0 (effect r/x)";

#[test]
fn a_colour_gets_traffic_when_it_is_at_full_strength() {
    let before = colours("blue", 3);
    let mut case = Case::new(before.clone());
    case.flip(&before, &colours("green", 3));
    case.holds();
    let mut case = Case::new(before.clone());
    case.flip(&before, &colours("green", 2));
    case.fails("its traffic goes to 2 ready pods, and 3 are needed");
    // What is no change of the selector sends no traffic anywhere.
    let mut case = Case::new(before.clone());
    let service = || Some(json!({"spec": {"selector": {"colour": "blue"}}}));
    let weaker = colours("green", 1);
    case.engine(
        (Kind::Service, "shop"),
        [service(), service()],
        [&before, &weaker],
    );
    case.holds();
    let mut case = Case::new(before.clone());
    case.engine(
        (Kind::Service, "shop"),
        [service(), None],
        [&before, &before],
    );
    case.fails("the service is gone");
}

#[test]
fn a_colour_is_scaled_down_when_its_traffic_has_left_it() {
    let start = colours("blue", 3);
    let mut case = Case::new(start.clone());
    case.scale(ENGINE, "blue", Some(0), &start);
    case.fails("leaves 0 ready pods behind service shop, and 3 are needed");
    // The selector has changed, and the data plane has not followed yet.
    let mut lagging = colours("green", 3);
    lagging.services.get_mut("shop").unwrap().routed = BTreeMap::from([("blue".to_owned(), 3)]);
    for to in [None, Some(0), Some(2)] {
        let mut case = Case::new(start.clone());
        case.scale(ENGINE, "blue", to, &lagging);
        case.fails("3 of them still get traffic of service shop");
    }
    let mut case = Case::new(start.clone());
    case.scale(ENGINE, "blue", None, &colours("green", 3));
    case.holds();
}

#[test]
fn replicas_move_between_deployments_behind_one_service() {
    let behind = |stable: u32, candidate: u32| {
        let pods = BTreeMap::from([
            ("shop".to_owned(), stable),
            ("candidate".to_owned(), candidate),
        ]);
        let strength = |replicas| Strength {
            replicas,
            all_at_once: false,
        };
        Picture {
            deployments: BTreeMap::from([
                ("shop".to_owned(), strength(stable)),
                ("candidate".to_owned(), strength(2)),
            ]),
            services: BTreeMap::from([(
                "shop".to_owned(),
                Reach {
                    chosen: pods.clone(),
                    ready: pods.clone(),
                    routed: pods,
                },
            )]),
            ..Picture::default()
        }
    };
    let mut case = Case::new(behind(9, 0));
    case.scale(ENGINE, "shop", Some(8), &behind(9, 1));
    case.holds();
    case.scale(ENGINE, "shop", Some(6), &behind(8, 1));
    case.fails("leaves 7 ready pods behind service shop, and 9 are needed");
    // What serves nobody can go at any time.
    let mut case = Case::new(behind(9, 0));
    case.scale(ENGINE, "candidate", None, &behind(5, 0));
    case.holds();
}

#[test]
fn a_share_is_raised_where_enough_pods_are_ready_for_it() {
    let start = canary(0, 0, 9, 0);
    for (weight, ready, fine) in [(10, 1, true), (10, 0, false), (20, 1, false), (20, 2, true)] {
        let mut case = Case::new(start.clone());
        case.reroute(&canary(0, 0, 9, ready), &canary(weight, 0, 9, ready));
        if fine {
            case.holds();
        } else {
            case.fails("its share for service candidate is raised");
        }
    }
    // The way back, with a stable that isn't back at its strength yet.
    let mut case = Case::new(start.clone());
    case.reroute(&canary(50, 50, 8, 5), &canary(0, 50, 8, 5));
    case.fails("its share for service shop is raised, which has 8 ready pods and needs 9");
    // A share that falls needs nothing.
    let mut case = Case::new(start.clone());
    let weak = canary(50, 50, 9, 1);
    case.reroute(&weak, &canary(10, 50, 9, 1));
    case.holds();
    let mut case = Case::new(start.clone());
    case.engine(
        (Kind::HttpRoute, "shop"),
        [Some(json!({})), None],
        [&start, &start],
    );
    case.fails("the route is gone");
}

#[test]
fn an_ingress_beside_another_one_is_judged_by_the_traffic_that_it_takes() {
    let of_ingress = |weight: u64, ready: u32| {
        let mut scene = canary(weight, weight, 9, ready);
        for routes in [&mut scene.wanted, &mut scene.live] {
            let shares = routes.remove("shop").unwrap();
            routes.insert("Ingress shop".to_owned(), shares);
        }
        scene
    };
    let start = of_ingress(0, 0);
    for (ready, fine) in [(0, false), (1, true)] {
        let mut case = Case::new(start.clone());
        let made = [None, Some(json!({}))];
        let scenes = [&of_ingress(0, ready), &of_ingress(10, ready)];
        case.engine((Kind::Ingress, "shop-candidate"), made, scenes);
        if fine {
            case.holds();
        } else {
            case.fails("its share for service candidate is raised");
        }
    }
    for (name, fine) in [("shop-candidate", true), ("shop", false)] {
        let mut case = Case::new(start.clone());
        let scenes = [&of_ingress(10, 1), &start];
        case.engine((Kind::Ingress, name), [Some(json!({})), None], scenes);
        if fine {
            case.holds();
        } else {
            case.fails("the route is gone");
        }
    }
}

#[test]
fn requests_that_carry_something_special_need_a_pod_at_least() {
    let with_rule = |ready: u32| {
        let mut scene = canary(0, 0, 9, ready);
        let special = Shares {
            marked: true,
            weights: BTreeMap::from([("candidate".to_owned(), 1)]),
        };
        scene.wanted.get_mut("shop").unwrap().push(special);
        scene
    };
    let start = canary(0, 0, 9, 0);
    let mut case = Case::new(start.clone());
    case.reroute(&canary(0, 0, 9, 1), &with_rule(1));
    case.holds();
    let mut case = Case::new(start);
    case.reroute(&canary(0, 0, 9, 0), &with_rule(0));
    case.fails("which has 0 ready pods and needs 1");
}

#[test]
fn a_backend_keeps_the_pods_that_its_share_needs_until_the_data_plane_has_followed() {
    let start = canary(0, 0, 9, 0);
    for (wanted, live, left, fine) in [
        (20, 20, 2, true),
        (20, 20, 1, false),
        (0, 20, 1, false),
        (20, 0, 0, false),
        (0, 0, 0, true),
    ] {
        let mut case = Case::new(start.clone());
        case.scale(ENGINE, "candidate", Some(left), &canary(wanted, live, 9, 3));
        if fine {
            case.holds();
        } else {
            case.fails("behind service candidate, and 2 are needed");
        }
    }
    let mut case = Case::new(start.clone());
    case.scale(ENGINE, "shop", Some(7), &canary(20, 20, 9, 2));
    case.fails("leaves 7 ready pods behind service shop, and 8 are needed");
}

#[test]
fn what_an_autoscaler_may_not_keep_counts_as_taken() {
    let start = canary(0, 0, 9, 0);
    let hpa = |most: u32| {
        Some(json!({"spec": {"scaleTargetRef": {"name": "shop"}, "maxReplicas": most}}))
    };
    let what = (Kind::HorizontalPodAutoscaler, "shop");
    for (before, after, fine) in [
        (hpa(12), hpa(8), false),
        (None, hpa(8), false),
        (hpa(12), hpa(9), true),
        (hpa(8), hpa(8), true),
        (hpa(8), None, true),
    ] {
        let mut case = Case::new(start.clone());
        case.engine(what, [before, after], [&start, &start]);
        if fine {
            case.holds();
        } else {
            case.fails("leaves 8 ready pods behind service shop");
        }
    }
}

/// A change of the template of a workload that replaces all its pods at once.
fn all_at_once(case: &mut Case) {
    let mut scene = colours("blue", 3);
    scene.deployments.get_mut("blue").unwrap().all_at_once = true;
    let template = |image: &str| Some(json!({"spec": {"template": {"image": image}}}));
    let objects = [template("a"), template("b")];
    case.engine((Kind::Deployment, "blue"), objects, [&scene, &scene]);
}

#[test]
fn a_workload_that_replaces_all_pods_at_once_is_an_outage_that_must_be_declared() {
    let mut case = Case::new(colours("blue", 3));
    all_at_once(&mut case);
    case.fails("leaves 0 ready pods behind service shop");
    // The same object with the same template replaces nothing.
    let mut case = Case::new(colours("blue", 3));
    let mut scene = colours("blue", 3);
    scene.deployments.get_mut("blue").unwrap().all_at_once = true;
    let same = || Some(json!({"spec": {"template": {}}}));
    case.engine(
        (Kind::Deployment, "blue"),
        [same(), same()],
        [&scene, &scene],
    );
    case.holds();
}

#[test]
fn what_others_do_is_not_the_engines_and_lowers_what_it_must_keep() {
    let start = colours("blue", 3);
    let mut case = Case::new(start.clone());
    case.scale("somebody/joe", "blue", Some(2), &start);
    case.holds();
    let mut two = start.clone();
    two.deployments.get_mut("blue").unwrap().replicas = 2;
    two.services.get_mut("shop").unwrap().ready = BTreeMap::from([("blue".to_owned(), 2)]);
    case.flip(&two, &colours("green", 2));
    case.holds();
    case.flip(&two, &colours("green", 1));
    case.fails("its traffic goes to 1 ready pods, and 2 are needed");
}

#[test]
fn people_can_take_the_responsibility() {
    let before = colours("blue", 3);
    let mut case = Case::new(before.clone());
    case.flip(&before, &colours("green", 2));
    let skip = |seconds: u64| Record {
        at: Timestamp::from_millis(1_000_000 + seconds * 1_000),
        event: Event::Commanded {
            by: Identity {
                name: "ada".to_owned(),
                verified_by: "test".to_owned(),
            },
            command: Command::Skip {
                step: "deploy".to_owned(),
            },
            inbox: None,
        },
    };
    case.records = vec![skip(2)];
    case.fails("its traffic goes to 2 ready pods");
    case.records = vec![skip(1)];
    case.holds();
}

#[test]
fn a_release_without_a_service_has_nothing_to_be_measured_by() {
    let before = colours("blue", 3);
    let mut case = Case::new(before.clone());
    case.service = None;
    case.scale(ENGINE, "blue", Some(0), &before);
    case.holds();
}
