//! Whether the policy lets a release go forward now, and if not, when it will.
//!
//! Looked at before each forward step, never in rollback. Windows are computed in their own time
//! zones, so that 10:00 stays 10:00 when the clocks change.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::spec::Change;
use crate::spec::policy::{Freeze, Policy, TimeOfDay, Window, applies};
use crate::time::Timestamp;

/// How many days are looked ahead for the next opening.
pub const LOOKAHEAD_DAYS: i32 = 400;

/// What the policy says about a point in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Forward steps are allowed.
    Open {
        /// Until then; nothing if no end is in sight.
        until: Option<Timestamp>,
    },
    /// Forward steps are not allowed.
    Closed {
        /// Why, in a user's words.
        reason: String,
        /// When they are allowed again; nothing if that is not in sight.
        opens_at: Option<Timestamp>,
    },
}

impl Decision {
    /// Whether forward steps are allowed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// A stretch of time, its end not included; no end means that none is in sight.
type Stretch = (Timestamp, Option<Timestamp>);

/// Judges a point in time for one environment and kind of change.
#[must_use]
pub fn evaluate(policy: &Policy, now: Timestamp, environment: &str, change: Change) -> Decision {
    if policy.except_hotfix && change == Change::Hotfix {
        return Decision::Open { until: None };
    }
    let windows: Vec<&Window> = policy
        .windows
        .iter()
        .filter(|w| applies(&w.changes, &w.environments, change, environment))
        .collect();
    let freezes: Vec<&Freeze> = policy
        .freezes
        .iter()
        .filter(|f| applies(&[], &f.environments, change, environment))
        .collect();
    // Most answers lie within days; the long look is for a freeze or a rare window.
    let near = allowed(policy, &windows, &freezes, now, 10);
    let stretches = match near.first() {
        Some((_, Some(_))) => near,
        _ => allowed(policy, &windows, &freezes, now, LOOKAHEAD_DAYS),
    };
    match stretches.first().copied() {
        Some((from, until)) if from <= now => Decision::Open { until },
        next => Decision::Closed {
            reason: reason(policy, &windows, &freezes, now),
            opens_at: next.map(|(from, _)| from),
        },
    }
}

/// The stretches that are allowed and not over, in order, those that touch joined.
fn allowed(
    policy: &Policy,
    windows: &[&Window],
    freezes: &[&Freeze],
    now: Timestamp,
    days: i32,
) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = if windows.is_empty() {
        vec![(now, None)]
    } else {
        Vec::new()
    };
    for window in windows {
        stretches.extend(openings(policy, window, now, days));
    }
    for freeze in freezes {
        stretches = stretches
            .into_iter()
            .flat_map(|stretch| without(stretch, freeze))
            .collect();
    }
    stretches.retain(|(_, until)| until.is_none_or(|until| until > now));
    stretches.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::new();
    for (from, until) in stretches {
        match joined.last_mut() {
            Some((_, end)) if end.is_none_or(|end| from <= end) => {
                *end = match (*end, until) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            _ => joined.push((from, until)),
        }
    }
    joined
}

/// The times at which a window is open, from yesterday on for so many days.
fn openings(policy: &Policy, window: &Window, now: Timestamp, days: i32) -> Vec<Stretch> {
    let Some((zone, today)) = local(window, now) else {
        return Vec::new();
    };
    let date_of = |offset: i32| {
        today
            .checked_add(jiff::Span::new().try_days(offset).ok()?)
            .ok()
    };
    let opening = |date: Date| {
        let counts = window
            .days
            .iter()
            .any(|day| day.weekday() == date.weekday())
            && holiday(policy, date).is_none();
        let from = instant(&zone, date, window.from)?;
        let to = instant(&zone, date, window.to)?;
        // Where the clocks jump over all of a window, nothing is left of it.
        (counts && from < to).then_some((from, Some(to)))
    };
    (-1..=days)
        .filter_map(date_of)
        .filter_map(opening)
        .collect()
}

/// What a freeze leaves of a stretch.
fn without((from, until): Stretch, freeze: &Freeze) -> Vec<Stretch> {
    let (start, end) = (freeze.from.at(), freeze.to.at());
    if end <= from || until.is_some_and(|until| until <= start) {
        return vec![(from, until)];
    }
    let before = (from < start).then_some((from, Some(start)));
    let after = until
        .is_none_or(|until| end < until)
        .then_some((end, until));
    before.into_iter().chain(after).collect()
}

/// Why a day is closed, if it or the day after it is a holiday.
fn holiday(policy: &Policy, date: Date) -> Option<String> {
    let is_holiday = |date: Date| policy.holidays.iter().any(|h| h.date() == date);
    if is_holiday(date) {
        return Some(format!("{date} is a holiday"));
    }
    let tomorrow = date.tomorrow().ok()?;
    (policy.deny_day_before_holiday && is_holiday(tomorrow))
        .then(|| format!("{date} is the day before a holiday"))
}

fn reason(policy: &Policy, windows: &[&Window], freezes: &[&Freeze], now: Timestamp) -> String {
    if let Some(freeze) = freezes
        .iter()
        .find(|f| f.from.at() <= now && now < f.to.at())
    {
        return format!("frozen until {}: {}", freeze.to, freeze.reason);
    }
    let holiday = windows
        .iter()
        .find_map(|window| local(window, now).and_then(|(_, today)| holiday(policy, today)));
    if let Some(holiday) = holiday {
        return holiday;
    }
    let listed: Vec<String> = windows.iter().map(|window| described(window)).collect();
    format!("outside of {}", listed.join(" and "))
}

/// A window in words: `tue wed thu 10:00-14:00 America/New_York (office hours)`.
fn described(window: &Window) -> String {
    let days: Vec<String> = window
        .days
        .iter()
        .map(|day| format!("{day:?}").to_lowercase())
        .collect();
    let reason = window
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    format!(
        "{} {}-{} {}{reason}",
        days.join(" "),
        window.from,
        window.to,
        window.zone
    )
}

/// A window's zone, and the day that it is there. A zone that is unknown was refused with the file.
fn local(window: &Window, now: Timestamp) -> Option<(TimeZone, Date)> {
    let zone = TimeZone::get(&window.zone).ok()?;
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(now.as_millis()).ok()?).ok()?;
    let today = zone.to_datetime(stamp).date();
    Some((zone, today))
}

/// When it is this time of day there. A time that the clocks jump over is moved forward; of a time
/// that comes twice the first is meant.
fn instant(zone: &TimeZone, date: Date, time: TimeOfDay) -> Option<Timestamp> {
    let (hours, minutes) = time.parts();
    let (date, hours) = if hours == 24 {
        (date.tomorrow().ok()?, 0)
    } else {
        (date, hours)
    };
    let civil = date.at(i8::try_from(hours).ok()?, i8::try_from(minutes).ok()?, 0, 0);
    let stamp = zone.to_timestamp(civil).ok()?;
    u64::try_from(stamp.as_millisecond())
        .ok()
        .map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests;
