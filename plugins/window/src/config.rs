//! What a release file sets.

use jiff::Timestamp;
use phasegate_plugin::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::calendar::{Day, Holiday, Moment, TimeOfDay, Zone};

/// Most windows.
const MAX_WINDOWS: usize = 50;
/// Most holidays.
const MAX_HOLIDAYS: usize = 1_000;
/// Most freezes.
const MAX_FREEZES: usize = 200;

/// When releases may go forward.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// The time zone of all days and hours here.
    pub(crate) zone: Zone,
    /// When it is open; at any time where none is given.
    #[serde(default)]
    pub(crate) windows: Vec<Hours>,
    /// Days on which it is closed.
    #[serde(default)]
    pub(crate) holidays: Vec<Holiday>,
    /// Whether it is closed on the day before a holiday too.
    #[serde(default)]
    pub(crate) deny_day_before_holiday: bool,
    /// Stretches of time in which it is closed.
    #[serde(default)]
    pub(crate) freezes: Vec<Freeze>,
    /// Opens it all the same, for a reason that is recorded.
    #[serde(default)]
    pub(crate) break_glass: Option<BreakGlass>,
}

/// Hours on days of the week.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Hours {
    /// The days of the week.
    #[schemars(length(min = 1))]
    pub(crate) days: Vec<Day>,
    /// When it opens.
    pub(crate) from: TimeOfDay,
    /// When it closes; `24:00` is the end of the day.
    pub(crate) to: TimeOfDay,
}

/// A stretch of time in which nothing goes forward.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Freeze {
    /// When it begins.
    pub(crate) from: Moment,
    /// When it ends.
    pub(crate) to: Moment,
    /// Why, for people to read.
    pub(crate) reason: String,
}

impl Freeze {
    pub(crate) fn holds(&self, at: Timestamp) -> bool {
        self.from.0 <= at && at < self.to.0
    }
}

/// Opens a closed window, for a reason that is recorded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BreakGlass {
    /// Why; it stands in every verdict.
    pub(crate) reason: String,
    /// Who decided it.
    #[serde(default)]
    pub(crate) by: Option<String>,
    /// From then on it counts no longer.
    pub(crate) until: Moment,
}

impl Window {
    /// Faults that the schema can't express.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut fault = |pointer: String, message: &str| {
            problems.push(Problem::new(pointer, message));
        };
        for (pointer, count, most) in [
            ("/windows", self.windows.len(), MAX_WINDOWS),
            ("/holidays", self.holidays.len(), MAX_HOLIDAYS),
            ("/freezes", self.freezes.len(), MAX_FREEZES),
        ] {
            if count > most {
                fault(pointer.to_owned(), &format!("{count} are more than {most}"));
            }
        }
        for (n, window) in self.windows.iter().enumerate() {
            if window.days.is_empty() {
                fault(
                    format!("/windows/{n}/days"),
                    "without a day it is never open",
                );
            }
            if window.from >= window.to {
                let message = format!(
                    "{} is not before {}; over midnight, write two windows",
                    window.from, window.to
                );
                fault(format!("/windows/{n}/from"), &message);
            }
        }
        for (n, freeze) in self.freezes.iter().enumerate() {
            if freeze.from >= freeze.to {
                fault(format!("/freezes/{n}/to"), "it ends before it begins");
            }
            if freeze.reason.trim().is_empty() {
                fault(format!("/freezes/{n}/reason"), "people will ask why");
            }
        }
        if let Some(glass) = &self.break_glass
            && glass.reason.trim().is_empty()
        {
            fault(
                "/breakGlass/reason".to_owned(),
                "without a reason it opens nothing",
            );
        }
        if self.deny_day_before_holiday && self.holidays.is_empty() {
            fault(
                "/denyDayBeforeHoliday".to_owned(),
                "there are no `holidays`",
            );
        }
        if self.windows.is_empty() && self.holidays.is_empty() && self.freezes.is_empty() {
            fault(
                String::new(),
                "it would always be open: give `windows`, `holidays` or `freezes`",
            );
        }
        problems
    }
}
