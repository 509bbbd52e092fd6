//! The simulated cluster, in this process, whose time goes on only here.

use phasegate_core::time::{Span, Timestamp};
use phasegate_rehearsal::cluster::{Body, Cluster, Config, Crash, PodRule, Pull, Reply, Request};
use serde_json::{Value, json};

use super::exchange::{AGENT, Answer, Ask, Wire};

/// How long a moment is.
const MOMENT: Span = Span::from_millis(100);

pub(super) struct Simulated {
    cluster: Cluster,
    now: Timestamp,
    namespace: String,
}

/// How pods behave whose image has one of these tags. The real ones are told by annotations.
fn rules() -> Vec<PodRule> {
    let of = |tag: &str| PodRule {
        ready_after: Some(Span::from_secs(1)),
        ..PodRule::for_image(format!("*:{tag}"))
    };
    let fails = |tag: &str, exit_code| PodRule {
        crash: Some(Crash {
            after: Span::from_millis(300),
            exit_code,
            restarts_before_ok: None,
            log: Vec::new(),
        }),
        ..of(tag)
    };
    vec![
        PodRule {
            pull: Pull::Fails,
            ..of("typo")
        },
        PodRule {
            never_ready: true,
            ..of("not-ready")
        },
        PodRule {
            completes_after: Some(Span::from_mins(60)),
            ..of("long")
        },
        fails("crash", 1),
        fails("exits-3", 3),
        of("*"),
    ]
}

impl Simulated {
    pub(super) fn new(namespace: &str) -> Self {
        let config = Config {
            pods: rules(),
            ..Config::default()
        };
        let now = config.start;
        let mut cluster = Cluster::new(config);
        let manifest =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        cluster.apply_manifest(now, &manifest).unwrap();
        Self {
            cluster,
            now,
            namespace: namespace.to_owned(),
        }
    }
}

impl Wire for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn send(&mut self, ask: &Ask) -> Answer {
        let mut request = Request::new(ask.method, &ask.target(&self.namespace));
        ask.media.clone_into(&mut request.content_type);
        AGENT.clone_into(&mut request.user_agent);
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let Reply::Answer(answer) = self.cluster.handle(self.now, &request) else {
            panic!("no fault was asked for");
        };
        let body = match answer.body {
            Body::Full(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Body::Watch(id) => {
                let mut lines = self.cluster.drain_watch(id);
                while self.cluster.watch_ends(id).is_some_and(|at| at > self.now) {
                    self.pass();
                    lines.extend(self.cluster.drain_watch(id));
                }
                self.cluster.close_watch(id);
                let read = |line: Vec<u8>| serde_json::from_slice::<Value>(&line).unwrap();
                lines.into_iter().map(read).collect()
            }
        };
        Answer {
            code: answer.status,
            body,
        }
    }

    fn pass(&mut self) {
        self.now = self.now.plus(MOMENT);
        self.cluster.advance(self.now);
    }

    fn forget(&mut self) {
        self.cluster.expire_watches();
    }
}
