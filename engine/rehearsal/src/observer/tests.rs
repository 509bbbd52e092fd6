//! Each assertion can fail: good evidence is let pass, and each kind of bad evidence is not.

use std::collections::BTreeMap;

use phasegate_core::diagnostic::codes;
use phasegate_core::effect::{Deed, Direction, Effect, Id, Outcome, Request};
use phasegate_core::event::Event;
use phasegate_core::failure::{self, Failure};
use phasegate_core::time::{Span, Timestamp};
use serde_json::json;

use super::snapshot::Kept;
use super::*;
use crate::cluster::{Flow, Kind, ObservedDeployment, ObservedService, Stretch};
use crate::story::Source;
use crate::web::Exchange;

mod acting;

const CLAIM: &str = "/api/v1/namespaces/shop/configmaps";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/shop";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1000)
}

fn write(seconds: u64, path: &str, key: &str) -> LoggedRequest {
    LoggedRequest {
        seq: seconds,
        at: at(seconds),
        method: "PATCH".to_owned(),
        path: path.to_owned(),
        query: Vec::new(),
        user_agent: format!("phasegate/0.1.0 (effect {key})"),
        field_manager: "phasegate".to_owned(),
        status: Some(200),
        injected: false,
        version_before: 1,
        version_after: 2,
        object_before: None,
        object_after: None,
        changed: true,
    }
}

fn intent(seconds: u64, key: &str) -> Record {
    Record {
        at: at(seconds),
        event: Event::Intended {
            effect: Box::new(Effect {
                workload: 0,
                id: Id(1),
                key: key.to_owned(),
                direction: Direction::Forward,
                step: None,
                request: Request::Release { to: None },
            }),
        },
    }
}

fn seen(seconds: u64, ready: usize, gone: usize) -> Observation {
    Observation {
        at: at(seconds),
        deployments: vec![ObservedDeployment::default()],
        services: vec![ObservedService {
            namespace: "shop".to_owned(),
            name: "shop".to_owned(),
            endpoints: BTreeMap::from([("shop:1".to_owned(), ready)]),
            gone,
        }],
        routes: Vec::new(),
    }
}

