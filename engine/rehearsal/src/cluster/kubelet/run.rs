//! One pod's life: its stages, and when each ends.

use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};

use super::back_off;
use crate::cluster::config::{Config, Crash, PodRule, Pull};

/// How long `ErrImagePull` shows before `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Span = Span::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Pending,
    Creating,
    PullFailed,
    PullBackOff,
    Running,
    BackOff,
    Done { ok: bool },
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) uid: String,
    pub(super) rule: Option<Arc<PodRule>>,
    /// The container that the rule is about.
    pub(super) container: String,
    pub(super) restart: Restart,
    pub(super) stage: Stage,
    pub(super) since: Timestamp,
    pub(super) created: Timestamp,
    pub(super) scheduled: Option<Timestamp>,
    pub(super) attempts: u32,
    pub(super) restarts: u32,
    /// Exit code, begin and end of the last instance that ended.
    pub(super) last: Option<(i32, Timestamp, Timestamp)>,
    pub(super) ready_since: Option<Timestamp>,
    pub(super) ready_changed: Timestamp,
    pub(super) ip: String,
    pub(super) node: u64,
    pub(super) gone_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Something to tell in an Event.
pub(super) struct Note {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Run {
    /// Whether its container runs, and whether it is ready: what the data plane's requests meet.
    pub(super) fn serving(&self) -> (bool, bool) {
        (self.stage == Stage::Running, self.ready_since.is_some())
    }

    fn crash(&self) -> Option<&Crash> {
        let crash = self.rule.as_ref()?.crash.as_ref()?;
        crash
            .restarts_before_ok
            .is_none_or(|ok| self.restarts < ok)
            .then_some(crash)
    }

    /// When the present stage ends, if it does by itself.
    pub(super) fn stage_ends(&self, config: &Config) -> Option<Timestamp> {
        let rule = self.rule.as_deref();
        let span = match self.stage {
            Stage::Pending if rule.is_some_and(|rule| rule.unschedulable) => return None,
            Stage::Pending => config.scheduling,
            Stage::Creating => config.starting,
            Stage::PullFailed => PULL_ERROR_SHOWN,
            Stage::PullBackOff => back_off(self.attempts.saturating_sub(1)),
            Stage::BackOff => back_off(self.restarts.saturating_sub(1)),
            Stage::Running => match (self.crash(), self.restart) {
                (Some(crash), _) => crash.after,
                (None, Restart::Always) => return None,
                (None, _) => rule
                    .and_then(|rule| rule.completes_after)
                    .unwrap_or(config.default_completion),
            },
            Stage::Done { .. } => return None,
        };
        Some(self.since.plus(span))
    }

    /// Goes on to the next stage at a moment.
    pub(super) fn step(&mut self, at: Timestamp, image: &str, notes: &mut Vec<Note>) {
        let container = &self.container;
        let mut note = |warning, reason, message: String| {
            notes.push(Note {
                warning,
                reason,
                message,
            })
        };
        let next = match self.stage {
            Stage::Pending => {
                self.scheduled = Some(at);
                Stage::Creating
            }
            Stage::Creating | Stage::PullBackOff
                if self
                    .rule
                    .as_ref()
                    .is_some_and(|rule| rule.pull == Pull::Fails) =>
            {
                self.attempts = self.attempts.saturating_add(1);
                note(
                    true,
                    "Failed",
                    format!("Failed to pull image \"{image}\": manifest unknown"),
                );
                note(true, "Failed", "Error: ErrImagePull".to_owned());
                Stage::PullFailed
            }
            Stage::PullFailed => {
                note(
                    false,
                    "BackOff",
                    format!("Back-off pulling image \"{image}\""),
                );
                note(true, "Failed", "Error: ImagePullBackOff".to_owned());
                Stage::PullBackOff
            }
            Stage::Creating | Stage::PullBackOff => {
                note(
                    false,
                    "Pulled",
                    format!("Container image \"{image}\" already present on machine"),
                );
                note(false, "Created", format!("Created container: {container}"));
                note(false, "Started", format!("Started container {container}"));
                Stage::Running
            }
            Stage::BackOff => {
                self.restarts = self.restarts.saturating_add(1);
                note(false, "Started", format!("Started container {container}"));
                Stage::Running
            }
            Stage::Running => match self.crash().map(|crash| crash.exit_code) {
                None => Stage::Done { ok: true },
                Some(code) => {
                    self.last = Some((code, self.since, at));
                    match self.restart {
                        Restart::Never if code != 0 => Stage::Done { ok: false },
                        Restart::Never => Stage::Done { ok: true },
                        Restart::OnFailure if code == 0 => Stage::Done { ok: true },
                        // The first restart is immediate.
                        _ if self.restarts == 0 => {
                            self.restarts = 1;
                            note(false, "Started", format!("Started container {container}"));
                            Stage::Running
                        }
                        _ => {
                            note(
                                true,
                                "BackOff",
                                format!("Back-off restarting failed container {container}"),
                            );
                            Stage::BackOff
                        }
                    }
                }
            },
            Stage::Done { ok } => Stage::Done { ok },
        };
        self.stage = next;
        self.since = at;
    }

    /// Whether the readiness probe succeeds at a moment, and when that changes next.
    pub(super) fn readiness(&self, now: Timestamp, config: &Config) -> (bool, Option<Timestamp>) {
        if self.stage != Stage::Running {
            return (false, None);
        }
        let rule = self.rule.as_deref();
        if rule.is_some_and(|rule| rule.never_ready) {
            return (false, None);
        }
        let first = self.since.plus(
            rule.and_then(|rule| rule.ready_after)
                .unwrap_or(config.default_ready),
        );
        if now < first {
            return (false, Some(first));
        }
        let Some(lost) = rule
            .and_then(|rule| rule.unready_after)
            .map(|span| first.plus(span))
        else {
            return (true, None);
        };
        if now < lost {
            return (true, Some(lost));
        }
        match rule
            .and_then(|rule| rule.recovers_after)
            .map(|span| lost.plus(span))
        {
            Some(again) if now < again => (false, Some(again)),
            Some(_) => (true, None),
            None => (false, None),
        }
    }
}
