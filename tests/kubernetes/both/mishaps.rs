//! What goes wrong with a story's requests on a real cluster: the faults that the story lists, and writes after which its engine
//! dies. A proxy has them happen, as the simulated API server does in the simulated world.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::USER_AGENT;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use phasegate_rehearsal::cluster::{Effect, Fault, KINDS};
use phasegate_rehearsal::scenario::acts::{Death, DeathPoint, Way};
use serde_json::{Value, json};
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt, service_fn};

use crate::proxy::Upstream;

/// How often it is looked whether there is an engine again.
const LOOK: Duration = Duration::from_millis(50);

/// The writes of a run so far, by direction.
#[derive(Default)]
struct Writes {
    forward: u32,
    back: u32,
}

/// The write after which an engine dies.
fn after_write(death: &Value) -> Option<(Way, u32)> {
    let death: Death = serde_json::from_value(death.clone()).unwrap();
    match death.point {
        DeathPoint::AfterWrite { direction, nth } => Some((direction, nth)),
        DeathPoint::At(_) | DeathPoint::AfterRecord(_) => None,
    }
}

/// What is still to go wrong.
pub(super) struct Mishaps {
    faults: Mutex<Vec<Fault>>,
    writes: Mutex<Writes>,
    death: Mutex<Option<(Way, u32)>>,
    dying: AtomicBool,
    /// Nothing comes through any more until there is another engine.
    dead: AtomicBool,
}

impl Mishaps {
    /// Those of a story, if it has any.
    pub(super) fn of(scenario: &Value) -> Option<Arc<Self>> {
        let faults: Vec<Fault> = match &scenario["faults"] {
            Value::Null => Vec::new(),
            faults => serde_json::from_value(faults.clone()).unwrap(),
        };
        let deaths = scenario["deaths"].as_array().unwrap();
        let by_write = deaths.iter().any(|death| after_write(death).is_some());
        (by_write || !faults.is_empty()).then(|| {
            Arc::new(Self {
                faults: Mutex::new(faults),
                writes: Mutex::default(),
                death: Mutex::default(),
                dying: AtomicBool::new(false),
                dead: AtomicBool::new(false),
            })
        })
    }

    /// There is an engine from now on, which dies after the write that this death names, if it names one.
    pub(super) fn expect(&self, death: Option<&Value>) {
        self.dead.store(false, Ordering::SeqCst);
        *self.death.lock().unwrap() = death.and_then(after_write);
    }

    /// Whether the time has come for the engine to die; it is told once.
    pub(super) fn dies(&self) -> bool {
        self.dying.swap(false, Ordering::SeqCst)
    }

    /// A way to the API server on which they happen.
    pub(super) fn between(self: Arc<Self>, upstream: Upstream) -> Upstream {
        BoxCloneService::new(service_fn(move |request| {
            self.clone().pass(request, upstream.clone())
        }))
    }

    async fn pass(
        self: Arc<Self>,
        request: Request<Body>,
        upstream: Upstream,
    ) -> Result<Response<Body>, BoxError> {
        self.alive().await?;
        let (parts, body) = request.into_parts();
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let struck = self.strike(&parts.method, parts.uri.path());
        match struck {
            Some(Effect::Status(code)) => return refusal(code),
            Some(Effect::RequestLost) => return Err("the request is lost".into()),
            _ => {}
        }
        let write = Write::of(&parts, upstream.clone()).await?;
        let mut answer = upstream.oneshot(Request::from_parts(parts, body)).await;
        if answer.as_ref().is_ok_and(|it| it.status().is_success()) {
            self.went_by(&method, &path);
            if let Some(write) = write {
                let (changed, same) = write.has_changed(answer?).await?;
                answer = Ok(same);
                if changed && self.is_last(&write) {
                    self.dead.store(true, Ordering::SeqCst);
                    self.dying.store(true, Ordering::SeqCst);
                    self.alive().await?;
                }
            }
        }
        match struck {
            Some(Effect::AnswerHeld) => std::future::pending().await,
            Some(Effect::AnswerLost) => Err("the answer is lost".into()),
            _ => answer,
        }
    }

