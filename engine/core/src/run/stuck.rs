//! A way back that is stuck: what people can do about it.

use serde_json::{Value, json};

use super::retreat::undoes;
use super::state::{BackStage, Finish, Level, Mode, Phase, Stuck};
use super::{Illegal, Run};
use crate::effect::{Direction, Effect, Piece, Request, Severity};

impl Run {
    pub(super) fn stuck_at(&mut self, effect: &Effect, reason: String, decision: bool) {
        let step = match &effect.request {
            Request::Release { .. } | Request::Claim { .. } => undoes(&effect.request),
            _ if effect.direction == Direction::Forward => "drain",
            Request::Act { .. } => effect.step.as_deref().unwrap_or("undo"),
            request => undoes(request),
        };
        // A notice that can't be asked for any more must not hide that the run is stuck.
        if self.stuck(step, reason, decision).is_err() {
            self.say(
                "notice-dropped",
                Level::Error,
                "too many notices are under way",
                Value::Null,
            );
        }
    }

    pub(super) fn stuck(
        &mut self,
        step: &str,
        reason: String,
        decision: bool,
    ) -> Result<(), Illegal> {
        let now = self.now;
        if self.stuck_now().is_some() {
            return Ok(());
        }
        self.known.conflicts = 0;
        self.stop_asking();
        self.outstanding.retain(|_, outstanding| {
            matches!(outstanding.effect.request, Request::Notify { .. })
                || !matches!(outstanding.phase, Phase::Given | Phase::Ready)
        });
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        back.stuck = Some(Stuck {
            step: step.to_owned(),
            reason: reason.clone(),
            since: now,
            decision,
        });
        let words = format!("the rollback is stuck at {step}: {reason}");
        let help = format!("`retry`, `skip {step}` or `hand-over`");
        let said = format!("{words}; decide: {help}");
        self.say("stuck", Level::Error, said, json!({"step": step}));
        let text = format!("{words}. Help it with {help}.");
        self.tell(
            "stuck",
            Severity::Critical,
            format!("ROLLBACK STUCK: {}", self.headline()),
            text,
        )
    }

    pub(super) fn retry_stuck(&mut self) -> Result<(), Illegal> {
        let generation = self.new_generation()?;
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        back.stuck = None;
        back.generation = generation;
        let stage = back.stage.clone();
        if self.probe_now() {
            // Nobody knows what became of it: that comes before anything is written again.
            return Ok(());
        }
        match stage {
            BackStage::Claiming { .. } | BackStage::Unclaimed => self.claim_again(),
            // Goes on by itself.
            BackStage::Draining | BackStage::Diagnosing { .. } => Ok(()),
            BackStage::Looking { .. }
            | BackStage::Restoring { .. }
            | BackStage::Settling { .. }
            | BackStage::Checking { .. }
            | BackStage::Unrouting { .. }
            | BackStage::Following { .. }
            | BackStage::Removing { .. } => {
                // Whoever says so has seen what is there.
                self.known.looked = true;
                self.known.restored = false;
                self.known.ready = false;
                self.retreat()
            }
            BackStage::Undoing { .. } => self.go_on_undoing(),
            BackStage::Finishing(Finish::Tidying { .. }) => self.tidy(),
            BackStage::Finishing(_) => self.release_target(),
        }
    }

    /// Probes at once the write whose outcome is missing. Returns whether there is one.
    fn probe_now(&mut self) -> bool {
        let mut found = false;
        for outstanding in self.outstanding.values_mut() {
            if outstanding.is_notice() {
                continue;
            }
            found = true;
            outstanding.failures = 0;
            if let Phase::Waiting { probe: true, .. } = outstanding.phase {
                outstanding.phase = Phase::Missing;
            }
        }
        found
    }

