//! One Deployment with its candidate, gates, notifiers and a claim, and everything that can go wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::plans::{NEW, UID};
use super::RUN;
use crate::config::{self, ConfigKind, Content, Reference, Versioned};
use crate::diagnostic::codes;
use crate::effect::*;
use crate::failure::{Failure, Kind};
use crate::plan::Workload;
use crate::strategy::{self, Slot, Split};
use crate::time::{Span, Timestamp};
use crate::verdict::{Measurement, Status, Verdict};
use crate::workload::{Diagnosis, Marks, Observation, Pod, Settings};

#[derive(Clone, Debug)]
pub(in crate::run) enum Fault {
    Fails(Failure),
    LostApplied,
    LostUnapplied,
    /// No answer comes, and the request arrives so much later.
    Late(Span),
}

pub(in crate::run) fn failure(kind: Kind) -> Failure {
    Failure::new(kind, codes::CLUSTER_UNREACHABLE, "the API server says no")
}

pub(in crate::run) type Judges = Rc<dyn Fn(&World, &str, u32) -> Result<Status, Kind>>;
pub(in crate::run) type Faults = Rc<dyn Fn(&World, &Effect) -> Option<Fault>>;
pub(in crate::run) type Watch = Rc<dyn Fn(&World) -> Observation>;
pub(in crate::run) type Blind = Rc<dyn Fn(&World, &Effect) -> bool>;

/// The candidate's Deployment.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::run) struct Candidate {
    pub settings: Settings,
    pub template: String,
    /// Pods that are ready while those that were asked for last are not.
    pub(super) ready: u32,
    pub(super) settled_at: Timestamp,
}

impl Candidate {
    /// Its pods are replaced by then, and none is ready meanwhile.
    pub(in crate::run) fn roll_out(&mut self, until: Timestamp) {
        self.ready = 0;
        self.settled_at = until;
    }

    pub(super) fn resize(&mut self, replicas: u32, settled_at: Timestamp) {
        self.ready = self.settings.replicas.min(replicas);
        self.settings.replicas = replicas;
        self.settled_at = settled_at;
    }
}

#[derive(Clone)]
pub(in crate::run) struct World {
    pub now: Timestamp,
    pub uid: String,
    pub settings: Settings,
    pub template_digest: String,
    pub marks: Marks,
    pub settled_at: Timestamp,
    pub candidate: Option<Candidate>,
    pub pieces: BTreeSet<Piece>,
    /// What is versioned with the workload, and what its pod template and the candidate's refer to.
    pub versioned: Vec<Versioned>,
    pub configs: Vec<Reference>,
    pub candidate_configs: Vec<Reference>,
    pub stable_removed: bool,
    /// Old copies that were removed.
    pub gone: BTreeSet<String>,
    /// The autoscalers' minima, stable's and the candidate's.
    pub minima: BTreeMap<Slot, u32>,
    pub traffic: Split,
    pub rollout_time: Span,
    /// The image whose pods never start, with what they wait for.
    pub broken: Option<(String, String)>,
    /// From when on, to when.
    pub broken_until: Option<Timestamp>,
    pub never_ready: Option<String>,
    pub claim: Option<String>,
    pub asked: BTreeMap<String, u32>,
    pub judges: Judges,
    pub faults: Faults,
    /// Whether a probe can't tell.
    pub blind: Blind,
    pub revision: Option<Vec<strategy::Step>>,
    /// Performed requests, for faults that count.
    pub performed: usize,
    /// How often each key changed the world.
    pub applied: BTreeMap<String, u32>,
    pub told: Vec<(String, String)>,
    pub failing_notifiers: BTreeSet<String>,
    /// Requests that are still to arrive, and when.
    pub late: Vec<(Timestamp, Effect)>,
    /// What actions have done, in order: deed and step, with stable's image then.
    pub deeds: Vec<(String, String)>,
    /// The steps whose action has taken place, and those that are under way.
    pub acted: BTreeSet<String>,
    pub acting: BTreeSet<String>,
    /// How often an action says that it isn't finished.
    pub pendings: u32,
    pub reversible: bool,
    /// What a watch tells, where there is one, by what was there at each look.
    pub watch: Option<Watch>,
    pub looks: Vec<Observation>,
    /// How often the target was read.
    pub reads: usize,
}