    /// Holds what an engine asks that is dead, but for its killer's coming: a slow machine must give it no time to go on.
    async fn alive(&self) -> Result<(), BoxError> {
        if !self.dead.load(Ordering::SeqCst) {
            return Ok(());
        }
        while self.dead.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
        Err("its engine is dead".into())
    }

    /// What becomes of a request; of several faults that fit, the first strikes.
    fn strike(&self, method: &Method, path: &str) -> Option<Effect> {
        let mut faults = self.faults.lock().unwrap();
        let mut fitting = faults.iter_mut().filter(|fault| fits(fault, method, path));
        let struck = fitting.find(|fault| fault.skip == 0)?;
        struck.count -= 1;
        let effect = struck.effect;
        faults.retain(|fault| fault.count > 0);
        Some(effect)
    }

    /// Counts a request for the faults that let so many go by. One that was refused, as another was quicker, comes again.
    fn went_by(&self, method: &Method, path: &str) {
        let mut faults = self.faults.lock().unwrap();
        for fault in faults.iter_mut().filter(|fault| fits(fault, method, path)) {
            fault.skip = fault.skip.saturating_sub(1);
        }
    }

    /// Whether this is the write after which the engine dies.
    fn is_last(&self, write: &Write) -> bool {
        let mut writes = self.writes.lock().unwrap();
        let (way, count) = match write.back {
            true => (Way::Back, &mut writes.back),
            false => (Way::Forward, &mut writes.forward),
        };
        *count += 1;
        let mut death = self.death.lock().unwrap();
        let last = *death == Some((way, *count));
        if last {
            *death = None;
        }
        last
    }
}

/// A request for an effect that may change an object, and the object's version before it.
struct Write {
    back: bool,
    before: Option<String>,
}

impl Write {
    /// The write that a request is, if it is one. As in the simulated world the effect stands in its User-Agent.
    async fn of(parts: &Parts, upstream: Upstream) -> Result<Option<Self>, BoxError> {
        let agent = parts.headers.get(USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let key = agent.and_then(|agent| agent.split_once("(effect "));
        let dry = parts.uri.query().is_some_and(|it| it.contains("dryRun"));
        let Some((_, key)) = key.filter(|_| parts.method != Method::GET && !dry) else {
            return Ok(None);
        };
        let before = match parts.method {
            Method::PUT | Method::PATCH => {
                let read = Request::get(parts.uri.path()).body(Body::empty())?;
                let (_, found) = version(upstream.oneshot(read).await?).await?;
                found
            }
            // What is made or removed is another object in any case.
            _ => None,
        };
        Ok(Some(Self {
            back: key.contains("/rollback/"),
            before,
        }))
    }

    /// Whether the object is another one by its answer, which is handed on.
    async fn has_changed(
        &self,
        answer: Response<Body>,
    ) -> Result<(bool, Response<Body>), BoxError> {
        let (answer, after) = version(answer).await?;
        Ok((self.before.is_none() || self.before != after, answer))
    }
}

/// The version of the object in an answer, if it has one, and the answer.
async fn version(answer: Response<Body>) -> Result<(Response<Body>, Option<String>), BoxError> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    let object: Value = serde_json::from_slice(&body).unwrap_or_default();
    let version = object["metadata"]["resourceVersion"].as_str();
    let version = version.map(str::to_owned);
    Ok((
        Response::from_parts(parts, Body::from(body.to_vec())),
        version,
    ))
}

fn fits(fault: &Fault, method: &Method, path: &str) -> bool {
    assert!(fault.path.is_none(), "no path can be told here");
    let is = |wanted: &Option<String>, is: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| Some(wanted) == is)
    };
    is(&fault.method, Some(method.as_str())) && is(&fault.kind, kind(path))
}

/// The kind of what is at a path.
fn kind(path: &str) -> Option<&'static str> {
    let mut kinds = KINDS.iter();
    let is_it = |plural: &str| path.split('/').any(|part| part == plural);
    kinds
        .find(|kind| kind.name != "Namespace" && is_it(kind.plural))
        .map(|kind| kind.name)
}

fn refusal(code: u16) -> Result<Response<Body>, BoxError> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "as the story says",
    });
    let response = Response::builder()
        .status(code)
        .header("content-type", "application/json");
    Ok(response.body(Body::from(status.to_string().into_bytes()))?)
}
