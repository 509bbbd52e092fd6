//! Links to Prometheus' own graphs.

use crate::server::{Query, encode};

const DAY_MS: u64 = 86_400_000;

/// A page with a graph of each query, up to the time that was judged.
pub(crate) fn graph(base: &str, queries: &[&Query], end: u64) -> String {
    let panels: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(n, query)| {
            format!(
                "g{n}.expr={}&g{n}.tab=0&g{n}.range_input=1h&g{n}.end_input={}",
                encode(&query.text),
                encode(&written(end)),
            )
        })
        .collect();
    format!("{}/graph?{}", base.trim_end_matches('/'), panels.join("&"))
}

/// `2026-11-25 12:58:22`, UTC.
fn written(ms: u64) -> String {
    let (mut year, mut day) = (1970, ms / DAY_MS);
    while day >= days_of(year) && year < 9999 {
        day -= days_of(year);
        year += 1;
    }
    let february = days_of(year) - 337;
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for days in months {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let second = ms % DAY_MS / 1000;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}",
        day + 1
    )
}

fn days_of(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    365 + u64::from(leap)
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (1_795_611_502, "2026-11-25 12:58:22"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(written(seconds * 1000), text);
        }
    }
}
