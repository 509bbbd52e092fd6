//! Another run takes this one's place: it goes back first, and the target is handed over without a gap.

use serde_json::json;

use super::people::Refusal;
use super::state::{BackStage, Cause, Finish, Forward, Level, Mode, Succession};
use super::{Illegal, Run};
use crate::diagnostic::codes;
use crate::effect::Successor;
use crate::event::Identity;

impl Run {
    /// Whether that run may take this one's place.
    pub(super) fn may_be_superseded(&self, by: &str) -> Result<(), Refusal> {
        let refuse = |message: &str, hint: &str| {
            let message = format!("{} can't be superseded: {message}", self.id);
            Err(Refusal::new(codes::SUPERSEDE_REFUSED, message, hint))
        };
        let soon = "start the new run once this one has ended";
        if by.is_empty() || by == self.id {
            return refuse("a run takes the place of another", "name another run");
        }
        if self.past_point {
            return refuse("it is past its point of no return", soon);
        }
        let back = match &self.mode {
            Mode::Ended(_) => return refuse("it is over", "start the new run"),
            Mode::Forward(Forward::Finishing(_) | Forward::Keeping(_)) => {
                return refuse("every step of it is done", soon);
            }
            Mode::Forward(_) => return Ok(()),
            Mode::Back(back) => back,
        };
        match (&back.succession, &back.stuck) {
            (Some(succession), _) if succession.to.run == by => return Ok(()),
            (Some(succession), _) => {
                let first = &succession.to.run;
                return Err(Refusal::new(
                    codes::SUPERSEDED_ALREADY,
                    format!("{first} comes after {} already", self.id),
                    format!("supersede {first} once it has begun"),
                ));
            }
            (None, Some(stuck)) => {
                let step = &stuck.step;
                let message = format!("its rollback is stuck at {step}");
                let hint = format!("help it first with `retry`, `skip {step}` or `hand-over`");
                return refuse(&message, &hint);
            }
            (None, None) => {}
        }
        let going = matches!(
            back.stage,
            BackStage::Finishing(Finish::Releasing { .. } | Finish::Closing)
        );
        if going || back.handed_over || back.refused {
            return refuse("it is letting go of the target", soon);
        }
        Ok(())
    }

    /// Goes back, or goes on with that, and keeps the target for the run that comes after.
    pub(super) fn supersede(
        &mut self,
        by: &Identity,
        run: &str,
        targets: &[String],
    ) -> Result<(), Illegal> {
        let workloads = self.plan.workloads.iter();
        let own = workloads.map(|workload| workload.target.to_string());
        let targets = own.filter(|own| targets.contains(own)).collect();
        let to = Successor {
            run: run.to_owned(),
            started_by: by.name.clone(),
        };
        let data = json!({"by": by.name, "verifiedBy": by.verified_by, "run": run});
        let words = format!("{} starts {run} in its place", by.name);
        self.say("superseded", Level::Warn, words, data);
        if !matches!(self.mode, Mode::Back(_)) {
            let step = self.here().1;
            self.go_back(Cause {
                by: Some(by.clone()),
                reason: format!("superseded by {run}"),
                step,
                superseded_by: Some(run.to_owned()),
            })?;
        }
        if let Mode::Back(back) = &mut self.mode {
            back.cause.superseded_by = Some(run.to_owned());
            back.succession = Some(Box::new(Succession { to, targets }));
            self.cause = Some(back.cause.clone());
        }
        Ok(())
    }

    /// The run that the target of a workload is kept for when this one lets go of it. What people
    /// have taken over is kept for nobody.
    pub(super) fn successor_at(&self, place: usize) -> Option<Successor> {
        let Mode::Back(back) = &self.mode else {
            return None;
        };
        let succession = back.succession.as_ref()?;
        let target = self.plan.workload(place)?.target.to_string();
        let keeps = succession.targets.contains(&target) && !back.handed_over && !back.refused;
        keeps.then(|| succession.to.clone())
    }
}
