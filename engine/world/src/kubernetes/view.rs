//! What watches tell of a target: its Deployments, their pods, the autoscalers of its namespace, and the objects that
//! plugins read meanwhile, such as a route.
//!
//! A watch that was cut off silently looks like one of a cluster in which nothing happens. So what is told counts for a
//! limited time: a Deployment is read again every [`TOLD`], and held against what was told; of pods and autoscalers
//! something must be heard as often as servers send bookmarks. An observation says whether it was told or read, and the
//! core moves a run by nothing but what was read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phasegate_core::failure::Failure;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::workload::{Observation, Target};
use serde_json::Value;

use super::family::{self, Descent, MAX_OBJECTS, PodObject};
use super::observe::see;
use super::path::Resource;
use super::transport::Transport;
use super::watch::{Feed, SILENCE, Scope, Ticks};
use super::{KubeCluster, Problem, deployment, slot, text};

/// How long what was told of a Deployment counts: as long as a run's look before it shifts traffic.
const TOLD: Span = Span::from_secs(30);
/// How long to wait after a change before the view is looked at: changes come in groups.
const GROUP: Span = Span::from_millis(50);
/// Most Deployments, and most selectors of pods, that are watched for one target: each side has one.
const MAX_FEEDS: usize = 4;
/// Most objects of plugins that are watched: a router reads one or two.
const MAX_OTHERS: usize = 8;

/// The view of the target that is looked at now. One target is in hand at a time.
#[derive(Default)]
pub(super) struct Views(Mutex<Option<Arc<View>>>);

impl Views {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<View>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target's view, if it has one.
    pub(super) fn of(&self, target: &Target) -> Option<Arc<View>> {
        self.lock()
            .as_ref()
            .filter(|view| view.target == *target)
            .map(Arc::clone)
    }

    /// The target's view. That of another target ends.
    pub(super) fn open(&self, target: &Target, descent: &Arc<Mutex<Descent>>) -> Arc<View> {
        if let Some(view) = self.of(target) {
            return view;
        }
        let view = Arc::new(View {
            target: target.clone(),
            ticks: Arc::new(Ticks::new(0)),
            parts: Mutex::default(),
            descent: Arc::clone(descent),
        });
        *self.lock() = Some(Arc::clone(&view));
        view
    }

    /// Notes an object that a plugin has read: when it changes, what the plugin says of it may have changed.
    pub(super) fn noted(&self, transport: &Transport, scope: Scope, object: &Value) {
        let view = self.lock().as_ref().map(Arc::clone);
        if let Some(view) = view.filter(|view| view.target.namespace == scope.namespace) {
            view.note(transport, scope, object);
        }
    }

    /// All watches end.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }
}

/// What is told of one target.
pub(super) struct View {
    target: Target,
    ticks: Arc<Ticks>,
    parts: Mutex<Parts>,
    descent: Arc<Mutex<Descent>>,
}

#[derive(Default)]
struct Parts {
    /// By name.
    deployments: BTreeMap<String, Feed<Value>>,
    /// By selector.
    pods: BTreeMap<String, Feed<PodObject>>,
    autoscalers: Option<Feed<Value>>,
    /// What plugins read, with the version that they read last.
    others: BTreeMap<Scope, (Feed<Value>, String)>,
    /// What was returned last.
    shown: Option<Observation>,
    /// How much had been told when it was last compared with that.
    compared: u64,
}

impl View {
    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much has been told.
    pub(super) fn ticks(&self) -> u64 {
        *self.ticks.borrow()
    }

    /// Notes what was returned, and how much had been told before it was looked for.
    pub(super) fn shown(&self, before: u64, seen: &Observation) {
        let mut parts = self.lock();
        parts.shown = Some(seen.clone());
        parts.compared = before;
    }

    fn note(&self, transport: &Transport, scope: Scope, object: &Value) {
        let mut parts = self.lock();
        let version = text(object, "/metadata/resourceVersion").to_owned();
        let now = transport.clock.now();
        let others = &mut parts.others;
        let room = others.len() < MAX_OTHERS;
        match others.get_mut(&scope) {
            Some((feed, noted)) if !feed.is_over(now) => *noted = version,
            None if !room => {}
            _ => {
                let feed = Feed::of_one(transport, scope.clone(), &self.ticks);
                others.insert(scope, (feed, version));
            }
        }
    }