fn snapshot(image: &str, replicas: u32) -> Snapshot {
    let spec =
        json!({"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}});
    let kept = Kept {
        spec: spec.clone(),
        labels: json!({"app": "shop"}),
        annotations: BTreeMap::new(),
    };
    Snapshot {
        objects: BTreeMap::from([((Kind::Deployment, "shop".to_owned()), kept)]),
        main: Some(spec),
    }
}

/// Ten minutes of ten requests a second, of which so many failed in a minute among them.
fn stream(failed: f64) -> Stream {
    let stretch = |from: u64, to: u64, share: f64| {
        let mut flow = Flow::default();
        flow.failed = share;
        flow.why = Some("no ready endpoint behind service shop".to_owned());
        Stretch {
            from: at(from),
            to: at(to),
            flow,
        }
    };
    Stream {
        entry: "service shop".to_owned(),
        per_second: 10.0,
        requests: 6000.0,
        failed,
        mirrored: 0.0,
        versions: BTreeMap::new(),
        stretches: vec![
            stretch(0, 120, 0.0),
            stretch(120, 180, failed / 600.0),
            stretch(180, 600, 0.0),
        ],
        cut: false,
    }
}

impl Snapshot {
    fn shop(&mut self) -> &mut Kept {
        let key = (Kind::Deployment, "shop".to_owned());
        self.objects.get_mut(&key).unwrap()
    }
}

/// What others than the engine tell.
fn others(story: &mut Story) {
    story.tell(at(3), Source::Cluster, "a word of the cluster");
    story.tell(at(4), Source::Person, "ada: approve");
    story.tell(at(5), Source::Person, "ada: approve is refused");
}

/// All that there is to judge, by itself.
struct Case {
    history: Vec<Observation>,
    requests: Vec<LoggedRequest>,
    traffic: Vec<Stream>,
    scene: Picture,
    moves: Vec<Move>,
    exchanges: Vec<Exchange>,
    records: Vec<Record>,
    order: Order,
    before: Snapshot,
    after: Snapshot,
    claimed: bool,
    end: &'static str,
    reason: &'static str,
    rollback_ms: Option<u64>,
    story: Story,
}

impl Case {
    fn good() -> Self {
        let mut story = Story::new(at(0));
        story.tell(at(1), Source::Engine, "step one done");
        story.tell(at(2), Source::Engine, "rolled back");
        others(&mut story);
        Self {
            history: vec![seen(0, 3, 0), seen(5, 4, 0), seen(9, 3, 0)],
            requests: vec![write(1, CLAIM, "r/claim"), write(5, DEPLOYMENT, "r/change")],
            traffic: vec![stream(0.0)],
            scene: Picture::default(),
            moves: Vec::new(),
            exchanges: vec![Exchange {
                at: at(4),
                method: "POST".to_owned(),
                url: "https://chat.example/notices".to_owned(),
                body: json!({"event": "rolled-back", "title": "shop went back", "text": "why"})
                    .to_string(),
                status: Some(200),
            }],
            records: vec![intent(1, "r/claim"), intent(4, "r/change")],
            order: Order::from([(1, 0), (2, 4)]),
            before: snapshot("shop:1", 3),
            after: snapshot("shop:1", 3),
            claimed: false,
            end: "rolled-back",
            reason: "gate errors failed",
            rollback_ms: Some(30_000),
            story,
        }
    }

    fn expect() -> Expect {
        Expect {
            end: Some("rolled-back".to_owned()),
            reason: Some("errors".to_owned()),
            image: Some("shop:1".to_owned()),
            replicas: Some(3),
            ready_endpoints_at_least: Some(3),
            failed_requests_at_most: Some(2),
            as_before: Some(true),
            changes: Some(BTreeMap::from([
                ("configmaps".to_owned(), 1),
                ("deployments".to_owned(), 1),
            ])),
            story: vec!["step one".to_owned(), "rolled back".to_owned()],
            never: vec!["succeeded".to_owned()],
            cluster: vec!["a word".to_owned()],
            cluster_never: vec!["a curse".to_owned()],
            people: vec!["ada: approve".to_owned(), "is refused".to_owned()],
            said: Vec::new(),
            notices: vec!["shop went back".to_owned()],
            rollback_within: Some(Span::from_mins(1)),
        }
    }

    fn judged(&self) -> Vec<String> {
        judge(
            &Self::expect(),
            &Evidence {
                history: &self.history,
                requests: &self.requests,
                traffic: &self.traffic,
                scene: &self.scene,
                moves: &self.moves,
                exchanges: &self.exchanges,
                records: &self.records,
                order: &self.order,
                before: &self.before,
                after: &self.after,
                claimed: self.claimed,
                service: Some("shop"),
                namespace: "shop",
                end: self.end,
                reason: self.reason,
                rollback_ms: self.rollback_ms,
                story: &self.story,
            },
        )
    }
}

/// Spoils good evidence; exactly one fault must be found, which says so.
fn spoilt(part: &str, spoil: impl FnOnce(&mut Case)) {
    let mut case = Case::good();
    spoil(&mut case);
    let faults = case.judged();
    assert_eq!(faults.len(), 1, "{part}: {faults:?}");
    assert!(faults[0].contains(part), "{part}: {faults:?}");
}

#[test]
fn good_evidence_is_let_pass() {
    assert_eq!(Case::good().judged(), Vec::<String>::new());
}

#[test]
fn every_change_needs_an_intent_that_came_before_it() {
    spoilt("no intent for r/change", |case| {
        case.records.pop();
    });
    spoilt("came later", |case| case.records[1] = intent(6, "r/change"));
    // At the same time, but behind the request in the order of things.
    spoilt("came later", |case| {
        case.order.insert(2, 5);
    });
    spoilt("names no effect", |case| {
        case.requests[1].user_agent = "phasegate/0.1.0".to_owned();
    });
    spoilt("r/change changed the world a second time", |case| {
        case.requests[0] = write(1, CLAIM, "r/change");
        case.records[1] = intent(0, "r/change");
        case.order.insert(2, 0);
    });
}

#[test]
fn what_changed_nothing_and_what_others_did_is_not_the_runs() {
    let mut case = Case::good();
    let mut refused = write(6, DEPLOYMENT, "r/other");
    refused.changed = false;
    let mut others = write(7, DEPLOYMENT, "");
    others.user_agent = "kubectl/v1.34".to_owned();
    let lease = write(
        8,
        "/apis/coordination.k8s.io/v1/namespaces/shop/leases/x",
        "",
    );
    case.requests.extend([refused, others, lease]);
    assert_eq!(case.judged(), Vec::<String>::new());
}

#[test]
fn the_target_and_the_end_are_held_against_what_is_expected() {
    spoilt("ends succeeded", |case| case.end = "succeeded");
    spoilt("without `errors`", |case| case.reason = "aborted");
    spoilt("still claimed", |case| case.claimed = true);
    spoilt("the way back took 1m1ms, more than 1m", |case| {
        case.rollback_ms = Some(60_001)
    });
    spoilt("no way back", |case| case.rollback_ms = None);
    spoilt("the image is shop:2", |case| {
        case.before = snapshot("shop:2", 3);
        case.after = snapshot("shop:2", 3);
    });
    spoilt("5 replicas are wanted", |case| {
        case.before = snapshot("shop:1", 5);
        case.after = snapshot("shop:1", 5);
    });
    spoilt("Deployment shop, annotations:", |case| {
        let mark = ("phasegate.dev/run".to_owned(), "r".to_owned());
        case.after.shop().annotations.extend([mark]);
    });
    spoilt("Deployment shop, labels.app: null, not \"shop\"", |case| {
        case.after.shop().labels = json!({});
    });
    spoilt("Deployment shop, spec.paused: true, not null", |case| {
        case.after.shop().spec["paused"] = json!(true);
    });
    spoilt("Service shop-candidate is left behind", |case| {
        let key = (Kind::Service, "shop-candidate".to_owned());
        case.after.objects.insert(key, Kept::default());
    });
    spoilt("Deployment shop is gone", |case| case.after.objects.clear());
    spoilt("changes: 1 to configmaps, 2 to deployments, not ", |case| {
        case.requests.push(write(6, DEPLOYMENT, "r/more"));
        case.records.push(intent(6, "r/more"));
    });
}

#[test]
fn a_moment_with_too_few_endpoints_is_found_and_a_dead_one_does_not_count() {
    spoilt(
        "2 endpoints were ready at the worst moment; 3 have",
        |case| case.history.push(seen(7, 2, 0)),
    );
    spoilt(
        "2 endpoints were ready at the worst moment; 3 have",
        |case| case.history.push(seen(7, 3, 1)),
    );
    spoilt("no Service was seen; 3 have to be ready", |case| {
        case.history
            .iter_mut()
            .for_each(|seen| seen.services.clear());
    });
}

#[test]
fn requests_that_fail_are_counted_and_the_worst_time_is_named() {
    spoilt("3 of 6000 requests failed, not 2 at most", |case| {
        case.traffic = vec![stream(3.0)]
    });
    spoilt("at service shop, 50.0% of them failed from", |case| {
        case.traffic = vec![stream(300.0)]
    });
    spoilt("no ready endpoint", |case| case.traffic = vec![stream(2.1)]);
    spoilt("the scenario has no traffic", |case| case.traffic.clear());
    spoilt("not everything", |case| case.traffic[0].cut = true);
    // A sum of fractions is no third failure.
    let mut case = Case::good();
    case.traffic = vec![stream(2.000_000_01)];
    assert_eq!(case.judged(), Vec::<String>::new());
}

#[test]
fn the_story_must_hold_what_is_expected_in_that_order_and_nothing_else() {
    // Only what the engine says counts, and only in this order.
    for (part, told) in [
        (
            "lacks `rolled back`",
            [
                (1, Source::Engine, "rolled back"),
                (2, Source::Engine, "step one"),
            ],
        ),
        (
            "lacks `step one`",
            [
                (1, Source::Person, "step one"),
                (2, Source::Engine, "rolled back"),
            ],
        ),
    ] {
        spoilt(part, |case| {
            case.story = Story::new(at(0));
            for (second, source, text) in told {
                case.story.tell(at(second), source, text);
            }
            others(&mut case.story);
        });
    }
    spoilt("holds `succeeded`", |case| {
        case.story.tell(at(4), Source::Engine, "succeeded")
    });
    spoilt("what the cluster shows holds `a curse`", |case| {
        case.story
            .tell(at(6), Source::Cluster, "a curse of the cluster")
    });
    spoilt("what the cluster shows lacks `a word`", |case| {
        case.story = Story::new(at(0));
        case.story.tell(at(1), Source::Engine, "step one: a word");
        case.story.tell(at(2), Source::Engine, "rolled back");
        case.story
            .tell(at(3), Source::Person, "ada: approve is refused");
    });
    spoilt("what people do lacks `is refused`", |case| {
        case.story = Story::new(at(0));
        case.story
            .tell(at(1), Source::Engine, "step one is refused");
        case.story.tell(at(2), Source::Engine, "rolled back");
        case.story.tell(at(3), Source::Cluster, "a word");
        case.story.tell(at(4), Source::Person, "ada: approve");
    });
    spoilt("no notice holds", |case| {
        case.exchanges[0].method = "GET".to_owned()
    });
    spoilt("no notice holds", |case| case.exchanges.clear());
    for answer in [Some(503), Some(302), None] {
        spoilt("1 times in all, and never taken", |case| {
            case.exchanges[0].status = answer
        });
    }
}

#[test]
fn evidence_that_was_cut_off_proves_nothing() {
    spoilt("not everything", |case| case.requests[0].seq = 4);
}

#[test]
fn notices_are_told_with_what_became_of_them() {
    let case = Case::good();
    assert_eq!(
        notices(&case.exchanges),
        ["to chat.example (200), rolled-back: shop went back - why"]
    );
}
