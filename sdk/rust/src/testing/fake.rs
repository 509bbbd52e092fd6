//! The scripted world, apart from its cluster.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::calls::EPOCH_MS;
use super::cluster::Cluster;
use crate::artifacts::Artifact;
use crate::bindings::imports::phasegate::host::http::{HttpError, Request, Response};
use crate::bindings::imports::phasegate::host::log::Level;
use crate::bindings::imports::phasegate::host::runner::{Command, Output, RunnerError};
use crate::{Duration, Pair, http};

const NS_PER_MS: u64 = 1_000_000;

thread_local! {
    /// The world of the call that runs on this thread.
    static WORLD: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

/// Gives a host function the world that the test scripted.
pub(crate) fn world<R>(f: impl FnOnce(&mut Fake) -> R) -> R {
    WORLD.with_borrow_mut(|world| {
        let world = world
            .as_mut()
            .expect("outside of a component, a plugin runs within `Fake::run`");
        f(world)
    })
}

/// A scripted answer.
#[derive(Clone)]
struct Scripted {
    takes: Duration,
    answer: Result<Response, HttpError>,
}

/// A world that a test scripts.
#[derive(Default)]
pub struct Fake {
    http: BTreeMap<String, VecDeque<Scripted>>,
    tools: BTreeMap<String, Output>,
    artifacts: BTreeMap<String, Vec<u8>>,
    sent: Vec<Sent>,
    logged: Vec<Logged>,
    commands: Vec<Vec<String>>,
    starts_ms: Option<u64>,
    elapsed_ns: u64,
    pub(crate) cluster: Cluster,
}

/// A request that the plugin sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers.
    pub headers: Vec<Pair>,
    /// The credential that the engine was to add.
    pub credential: Option<String>,
    /// The body, where there was one.
    pub body: Option<Vec<u8>>,
    /// How long the answer might take.
    pub timeout: Duration,
}

impl Sent {
    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let body = self.body.as_deref().expect("the request has a body");
        serde_json::from_slice(body).expect("the body is JSON")
    }

    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|pair| pair.name.eq_ignore_ascii_case(name))
            .map(|pair| pair.value.as_str())
    }
}

/// A line that the plugin wrote to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The line.
    pub message: String,
}

