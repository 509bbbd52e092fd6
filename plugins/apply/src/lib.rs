//! Action `apply`: what manifests describe is applied, and taken back on the way back.
//!
//! Server-side apply without force sets nothing that somebody else owns. So all that it can change is what this plugin
//! has set before, or nobody: to take it back is to apply what it had set before, and to remove what it made. Each object
//! that it changes carries a mark of the step, by which it is told later what is done, and whether it still is.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Problem, Result, kubernetes};
use phasegate_plugins_shared::token;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod owned;

/// Says which release and step applied an object last, and a hash of what: a cluster writes defaults and numbers in its own
/// way.
const MARK: &str = "phasegate.dev/applied-by";
/// How soon it is gone on with the next object.
const NEXT: Duration = Duration::from_millis(200);
/// Most bytes that are kept of what objects were before.
const MAX_TOKEN: usize = 256 << 10;
/// What the API server begins with where fields are somebody else's.
const OWNED_BY_OTHERS: &str = "Apply failed with";

/// What is applied.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The objects, in the order in which they are applied. The release gives them by `manifests` beside the config.
    #[schemars(length(min = 1, max = 50))]
    objects: Vec<Value>,
}

/// An object before it was applied.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Before {
    /// It wasn't there.
    Absent,
    /// It was as it is to be, and stays so.
    Same,
    /// It was there. This is what had to be applied so that it stayed as it was.
    Set(Value),
}

#[derive(Serialize, Deserialize)]
struct Token {
    /// What objects are marked with that this step has changed.
    mark: String,
    /// In the order of the objects.
    before: Vec<Before>,
}

/// One object, what is there of it, and what was.
struct Case<'a> {
    wanted: &'a Value,
    before: &'a Before,
    mark: &'a str,
    live: Option<Value>,
}

impl Apply {
    fn cases<'a>(&'a self, token: &'a Token) -> Result<Vec<(&'a Value, &'a Before)>> {
        if token.before.len() != self.objects.len() {
            return Err(Error::permanent("the token is of other objects"));
        }
        Ok(self.objects.iter().zip(&token.before).collect())
    }
}

impl<'a> Case<'a> {
    fn of(call: &Call, wanted: &'a Value, before: &'a Before, mark: &'a str) -> Result<Self> {
        let live = look(call, wanted)?;
        Ok(Self {
            wanted,
            before,
            mark,
            live,
        })
    }

    /// Whether this step has applied it.
    fn is_done(&self) -> bool {
        self.live
            .as_ref()
            .and_then(mark_of)
            .is_some_and(|(step, _)| step == self.mark)
    }

    fn others(&self, did: &str) -> Error {
        let name = named(self.wanted);
        Error::permanent(format!(
            "{name} was {did} by somebody else since; it was left as it is"
        ))
    }

    /// Whether what we have set of it is what it was before.
    fn is_as_before(&self, live: &Value) -> Result<bool> {
        let ours = owned::config(live)?;
        Ok(match self.before {
            Before::Absent => false,
            Before::Same => is_as_wanted(self.wanted, live, ours),
            Before::Set(config) => ours == *config,
        })
    }

    /// Applies it. Returns whether anything was written.
    fn apply(&self) -> Result<bool> {
        if self.is_done() {
            return Ok(false);
        }
        let over = match (&self.live, self.before) {
            (None, Before::Absent) => None,
            (None, _) => return Err(self.others("removed")),
            (Some(_), Before::Absent) => return Err(self.others("made")),
            (Some(live), _) if !self.is_as_before(live)? => return Err(self.others("changed")),
            (Some(_), Before::Same) => return Ok(false),
            (Some(live), Before::Set(_)) => Some(live),
        };
        let mark = format!("{} {}", self.mark, hash(self.wanted));
        let marked = json!({"metadata": {"annotations": {(MARK): mark}}});
        write(laid_over(self.wanted.clone(), &marked), over)?;
        Ok(true)
    }

    /// Takes it back. Returns whether anything was written.
    fn undo(&self, call: &Call) -> Result<bool> {
        let Some(live) = &self.live else {
            return match self.before {
                Before::Absent | Before::Same => Ok(false),
                Before::Set(_) => Err(self.others("removed")),
            };
        };
        match self.before {
            Before::Same => return Ok(false),
            // It is on its way out, or was never ours.
            Before::Absent
                if !text(live, "/metadata/deletionTimestamp").is_empty()
                    || owned::fields(live).is_none() =>
            {
                return Ok(false);
            }
            Before::Set(_) if self.is_as_before(live)? => return Ok(false),
            _ if !self.is_done() => return Err(self.others("applied anew")),
            _ => {}
        }
        let lost = owned::lost(self.wanted, live);
        if !lost.is_empty() {
            let name = named(self.wanted);
            return Err(Error::permanent(format!(
                "{} of {name} was changed by somebody else since; it was left as it is",
                lost.join(", ")
            )));
        }
        match self.before {
            Before::Set(config) => write(config.clone(), Some(live))?,
            _ => {
                let (version, kind, name) = identity(self.wanted);
                match kubernetes::remove(version, kind, &call.namespace, name) {
                    Ok(()) | Err(kubernetes::Error::NotFound) => {}
                    Err(error) => return Err(told(self.wanted, error)),
                }
            }
        }
        Ok(true)
    }
}

