//! One watch: what the API server tells of some objects, as it happens.
//!
//! It goes on from the version that it was told last (`resourceVersion`; bookmarks bring it forward where nothing
//! happens), and is opened again when it ends or breaks, with a wait that grows and a limit. What can't be gone on with
//! - the server has forgotten that version - is lost: whoever looks next reads, and watches from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::Method;
use phasegate_core::time::{Span, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fault::{Fault, Refusal};
use super::lean::Lean;
use super::path::{Resource, with_query};
use super::transport::{Call, Lines, Transport};
use super::{subject, text};

/// How long the server is asked to let a watch last; it ends it then, and it is opened again.
const LASTS: &str = "300";
/// A watch that ends sooner than this has failed.
const LEAST: Span = Span::from_secs(1);
/// How often in a row a watch may fail before it is left alone for [`REST`].
const ATTEMPTS: u32 = 6;
/// The first wait before a watch is opened again after it failed; it doubles up to [`WAIT_MOST`].
const WAIT_FIRST: Span = Span::from_secs(1);
const WAIT_MOST: Span = Span::from_secs(30);
/// How long a watch is left alone that failed too often. Meanwhile the objects are read.
const REST: Span = Span::from_mins(5);
/// How long a watch may say nothing and still be believed: servers send a bookmark each minute.
pub(super) const SILENCE: Span = Span::from_secs(75);
/// How long the server may take to tell what a read has shown already.
const BEHIND: Span = Span::from_secs(5);

/// Counts what was told; each change of an object is one.
pub(super) type Ticks = watch::Sender<u64>;

/// Which objects are watched.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) resource: Resource,
    pub(super) namespace: String,
    /// `fieldSelector` or `labelSelector`; none for all of the namespace.
    pub(super) selector: Option<(&'static str, String)>,
}

impl Scope {
    /// One object.
    pub(super) fn named(resource: Resource, namespace: &str, name: &str) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            selector: Some(("fieldSelector", format!("metadata.name={name}"))),
        }
    }

    fn call(&self, from: &str) -> Result<Call, Fault> {
        let path = self.resource.path(Some(&self.namespace), "");
        let path = path.map_err(Fault::NotSent)?;
        let mut query = vec![
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", LASTS),
        ];
        if let Some((name, value)) = &self.selector {
            query.push((name, value));
        }
        if !from.is_empty() {
            query.push(("resourceVersion", from));
        }
        let subject = subject("watch", &self.resource, Some(&self.namespace), "");
        Ok(Call::new(Method::GET, with_query(&path, &query), subject))
    }
}

/// An object that can be told from its siblings.
pub(super) trait Named: DeserializeOwned + Send + Sync + 'static {
    fn name(&self) -> &str;
}

impl Named for Value {
    fn name(&self) -> &str {
        text(self, "/metadata/name")
    }
}

/// How a watch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is being opened, for the first time or again.
    Opening,
    Open,
    /// It can't be gone on with.
    Lost,
    /// It failed too often.
    Resting {
        until: Timestamp,
    },
    /// The server has no watch for us: no right to it, or none of that kind.
    Refused,
}

struct Known<T> {
    state: State,
    objects: BTreeMap<String, Arc<T>>,
    /// The version to go on from; empty for the beginning.
    from: String,
    /// When the server said something, or a read has shown the same.
    heard: Timestamp,
    /// Since when a read has shown something that was not told yet.
    behind: Option<Timestamp>,
}

struct Shared<T> {
    scope: Scope,
    ticks: Arc<Ticks>,
    known: Mutex<Known<T>>,
}

/// A watch under way. It ends with the value.
pub(super) struct Feed<T> {
    shared: Arc<Shared<T>>,
    task: JoinHandle<()>,
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Named> Feed<T> {
    /// Watches one object, from whatever it is now.
    pub(super) fn of_one(transport: &Transport, scope: Scope, ticks: &Arc<Ticks>) -> Self {
        Self::begin(transport, scope, ticks, BTreeMap::new(), "")
    }

    /// Watches what a list has shown, from its version.
    pub(super) fn of_list(
        transport: &Transport,
        scope: Scope,
        ticks: &Arc<Ticks>,
        (listed, version): (&[Arc<T>], &str),
    ) -> Self {
        let objects = listed
            .iter()
            .map(|object| (object.name().to_owned(), Arc::clone(object)));
        Self::begin(transport, scope, ticks, objects.collect(), version)
    }

    fn begin(
        transport: &Transport,
        scope: Scope,
        ticks: &Arc<Ticks>,
        objects: BTreeMap<String, Arc<T>>,
        from: &str,
    ) -> Self {
        let heard = match from {
            "" => Timestamp::ZERO,
            _ => transport.clock.now(),
        };
        let shared = Arc::new(Shared {
            scope,
            ticks: Arc::clone(ticks),
            known: Mutex::new(Known {
                state: State::Opening,
                objects,
                from: from.to_owned(),
                heard,
                behind: None,
            }),
        });
        let task = tokio::spawn(follow(transport.clone(), Arc::clone(&shared)));
        Self { shared, task }
    }

    /// What it knows, if it was told of within `age`, and lags behind nothing that was read.
    pub(super) fn fresh(&self, now: Timestamp, age: Span) -> Option<Vec<Arc<T>>> {
        let known = self.shared.lock();
        let heard = known.heard > Timestamp::ZERO && now.since(known.heard) <= age.min(SILENCE);
        (known.state == State::Open && known.behind.is_none() && heard)
            .then(|| known.objects.values().cloned().collect())
    }

    /// What it knows, however old that is, as long as the watch is open.
    pub(super) fn last(&self) -> Option<Vec<Arc<T>>> {
        let known = self.shared.lock();
        (known.state == State::Open).then(|| known.objects.values().cloned().collect())
    }

    /// Whether another one is to take its place, now that the objects have been read: it is lost, has rested long
    /// enough, or says nothing though it is open.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let known = self.shared.lock();
        match known.state {
            State::Lost => true,
            State::Resting { until } => until <= now,
            State::Open => known.behind.map_or(
                now.since(known.heard) > SILENCE && !known.from.is_empty(),
                |since| now.since(since) >= BEHIND,
            ),
            State::Opening | State::Refused => false,
        }
    }
}

