//! Pieces of the candidate whose making was not answered: they can come about after they were looked for, and even
//! after they were removed. Waiting is the only fence that an object which isn't there can have. So it is with actions:
//! `acts/late.rs`.

use serde_json::json;

use super::limits;
use super::state::{BackStage, Finish, Known, Level, Mode};
use super::{Illegal, Run};
use crate::effect::{Effect, Piece, Request};
use crate::strategy::Slot;
use crate::time::Timestamp;

impl Known {
    /// The making of a piece was sent and not answered.
    pub(super) fn lost(&mut self, piece: Piece, now: Timestamp) {
        let until = now.plus(limits::ARRIVES);
        let lost = self.doubted.entry(piece).or_insert((0, until));
        *lost = (lost.0.saturating_add(1), until);
    }

    /// A probe has found one that was not answered: it won't come about once more.
    pub(super) fn arrived(&mut self, piece: Piece) {
        if let Some((count, _)) = self.doubted.get_mut(&piece) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.doubted.remove(&piece);
            }
        }
    }
}

impl Run {
    /// Before the targets are let go of, on either way: takes away the next piece that may have come about since it
    /// was last looked for, once none can any more. Returns whether there is one.
    pub(super) fn sweep(&mut self) -> Result<bool, Illegal> {
        if matches!(&self.mode, Mode::Back(back) if back.handed_over || back.refused) {
            // It is left as it is.
            return Ok(false);
        }
        let places = 0..self.plan.workloads.len();
        let late = places.filter(|place| self.claimed.contains(place));
        let mut late = late.filter_map(|place| {
            let known = self.known_of(place)?;
            let mut doubted = known.doubted.iter();
            let gone = doubted.find(|(piece, _)| !known.pieces.contains(*piece))?;
            Some((place, *gone.0, gone.1.1))
        });
        let Some((place, piece, until)) = late.next() else {
            return Ok(false);
        };
        self.take_in_hand(place);
        let name = match piece {
            Piece::Config(place) => format!("config-{place}"),
            _ => piece.as_str().to_lowercase(),
        };
        let what = format!("{}late-{name}", self.prefix());
        let key = match &self.mode {
            Mode::Back(back) => format!("rollback/{what}/{}", back.generation),
            Mode::Forward(_) | Mode::Ended(_) => format!("finish/{what}"),
        };
        let slot = Slot::Candidate;
        let effect = self.request(key, None, Request::Remove { slot, piece })?;
        if until > self.now {
            self.waits_until(effect, until);
            let words = format!(
                "the candidate's {}, whose making was not answered, may come about until {until}; it is removed then",
                piece.as_str()
            );
            let words = self.about(words);
            self.say("remove-waits", Level::Info, words, json!({"until": until}));
        }
        match &mut self.mode {
            Mode::Back(back) if !self.past_point => {
                back.stage = BackStage::Removing { effect };
            }
            _ => self.set_finish(Finish::Tidying { effect }),
        }
        Ok(true)
    }

    /// Nobody looks any more for the piece that this was to take away, if it may have come late.
    pub(super) fn give_up(&mut self, request: &Request) {
        if let Request::Remove { piece, .. } = request
            && self.sweeps(request)
        {
            self.known.doubted.remove(piece);
        }
    }

    /// Whether the request takes away what may have come late.
    pub(super) fn sweeps(&self, request: &Request) -> bool {
        matches!(request, Request::Remove { slot, piece }
            if !slot.is_stable() && !self.known.pieces.contains(piece))
    }

    /// There is nothing of this run's to take away.
    pub(super) fn sweep_over(&mut self, effect: &Effect) -> Result<(), Illegal> {
        self.forget(effect.id);
        if let Request::Remove { piece, .. } = &effect.request {
            self.known.doubted.remove(piece);
        }
        self.release_target()
    }
}