    pub(super) fn skip_stuck(&mut self) -> Result<(), Illegal> {
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        let Some(stuck) = back.stuck.take() else {
            return Ok(());
        };
        back.skipped.push(stuck.step.clone());
        let (stage, unclaimed) = (back.stage.clone(), back.unclaimed);
        let releasing = self.releasing();
        let left = self.requested(&stage);
        self.forget_writes();
        match stage {
            BackStage::Unclaimed => self.hand_over(),
            BackStage::Claiming { .. } if unclaimed => self.hand_over(),
            BackStage::Claiming { .. } => {
                self.refuse_rollback("the target is not known to be held; nothing was changed")
            }
            // Whether the target is still held is not known: it is taken hold of again.
            BackStage::Draining if releasing.is_some() => self.claim_again(),
            // Goes on by itself.
            BackStage::Draining | BackStage::Diagnosing { .. } => Ok(()),
            BackStage::Settling { .. } if !stuck.decision && self.serves_alone() => {
                self.known.ready = true;
                self.retreat()
            }
            BackStage::Undoing { .. } => {
                self.settle_act(&stuck.step);
                self.go_on_undoing()
            }
            // Of the last things each can be left as it is.
            BackStage::Removing { .. } => {
                self.known.back = true;
                left.iter().for_each(|request| self.give_up(request));
                self.retreat()
            }
            // The target stays as it is, so it isn't what it was before the run: the candidate may serve.
            BackStage::Looking { .. }
            | BackStage::Restoring { .. }
            | BackStage::Settling { .. }
            | BackStage::Checking { .. }
            | BackStage::Unrouting { .. }
            | BackStage::Following { .. } => self.hand_over(),
            BackStage::Finishing(Finish::Tidying { .. }) => {
                left.iter().for_each(|request| self.give_up(request));
                self.release_target()
            }
            BackStage::Finishing(_) => self.leave_next_claim(releasing),
        }
    }

    /// What the stage has asked for.
    fn requested(&self, stage: &BackStage) -> Option<Request> {
        let (BackStage::Removing { effect } | BackStage::Finishing(Finish::Tidying { effect })) =
            stage
        else {
            return None;
        };
        let outstanding = self.outstanding.get(effect)?;
        Some(outstanding.effect.request.clone())
    }

    /// Goes on without letting go of the target at which that is stuck.
    fn leave_next_claim(&mut self, releasing: Option<usize>) -> Result<(), Illegal> {
        let arriving = self.claim_arrives.keys().next_back();
        if let Some(place) = releasing.or(self.claimed.last().or(arriving).copied()) {
            self.leave_claim(place);
        }
        self.release_target()
    }

    /// Whether nothing but stable can be serving, so that going on takes nothing away.
    pub(super) fn serves_alone(&self) -> bool {
        let known = &self.known;
        !known.traffic.touched && !known.pieces.contains(&Piece::Deployment)
    }

    /// The workload whose target is being let go of.
    fn releasing(&self) -> Option<usize> {
        let mut effects = self.outstanding.values().map(|o| &o.effect);
        let release = effects.find(|effect| matches!(effect.request, Request::Release { .. }))?;
        Some(release.workload)
    }

    pub(super) fn hand_over(&mut self) -> Result<(), Illegal> {
        let releasing = self.releasing();
        self.forget_writes();
        let Mode::Back(back) = &mut self.mode else {
            return Ok(());
        };
        back.stuck = None;
        back.handed_over = true;
        match back.stage {
            // What people take over is the claim itself.
            BackStage::Finishing(Finish::Releasing { .. }) => self.leave_next_claim(releasing),
            _ => self.release_target(),
        }
    }

    fn forget_writes(&mut self) {
        // A claim of which nobody knows whether it was made may be there, and is let go of like one that is.
        let claiming = self
            .outstanding
            .values()
            .filter(|outstanding| matches!(outstanding.effect.request, Request::Claim { .. }))
            .map(|outstanding| outstanding.effect.workload)
            .collect::<Vec<_>>();
        self.claimed.extend(claiming);
        self.outstanding
            .retain(|_, outstanding| matches!(outstanding.effect.request, Request::Notify { .. }));
    }
}
