//! Watches: streams of changes, read lazily from the history.

use std::collections::BTreeMap;
use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::json::{at, text};
use super::kinds::Kind;
use super::request::Request;
use super::selector::Selector;
use super::status::Failure;
use super::{Cluster, table};

/// How many watches may be open at once.
const WATCHES_LIMIT: usize = 1_000;
/// How long a watch lasts if the client does not say.
const DEFAULT_TIMEOUT: Span = Span::from_mins(30);
/// How often an idle watch that allows it gets a bookmark.
const BOOKMARK_EVERY: Span = Span::from_mins(1);
/// How long before its end a watch that allows it gets the last one.
const BOOKMARK_BEFORE_END: Span = Span::from_secs(2);

/// Names an open watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId(u64);

/// What a client asks for.
#[derive(Debug)]
pub(super) struct WatchOptions {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) selector: Selector,
    /// Changes after this version; 0 for what there is, and then on.
    pub(super) version: u64,
    pub(super) bookmarks: bool,
    pub(super) initial: bool,
    pub(super) timeout: Option<Span>,
    /// The request, if the client wants tables.
    pub(super) request: Option<Box<Request>>,
}

#[derive(Debug)]
struct Watch {
    options: WatchOptions,
    /// What there was when the watch began.
    first: Vec<Arc<Value>>,
    marked: Timestamp,
    ends: Timestamp,
    over: bool,
    announce: bool,
}

/// The open watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    open: BTreeMap<WatchId, Watch>,
    last: u64,
}

impl Cluster {
    pub(super) fn open_watch(&mut self, mut options: WatchOptions) -> Result<WatchId, Failure> {
        if self.watches.open.len() >= WATCHES_LIMIT {
            return Err(Failure::injected(429));
        }
        let mut first = Vec::new();
        let announce = options.initial;
        if options.version == 0 || options.initial {
            let objects = self
                .store
                .list(options.kind, &options.namespace)
                .map(|(_, object)| object);
            first = objects
                .filter(|object| options.selector.matches(object))
                .cloned()
                .collect();
            options.version = self.store.version();
        }
        self.watches.last += 1;
        let id = WatchId(self.watches.last);
        let ends = self.now.plus(options.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let watch = Watch {
            options,
            first,
            marked: self.now,
            ends,
            over: false,
            announce,
        };
        self.watches.open.insert(id, watch);
        Ok(id)
    }

    /// What happened since it was last asked, one JSON line an event. The watch is over when
    /// [`Cluster::watch_ends`] says so.
    pub fn drain_watch(&mut self, id: WatchId) -> Vec<Vec<u8>> {
        let (now, version) = (self.now, self.store.version());
        let Some(watch) = self.watches.open.get_mut(&id) else {
            return Vec::new();
        };
        let mut lines: Vec<Vec<u8>> = watch
            .first
            .drain(..)
            .map(|object| line("ADDED", &object, &watch.options, now))
            .collect();
        if std::mem::take(&mut watch.announce) {
            let mark = json!({"k8s.io/initial-events-end": "true"});
            lines.push(bookmark(watch.options.kind, version, Some(&mark)));
        }
        if watch.over {
            return lines;
        }
        let options = &watch.options;
        match self.store.since(options.kind, options.version) {
            Ok(changes) => {
                for change in changes {
                    let namespace = text(&change.object, &["metadata", "namespace"]);
                    if !options.namespace.is_empty() && options.namespace != namespace {
                        continue;
                    }
                    let was = change
                        .before
                        .as_ref()
                        .is_some_and(|before| options.selector.matches(before));
                    let is = !change.removed && options.selector.matches(&change.object);
                    let event = match (was, is) {
                        (false, true) => "ADDED",
                        (true, true) => "MODIFIED",
                        (true, false) => "DELETED",
                        (false, false) => continue,
                    };
                    if event == "DELETED" && !change.removed {
                        // What is no longer chosen goes as it was when it was, at the version of the change.
                        let mut gone = change.before.as_deref().cloned().unwrap_or_default();
                        let version = text(&change.object, &["metadata", "resourceVersion"]);
                        super::json::set(&mut gone, &["metadata", "resourceVersion"], version);
                        lines.push(line(event, &gone, options, now));
                        continue;
                    }
                    lines.push(line(event, &change.object, options, now));
                }
            }
            Err(oldest) => {
                let status = Failure::expired(options.version, oldest).to_value();
                lines.push(encode(&json!({"type": "ERROR", "object": status})));
                watch.over = true;
            }
        }
        watch.options.version = version;
        // One comes shortly before the end as well, so that whoever goes on needn't go far back.
        let left = |at| watch.ends.since(at);
        let due = now.since(watch.marked) >= BOOKMARK_EVERY
            || (left(now) <= BOOKMARK_BEFORE_END && left(watch.marked) > BOOKMARK_BEFORE_END);
        if watch.options.bookmarks && !watch.over && due {
            watch.marked = now;
            lines.push(bookmark(watch.options.kind, version, None));
        }
        watch.over |= now >= watch.ends;
        lines
    }

    /// When a watch ends by itself: its time-out, or at once after an error. None if it is closed.
    #[must_use]
    pub fn watch_ends(&self, id: WatchId) -> Option<Timestamp> {
        self.watches
            .open
            .get(&id)
            .map(|watch| if watch.over { self.now } else { watch.ends })
    }

    /// Forgets a watch.
    pub fn close_watch(&mut self, id: WatchId) {
        self.watches.open.remove(&id);
    }
}

fn line(event: &str, object: &Value, options: &WatchOptions, now: Timestamp) -> Vec<u8> {
    if let Some(request) = &options.request {
        let version = text(object, &["metadata", "resourceVersion"]);
        let shown = table::render(options.kind, std::iter::once(object), now, version, request);
        return encode(&json!({"type": event, "object": shown}));
    }
    let mut out = format!("{{\"type\":\"{event}\",\"object\":").into_bytes();
    // Writing a JSON value into memory can't fail.
    let _ = serde_json::to_writer(&mut out, object);
    out.extend_from_slice(b"}\n");
    out
}

fn bookmark(kind: Kind, version: u64, annotations: Option<&Value>) -> Vec<u8> {
    let info = kind.info();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(annotations) = annotations {
        super::json::set(&mut metadata, &["annotations"], annotations.clone());
    }
    encode(&json!({
        "type": "BOOKMARK",
        "object": {"kind": info.name, "apiVersion": info.api_version(), "metadata": metadata},
    }))
}

fn encode(value: &Value) -> Vec<u8> {
    let mut out = value.to_string().into_bytes();
    out.push(b'\n');
    out
}

/// Whether an object is being deleted.
pub(super) fn is_leaving(object: &Value) -> bool {
    !at(object, &["metadata", "deletionTimestamp"]).is_null()
}