/// Applies a configuration, over what was read where it was there: a write that is late finds another version. The uid is
/// sent as well, since a version alone doesn't keep an object that was removed meanwhile from being made anew.
fn write(mut config: Value, over: Option<&Value>) -> Result<()> {
    let seen = over.and_then(|live| live.get("metadata"));
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["uid", "resourceVersion"] {
            if let Some(value) = seen.and_then(|seen| seen.get(name)) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
    }
    match kubernetes::apply::<Value>(&config) {
        Ok(_) => Ok(()),
        Err(kubernetes::Error::Conflict(text)) if text.contains(OWNED_BY_OTHERS) => {
            Err(Error::permanent(format!(
                "{} isn't applied, since others own what it sets, and nothing is forced: {text}",
                named(&config)
            )))
        }
        Err(kubernetes::Error::NotFound) => Err(Error::permanent(format!(
            "the cluster has no kind {} in {}",
            identity(&config).1,
            identity(&config).0
        ))),
        Err(error) => Err(told(&config, error)),
    }
}

/// An error of the cluster with the object that it is about.
fn told(object: &Value, error: kubernetes::Error) -> Error {
    let name = named(object);
    match Error::from(error) {
        Error::Retryable { message, after } => Error::Retryable {
            message: format!("{name}: {message}"),
            after,
        },
        other => Error::permanent(format!("{name}: {other}")),
    }
}

fn look(call: &Call, object: &Value) -> Result<Option<Value>> {
    let (version, kind, name) = identity(object);
    match kubernetes::get(version, kind, &call.namespace, name) {
        Ok(live) => Ok(Some(live)),
        Err(kubernetes::Error::NotFound) => Ok(None),
        Err(error) => Err(told(object, error)),
    }
}

/// Refuses an object that another release applies: all of them are one field manager, so that each would silently take off
/// what the other one sets.
fn free(wanted: &Value, live: Option<&Value>, release: &str) -> Result<()> {
    let mark = live.and_then(mark_of).map(|(step, _)| step);
    let owner = mark.and_then(|step| step.split_once(':'));
    match owner {
        Some((other, _)) if other != release => Err(Error::permanent(format!(
            "{} is applied by release `{other}` already; let one release apply it, or take the annotation {MARK} off it where \
             that one has given it up",
            named(wanted)
        ))),
        _ => Ok(()),
    }
}

/// What an object was before, by what is there now.
fn before(wanted: &Value, live: Option<&Value>) -> Result<Before> {
    let Some(live) = live else {
        return Ok(Before::Absent);
    };
    if !text(live, "/metadata/deletionTimestamp").is_empty() {
        let name = named(wanted);
        return Err(Error::retryable(format!("{name} is being removed")));
    }
    let ours = owned::config(live);
    let ours = ours.map_err(|error| Error::permanent(format!("{}: {error}", named(wanted))))?;
    match is_as_wanted(wanted, live, ours.clone()) {
        true => Ok(Before::Same),
        false => Ok(Before::Set(ours)),
    }
}

/// Whether the same was applied last, and all of it is still ours; `ours` is what we have set of it.
fn is_as_wanted(wanted: &Value, live: &Value, ours: Value) -> bool {
    let applied = mark_of(live).is_some_and(|(_, applied)| applied == hash(wanted));
    (applied && owned::lost(wanted, live).is_empty()) || owned::without_mark(ours) == *wanted
}

/// Release with step, and hash, of an object's mark.
fn mark_of(live: &Value) -> Option<(&str, &str)> {
    let annotations = live.pointer("/metadata/annotations")?;
    annotations.get(MARK)?.as_str()?.split_once(' ')
}

