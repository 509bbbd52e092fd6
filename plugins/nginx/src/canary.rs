//! Ingresses, and the annotations by which ingress-nginx takes one for the canary of another.

use std::collections::BTreeMap;

use phasegate_plugin::{Error, Pair, Result, RouterTarget, Split};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// All traffic, in the unit of a split.
pub(crate) const WHOLE: u32 = 10_000;
/// All traffic, in the unit that the controller counts by unless it is told another.
const HUNDRED: u32 = 100;

const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
const TOTAL: &str = "nginx.ingress.kubernetes.io/canary-weight-total";
const HEADER: &str = "nginx.ingress.kubernetes.io/canary-by-header";
const VALUE: &str = "nginx.ingress.kubernetes.io/canary-by-header-value";
/// All of those that this router reads and writes. There are others, which stay as they are.
const NAMES: [&str; 5] = [CANARY, WEIGHT, TOTAL, HEADER, VALUE];
/// The old way to name the class of an Ingress.
const CLASS: &str = "kubernetes.io/ingress.class";
/// Who made an Ingress.
const MADE_BY: &str = "app.kubernetes.io/managed-by";
const US: &str = "phasegate";

/// The annotations about a canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Notes(BTreeMap<String, String>);

impl Notes {
    /// What is noted to share traffic like this.
    pub(crate) fn of(split: &Split) -> Result<Self> {
        if split.mirror_weight > 0 {
            return Err(Error::permanent(
                "a canary Ingress can't copy requests; use a router for a gateway or a mesh",
            ));
        }
        let mut notes = BTreeMap::from([(CANARY.to_owned(), "true".to_owned())]);
        // Not every controller knows of totals, so none is given where a hundred says it exactly.
        let unit = WHOLE / HUNDRED;
        if split.candidate_weight.is_multiple_of(unit) {
            let weight = split.candidate_weight / unit;
            notes.insert(WEIGHT.to_owned(), weight.to_string());
        } else {
            notes.insert(WEIGHT.to_owned(), split.candidate_weight.to_string());
            notes.insert(TOTAL.to_owned(), WHOLE.to_string());
        }
        match split.headers.as_slice() {
            [] => {}
            [header] => {
                notes.insert(HEADER.to_owned(), header.name.clone());
                notes.insert(VALUE.to_owned(), header.value.clone());
            }
            several => {
                return Err(Error::permanent(format!(
                    "a canary Ingress can match one header, and not {}",
                    several.len()
                )));
            }
        }
        Ok(Self(notes))
    }

    /// How these share traffic.
    pub(crate) fn split(&self) -> Result<Split> {
        let number = |name: &str, otherwise: u64| match self.0.get(name) {
            None => Ok(otherwise),
            Some(text) => text.parse::<u64>().map_err(|_| {
                Error::permanent(format!(
                    "the annotation {name} is `{text}`, which is no number"
                ))
            }),
        };
        let total = number(TOTAL, u64::from(HUNDRED))?.max(1);
        let weight = number(WEIGHT, 0)?.min(total);
        let share = weight.saturating_mul(u64::from(WHOLE)) / total;
        // Without a value the controller takes `always` for a yes.
        let value = self.0.get(VALUE).map_or("always", String::as_str);
        let header = self.0.get(HEADER).map(|name| Pair::new(name, value));
        Ok(Split {
            candidate_weight: u32::try_from(share).unwrap_or(WHOLE),
            headers: header.into_iter().collect(),
            mirror_weight: 0,
        })
    }

    /// A merge patch of annotations that leads from these to others.
    pub(crate) fn changes_to(&self, others: &Self) -> Map<String, Value> {
        let gone = self.0.keys().filter(|name| !others.0.contains_key(*name));
        let gone = gone.map(|name| (name.clone(), Value::Null));
        let wanted = others
            .0
            .iter()
            .filter(|(name, value)| self.0.get(*name) != Some(*value));
        let wanted = wanted.map(|(name, value)| (name.clone(), json!(value)));
        gone.chain(wanted).collect()
    }
}

/// An Ingress as it was read.
pub(crate) struct Ingress(Value);