impl World {
    pub(super) fn new(workload: &Workload, now: Timestamp) -> Self {
        Self {
            now,
            uid: UID.to_owned(),
            settings: workload.baseline.settings.clone(),
            template_digest: workload.baseline.template_digest.clone(),
            marks: Marks::default(),
            settled_at: now,
            candidate: None,
            pieces: BTreeSet::new(),
            versioned: workload.configs.clone(),
            configs: references_before(workload),
            candidate_configs: Vec::new(),
            stable_removed: false,
            gone: BTreeSet::new(),
            minima: workload
                .baseline
                .autoscaler
                .map(|autoscaler| (Slot::Stable, autoscaler.minimum))
                .into_iter()
                .collect(),
            traffic: Split::default(),
            rollout_time: Span::from_secs(7),
            broken: None,
            broken_until: None,
            never_ready: None,
            claim: None,
            asked: BTreeMap::new(),
            judges: Rc::new(|_, _, _| Ok(Status::Pass)),
            faults: Rc::new(|_, _| None),
            blind: Rc::new(|_, _| false),
            revision: None,
            performed: 0,
            applied: BTreeMap::new(),
            told: Vec::new(),
            failing_notifiers: BTreeSet::new(),
            late: Vec::new(),
            deeds: Vec::new(),
            acted: BTreeSet::new(),
            acting: BTreeSet::new(),
            pendings: 0,
            reversible: true,
            watch: None,
            looks: Vec::new(),
            reads: 0,
        }
    }

    /// What there is, or what the watch says that there is.
    fn look(&mut self, watched: bool) -> Observation {
        let now = self.observe();
        self.looks.push(now.clone());
        match self.watch.clone().filter(|_| watched) {
            Some(watch) => Observation {
                watched: true,
                ..watch(self)
            },
            None => {
                self.reads += 1;
                now
            }
        }
    }

    pub(in crate::run) fn deployed(&self) -> bool {
        self.settings.image == NEW
    }

    /// Somebody else does something to the Deployment.
    pub(in crate::run) fn meddle(&mut self, image: Option<&str>, replicas: Option<u32>) {
        if let Some(image) = image {
            self.settings.image = image.to_owned();
        }
        if let Some(replicas) = replicas {
            self.settings.replicas = replicas;
        }
        self.settled_at = self.now.plus(self.rollout_time);
    }

    pub(in crate::run) fn observe(&self) -> Observation {
        let mut seen = self.observe_side(&self.settings, self.settled_at);
        seen.beside = self.candidate.as_ref().map(|candidate| {
            let mut beside = self.observe_side(&candidate.settings, candidate.settled_at);
            beside.template_digest.clone_from(&candidate.template);
            // There is nothing of an earlier version that could be ready meanwhile.
            if beside.updated == 0 {
                beside.ready = candidate.ready;
                beside.available = candidate.ready;
                beside.updated = candidate.ready;
            }
            Box::new(beside)
        });
        seen
    }

    pub(super) fn observe_side(&self, settings: &Settings, settled_at: Timestamp) -> Observation {
        let broken = self.broken.as_ref().filter(|(image, _)| {
            *image == settings.image && self.broken_until.is_none_or(|until| self.now < until)
        });
        let never = self.never_ready.as_ref() == Some(&settings.image);
        let settled = self.now >= settled_at && broken.is_none() && !never;
        let wanted = settings.replicas;
        let pod = |waiting: Option<&String>| Pod {
            name: "api-1".to_owned(),
            image: settings.image.clone(),
            ready: waiting.is_none(),
            restarts: 0,
            waiting: waiting.cloned(),
            terminating: false,
        };
        Observation {
            watched: false,
            at: self.now,
            uid: self.uid.clone(),
            generation: 2,
            observed_generation: 2,
            settings: settings.clone(),
            template_digest: self.template_digest.clone(),
            total: if settled { wanted } else { wanted + 1 },
            updated: if settled { wanted } else { 0 },
            ready: if never { 0 } else { wanted },
            available: wanted,
            deadline_exceeded: false,
            marks: self.marks.clone(),
            pods: (wanted > 0)
                .then(|| pod(broken.map(|(_, reason)| reason)))
                .into_iter()
                .collect(),
            autoscaler: None,
            beside: None,
        }
    }

