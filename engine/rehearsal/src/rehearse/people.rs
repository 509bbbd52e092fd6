//! People in a rehearsal: what they do, when, and what becomes of it.

use phasegate_core::event::{Command, DriftAnswer};
use phasegate_core::plan::Plan;
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::engine::{Engine, GIVE_BACK, Nudge, Options};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Player, RUN, identity, lock};
use crate::cluster::{Info, Request};
use crate::scenario::acts::{Act, Deed, Drift};
use crate::story::Source;

/// How long a person waits before looking at what became of a command.
const GLANCE: Span = Span::from_secs(1);

impl Player<'_> {
    /// People act while an engine drives. Never returns.
    pub(super) async fn people(&self, plan: &Plan, nudge: &mpsc::Sender<Nudge>) {
        loop {
            match self.next_act() {
                Some(at) if at <= self.now() => {
                    if let Some(act) = self.take_act() {
                        self.act(plan, &act, Some(nudge)).await;
                    }
                }
                Some(at) => tokio::select! {
                    () = self.sleep_until(at) => {}
                    () = self.news.notified() => {}
                },
                None => self.news.notified().await,
            }
        }
    }

    fn next_act(&self) -> Option<Timestamp> {
        lock(&self.desk).due.iter().map(|(at, _)| *at).min()
    }

    fn take_act(&self) -> Option<Act> {
        let mut desk = lock(&self.desk);
        let first = desk
            .due
            .iter()
            .enumerate()
            .min_by_key(|(index, (at, _))| (*at, *index))
            .map(|(index, _)| index)?;
        Some(desk.due.remove(first).1)
    }

    /// No engine is there until then. What people say meanwhile waits in the inbox.
    pub(super) async fn nobody_drives(&self, plan: &Plan, until: Timestamp) {
        while let Some(at) = self.next_act().filter(|at| *at < until) {
            self.sleep_until(at).await;
            if let Some(act) = self.take_act() {
                self.act(plan, &act, None).await;
            }
        }
        self.sleep_until(until).await;
    }

    /// The run is at rest: what people still mean to do is done. Says whether an engine is to drive again.
    pub(super) async fn act_after_the_end(&self, plan: &Plan) -> bool {
        while let Some(at) = self.next_act() {
            self.sleep_until(at).await;
            let Some(act) = self.take_act() else { continue };
            if self.act(plan, &act, None).await {
                return true;
            }
        }
        false
    }

    /// Somebody acts. Says whether it was a command to the run.
    pub(super) async fn act(
        &self,
        plan: &Plan,
        act: &Act,
        nudge: Option<&mpsc::Sender<Nudge>>,
    ) -> bool {
        let by = identity(&act.by);
        let Some(command) = command_of(&act.deed, plan) else {
            self.tell(
                Source::Person,
                format!("{} {}", act.by, deed_in_words(&act.deed)),
            );
            self.deed(plan, act).await;
            return false;
        };
        let who = format!("{}: {}", act.by, command.name());
        self.tell(Source::Person, who.as_str());
        let journal = &self.stage.engine.journal;
        let posted = journal.post(RUN, self.now(), &by, &command).await;
        match (posted, nudge) {
            (Ok(id), Some(nudge)) => {
                // The engine may be gone: then the command waits in the inbox.
                let _ = nudge.send(Nudge::Inbox).await;
                self.sleep_until(self.now().plus(GLANCE)).await;
                self.tell_refusal(id, &who).await;
            }
            (Ok(id), None) => lock(&self.desk).left.push((id, who)),
            (Err(error), _) => self.tell(
                Source::Stage,
                format!("the command could not be left: {error}"),
            ),
        }
        true
    }

    /// Tells why a command was refused, if it was.
    pub(super) async fn tell_refusal(&self, id: u64, who: &str) {
        let answer = self.stage.engine.journal.answered(RUN, id).await;
        if let Ok(Some(Err(refusal))) = answer {
            let text = format!("{who} is refused: {refusal}").replace(RUN, "RUN");
            self.tell(Source::Person, text);
        }
    }

    async fn deed(&self, plan: &Plan, act: &Act) {
        match &act.deed {
            Deed::Patch {
                kind,
                namespace,
                name,
                merge,
            } => {
                let namespace = namespace.as_deref().unwrap_or(&self.stage.loaded.namespace);
                let Some(info) = crate::cluster::KINDS
                    .iter()
                    .find(|known| known.name == kind)
                else {
                    self.tell(
                        Source::Stage,
                        format!("the simulated cluster knows no {kind}"),
                    );
                    return;
                };
                let path = format!("{}/{name}", path_of(info, namespace));
                let mut request = Request::new("PATCH", &path).json(merge);
                request.content_type = "application/merge-patch+json".to_owned();
                request.user_agent = format!("somebody/{}", act.by);
                // Its outcome is the cluster's business: the observer sees it.
                drop(self.stage.cluster.handle(&request));
            }
            Deed::Create(object) => self.create(act, object),
            Deed::SecondRun => self.second_run(plan, act).await,
            _ => {}
        }
    }

    fn create(&self, act: &Act, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or_default();
        let Some(info) = crate::cluster::KINDS.iter().find(|it| it.name == kind) else {
            self.tell(
                Source::Stage,
                format!("the simulated cluster knows no {kind}"),
            );
            return;
        };
        let namespace = text("/metadata/namespace").unwrap_or(&self.stage.loaded.namespace);
        let mut request = Request::new("POST", &path_of(info, namespace)).json(object);
        request.user_agent = format!("somebody/{}", act.by);
        let answer = self.stage.cluster.handle(&request);
        drop(answer);
    }

    async fn second_run(&self, plan: &Plan, act: &Act) {
        let engine = Engine {
            world: self.stage.engine.world.clone(),
            journal: self.stage.elsewhere.clone(),
            leases: self.stage.engine.leases.clone(),
        };
        let options = Options {
            engine: "engine-elsewhere".to_owned(),
            leave_when_waiting: true,
            inbox_poll: Span::from_secs(60),
            give_back: GIVE_BACK,
        };
        let (_nudge, nudges) = mpsc::channel(1);
        let mut nobody = phasegate_runtime::engine::Unobserved;
        let outcome = engine
            .start(
                "second",
                plan.clone(),
                &identity(&act.by),
                &options,
                nudges,
                &mut nobody,
            )
            .await;
        match outcome {
            Ok((run, _)) => self.tell(Source::Stage, format!("the second run is {}", run.state())),
            Err(error) => self.tell(
                Source::Stage,
                format!("the second run is refused: {error}").replace(RUN, "RUN"),
            ),
        }
    }
}

