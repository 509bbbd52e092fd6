//! The run whose place is taken: it is brought back by whoever drives it, or by this process.

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::event::Command;
use phasegate_core::run::{End, Run, State as RunState};
use phasegate_core::time::Span;
use phasegate_runtime::engine::Nudge;
use phasegate_runtime::ports::{Clock, Journal, JournalError};
use phasegate_world::clock::SystemClock;
use tokio::sync::mpsc;

use super::run;
use super::supersede::refused;
use crate::args::Driving;
use crate::console::Console;
use crate::drive::{self, Signals};
use crate::exit::{Exit, Fault};
use crate::state::State;

/// How often it is looked whether the engine of the old run has left, in real time.
const POLL: Span = Span::from_millis(200);
/// How often the old run may change hands before the new one gives up.
const HANDS: u32 = 20;

/// How waiting for the old run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The target is kept for the new run.
    Back,
    /// A signal: the new run is not to begin.
    CalledOff,
    /// A signal: this process leaves, and `resume` goes on.
    Left,
}

/// Waits until the old run is back, and drives it there where nobody does.
pub(super) struct Waiting<'a> {
    pub(super) state: &'a State,
    pub(super) before: &'a str,
    pub(super) id: &'a str,
    pub(super) asked: Command,
    pub(super) driving: Driving,
    pub(super) console: &'a Console,
}

impl Waiting<'_> {
    /// Returns once the old run has ended as it must for the new one to begin, or a signal came.
    pub(super) async fn bring_back(&self) -> Result<Waited, Fault> {
        let journal = &self.state.journal;
        let mut posted = None;
        let mut called_off = false;
        for _ in 0..HANDS {
            let guard = match journal.drive(self.before).await {
                Ok(guard) => Some(guard),
                Err(JournalError::InUse(_)) => None,
                Err(error) => return Err(error.into()),
            };
            let run = self.state.replay(self.before).await?;
            if guard.is_some() && run.resting() {
                self.is_back(&run)?;
                return Ok(if called_off {
                    Waited::CalledOff
                } else {
                    Waited::Back
                });
            }
            if posted.is_none() && run.superseded_by() != Some(self.id) {
                let now = SystemClock.now();
                let who = drive::who();
                posted = Some(journal.post(self.before, now, &who, &self.asked).await?);
            }
            let drives = guard.is_some();
            // Whoever drives takes the lock itself.
            drop(guard);
            if drives {
                let note = format!("{} goes back first", self.before);
                self.console.note(&note);
                match run::drive_here(self.state, &run, self.driving, self.console).await? {
                    Some(drove) => {
                        called_off |= drove.aborted;
                        drive::conclude(self.state, self.console, &drove.run, drove.left).await?;
                        self.was_taken(posted).await?;
                        if !drove.run.resting() {
                            return Ok(Waited::Left);
                        }
                    }
                    None => continue,
                }
            } else {
                self.console.note(&format!(
                    "an engine drives {}; it goes back first",
                    self.before
                ));
                match self.until_it_leaves(posted).await? {
                    Waited::Left => return Ok(Waited::Left),
                    Waited::CalledOff => called_off = true,
                    Waited::Back => {}
                }
            }
        }
        Err(JournalError::InUse(self.before.to_owned()).into())
    }

    /// The old run must have taken the command, if it was looked at.
    async fn was_taken(&self, posted: Option<u64>) -> Result<(), Fault> {
        let Some(number) = posted else { return Ok(()) };
        match self.state.journal.answered(self.before, number).await? {
            Some(Err(refused)) => Err(drive::refusal(&refused)),
            _ => Ok(()),
        }
    }

    async fn until_it_leaves(&self, posted: Option<u64>) -> Result<Waited, Fault> {
        let (_signals, mut nudges) = Signals::listen(self.driving.on_cancel, self.console)?;
        let mut waited = Waited::Back;
        loop {
            self.was_taken(posted).await?;
            if self.state.journal.drive(self.before).await.is_ok() {
                return Ok(waited);
            }
            match nudged(&mut nudges).await {
                Some(Nudge::Leave(_)) => return Ok(Waited::Left),
                Some(Nudge::Abort(..)) => waited = Waited::CalledOff,
                Some(Nudge::Inbox) | None => {}
            }
        }
    }

    /// Whether the old run ended as it must have for the new one to begin.
    fn is_back(&self, run: &Run) -> Result<(), Fault> {
        let (id, before) = (self.id, self.before);
        if let Some(stuck) = run.stuck_now() {
            let step = &stuck.step;
            let message =
                format!("{id} has not begun: the rollback of {before} is stuck at {step}");
            let hint = format!(
                "help it with `phasegate retry {before}`, `skip` or `hand-over`; `phasegate resume {id}` goes on then"
            );
            let fault = Diagnostic::new(codes::PREDECESSOR_STUCK, message)
                .found(stuck.reason.clone())
                .hint(hint);
            return Err(Fault::from(fault).exits(Exit::Stuck));
        }
        match run.state() {
            RunState::Ended {
                end: End::Superseded,
            } if run.superseded_by() == Some(id) => Ok(()),
            RunState::Ended {
                end: End::RollbackStuck,
            } => {
                let message = format!("{id} does not begin: {before} was handed over to people");
                let fault = Diagnostic::new(codes::PREDECESSOR_STUCK, message)
                    .hint("look at the target, then start the new run; it is free");
                Err(fault.into())
            }
            state => Err(refused(
                format!("{before} could not be superseded any more: {state}"),
                "start the new run".to_owned(),
            )),
        }
    }
}

/// A signal, if one comes within the time of a poll.
async fn nudged(nudges: &mut mpsc::Receiver<Nudge>) -> Option<Nudge> {
    tokio::select! {
        biased;
        Some(nudge) = nudges.recv() => Some(nudge),
        () = SystemClock.sleep_until(SystemClock.now().plus(POLL)) => None,
    }
}