    /// Nothing that serves may be taken away from traffic, whatever the engine asks.
    pub(super) fn check_traffic(&self) {
        let share = self.traffic.candidate_weight;
        let seen = self.observe();
        let candidate = seen.beside.map_or(0, |beside| beside.ready);
        assert!(share == 0 || candidate > 0, "{share} of traffic to nobody");
        assert!(share == 10_000 || seen.ready > 0, "traffic to nobody");
    }

    /// Whatever a pod template refers to is there, or the pods would never start.
    fn refers_to_what_is_there(&self, configs: &[Reference]) {
        for config in configs {
            assert!(!self.gone.contains(&config.name), "{} is gone", config.name);
            let copies = self.versioned.iter().enumerate();
            let mut made = copies.filter(|(_, versioned)| versioned.copy.name == config.name);
            let there = made.all(|(place, versioned)| {
                versioned.there || self.pieces.contains(&Piece::Config(place))
            });
            assert!(there, "{} is referred to and isn't there", config.name);
        }
    }

    fn no_pod_refers(&self, piece: Piece) {
        let versioned = self.versioned.iter().enumerate();
        for (_, versioned) in versioned.filter(|(place, _)| Piece::Config(*place) == piece) {
            let mut all = self.configs.iter().chain(&self.candidate_configs);
            // What is kept of the old template goes while stable has it: nothing is looked up there.
            let refers =
                !versioned.keeps_old() && all.any(|config| config.name == versioned.copy.name);
            assert!(
                !refers,
                "{} is removed while pods need it",
                versioned.copy.name
            );
        }
    }

    pub(super) fn beside(&mut self, effect: &Effect) -> Result<Done, Failure> {
        let ready = self.now.plus(self.rollout_time);
        let done = match &effect.request {
            Request::Create { create } => {
                self.pieces.insert(create.piece);
                if create.piece == Piece::Deployment {
                    let settings = Settings {
                        image: create.image.clone(),
                        replicas: create.replicas,
                        rollout: self.settings.rollout.clone(),
                    };
                    self.refers_to_what_is_there(&create.configs);
                    self.candidate_configs.clone_from(&create.configs);
                    // One that is there already is replaced pod by pod.
                    let before = self.candidate.as_ref();
                    self.candidate = Some(Candidate {
                        ready: before
                            .map_or(0, |there| there.settings.replicas.min(create.replicas)),
                        settings,
                        template: "as made".to_owned(),
                        settled_at: ready,
                    });
                } else if create.piece == Piece::Autoscaler {
                    self.minima.insert(Slot::Candidate, create.replicas);
                }
                Done::Created
            }
            Request::Remove {
                piece: Piece::Left(place),
                ..
            } => {
                let left = config::left(&self.versioned);
                let name = left[*place].name.clone();
                let mut all = self.configs.iter().chain(&self.candidate_configs);
                let refers = all.any(|c| c.name == name && c.kind != ConfigKind::Template);
                assert!(!refers, "{name} is removed while pods need it");
                self.gone.insert(name);
                Done::Removed
            }
            Request::Remove { slot, piece } if slot.is_stable() => {
                assert_eq!(
                    self.settings.replicas, 0,
                    "stable is removed while it has pods"
                );
                if *piece == Piece::Deployment {
                    self.stable_removed = true;
                }
                Done::Removed
            }
            Request::Remove { piece, .. } => {
                self.pieces.remove(piece);
                match piece {
                    Piece::Deployment => {
                        self.candidate = None;
                        self.candidate_configs.clear();
                    }
                    Piece::Autoscaler => {
                        self.minima.remove(&Slot::Candidate);
                    }
                    Piece::Config(_) => self.no_pod_refers(*piece),
                    Piece::Service | Piece::Left(_) => {}
                }
                Done::Removed
            }
            Request::Bound { slot, minimum } => {
                self.minima.insert(*slot, *minimum);
                // The autoscaler follows at once.
                if let (Slot::Candidate, Some(candidate)) = (slot, &mut self.candidate)
                    && candidate.settings.replicas < *minimum
                {
                    candidate.resize(*minimum, ready);
                }
                Done::Bounded
            }
            Request::Change { change } => {
                if let (Some(candidate), Some(replicas)) =
                    (&mut self.candidate, change.fields.replicas)
                {
                    candidate.resize(replicas, ready);
                }
                Done::Changed
            }
            Request::Route { split } => {
                self.traffic = split.clone();
                Done::Routed
            }
            _ => {
                self.traffic = Split::default();
                Done::Unrouted
            }
        };
        self.check_traffic();
        *self.applied.entry(effect.key.clone()).or_default() += 1;
        Ok(done)
    }

