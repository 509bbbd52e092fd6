//! The exact shape of what goes over the wire, against a service that records it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ::http::{Request, Response};
use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use phasegate_core::failure::Failure;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::{Beside, Target};
use phasegate_runtime::ports::{ChangeError, Clock, Stamp};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::BoxError;

use super::{KubeCluster, Options};
use crate::connect::client_from_service;

mod autoscaler;
mod candidate;
mod configs;
mod create;
mod lease;
mod left;
mod locate;
mod objects;
mod reads;
mod remove;
mod rights;
mod rotation;
mod writes;

/// A moment that all tests share.
const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// Time that stands still, until a request arrives that is never answered: then all time is over.
struct StillClock {
    over: Arc<Notify>,
}

#[async_trait]
impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn sleep_until(&self, _: Timestamp) {
        self.over.notified().await;
    }
}

/// What was asked.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    target: String,
    agent: String,
    accept: String,
    content_type: String,
    body: Value,
}

/// What is answered.
enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    RetryAfter(u16, Value, &'static str),
    Broken(std::io::ErrorKind),
    Never,
}

/// Answers to a method at a path without query, in order. The last is given again and again if it is JSON.
type Script = Vec<(&'static str, &'static str, VecDeque<Reply>)>;

#[derive(Clone, Default)]
struct Server {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
    over: Arc<Notify>,
}

impl Server {
    fn on(self, method: &'static str, path: &'static str, replies: Vec<Reply>) -> Self {
        self.script
            .lock()
            .unwrap()
            .push((method, path, replies.into()));
        self
    }

    fn ok(self, method: &'static str, path: &'static str, body: Value) -> Self {
        self.on(method, path, vec![Reply::Json(200, body)])
    }

    fn cluster(&self) -> KubeCluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        let options = Options {
            agent: "phasegate/test".to_owned(),
            ..Options::default()
        };
        let client = client_from_service(service, "shop");
        let over = Arc::clone(&self.over);
        KubeCluster::new(client, Arc::new(StillClock { over }), options)
    }

    async fn answer(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
        let (parts, body) = request.into_parts();
        let header = |name: &str| {
            let value = parts.headers.get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path().to_owned();
        self.seen.lock().unwrap().push(Seen {
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            agent: header("user-agent"),
            accept: header("accept"),
            content_type: header("content-type"),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        });
        let reply = self.next(parts.method.as_str(), &path);
        let (status, retry_after, bytes) = match reply {
            Reply::Json(status, body) => (status, None, body.to_string().into_bytes()),
            Reply::Text(status, text) => (status, None, text.as_bytes().to_vec()),
            Reply::RetryAfter(status, body, after) => {
                (status, Some(after), body.to_string().into_bytes())
            }
            Reply::Broken(kind) => return Err(std::io::Error::from(kind).into()),
            Reply::Never => {
                self.over.notify_one();
                std::future::pending().await
            }
        };
        let mut response = Response::builder().status(status);
        if let Some(after) = retry_after {
            response = response.header("retry-after", after);
        }
        Ok(response.body(Full::from(bytes))?)
    }

    fn next(&self, method: &str, path: &str) -> Reply {
        let mut script = self.script.lock().unwrap();
        let found = script
            .iter_mut()
            .find(|(m, p, replies)| *m == method && *p == path && !replies.is_empty());
        match found {
            Some((_, _, replies)) => match replies.front() {
                // The last JSON answer goes on.
                Some(Reply::Json(status, body)) if replies.len() == 1 => {
                    Reply::Json(*status, body.clone())
                }
                _ => replies.pop_front().unwrap(),
            },
            None => status(404, "NotFound", &format!("{method} {path} not found")),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Requests that change something.
    fn writes(&self) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|request| request.method != "GET");
        seen
    }
}

