//! Telling people. A notice never fails a run; it goes out at least once, and a critical one has a fallback.

use serde_json::{Value, json};

use super::limits;
use super::state::{Cause, End, Level, Mode};
use super::{Illegal, Run};
use crate::effect::{Effect, Notice, Request, Severity};
use crate::failure::Failure;
use crate::verdict::Pair;

impl Run {
    /// The release in a few words.
    pub(super) fn headline(&self) -> String {
        let subject = &self.plan.subject;
        format!(
            "{} {} → {} in {}",
            subject.name, subject.previous_version, subject.version, subject.environment
        )
    }

    fn fields(&self) -> Vec<Pair> {
        let subject = &self.plan.subject;
        vec![
            Pair::new("run", &self.id),
            Pair::new("release", &subject.name),
            Pair::new("version", &subject.version),
            Pair::new("previous version", &subject.previous_version),
            Pair::new("environment", &subject.environment),
            Pair::new("started by", &self.started_by.name),
            Pair::new("target", self.plan.targets()),
        ]
    }

    /// Tells everybody who wants to know of this event.
    pub(super) fn tell(
        &mut self,
        event: &str,
        severity: Severity,
        title: String,
        text: String,
    ) -> Result<(), Illegal> {
        let wanted = self.plan.notifiers.iter().filter(|(_, notifier)| {
            notifier.on.is_empty() || notifier.on.iter().any(|on| on == event)
        });
        let names = wanted.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in names {
            self.tell_one(&name, event, severity, title.clone(), text.clone())?;
        }
        Ok(())
    }

    pub(super) fn tell_one(
        &mut self,
        notifier: &str,
        event: &str,
        severity: Severity,
        title: String,
        text: String,
    ) -> Result<(), Illegal> {
        let notices = self.outstanding.values().filter(|o| o.is_notice());
        if notices.count() >= limits::NOTICES {
            self.say(
                "notice-dropped",
                Level::Error,
                format!("too many notices are under way: {event} is not told to {notifier}"),
                Value::Null,
            );
            return Ok(());
        }
        let thread = self.threads.get(notifier).cloned();
        let notice = Notice {
            event: event.to_owned(),
            severity,
            title,
            text,
            fields: self.fields(),
            links: Vec::new(),
            thread,
        };
        self.notices = self.notices.saturating_add(1);
        let key = format!("notice/{}/{event}/{notifier}", self.notices);
        self.request(
            key,
            None,
            Request::Notify {
                notifier: notifier.to_owned(),
                notice: Box::new(notice),
            },
        )?;
        Ok(())
    }

    /// Tells, where there is no way to report that there are too many notices already.
    pub(super) fn tell_or_say(
        &mut self,
        event: &str,
        severity: Severity,
        title: String,
        text: String,
    ) {
        if self.tell(event, severity, title, text).is_err() {
            self.say(
                "notice-dropped",
                Level::Error,
                "too many notices are under way",
                Value::Null,
            );
        }
    }

    pub(super) fn warn_people(&mut self, text: &str) {
        self.say("warning", Level::Warn, text.to_owned(), Value::Null);
        let title = format!("{}: {text}", self.headline());
        self.tell_or_say("warning", Severity::Warning, title, text.to_owned());
    }

    pub(super) fn tell_rolling_back(&mut self, reason: &str) -> Result<(), Illegal> {
        let subject = &self.plan.subject;
        if let Some(Cause {
            superseded_by: Some(run),
            ..
        }) = &self.cause
        {
            // Nothing is wrong: nobody has to be woken.
            let title = format!("Superseded: {} makes room for {run}", self.headline());
            let text = format!("{title}. {} comes back first", subject.previous_version);
            return self.tell("rolling-back", Severity::Warning, title, text);
        }
        let title = format!(
            "ROLLBACK: {} goes back to {} in {}",
            subject.name, subject.previous_version, subject.environment
        );
        let text = format!(
            "{} {} is taken back to {}: {reason}",
            subject.name, subject.version, subject.previous_version
        );
        self.tell("rolling-back", Severity::Critical, title, text)
    }

