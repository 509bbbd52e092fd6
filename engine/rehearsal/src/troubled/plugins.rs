//! Plugins, with trouble.

use std::sync::Arc;

use async_trait::async_trait;
use phasegate_core::effect::{Deed, Done, Notice, Progress, Reading};
use phasegate_core::failure::{Failure, Problem};
use phasegate_core::plan::{Pin, Use};
use phasegate_core::strategy::{RouterFeatures, Situation, Split, Step, StepOutcome};
use phasegate_core::verdict::{Question, Status, Verdict};
use phasegate_runtime::ports::{Call, Description, Plugins};
use serde_json::Value;

use super::hand::Hand;
use crate::trouble::{Kind, Mischief};

/// The step and the gate that a gate's key names.
fn subject(call: &Call) -> String {
    let key = call.key.strip_prefix(&call.run).unwrap_or(&call.key);
    let key = key.trim_start_matches('/');
    match key.rsplit_once('/') {
        Some((subject, _)) => subject.replace("/gate/", " "),
        None => key.to_owned(),
    }
}

fn verdict(status: Status) -> Verdict {
    Verdict {
        status,
        reason: "as is rehearsed".to_owned(),
        measurements: Vec::new(),
        links: Vec::new(),
        needs: None,
        memory: None,
        extra: Value::Null,
    }
}

pub(super) struct TroubledPlugins(pub(super) Arc<dyn Plugins>, pub(super) Hand);

#[async_trait]
impl Plugins for TroubledPlugins {
    async fn describe(&self, plugin: &str) -> Result<(Pin, Description), Failure> {
        self.0.describe(plugin).await
    }

    async fn validate(&self, kind: &str, offer: &Use) -> Result<Vec<Problem>, Failure> {
        self.0.validate(kind, offer).await
    }

    async fn plan(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
    ) -> Result<Vec<Step>, Failure> {
        let answer = self.0.plan(strategy, call, situation);
        self.1.called(Kind::Plan, call, answer).await
    }

    async fn revise(
        &self,
        strategy: &Use,
        call: &Call,
        situation: &Situation,
        done: &[StepOutcome],
        remaining: &[Step],
    ) -> Result<Option<Vec<Step>>, Failure> {
        let answer = self.0.revise(strategy, call, situation, done, remaining);
        self.1.called(Kind::Revise, call, answer).await
    }

    async fn evaluate(
        &self,
        gate: &Use,
        call: &Call,
        question: &Question,
    ) -> Result<Verdict, Failure> {
        let struck = self.1.strikes(Kind::Evaluate, Some(&subject(call)));
        match struck {
            Some(Mischief::SaysFail) => Ok(verdict(Status::Fail)),
            Some(Mischief::SaysNothing) => Ok(verdict(Status::Inconclusive)),
            struck => {
                let answer = self.0.evaluate(gate, call, question);
                self.1.plugin(Kind::Evaluate, call, struck, answer).await
            }
        }
    }

    async fn supports(&self, router: &Use, call: &Call) -> Result<RouterFeatures, Failure> {
        let answer = self.0.supports(router, call);
        self.1.called(Kind::Supports, call, answer).await
    }

    async fn snapshot(&self, router: &Use, call: &Call) -> Result<Value, Failure> {
        let answer = self.0.snapshot(router, call);
        self.1.called(Kind::Snapshot, call, answer).await
    }

    async fn route(&self, router: &Use, call: &Call, split: &Split) -> Result<(), Failure> {
        let answer = self.0.route(router, call, split);
        self.1.called(Kind::Route, call, answer).await
    }

    async fn reading(&self, router: &Use, call: &Call) -> Result<Reading, Failure> {
        let answer = self.0.reading(router, call);
        self.1.called(Kind::Reading, call, answer).await
    }

    async fn unroute(&self, router: &Use, call: &Call, snapshot: &Value) -> Result<(), Failure> {
        let answer = self.0.unroute(router, call, snapshot);
        self.1.called(Kind::Unroute, call, answer).await
    }

    async fn act(&self, action: &Use, call: &Call, deed: &Deed) -> Result<Done, Failure> {
        let kind = match deed {
            Deed::Prepare => Kind::Prepare,
            Deed::Run { .. } => Kind::Act,
            Deed::Undo { .. } => Kind::Undo,
            Deed::Cancel { .. } => Kind::Cancel,
        };
        let answer = self.0.act(action, call, deed);
        self.1.called(kind, call, answer).await
    }

    async fn progress(
        &self,
        action: &Use,
        call: &Call,
        token: &Value,
    ) -> Result<Progress, Failure> {
        let answer = self.0.progress(action, call, token);
        self.1.called(Kind::Progress, call, answer).await
    }

    async fn notify(
        &self,
        notifier: &Use,
        call: &Call,
        notice: &Notice,
    ) -> Result<Option<Value>, Failure> {
        let answer = self.0.notify(notifier, call, notice);
        self.1.called(Kind::Notify, call, answer).await
    }
}