impl Feed<Value> {
    /// Holds what was read of the one object against what was told of it.
    pub(super) fn compare(&self, read: Option<&Value>, now: Timestamp) {
        let version = |object: &Value| text(object, "/metadata/resourceVersion").to_owned();
        let mut known = self.shared.lock();
        let told = known.objects.values().next().map(|object| version(object));
        if told == read.map(version) {
            known.heard = now;
            known.behind = None;
        } else {
            known.behind.get_or_insert(now);
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        // Each change is made whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        self.lock().state = state;
        self.tick();
    }

    fn tick(&self) {
        self.ticks
            .send_modify(|ticks| *ticks = ticks.wrapping_add(1));
    }
}

/// A line of a watch.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    object: Lean,
}

impl<T: Named> Shared<T> {
    /// Takes a line in.
    fn told(&self, line: &[u8], now: Timestamp) -> Result<(), Fault> {
        let unread = |error: serde_json::Error| Fault::Lost(format!("not an event: {error}"));
        let Told {
            kind,
            object: Lean(object),
        } = serde_json::from_slice(line).map_err(unread)?;
        if kind == "ERROR" {
            return Err(Fault::Refused(Refusal::of_status(&object)));
        }
        let version = text(&object, "/metadata/resourceVersion").to_owned();
        let name = object.name().to_owned();
        let changed = match kind.as_str() {
            "ADDED" | "MODIFIED" => Some(Some(Arc::new(T::deserialize(object).map_err(unread)?))),
            "DELETED" => Some(None),
            // Bookmarks, and what later servers may say besides.
            _ => None,
        };
        let mut known = self.lock();
        known.heard = now;
        if !version.is_empty() {
            known.from = version;
        }
        let Some(object) = changed else {
            return Ok(());
        };
        known.behind = None;
        match object {
            Some(object) => known.objects.insert(name, object),
            None => known.objects.remove(&name),
        };
        drop(known);
        self.tick();
        Ok(())
    }

    /// Watches until the watch ends or breaks.
    async fn once(&self, transport: &Transport) -> Result<(), Fault> {
        let call = self.scope.call(&self.lock().from)?;
        let mut lines: Lines = transport.open(call).await?;
        self.set(State::Open);
        while let Some(line) = lines.next().await? {
            self.told(&line, transport.clock.now())?;
        }
        Ok(())
    }
}

/// Watches for as long as that makes sense.
async fn follow<T: Named>(transport: Transport, shared: Arc<Shared<T>>) {
    let clock = &transport.clock;
    let mut failures: u32 = 0;
    loop {
        let begun = clock.now();
        let ended = shared.once(&transport).await;
        let now = clock.now();
        let heard = shared.lock().heard > begun;
        let after = match ended {
            Ok(()) if now.since(begun) >= LEAST => Some(Span::ZERO),
            Err(Fault::Refused(refusal)) => match refusal.status {
                410 => return shared.set(State::Lost),
                400 | 403..=405 => return shared.set(State::Refused),
                _ => refusal.retry_after,
            },
            _ => None,
        };
        failures = if heard { 1 } else { failures.saturating_add(1) };
        if after == Some(Span::ZERO) {
            failures = 0;
        }
        if failures >= ATTEMPTS {
            let until = now.plus(REST);
            return shared.set(State::Resting { until });
        }
        shared.set(State::Opening);
        let doubled = WAIT_FIRST.times(1 << failures.saturating_sub(1).min(16));
        let wait = after.unwrap_or_else(|| doubled.min(WAIT_MOST));
        clock.sleep_until(now.plus(wait)).await;
    }
}
