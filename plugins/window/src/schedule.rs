//! Whether it is open at a time, and when that changes.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan};

use crate::calendar::Day;
use crate::config::{Hours, Window};

/// How many days are looked ahead for the next change.
const LOOKAHEAD_DAYS: i32 = 400;

impl Window {
    fn local(&self, at: Timestamp) -> DateTime {
        self.zone.0.to_datetime(at)
    }

    /// Why it is closed; none where it is open.
    pub(crate) fn closed(&self, at: Timestamp) -> Option<String> {
        if let Some(freeze) = self.freezes.iter().find(|freeze| freeze.holds(at)) {
            let until = self.shown(freeze.to.0);
            return Some(format!("frozen until {until}: {}", freeze.reason));
        }
        let date = self.local(at).date();
        if let Some(reason) = self.holiday(date) {
            return Some(reason);
        }
        let open =
            self.windows.is_empty() || self.windows.iter().any(|hours| self.holds(hours, date, at));
        (!open).then(|| format!("{} is outside of {}", self.shown(at), self.words()))
    }

    fn holds(&self, hours: &Hours, date: Date, at: Timestamp) -> bool {
        let zone = &self.zone.0;
        let on = |time: crate::calendar::TimeOfDay| time.on(date, zone);
        hours.days.contains(&Day::of(date.weekday()))
            && on(hours.from).is_some_and(|from| from <= at)
            && on(hours.to).is_some_and(|to| at < to)
    }

    fn holiday(&self, date: Date) -> Option<String> {
        let is_holiday = |date: Date| self.holidays.iter().any(|holiday| holiday.0 == date);
        if is_holiday(date) {
            return Some(format!("{date} is a holiday"));
        }
        let tomorrow = date.tomorrow().ok()?;
        (self.deny_day_before_holiday && is_holiday(tomorrow))
            .then(|| format!("{date} is the day before a holiday"))
    }

    /// When it next opens or closes after a time; none where that isn't in sight.
    ///
    /// It can change only where hours or a freeze begin or end, and at midnight.
    pub(crate) fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        let closed = self.closed(after).is_some();
        let today = self.local(after).date();
        let frozen = self
            .freezes
            .iter()
            .flat_map(|freeze| [freeze.from.0, freeze.to.0]);
        let mut times: Vec<Timestamp> = frozen.collect();
        for days in 0..=LOOKAHEAD_DAYS {
            let Ok(date) = today.checked_add(days.days()) else {
                break;
            };
            times.extend(self.edges(date));
        }
        let last = today.checked_add(LOOKAHEAD_DAYS.days()).ok()?;
        times.retain(|at| *at > after && self.local(*at).date() <= last);
        times.sort_unstable();
        times.dedup();
        let mut times = times.into_iter();
        times.find(|at| self.closed(*at).is_some() != closed)
    }

    /// The times of a day at which it can open or close.
    fn edges(&self, date: Date) -> Vec<Timestamp> {
        let zone = &self.zone.0;
        let midnight = zone.to_timestamp(date.at(0, 0, 0, 0)).ok();
        let hours = self.windows.iter();
        let hours = hours.flat_map(|hours| [hours.from.on(date, zone), hours.to.on(date, zone)]);
        hours.chain([midnight]).flatten().collect()
    }

    /// `tue 2026-11-24 10:00 (America/New_York)`.
    pub(crate) fn shown(&self, at: Timestamp) -> String {
        let local = self.local(at);
        format!(
            "{} {} {:02}:{:02} ({})",
            Day::of(local.weekday()).as_str(),
            local.date(),
            local.hour(),
            local.minute(),
            self.zone.name()
        )
    }

    /// The windows in words: `tue wed thu 10:00-14:00`.
    pub(crate) fn words(&self) -> String {
        let words = self.windows.iter().map(|hours| {
            let days: Vec<_> = hours.days.iter().map(|day| day.as_str()).collect();
            format!("{} {}-{}", days.join(" "), hours.from, hours.to)
        });
        words.collect::<Vec<_>>().join(", ")
    }
}