    /// Whether what is told differs from what was returned last. Says so once for all that was told until then.
    fn differs(&self, now: Timestamp) -> bool {
        let mut parts = self.lock();
        let ticks = self.ticks();
        if ticks == parts.compared {
            return false;
        }
        parts.compared = ticks;
        if parts.others_differ() {
            return true;
        }
        let Some(shown) = &parts.shown else {
            return false;
        };
        let descent = self.descent.lock();
        let descent = descent.unwrap_or_else(PoisonError::into_inner);
        match parts.told(&self.target, &descent, now) {
            Told::Nothing => false,
            Told::More => true,
            Told::All(seen) => timeless(&seen) != timeless(shown),
        }
    }

    /// Returns when what is told differs from what was returned last.
    pub(super) async fn stirred(&self, clock: &dyn phasegate_runtime::ports::Clock) {
        let mut ticks = self.ticks.subscribe();
        while !self.differs(clock.now()) {
            // The sender is as old as the view.
            let _ = ticks.changed().await;
            clock.sleep_until(clock.now().plus(GROUP)).await;
        }
    }
}

/// What was seen, whenever and however that was.
fn timeless(seen: &Observation) -> Observation {
    Observation {
        at: Timestamp::ZERO,
        watched: false,
        beside: seen.beside.as_deref().map(timeless).map(Box::new),
        ..seen.clone()
    }
}

/// What watches tell together.
enum Told {
    /// One of them is not open.
    Nothing,
    /// There is something that only reading can tell.
    More,
    All(Box<Observation>),
}

impl Parts {
    /// Whether an object is no longer what a plugin has read.
    fn others_differ(&self) -> bool {
        self.others.values().any(|(feed, noted)| {
            let told = feed.last().and_then(|told| told.into_iter().next());
            told.is_some_and(|told| text(&told, "/metadata/resourceVersion") != noted)
        })
    }

    fn told(&self, target: &Target, descent: &Descent, now: Timestamp) -> Told {
        let autoscalers = self.autoscalers.as_ref().and_then(Feed::last);
        let Some(autoscalers) = autoscalers else {
            return Told::Nothing;
        };
        let stable = match self.side(target, &autoscalers, descent, now) {
            Told::All(stable) => stable,
            other => return other,
        };
        let Some(there) = slot::candidate_of(target) else {
            return Told::All(stable);
        };
        match self.side(&there, &autoscalers, descent, now) {
            Told::All(candidate) => {
                let mut stable = stable;
                stable.beside = Some(candidate);
                Told::All(stable)
            }
            Told::More if !self.is_there(&there) => Told::All(stable),
            other => other,
        }
    }

    fn is_there(&self, target: &Target) -> bool {
        let feed = self.deployments.get(&target.deployment);
        feed.and_then(Feed::last).is_some_and(|all| !all.is_empty())
    }

    fn side(
        &self,
        target: &Target,
        autoscalers: &[Arc<Value>],
        descent: &Descent,
        now: Timestamp,
    ) -> Told {
        let feed = self.deployments.get(&target.deployment);
        let Some(found) = feed.and_then(Feed::last) else {
            return Told::Nothing;
        };
        let Some(found) = found.first() else {
            return Told::More;
        };
        let Some(feed) = self.pods.get(&deployment::selector_query(found)) else {
            return Told::More;
        };
        let Some(pods) = feed.last() else {
            return Told::Nothing;
        };
        let Some(pods) = descent.own(&pods, found) else {
            return Told::More;
        };
        match see(now, target, found, &pods, autoscalers) {
            Ok(seen) => Told::All(Box::new(seen)),
            Err(_) => Told::More,
        }
    }
}