impl Ingress {
    pub(crate) fn new(object: Value) -> Self {
        Self(object)
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.0.pointer("/metadata/resourceVersion")?.as_str()
    }

    fn annotations(&self) -> impl Iterator<Item = (&String, &str)> {
        let annotations = self.0.pointer("/metadata/annotations");
        let annotations = annotations.and_then(Value::as_object);
        annotations
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name, value.as_str()?)))
    }

    pub(crate) fn is_canary(&self) -> bool {
        self.annotations()
            .any(|(name, value)| name == CANARY && value == "true")
    }

    /// Whether this router made it.
    pub(crate) fn is_ours(&self) -> bool {
        let labels = self.0.pointer("/metadata/labels");
        labels.and_then(|labels| labels.get(MADE_BY)?.as_str()) == Some(US)
    }

    pub(crate) fn notes(&self) -> Notes {
        let about = self
            .annotations()
            .filter(|(name, _)| NAMES.contains(&name.as_str()));
        Notes(
            about
                .map(|(name, value)| (name.clone(), value.to_owned()))
                .collect(),
        )
    }

    pub(crate) fn leads_to(&self, service: &str) -> bool {
        rules(&self.0)
            .iter()
            .flat_map(paths)
            .any(|path| leads_to(path, service))
    }

    /// Whether it is as wanted, whatever the server has added.
    pub(crate) fn is_like(&self, wanted: &Value) -> bool {
        let notes = Self(wanted.clone()).notes();
        let places = ["/spec/rules", "/metadata/ownerReferences"];
        let mut places = places.into_iter();
        self.notes() == notes && places.all(|place| self.0.pointer(place) == wanted.pointer(place))
    }

    /// The Ingress that takes the candidate's part and belongs to its Service: the same hosts and paths, as far
    /// as they lead to stable.
    pub(crate) fn beside(
        &self,
        name: &str,
        target: &RouterTarget,
        owner: &Value,
        notes: &Notes,
    ) -> Value {
        let rules: Vec<Value> = rules(&self.0)
            .iter()
            .filter_map(|rule| for_candidate(rule, target))
            .collect();
        let mut annotations = notes.0.clone();
        let class = self.annotations().find(|(name, _)| *name == CLASS);
        annotations.extend(class.map(|(name, value)| (name.clone(), value.to_owned())));
        let mut spec = json!({"rules": rules});
        if let (Some(class), Some(spec)) = (
            self.0.pointer("/spec/ingressClassName"),
            spec.as_object_mut(),
        ) {
            spec.insert("ingressClassName".to_owned(), class.clone());
        }
        json!({
            "apiVersion": super::API_VERSION,
            "kind": super::KIND,
            "metadata": {
                "name": name,
                "namespace": self.0.pointer("/metadata/namespace"),
                "labels": {MADE_BY: US},
                "annotations": annotations,
                "ownerReferences": [owner],
            },
            "spec": spec,
        })
    }
}

fn rules(ingress: &Value) -> &[Value] {
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array);
    rules.map_or(&[], Vec::as_slice)
}

fn paths(rule: &Value) -> &[Value] {
    let paths = rule.pointer("/http/paths").and_then(Value::as_array);
    paths.map_or(&[], Vec::as_slice)
}

fn leads_to(path: &Value, service: &str) -> bool {
    let name = path.pointer("/backend/service/name");
    !service.is_empty() && name.and_then(Value::as_str) == Some(service)
}

/// The rule's paths to stable, leading to the candidate; none where there are none.
fn for_candidate(rule: &Value, target: &RouterTarget) -> Option<Value> {
    let paths = paths(rule)
        .iter()
        .filter(|path| leads_to(path, &target.stable_service));
    let paths: Vec<Value> = paths
        .map(|path| {
            let mut path = path.clone();
            if let Some(name) = path.pointer_mut("/backend/service/name") {
                *name = json!(target.candidate_service);
            }
            path
        })
        .collect();
    if paths.is_empty() {
        return None;
    }
    let mut rule = rule.clone();
    if let Some(there) = rule.pointer_mut("/http/paths") {
        *there = Value::Array(paths);
    }
    Some(rule)
}
