//! A notice for people.

use phasegate_core::effect::{Notice, Severity};

use super::{links_out, pairs_out};
use crate::bindings::exports::phasegate::notifier::notifier as wit;

pub(crate) fn notice(notice: &Notice) -> wit::Notice {
    wit::Notice {
        event: notice.event.clone(),
        severity: match notice.severity {
            Severity::Info => wit::Severity::Info,
            Severity::Success => wit::Severity::Success,
            Severity::Warning => wit::Severity::Warning,
            Severity::Critical => wit::Severity::Critical,
        },
        title: notice.title.clone(),
        text: notice.text.clone(),
        fields: pairs_out(&notice.fields),
        links: links_out(&notice.links),
        thread: notice.thread.as_ref().map(ToString::to_string),
    }
}