    pub(super) fn reading(&self) -> Reading {
        Reading {
            desired: self.traffic.clone(),
            accepted: None,
            settled: true,
        }
    }

    pub(super) fn change(&mut self, effect: &Effect, change: &Change) -> Result<Done, Failure> {
        let conflict = |what: &str| Failure::new(Kind::Conflict, codes::TARGET_BUSY, what);
        if self.uid != change.uid {
            return Err(conflict("another Deployment of this name"));
        }
        if let Some(expected) = &change.expected_image
            && *expected != self.settings.image
        {
            return Err(conflict("the image is another one"));
        }
        let fields = change.fields.clone();
        self.settings = Settings {
            image: fields.image.unwrap_or(self.settings.image.clone()),
            replicas: fields.replicas.unwrap_or(self.settings.replicas),
            rollout: fields.rollout.unwrap_or(self.settings.rollout.clone()),
        };
        if !fields.configs.is_empty() {
            self.refers_to_what_is_there(&fields.configs);
            let mut templates = fields.configs.iter();
            if let Some(template) = templates.find(|c| c.kind == ConfigKind::Template) {
                let mut made = self.versioned.iter();
                let made = made.find(|v| v.copy.name == template.name).unwrap();
                self.template_digest = match &made.copy.content {
                    Content::Manifest { digest, .. } | Content::Live { digest, .. } => {
                        digest.clone()
                    }
                    other => panic!("{other:?} is no template"),
                };
            }
            // What a write doesn't name stays.
            for wanted in fields.configs {
                let mut there = self.configs.iter_mut();
                let there = there.find(|c| c.kind == wanted.kind && c.of == wanted.of);
                *there.unwrap() = wanted;
            }
        }
        self.settled_at = self.now.plus(self.rollout_time);
        self.marks = if change.marked {
            Marks {
                run: Some(RUN.to_owned()),
                epoch: Some(1),
                effect: Some(effect.key.clone()),
            }
        } else {
            Marks::default()
        };
        *self.applied.entry(effect.key.clone()).or_default() += 1;
        Ok(Done::Changed)
    }