    /// Tells how the run ended.
    pub(super) fn closing_notice(&mut self) -> Result<(), Illegal> {
        let end = self.end_reached();
        let subject = &self.plan.subject;
        let reason = match &self.mode {
            Mode::Back(back) => back.cause.reason.clone(),
            Mode::Forward(_) | Mode::Ended(_) => String::new(),
        };
        let refused = matches!(&self.mode, Mode::Back(back) if back.refused);
        let (event, severity, title) = match end {
            End::Succeeded if refused => (
                "warning",
                Severity::Warning,
                format!("Not rolled back: {}", self.headline()),
            ),
            End::Succeeded if !self.serves_otherwise().is_empty() => (
                "succeeded",
                Severity::Warning,
                format!(
                    "Ended with what somebody else set ({}): {}",
                    self.serves_otherwise().join(", "),
                    self.headline()
                ),
            ),
            End::Succeeded => (
                "succeeded",
                Severity::Success,
                format!("Released: {}", self.headline()),
            ),
            End::Superseded => (
                "rolled-back",
                Severity::Warning,
                format!(
                    "Superseded: {} serves {} until the next run",
                    subject.name, subject.previous_version
                ),
            ),
            End::RolledBack if !self.set_by_others(end).is_empty() => (
                "rolled-back",
                Severity::Critical,
                format!(
                    "Rolled back to what somebody else set ({}): {}",
                    self.set_by_others(end).join(", "),
                    self.headline()
                ),
            ),
            End::RolledBack => (
                "rolled-back",
                Severity::Critical,
                format!(
                    "Rolled back: {} serves {} again in {}",
                    subject.name, subject.previous_version, subject.environment
                ),
            ),
            End::StayedForward => (
                "stayed-forward",
                Severity::Critical,
                format!("Stayed forward: {}", self.headline()),
            ),
            End::Refused => (
                "refused",
                Severity::Warning,
                format!("Refused, nothing changed: {}", self.headline()),
            ),
            End::Cancelled => (
                "cancelled",
                Severity::Warning,
                format!("Cancelled, nothing changed: {}", self.headline()),
            ),
            End::RollbackStuck => (
                "stuck",
                Severity::Critical,
                format!("Handed over to people: {}", self.headline()),
            ),
        };
        let mut text = title.clone();
        let left = self.left_in_words().unwrap_or_default();
        for more in [reason, left].iter().filter(|more| !more.is_empty()) {
            text = format!("{text}. {more}");
        }
        self.tell(event, severity, title, text)
    }

    pub(super) fn notice_failed(
        &mut self,
        effect: &Effect,
        notifier: &str,
        notice: &Notice,
        failure: &Failure,
    ) -> Result<(), Illegal> {
        let planned = self.plan.notifiers.get(notifier);
        let critical = planned.is_some_and(|planned| planned.critical);
        let fallback = planned.and_then(|planned| planned.fallback.clone());
        let most = if critical {
            limits::CRITICAL_ATTEMPTS
        } else {
            limits::NOTICE_ATTEMPTS
        };
        let attempts = self.again(effect.id, failure);
        if failure.kind.may_pass() && attempts < most {
            return Ok(());
        }
        self.forget(effect.id);
        // One hop only: a fallback's own fallback would make circles possible.
        let first = format!("{}/notice/", self.id);
        let fallback = fallback.filter(|_| effect.key.starts_with(&first));
        let instead = fallback
            .as_ref()
            .map_or_else(String::new, |other| format!("; {other} is to tell instead"));
        let data = json!({"notifier": notifier, "code": failure.code.to_string()});
        self.say_attempt(
            "notice-failed",
            Level::Warn,
            Some(attempts),
            format!(
                "{notifier} could not tell of {}: {failure}{instead}",
                notice.event
            ),
            data,
        );
        if let Some(other) = fallback {
            self.notices = self.notices.saturating_add(1);
            let key = format!("fallback/{}/{}/{other}", self.notices, notice.event);
            let mut notice = notice.clone();
            notice.thread = self.threads.get(&other).cloned();
            self.request(
                key,
                None,
                Request::Notify {
                    notifier: other,
                    notice: Box::new(notice),
                },
            )?;
        }
        Ok(())
    }
}