impl KubeCluster {
    /// A Deployment, and whether it is as it was told.
    pub(super) async fn deployment_in(
        &self,
        view: Option<&View>,
        target: &Target,
        reads: bool,
    ) -> Result<(Option<Arc<Value>>, bool), Failure> {
        let (resource, name) = (Resource::deployments(), &target.deployment);
        let now = self.transport.clock.now();
        if let Some(view) = view.filter(|_| !reads) {
            let parts = view.lock();
            let told = parts.deployments.get(name);
            if let Some(told) = told.and_then(|feed| feed.fresh(now, TOLD)) {
                return Ok((told.into_iter().next(), true));
            }
        }
        let found = self.find_again(&resource, &target.namespace, name).await?;
        if let Some(view) = view {
            let mut parts = view.lock();
            let now = self.transport.clock.now();
            let feeds = &mut parts.deployments;
            if let Some(feed) = feeds.get(name) {
                feed.compare(found.as_deref(), now);
            }
            if feeds
                .get(name)
                .map_or(feeds.len() < MAX_FEEDS, |feed| feed.is_over(now))
            {
                let scope = Scope::named(resource, &target.namespace, name);
                let feed = Feed::of_one(&self.transport, scope, &view.ticks);
                feeds.insert(name.clone(), feed);
            }
        }
        Ok((found, false))
    }

    /// The autoscalers of the target's namespace.
    pub(super) async fn autoscalers_in(
        &self,
        view: Option<&View>,
        target: &Target,
        reads: bool,
    ) -> Result<Vec<Arc<Value>>, Problem> {
        let told = view.filter(|_| !reads).and_then(|view| {
            let parts = view.lock();
            parts
                .autoscalers
                .as_ref()?
                .fresh(self.transport.clock.now(), SILENCE)
        });
        if let Some(told) = told {
            return Ok(told);
        }
        let Some(view) = view else {
            return self.autoscalers_again(target).await;
        };
        let (found, version) = self.autoscalers_with_version(target).await?;
        let found: Vec<Arc<Value>> = found.into_iter().map(Arc::new).collect();
        let mut parts = view.lock();
        let now = self.transport.clock.now();
        let known = parts.autoscalers.as_ref();
        if known.is_none_or(|feed| feed.is_over(now)) {
            let scope = Scope {
                resource: Resource::autoscalers(),
                namespace: target.namespace.clone(),
                selector: None,
            };
            let from = (found.as_slice(), version.as_str());
            parts.autoscalers = Some(Feed::of_list(&self.transport, scope, &view.ticks, from));
        }
        Ok(found)
    }

    /// The pods that the Deployment made.
    pub(super) async fn pods_in(
        &self,
        view: Option<&View>,
        found: &Value,
        target: &Target,
        reads: bool,
    ) -> Result<Vec<Arc<PodObject>>, Problem> {
        let selector = deployment::selector_query(found);
        let Some(view) = view else {
            let (resource, query) = (family::resource(), [("labelSelector", selector.as_str())]);
            let pods = self
                .list_again(&resource, &target.namespace, &query, |pod: PodObject| pod)
                .await?;
            return self.descended(pods, found, target).await;
        };
        let now = self.transport.clock.now();
        let told = view
            .lock()
            .pods
            .get(&selector)
            .filter(|_| !reads)
            .and_then(|feed| feed.fresh(now, SILENCE));
        let pods = match told {
            Some(told) => told,
            None => self.read_pods(view, selector, target).await?,
        };
        self.descended(pods, found, target).await
    }

    /// Reads the pods that a selector chooses, and watches them from then on.
    async fn read_pods(
        &self,
        view: &View,
        selector: String,
        target: &Target,
    ) -> Result<Vec<Arc<PodObject>>, Problem> {
        let resource = family::resource();
        let query = [("labelSelector", selector.as_str())];
        let namespace = Some(target.namespace.as_str());
        let (pods, version) = self
            .list_with_version::<PodObject>(&resource, namespace, &query, MAX_OBJECTS)
            .await?;
        let pods: Vec<Arc<PodObject>> = pods.into_iter().map(Arc::new).collect();
        let mut parts = view.lock();
        let now = self.transport.clock.now();
        let feeds = &mut parts.pods;
        let begins = feeds
            .get(&selector)
            .map_or(feeds.len() < MAX_FEEDS, |feed| feed.is_over(now));
        if begins {
            let scope = Scope {
                resource,
                namespace: target.namespace.clone(),
                selector: Some(("labelSelector", selector.clone())),
            };
            let from = (pods.as_slice(), version.as_str());
            let feed = Feed::of_list(&self.transport, scope, &view.ticks, from);
            feeds.insert(selector, feed);
        }
        Ok(pods)
    }
}