    fn act(&mut self, effect: &Effect, deed: &Deed) -> Result<Done, Failure> {
        let step = effect.step.clone().unwrap();
        let image = self.settings.image.clone();
        if let Deed::Run { token } | Deed::Undo { token } | Deed::Cancel { token } = deed {
            assert_eq!(*token, serde_json::json!({"of": step}));
        }
        match deed {
            Deed::Prepare => {
                return Ok(Done::Prepared {
                    preparation: Preparation {
                        summary: format!("will do {step}"),
                        token: serde_json::json!({"of": step}),
                        reversible: self.reversible,
                    },
                });
            }
            Deed::Run { .. } if self.pendings > 0 => {
                self.pendings -= 1;
                self.acting.insert(step);
                return Err(failure(Kind::Pending));
            }
            _ => {}
        }
        let done = self.applied.entry(effect.key.clone()).or_default();
        *done = 1;
        self.deeds.push((format!("{} {step}", deed.kind()), image));
        Ok(match deed {
            Deed::Run { .. } => {
                self.acting.remove(&step);
                self.acted.insert(step);
                Done::Acted {
                    acted: Acted {
                        summary: "did it".to_owned(),
                        outputs: serde_json::json!({"job": 1}),
                        links: Vec::new(),
                    },
                }
            }
            Deed::Undo { .. } => {
                assert!(
                    !self.acting.contains(&step),
                    "{step} is undone while it is under way"
                );
                self.acted.remove(&step);
                Done::Undone
            }
            _ => {
                self.acting.remove(&step);
                Done::Cancelled
            }
        })
    }

    pub(super) fn answer(&mut self, effect: &Effect) -> Result<Done, Failure> {
        match &effect.request {
            Request::Claim { .. } => match &self.claim {
                Some(run) if run != RUN => Err(Failure::new(
                    Kind::Conflict,
                    codes::TARGET_BUSY,
                    "run other holds the target",
                )),
                _ => {
                    self.claim = Some(RUN.to_owned());
                    *self.applied.entry(effect.key.clone()).or_default() += 1;
                    Ok(Done::Claimed)
                }
            },
            Request::Release { to } => {
                if self.claim.as_deref() == Some(RUN) {
                    self.claim = to.as_ref().map(|to| to.run.clone());
                }
                *self.applied.entry(effect.key.clone()).or_default() += 1;
                Ok(Done::Released)
            }
            Request::Change { change } if change.slot.is_stable() => self.change(effect, change),
            Request::Snapshot => Ok(Done::Snapped {
                snapshot: serde_json::json!({"was": self.traffic}),
                reading: self.reading(),
            }),
            Request::Reading => Ok(Done::Read {
                reading: self.reading(),
            }),
            Request::Change { .. }
            | Request::Create { .. }
            | Request::Remove { .. }
            | Request::Bound { .. }
            | Request::Route { .. }
            | Request::Unroute { .. } => self.beside(effect),
            Request::Observe { watched } => Ok(Done::Observed {
                observation: Box::new(self.look(*watched)),
            }),
            Request::Evaluate { gate, .. } => {
                let nth = self.asked.entry(gate.clone()).or_default();
                *nth += 1;
                let nth = *nth - 1;
                let judges = self.judges.clone();
                judges(self, gate, nth)
                    .map(|status| Done::Judged {
                        verdict: Box::new(verdict(status)),
                    })
                    .map_err(failure)
            }
            Request::Act { deed } => self.act(effect, deed),
            Request::Revise { .. } => Ok(Done::Revised {
                steps: self.revision.clone(),
            }),
            Request::Diagnose => Ok(Done::Diagnosed {
                diagnosis: Diagnosis {
                    events: vec!["Back-off restarting failed container".to_owned()],
                    logs: vec!["api-1: panic".to_owned()],
                },
            }),
            Request::Notify { notifier, notice } => {
                if self.failing_notifiers.contains(notifier) {
                    return Err(failure(Kind::Retryable));
                }
                self.told.push((notifier.clone(), notice.event.clone()));
                Ok(Done::Notified {
                    thread: Some(serde_json::json!("thread")),
                })
            }
        }
    }

