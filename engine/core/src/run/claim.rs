//! Taking hold of the target, on either way.

use serde_json::{Value, json};

use super::limits;
use super::state::{BackStage, Cause, Forward, Level, Mode};
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::{Effect, Request, Severity};
use crate::failure::Failure;

impl Run {
    pub(super) fn start(&mut self) -> Result<bool, Illegal> {
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let effect = self.request("claim".to_owned(), None, request)?;
        let deadline = self.now.plus(self.plan.rollback.step_timeout);
        self.mode = Mode::Forward(Forward::Claiming { effect, deadline });
        Ok(true)
    }

    pub(super) fn claim_taken(&mut self) -> Result<(), Illegal> {
        self.claimed = true;
        let target = self.plan.target.to_string();
        self.say(
            "claimed",
            Level::Info,
            format!("holds {target}"),
            json!({"target": target}),
        );
        match &mut self.mode {
            Mode::Forward(_) => {
                let text = format!(
                    "{} started the release of {}.",
                    self.started_by.name,
                    self.headline()
                );
                self.tell(
                    "started",
                    Severity::Info,
                    format!("Release started: {}", self.headline()),
                    text,
                )?;
                self.enter(0, 0)
            }
            Mode::Back(_) => self.claim_taken_back(),
            Mode::Ended(_) => Ok(()),
        }
    }

    pub(super) fn claim_failed(
        &mut self,
        effect: &Effect,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let after_success = match &self.mode {
            Mode::Back(back) => back.after_success,
            Mode::Forward(_) | Mode::Ended(_) => false,
        };
        if matches!(self.mode, Mode::Back(_)) && !after_success {
            // The run turned back meanwhile: it needs no hold any more.
            self.forget(effect.id);
            return Ok(());
        }
        let attempts = if failure.kind.may_pass() && failure.code != codes::TARGET_BUSY {
            self.again(effect.id, failure)
        } else {
            limits::WRITE_ATTEMPTS
        };
        if attempts < limits::WRITE_ATTEMPTS {
            self.say_attempt(
                "claim-failed",
                Level::Warn,
                Some(attempts),
                failure.to_string(),
                json!({"code": failure.code.to_string()}),
            );
            return Ok(());
        }
        self.forget(effect.id);
        if after_success {
            return self.refuse_rollback(&format!("the target can't be held again: {failure}"));
        }
        self.say(
            "claim-failed",
            Level::Error,
            failure.to_string(),
            json!({"code": failure.code.to_string()}),
        );
        self.go_back(Cause {
            by: None,
            reason: failure.to_string(),
            step: None,
            superseded_by: None,
        })
    }

    /// A claim was sent and not answered.
    pub(super) fn claim_lost(&mut self) {
        self.claims_lost = self.claims_lost.saturating_add(1);
        self.claim_arrives = Some(self.now.plus(limits::CLAIM_ARRIVES));
    }

    /// A probe has found one of those that were not answered: it won't arrive once more.
    pub(super) fn claim_found(&mut self) {
        self.claims_lost = self.claims_lost.saturating_sub(1);
        if self.claims_lost == 0 {
            self.claim_arrives = None;
        }
    }

    /// None is to arrive any more.
    pub(super) fn no_claim_arrives(&mut self) {
        self.claims_lost = 0;
        self.claim_arrives = None;
    }

    /// The target was let go of: it must be held again before anything is written.
    pub(super) fn claim_again(&mut self) -> Result<(), Illegal> {
        let generation = self.new_generation()?;
        let request = Request::Claim {
            plan: self.digest.to_string(),
            started_by: self.started_by.name.clone(),
        };
        let effect = self.request(format!("rollback/claim/{generation}"), None, request)?;
        if let Mode::Back(back) = &mut self.mode {
            back.after_success = true;
            back.generation = generation;
            back.stage = BackStage::Claiming { effect };
        }
        Ok(())
    }

    /// Takes nothing back: since the run succeeded the target has become somebody else's.
    pub(super) fn refuse_rollback(&mut self, reason: &str) -> Result<(), Illegal> {
        self.say("rollback-refused", Level::Error, reason, Value::Null);
        self.cause = None;
        if let Mode::Back(back) = &mut self.mode {
            back.refused = true;
            back.cause.reason = format!("refused: {reason}");
        }
        self.release_target()
    }

    pub(super) fn claim_taken_back(&mut self) -> Result<(), Illegal> {
        if let Mode::Back(back) = &self.mode
            && matches!(back.stage, BackStage::Claiming { .. })
        {
            self.set_back(BackStage::Draining);
        }
        Ok(())
    }
}