fn status_body(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    Reply::Json(code, status_body(code, reason, message))
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const CANDIDATE: &str = "/apis/apps/v1/namespaces/shop/deployments/web-candidate";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";
const SERVICE: &str = "/api/v1/namespaces/shop/services/web";
const CANDIDATE_SERVICE: &str = "/api/v1/namespaces/shop/services/web-candidate";
const SERVICES: &str = "/api/v1/namespaces/shop/services";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/phasegate-web";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/shop/leases";
const CLAIM: &str = "/api/v1/namespaces/shop/configmaps/phasegate-claim-web";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";
const PODS: &str = "/api/v1/namespaces/shop/pods";

fn target() -> Target {
    Target {
        cluster: "simulated".to_owned(),
        namespace: "shop".to_owned(),
        workload: "web".to_owned(),
        deployment: "web".to_owned(),
        container: "app".to_owned(),
        service: None,
        config_maps: Vec::new(),
        secrets: Vec::new(),
        beside: None,
    }
}

/// The target with a candidate beside it, told by `app` and reached by a router.
fn beside() -> Target {
    let labels = |value: &str| [("app".to_owned(), value.to_owned())].into();
    Target {
        service: Some("web".to_owned()),
        beside: Some(Beside {
            deployment: "web-candidate".to_owned(),
            service: Some("web-candidate".to_owned()),
            live: None,
            colour: None,
            labels: labels("web-candidate"),
            stable_selector: labels("web"),
            candidate_selector: labels("web-candidate"),
        }),
        ..target()
    }
}

fn stamp() -> Stamp {
    Stamp {
        run: "hello-20261118-abcdef".to_owned(),
        epoch: 3,
        key: "hello-20261118-abcdef/deploy/1".to_owned(),
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "41", "generation": 5,
            "annotations": {"deployment.kubernetes.io/revision": "7"},
        },
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [
                    {"name": "proxy", "image": "proxy:9"},
                    {"name": "app", "image": "web:1.0", "env": [{"name": "A", "value": "1"}]},
                ]},
            },
        },
        "status": {
            "observedGeneration": 5, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4,
        },
    })
}

fn marked(epoch: u64, key: &str) -> Value {
    let mut object = deployment();
    object["metadata"]["annotations"] = json!({
        "phasegate.dev/run": "hello-20261118-abcdef",
        "phasegate.dev/epoch": epoch.to_string(),
        "phasegate.dev/effect": key,
    });
    object
}

fn with_image(mut object: Value, image: &str) -> Value {
    object["spec"]["template"]["spec"]["containers"][1]["image"] = image.into();
    object
}

/// The candidate's Deployment, as the run of [`stamp`] made it.
fn candidate() -> Value {
    let mut object = with_image(marked(3, "earlier"), "web:1.1");
    object["metadata"]["name"] = "web-candidate".into();
    object["metadata"]["uid"] = "u-2".into();
    object["metadata"]["resourceVersion"] = "52".into();
    object["metadata"]["annotations"]["phasegate.dev/made-by"] = stamp().run.into();
    object["spec"]["replicas"] = 2.into();
    object["spec"]["selector"]["matchLabels"]["app"] = "web-candidate".into();
    object["spec"]["template"]["metadata"]["labels"]["app"] = "web-candidate".into();
    object
}

/// The same Deployment, made by others and wanting so many pods.
fn foreign(replicas: u32) -> Value {
    let mut object = candidate();
    object["metadata"]["annotations"] = json!({"team": "shop"});
    object["spec"]["replicas"] = replicas.into();
    object
}

fn autoscaler(name: &str, deployment: &str, minimum: u32, maximum: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("h-{name}"), "resourceVersion": "71"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": minimum, "maxReplicas": maximum, "metrics": [{"type": "Resource"}],
        },
    })
}

fn failed(result: Result<(), ChangeError>) -> Failure {
    match result {
        Err(ChangeError::Failed(failure)) => failure,
        other => panic!("expected a failure, not {other:?}"),
    }
}

fn seconds(s: u64) -> Span {
    Span::from_secs(s)
}