    pub(super) fn perform(&mut self, effect: &Effect) -> Outcome {
        let faults = self.faults.clone();
        let fault = faults(self, effect);
        self.performed += 1;
        let lost = || Outcome::Unknown {
            message: "connection reset".to_owned(),
        };
        match fault {
            Some(Fault::Fails(failure)) => Outcome::Failed { failure },
            Some(Fault::LostUnapplied) => lost(),
            Some(Fault::Late(by)) => {
                self.late.push((self.now.plus(by), effect.clone()));
                lost()
            }
            Some(Fault::LostApplied) => match self.answer(effect) {
                Ok(_) => lost(),
                Err(failure) => Outcome::Failed { failure },
            },
            None => match self.answer(effect) {
                Ok(done) => Outcome::Done(done),
                Err(failure) => Outcome::Failed { failure },
            },
        }
    }

    /// What was under way for long takes place.
    pub(super) fn arrives(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.late = later;
        let due: Vec<(Timestamp, Effect)> = due;
        for (_, effect) in due {
            // Of one name there is one object.
            if matches!(&effect.request, Request::Create { create } if self.pieces.contains(&create.piece))
            {
                continue;
            }
            self.answer(&effect).ok();
        }
    }

    pub(super) fn probe(&self, effect: &Effect) -> Progress {
        let blind = self.blind.clone();
        if blind(self, effect) {
            return Progress::Unknown {
                message: "the API server is silent".to_owned(),
            };
        }
        let done = match &effect.request {
            Request::Claim { .. } => (self.claim.as_deref() == Some(RUN)).then_some(Done::Claimed),
            Request::Release { .. } => {
                (self.claim.as_deref() != Some(RUN)).then_some(Done::Released)
            }
            Request::Create { .. }
            | Request::Remove { .. }
            | Request::Bound { .. }
            | Request::Route { .. }
            | Request::Unroute { .. } => {
                let applied = self.applied.contains_key(&effect.key);
                let done = match &effect.request {
                    Request::Create { .. } => Done::Created,
                    Request::Remove { .. } => Done::Removed,
                    Request::Bound { .. } => Done::Bounded,
                    Request::Route { .. } => Done::Routed,
                    _ => Done::Unrouted,
                };
                applied.then_some(done)
            }
            Request::Change { change } if !change.slot.is_stable() => self
                .applied
                .contains_key(&effect.key)
                .then_some(Done::Changed),
            Request::Change { change } => {
                let marked = self.marks.effect.as_ref() == Some(&effect.key);
                let fields = &change.fields;
                let mut wanted = fields.configs.iter();
                let refers = wanted.all(|wanted| self.configs.contains(wanted));
                let equal = refers
                    && fields
                        .image
                        .as_ref()
                        .is_none_or(|i| *i == self.settings.image)
                    && fields.replicas.is_none_or(|r| r == self.settings.replicas)
                    && fields
                        .rollout
                        .as_ref()
                        .is_none_or(|r| *r == self.settings.rollout);
                let taken_off = !change.marked && self.marks.effect.is_none() && equal;
                (marked || taken_off).then_some(Done::Changed)
            }
            Request::Act {
                deed: Deed::Run { .. },
            } => {
                let step = effect.step.as_ref().unwrap();
                if self.acting.contains(step) {
                    return Progress::Running {
                        after: Span::from_secs(2),
                    };
                }
                let acted = Acted::default();
                self.acted.contains(step).then_some(Done::Acted { acted })
            }
            _ => None,
        };
        done.map_or(Progress::NotDone, Progress::Done)
    }
}

/// What stable refers to before a run.
pub(in crate::run) fn references_before(workload: &Workload) -> Vec<Reference> {
    let configs = workload.configs.iter().filter(|c| !c.keeps_old());
    configs
        .map(|config| config.reference(&config.before))
        .collect()
}

pub(in crate::run) fn verdict(status: Status) -> Verdict {
    Verdict {
        status,
        reason: format!("it is {status:?}").to_lowercase(),
        measurements: vec![Measurement {
            name: "ratio".to_owned(),
            unit: "%".to_owned(),
            candidate: Some(0.1 + 0.2),
            stable: None,
            samples: Some(10),
            limit: "< 1".to_owned(),
            band: String::new(),
            status,
        }],
        links: Vec::new(),
        needs: None,
        memory: None,
        extra: serde_json::Value::Null,
    }
}