/// What a scripted answer holds: text as it is, or JSON.
pub struct Body(Vec<u8>);

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Fake {
    /// A world in which there is nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins at this time, in milliseconds since the Unix epoch, instead of with the year 2026.
    #[must_use]
    pub fn at(mut self, wall_ms: u64) -> Self {
        self.starts_ms = Some(wall_ms);
        self
    }

    /// Scripts an answer to `"GET https://…"`. Several for the same request are given in order, and
    /// the last one again and again.
    #[must_use]
    pub fn http(self, request: &str, status: u16, body: impl Into<Body>) -> Self {
        self.http_with(request, status, &[], body)
    }

    /// Scripts an answer with headers.
    #[must_use]
    pub fn http_with(
        self,
        request: &str,
        status: u16,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Self {
        let headers = headers.iter().map(|(name, value)| Pair::new(*name, *value));
        let response = Response {
            status,
            headers: headers.collect(),
            body: body.into().0,
            truncated: false,
        };
        self.script(request, Ok(response))
    }

    /// Scripts that there is no answer.
    #[must_use]
    pub fn http_error(self, request: &str, error: http::Error) -> Self {
        let error = match error {
            http::Error::Denied(text) => HttpError::Denied(text),
            http::Error::Unreachable(text) => HttpError::Unreachable(text),
            http::Error::TimedOut => HttpError::TimedOut,
            http::Error::Invalid(text) => HttpError::Invalid(text),
        };
        self.script(request, Err(error))
    }

    /// Says how long the answer scripted last for this request takes. One that takes longer than
    /// the plugin waits is a time-out.
    ///
    /// # Panics
    ///
    /// Where no answer is scripted.
    #[must_use]
    pub fn taking(mut self, request: &str, takes: Duration) -> Self {
        let scripted = self.http.get_mut(request).and_then(VecDeque::back_mut);
        scripted.expect("an answer is scripted").takes = takes;
        self
    }

    fn script(mut self, request: &str, answer: Result<Response, HttpError>) -> Self {
        let answers = self.http.entry(request.to_owned()).or_default();
        answers.push_back(Scripted {
            takes: Duration::ZERO,
            answer,
        });
        self
    }

    /// Puts an object into the cluster: JSON with `apiVersion`, `kind` and `metadata`.
    #[must_use]
    pub fn kubernetes(mut self, object: Value) -> Self {
        self.cluster.put(object);
        self
    }

    /// Lets every call of the cluster fail as unavailable.
    #[must_use]
    pub fn without_cluster(mut self, message: &str) -> Self {
        self.cluster.unavailable = Some(message.to_owned());
        self
    }

    /// Scripts a tool by its command line: `"flyway info"`.
    #[must_use]
    pub fn tool(mut self, command: &str, exit_code: i32, stdout: &str, stderr: &str) -> Self {
        let output = Output {
            exit_code,
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
            truncated: false,
        };
        self.tools.insert(command.to_owned(), output);
        self
    }

    /// Puts an artifact of the run in place.
    #[must_use]
    pub fn artifact(mut self, name: &str, content: &[u8]) -> Self {
        self.artifacts.insert(name.to_owned(), content.to_vec());
        self
    }

    /// Runs `f` in this world.
    ///
    /// # Panics
    ///
    /// Where this thread already runs in one.
    pub fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let before = WORLD.replace(Some(std::mem::take(self)));
        assert!(before.is_none(), "a fake world runs within another");
        let result = f();
        *self = WORLD.take().expect("the world is still there");
        result
    }

    /// What the plugin sent over HTTP, in order.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// What the plugin wrote to the log, in order.
    #[must_use]
    pub fn logged(&self) -> &[Logged] {
        &self.logged
    }

    /// The tools that the plugin ran: program and arguments, in order.
    #[must_use]
    pub fn commands(&self) -> &[Vec<String>] {
        &self.commands
    }

    /// The cluster as the plugin left it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn on_log(&mut self, level: Level, message: &str, _fields: &[Pair]) {
        self.logged.push(Logged {
            level: match level {
                Level::Debug => "debug",
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            },
            message: message.to_owned(),
        });
    }

    pub(crate) fn on_http(&mut self, request: &Request) -> Result<Response, HttpError> {
        self.sent.push(Sent {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            credential: request.credential.clone(),
            body: request.body.clone(),
            timeout: Duration::from_millis(request.timeout_ms),
        });
        let key = format!("{} {}", request.method, request.url);
        let Some(answers) = self.http.get_mut(&key) else {
            let known: Vec<_> = self.http.keys().map(String::as_str).collect();
            panic!(
                "no answer is scripted for `{key}`, only for: {}",
                known.join(", ")
            );
        };
        let scripted = match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        let scripted = scripted.expect("an answer is scripted");
        let takes = scripted.takes.as_millis();
        let waited = takes.min(request.timeout_ms);
        self.elapsed_ns += u64::from(waited) * NS_PER_MS;
        if takes > request.timeout_ms {
            return Err(HttpError::TimedOut);
        }
        scripted.answer
    }

    pub(crate) fn on_run(&mut self, command: &Command) -> Result<Output, RunnerError> {
        let mut line = vec![command.program.clone()];
        line.extend(command.args.iter().cloned());
        let key = line.join(" ");
        self.commands.push(line);
        let Some(output) = self.tools.get(&key).cloned() else {
            let known: Vec<_> = self.tools.keys().map(String::as_str).collect();
            panic!(
                "no tool is scripted for `{key}`, only: {}",
                known.join(", ")
            );
        };
        match &command.save_stdout_as {
            None => Ok(output),
            Some(artifact) => {
                self.artifacts
                    .insert(artifact.clone(), output.stdout.clone());
                let stdout = Vec::new();
                Ok(Output { stdout, ..output })
            }
        }
    }

    pub(crate) fn on_cancel(&mut self, name: &str) -> Result<(), RunnerError> {
        self.commands
            .push(vec!["cancel".to_owned(), name.to_owned()]);
        Ok(())
    }

    pub(crate) fn on_stat(&mut self, name: &str) -> Option<Artifact> {
        let content = self.artifacts.get(name)?;
        Some(Artifact {
            name: name.to_owned(),
            size: u64::try_from(content.len()).unwrap_or(u64::MAX),
            // The engine's own business; a plugin can only pass it on.
            sha256: format!("sha256-of-{name}"),
        })
    }

    pub(crate) fn on_read(
        &mut self,
        name: &str,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, String> {
        let content = self.artifacts.get(name);
        let content = content.ok_or_else(|| format!("there is no artifact `{name}`"))?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(content.iter().skip(offset).take(length).copied().collect())
    }

    pub(crate) fn on_write(&mut self, name: &str, content: &[u8]) -> Result<Artifact, String> {
        self.artifacts.insert(name.to_owned(), content.to_vec());
        self.on_stat(name)
            .ok_or_else(|| format!("there is no artifact `{name}`"))
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        self.starts_ms.unwrap_or(EPOCH_MS) + self.elapsed_ns / NS_PER_MS
    }

    pub(crate) fn monotonic_ns(&self) -> u64 {
        self.elapsed_ns
    }
}