/// Where the objects of a kind are.
fn path_of(info: &Info, namespace: &str) -> String {
    let group = if info.group.is_empty() {
        "api".to_owned()
    } else {
        format!("apis/{}", info.group)
    };
    format!(
        "/{group}/{}/namespaces/{namespace}/{}",
        info.version, info.plural
    )
}

fn command_of(deed: &Deed, plan: &Plan) -> Option<Command> {
    Some(match deed {
        Deed::Abort(reason) => Command::Abort {
            reason: reason.clone(),
        },
        Deed::Supersede(run) => Command::Supersede {
            run: run.clone(),
            targets: plan
                .workloads
                .iter()
                .map(|workload| workload.target.to_string())
                .collect(),
        },
        Deed::Pause(reason) => Command::Pause {
            reason: reason.clone(),
        },
        Deed::Continue(drift) => Command::Continue {
            drift: drift.map(|drift| match drift {
                Drift::Adopt => DriftAnswer::Adopt,
                Drift::Force => DriftAnswer::Force,
            }),
        },
        Deed::Approve(requirement) => Command::Approve {
            plan: plan.digest(),
            requirement: requirement.clone(),
        },
        Deed::Attest { name, text } => Command::Attest {
            name: name.clone(),
            text: text.clone(),
        },
        Deed::Retry => Command::Retry,
        Deed::Skip(step) => Command::Skip { step: step.clone() },
        Deed::HandOver(reason) => Command::HandOver {
            reason: reason.clone(),
        },
        Deed::Rollback(reason) => Command::RollBack {
            reason: reason.clone(),
        },
        Deed::DueDone(obligation) => Command::Discharge {
            obligation: *obligation,
        },
        Deed::Patch { .. } | Deed::Create(_) | Deed::SecondRun => return None,
    })
}

pub(super) fn deed_in_words(deed: &Deed) -> String {
    match deed {
        Deed::Patch {
            kind, name, merge, ..
        } => format!("patches {kind} {name}: {merge}"),
        Deed::Create(object) => {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            format!(
                "creates {} {}",
                text("/kind").unwrap_or("an object"),
                text("/metadata/name").unwrap_or_default()
            )
        }
        Deed::SecondRun => "starts a second run".to_owned(),
        other => format!("{other:?}")
            .split(['(', ' ', '{'])
            .next()
            .unwrap_or_default()
            .to_lowercase(),
    }
}