/// FNV-1a of what is applied, by which it is found the same again.
fn hash(object: &Value) -> String {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let text = object.to_string();
    let hash = text.bytes().fold(BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    format!("{hash:016x}")
}

fn laid_over(mut object: Value, over: &Value) -> Value {
    if let (Some(members), Some(over)) = (object.as_object_mut(), over.as_object()) {
        for (name, value) in over {
            let there = members.remove(name).unwrap_or_else(|| json!({}));
            let value = match value.is_object() {
                true => laid_over(there, value),
                false => value.clone(),
            };
            members.insert(name.clone(), value);
        }
    }
    object
}

fn identity(object: &Value) -> (&str, &str, &str) {
    (
        text(object, "/apiVersion"),
        text(object, "/kind"),
        text(object, "/metadata/name"),
    )
}

/// `NetworkPolicy shop`.
fn named(object: &Value) -> String {
    let (_, kind, name) = identity(object);
    format!("{kind} {name}")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn listed<'a>(what: &str, objects: impl Iterator<Item = &'a Value>) -> Option<String> {
    let names: Vec<String> = objects.map(named).collect();
    (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
}

impl Action for Apply {
    const NAME: &'static str = "apply";
    const SUMMARY: &'static str =
        "what manifests describe is applied, and taken back on the way back";

    fn validate(&self) -> Vec<Problem> {
        let objects = self.objects.iter().enumerate();
        let unnamed = objects.filter(|(_, object)| {
            let (version, kind, name) = identity(object);
            let namespace = text(object, "/metadata/namespace");
            [version, kind, name, namespace].contains(&"")
        });
        let problem = |(index, _): (usize, &Value)| {
            let message = "an object has `apiVersion`, `kind`, and `name` and `namespace` in its metadata; `manifests` of the step give them";
            Problem::new(format!("/objects/{index}"), message)
        };
        unnamed.map(problem).collect()
    }

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        let mut found = Vec::with_capacity(self.objects.len());
        for object in &self.objects {
            let live = look(call, object)?;
            free(object, live.as_ref(), &call.release.name)?;
            found.push(before(object, live.as_ref())?);
        }
        let of = |is: fn(&Before) -> bool| {
            let objects = self.objects.iter().zip(&found);
            objects.filter_map(move |(object, before)| is(before).then_some(object))
        };
        let words: Vec<String> = [
            listed("make", of(|before| *before == Before::Absent)),
            listed("change", of(|before| matches!(before, Before::Set(_)))),
            listed("leave as it is", of(|before| *before == Before::Same)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let summary = format!("will {}", words.join("; "));
        let step = call.key.strip_suffix("/prepare").unwrap_or(&call.key);
        let token = json!(Token {
            mark: format!("{}:{step}", call.release.name),
            before: found,
        });
        let bytes = token.to_string().len();
        if bytes > MAX_TOKEN {
            return Err(Error::permanent(format!(
                "what has to be known to take it back has {bytes} bytes, more than {MAX_TOKEN}; apply fewer objects in one step"
            )));
        }
        Ok(Preparation::new(summary, &token).reversible())
    }

    fn run(&self, call: &Call, given: &Value) -> Result<Outcome> {
        let token = token::<Token>(given)?;
        for (wanted, before) in self.cases(&token)? {
            // One at a time: a write whose answer is lost is found by the next call.
            if Case::of(call, wanted, before, &token.mark)?.apply()? {
                return Err(Error::Pending(NEXT));
            }
        }
        let same = token.before.iter().filter(|b| **b == Before::Same).count();
        let applied = self.objects.len() - same;
        let names: Vec<String> = self.objects.iter().map(named).collect();
        let kept = match same {
            0 => String::new(),
            same => format!(", {same} were as they are to be"),
        };
        Ok(Outcome::new(format!(
            "applied {applied} of {} objects{kept}",
            names.len()
        ))
        .outputs(&json!({"objects": names})))
    }

    fn probe(&self, call: &Call, given: &Value) -> Result<Progress> {
        let token = token::<Token>(given)?;
        let (mut done, mut all) = (0_usize, 0_usize);
        for (wanted, before) in self.cases(&token)? {
            if *before != Before::Same {
                all += 1;
                done += usize::from(Case::of(call, wanted, before, &token.mark)?.is_done());
            }
        }
        Ok(match done {
            done if done == all => Progress::Done,
            0 => Progress::NotDone,
            _ => Progress::Running,
        })
    }

    fn undo(&self, call: &Call, given: &Value) -> Result<()> {
        let token = token::<Token>(given)?;
        for (wanted, before) in self.cases(&token)?.into_iter().rev() {
            if Case::of(call, wanted, before, &token.mark)?.undo(call)? {
                return Err(Error::Pending(NEXT));
            }
        }
        Ok(())
    }
}

/// What it does with each kind that it takes.
const VERBS: &[&str] = &["get", "apply", "remove"];

/// A kind that it takes.
const fn takes(group: &'static str, kind: &'static str) -> Ask {
    Ask::Kubernetes {
        group,
        kind,
        verbs: VERBS,
    }
}

phasegate_plugin::export! {
    name: "apply",
    summary: "Applies manifests",
    actions: [Apply],
    asks: [
        takes("", "ConfigMap"),
        takes("", "Service"),
        takes("", "ServiceAccount"),
        takes("", "ResourceQuota"),
        takes("", "LimitRange"),
        takes("networking.k8s.io", "NetworkPolicy"),
        takes("networking.k8s.io", "Ingress"),
        takes("policy", "PodDisruptionBudget"),
        takes("autoscaling", "HorizontalPodAutoscaler"),
        takes("batch", "CronJob"),
        takes("gateway.networking.k8s.io", "HTTPRoute"),
        takes("gateway.networking.k8s.io", "GRPCRoute"),
        takes("networking.istio.io", "VirtualService"),
        takes("networking.istio.io", "DestinationRule"),
        takes("security.istio.io", "AuthorizationPolicy"),
        takes("security.istio.io", "PeerAuthentication"),
        takes("monitoring.coreos.com", "ServiceMonitor"),
        takes("monitoring.coreos.com", "PodMonitor"),
        takes("monitoring.coreos.com", "PrometheusRule"),
        takes("cert-manager.io", "Certificate"),
        takes("external-secrets.io", "ExternalSecret"),
    ],
}

#[cfg(test)]
mod tests;
