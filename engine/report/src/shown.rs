//! Times, lengths of time and figures for people, and texts cut to a length.

use phasegate_core::time::{Span, Timestamp};

/// The first so many characters of a text; says how many more there were.
#[must_use]
pub(crate) fn clipped(text: &str, most: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(most) else {
        return text.to_owned();
    };
    let (kept, rest) = text.split_at(end);
    format!("{kept}… ({} more characters)", rest.chars().count())
}

/// A date and a time, UTC, to the second.
#[must_use]
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((date, clock)) => {
            let clock: String = clock.chars().take(8).collect();
            format!("{date} {clock} UTC")
        }
        None => text,
    }
}

/// A length of time without what nobody reads: no milliseconds after the first second, no seconds
/// after the first day.
#[must_use]
pub(crate) fn span(span: Span) -> String {
    let ms = span.as_millis();
    let kept = match ms {
        0..1_000 => ms,
        1_000..10_000 => ms / 100 * 100,
        10_000..86_400_000 => ms / 1_000 * 1_000,
        _ => ms / 60_000 * 60_000,
    };
    match kept {
        1_000..10_000 if kept % 1_000 != 0 => format!("{}.{}s", kept / 1_000, kept % 1_000 / 100),
        _ => Span::from_millis(kept).to_string(),
    }
}

/// How long after the beginning.
#[must_use]
pub(crate) fn offset(at: Timestamp, start: Timestamp) -> String {
    format!("+{}", span(at.since(start)))
}

/// A figure with four digits that count, and no more zeros than needed.
#[must_use]
pub(crate) fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    // Of a figure below one the zeros after the point don't count.
    let digits = match size {
        _ if size >= 1_000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 1.0 => 3,
        _ if size >= 0.1 => 4,
        _ if size >= 0.01 => 5,
        _ if size >= 0.001 => 6,
        _ => 7,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A figure with its unit.
#[must_use]
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() {
        figure(value)
    } else {
        format!("{} {unit}", figure(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_by_how_much() {
        assert_eq!(clipped("ärger", 5), "ärger");
        assert_eq!(clipped("ärgerlich", 5), "ärger… (4 more characters)");
    }

    #[test]
    fn lengths_of_time_are_as_exact_as_they_are_read() {
        for (ms, text) in [
            (0, "0s"),
            (420, "420ms"),
            (2_345, "2.3s"),
            (9_000, "9s"),
            (630_420, "10m30s"),
            (86_400_000, "24h"),
            (93_784_000, "26h3m"),
        ] {
            assert_eq!(span(Span::from_millis(ms)), text);
        }
    }

    #[test]
    fn figures_have_four_digits_that_count() {
        for (value, text) in [
            (0.1 + 0.2, "0.3"),
            (98.5, "98.5"),
            (1234.567, "1235"),
            (0.001_234_56, "0.001235"),
            (-3.0, "-3"),
            (1e12, "1.000e12"),
        ] {
            assert_eq!(figure(value), text);
        }
    }
}
