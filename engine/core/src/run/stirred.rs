//! Looks that a watch answers: the cluster says by itself what has changed, and the run looks at once. What a watch has
//! told may be old - a connection that was cut looks like a cluster in which nothing happens - so that nothing follows
//! from it but that there is something to be read.

use super::limits::{SETTLE_INTERVAL, STIR_LEAST};
use super::state::{BackStage, Forward, Look, Mode, Stage};
use super::{Illegal, Run};
use crate::time::{Span, Timestamp};
use crate::workload::{Observation, Target};

impl Run {
    /// The target whose changes the run wants to be told: one that is to be looked at later.
    #[must_use]
    pub fn stirred_by(&self) -> Option<&Target> {
        self.driver.as_ref()?;
        let [look, reading] = self.sooner();
        (look.is_some() || reading.is_some()).then_some(&self.hand.target)
    }

    /// What is looked at has changed.
    pub(super) fn stirred(&mut self) {
        let [look, reading] = self.sooner();
        if let Some(at) = look {
            self.look.due = at;
        }
        if let Some(at) = reading {
            self.reading.due = at;
        }
    }

    /// When the workload and the traffic can be looked at, where that is sooner than they would be.
    fn sooner(&self) -> [Option<Timestamp>; 2] {
        [
            self.sooner_than(&self.look, self.look_interval()),
            self.sooner_than(&self.reading, self.reading_interval()),
        ]
    }

    fn sooner_than(&self, look: &Look, interval: Option<Span>) -> Option<Timestamp> {
        let least = match interval? {
            short if short <= SETTLE_INTERVAL => STIR_LEAST,
            _ => SETTLE_INTERVAL,
        };
        // The first look of its kind comes when it is due: a wait after a failure isn't cut short.
        let at = look.last?.plus(least).max(self.now);
        (look.effect.is_none() && at < look.due).then_some(at)
    }

    /// Whether what a watch has told is enough for the look that is due. Whatever takes capacity away, or writes over
    /// what others may have written, is preceded by one that reads.
    pub(super) fn may_be_watched(&self) -> bool {
        let reads = match &self.mode {
            Mode::Forward(Forward::At(cursor)) => matches!(cursor.stage, Stage::Proving { .. }),
            Mode::Back(back) => !matches!(back.stage, BackStage::Settling { .. }),
            Mode::Forward(_) | Mode::Ended(_) => true,
        };
        !reads && !self.look.reads && !self.look.confirms
    }

    /// Whether the run would stay where it is, if this were what there is now.
    pub(super) fn stays(&self, seen: &Observation) -> bool {
        let mut then = self.clone();
        then.take_in(seen).is_ok()
            && then.mode == self.mode
            && then.known == self.known
            && then.outstanding == self.outstanding
    }

    /// What a watch has told would move the run on: so the target is read.
    pub(super) fn read_instead(&mut self) -> Result<(), Illegal> {
        self.look.effect = None;
        self.look.reads = true;
        self.look.due = self.now;
        self.look_if_due()
    }
}
