//! The objects, in order, with the history that watches read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::json;
use super::kinds::Kind;

/// Which object: its namespace (empty where the kind has none) and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key that stands in an object's metadata.
    pub(super) fn of(object: &Value) -> Self {
        Self::new(
            json::text(object, &["metadata", "namespace"]),
            json::text(object, &["metadata", "name"]),
        )
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    /// What the object was before; none for a new object.
    pub(super) before: Option<Arc<Value>>,
    /// What the object is now, or was last.
    pub(super) object: Arc<Value>,
    pub(super) removed: bool,
}

/// The changes of one kind, as far back as they are kept.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) changes: VecDeque<Change>,
    /// The version of the newest change that was forgotten.
    pub(super) forgotten: u64,
}

/// An object as JSON, and which state of it.
type Text = (Arc<Value>, Arc<[u8]>);

/// All objects of a cluster.
#[derive(Debug)]
pub(super) struct Store {
    kinds: BTreeMap<Kind, BTreeMap<Key, Arc<Value>>>,
    /// What was written out once, for objects that are read again and again while nothing happens to them.
    texts: RefCell<BTreeMap<Kind, BTreeMap<Key, Text>>>,
    histories: BTreeMap<Kind, History>,
    owned: BTreeMap<String, BTreeSet<(Kind, Key)>>,
    version: u64,
    /// The version of the newest change of what somebody outside sees.
    shown: u64,
    keep: usize,
    count: usize,
}

impl Store {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            kinds: BTreeMap::new(),
            texts: RefCell::default(),
            histories: BTreeMap::new(),
            owned: BTreeMap::new(),
            version: 1,
            shown: 1,
            keep: keep.max(1),
            count: 0,
        }
    }

    /// The version of the newest change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The version of the newest change of an object of a kind that an observer sees, or that hangs on one.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// An object of the store as JSON.
    pub(super) fn text(&self, kind: Kind, key: &Key, object: &Arc<Value>) -> Arc<[u8]> {
        let mut texts = self.texts.borrow_mut();
        let of_kind = texts.entry(kind).or_default();
        if let Some((of, text)) = of_kind.get(key)
            && Arc::ptr_eq(of, object)
        {
            return Arc::clone(text);
        }
        let text: Arc<[u8]> = serde_json::to_vec(&**object).unwrap_or_default().into();
        of_kind.insert(key.clone(), (Arc::clone(object), Arc::clone(&text)));
        text
    }

    /// How many objects there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, kind: Kind, key: &Key) -> Option<&Arc<Value>> {
        self.kinds.get(&kind)?.get(key)
    }

    /// The objects of a kind in a namespace, or in all for the empty namespace, by name.
    pub(super) fn list(
        &self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let from = Key::new(namespace, "");
        let all = namespace.is_empty();
        let namespace = namespace.to_owned();
        self.kinds
            .get(&kind)
            .into_iter()
            .flat_map(move |objects| {
                objects.range((Bound::Included(from.clone()), Bound::Unbounded))
            })
            .take_while(move |(key, _)| all || key.namespace == namespace)
    }

    /// What is owned by an object, by the owner's uid.
    pub(super) fn owned_by(&self, uid: &str) -> impl Iterator<Item = &(Kind, Key)> {
        self.owned.get(uid).into_iter().flatten()
    }

    /// The owned objects of one kind.
    pub(super) fn owned_objects(
        &self,
        uid: &str,
        kind: Kind,
    ) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.owned_by(uid)
            .filter(move |(owned, _)| *owned == kind)
            .filter_map(move |(_, key)| self.get(kind, key).map(|object| (key, object)))
    }

    /// Stores an object under the next version and returns it.
    pub(super) fn put(&mut self, kind: Kind, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        json::set(
            &mut object,
            &["metadata", "resourceVersion"],
            self.version.to_string(),
        );
        let object = Arc::new(object);
        let objects = self.kinds.entry(kind).or_default();
        let before = objects.insert(key.clone(), Arc::clone(&object));
        if before.is_none() {
            self.count += 1;
        }
        let same_owners = before.as_ref().is_some_and(|before| {
            json::at(before, &["metadata", "ownerReferences"])
                == json::at(&object, &["metadata", "ownerReferences"])
        });
        if !same_owners {
            if let Some(before) = &before {
                self.forget_owners(kind, key, before);
            }
            for owner in json::list(&object, &["metadata", "ownerReferences"]) {
                let uid = json::text(owner, &["uid"]).to_owned();
                self.owned
                    .entry(uid)
                    .or_default()
                    .insert((kind, key.clone()));
            }
        }
        self.record(
            kind,
            Change {
                version: self.version,
                before,
                object: Arc::clone(&object),
                removed: false,
            },
        );
        object
    }

    /// Removes an object and returns what it was last, under the version of its removal.
    pub(super) fn remove(&mut self, kind: Kind, key: &Key) -> Option<Arc<Value>> {
        let before = self.kinds.get_mut(&kind)?.remove(key)?;
        if let Some(texts) = self.texts.get_mut().get_mut(&kind) {
            texts.remove(key);
        }
        self.count = self.count.saturating_sub(1);
        self.forget_owners(kind, key, &before);
        self.version += 1;
        let mut last = Value::clone(&before);
        json::set(
            &mut last,
            &["metadata", "resourceVersion"],
            self.version.to_string(),
        );
        let last = Arc::new(last);
        let change = Change {
            version: self.version,
            before: Some(before),
            object: Arc::clone(&last),
            removed: true,
        };
        self.record(kind, change);
        Some(last)
    }

    fn forget_owners(&mut self, kind: Kind, key: &Key, object: &Value) {
        for owner in json::list(object, &["metadata", "ownerReferences"]) {
            let uid = json::text(owner, &["uid"]);
            if let Some(set) = self.owned.get_mut(uid) {
                set.remove(&(kind, key.clone()));
                if set.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
    }

    fn record(&mut self, kind: Kind, change: Change) {
        if !matches!(
            kind,
            Kind::Lease | Kind::Event | Kind::ConfigMap | Kind::Secret
        ) {
            self.shown = change.version;
        }
        let history = self.histories.entry(kind).or_default();
        history.changes.push_back(change);
        while history.changes.len() > self.keep {
            if let Some(old) = history.changes.pop_front() {
                history.forgotten = old.version;
            }
        }
    }

    /// Forgets the history of every kind, as etcd does when it is compacted: older watches expire.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        for history in self.histories.values_mut() {
            history.changes.clear();
        }
        for kind in super::kinds::KINDS {
            self.histories.entry(kind.kind).or_default().forgotten = self.version;
        }
    }

    /// The changes of a kind after a version, or the oldest version known if they are not all kept.
    pub(super) fn since(
        &self,
        kind: Kind,
        version: u64,
    ) -> Result<impl Iterator<Item = &Change>, u64> {
        let history = self.histories.get(&kind);
        if let Some(history) = history
            && version < history.forgotten
        {
            return Err(history.forgotten);
        }
        let from = history.map_or(0, |h| {
            h.changes
                .partition_point(|change| change.version <= version)
        });
        Ok(history
            .into_iter()
            .flat_map(move |h| h.changes.range(from..)))
    }
}
