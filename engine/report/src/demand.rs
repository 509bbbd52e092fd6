//! What a gate demands, read from the words in which it says so.
//!
//! The contract has the demand as words for people. The plugins that ship write them in one way, and
//! from that lines and bands can be drawn: `<= 5`, `>= 1 and < 3`, `normal < 200, alert >= 500`,
//! `< stable + 10 ms`, `< stable x 1.5`. Words that aren't understood whole give no lines: a line
//! that is drawn is one that was demanded.

/// Between which values a figure may be; both are limits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Range {
    /// It must be above, or at, this.
    pub(crate) low: Option<f64>,
    /// It must be below, or at, this.
    pub(crate) high: Option<f64>,
}

impl Range {
    fn holds(self, value: f64) -> bool {
        self.low.is_none_or(|low| value >= low) && self.high.is_none_or(|high| value <= high)
    }
}

/// A limit that moves with stable's figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Relative {
    /// Added to stable's figure after it was multiplied.
    plus: f64,
    /// What stable's figure is multiplied by.
    times: f64,
}

impl Relative {
    /// The limit at this figure of stable's.
    pub(crate) fn at(self, stable: f64) -> f64 {
        stable * self.times + self.plus
    }
}

/// The colour of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shade {
    Normal,
    Warn,
    Alert,
}

impl Shade {
    /// The band's name, as a class of the style sheet too.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::Alert => "alert",
        }
    }
}

/// A demand as far as it can be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Demand {
    range: Option<Range>,
    normal: Option<Range>,
    warn: Option<Range>,
    alert: Option<Range>,
    /// Limits that move with stable's figure.
    pub(crate) relative: Vec<Relative>,
}

impl Demand {
    /// Reads a demand's words. `unit` is the figure's own, which may stand after its numbers.
    pub(crate) fn read(words: &str, unit: &str) -> Self {
        let mut demand = Self::default();
        for clause in words.split(';').map(str::trim).filter(|c| !c.is_empty()) {
            let read = if clause.contains("stable") {
                relative(clause, unit).map(|limits| demand.relative = limits)
            } else if clause.starts_with(|c: char| c.is_ascii_alphabetic()) {
                demand.bands(clause, unit)
            } else {
                range(clause, unit).map(|range| demand.range = Some(range))
            };
            if read.is_none() {
                return Self::default();
            }
        }
        demand
    }

    fn bands(&mut self, clause: &str, unit: &str) -> Option<()> {
        for band in clause.split(',').map(str::trim) {
            let (name, words) = band.split_once(' ')?;
            let place = match name {
                "normal" => &mut self.normal,
                "warn" => &mut self.warn,
                "alert" => &mut self.alert,
                _ => return None,
            };
            *place = Some(range(words, unit)?);
        }
        Some(())
    }

    fn ranges(&self) -> [Option<Range>; 4] {
        [self.range, self.normal, self.warn, self.alert]
    }

    /// The limits that don't move, lowest first.
    pub(crate) fn limits(&self) -> Vec<f64> {
        let ranges = self.ranges();
        let mut limits: Vec<f64> = ranges
            .iter()
            .flatten()
            .flat_map(|range| [range.low, range.high])
            .flatten()
            .collect();
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        limits
    }

    /// The shade of a value; none where nothing is demanded that doesn't move.
    ///
    /// Bands are looked at from the gravest on. A value in none is normal where no such band is
    /// given; else it is a warning where alert is given and warn isn't; else it is alert.
    pub(crate) fn shade(&self, value: f64) -> Option<Shade> {
        let within = |band: Option<Range>| band.is_some_and(|band| band.holds(value));
        if self.ranges().iter().all(Option::is_none) {
            return None;
        }
        let outside = self.range.is_some_and(|range| !range.holds(value));
        Some(if outside || within(self.alert) {
            Shade::Alert
        } else if within(self.warn) {
            Shade::Warn
        } else if within(self.normal) || self.normal.is_none() {
            Shade::Normal
        } else if self.alert.is_some() && self.warn.is_none() {
            Shade::Warn
        } else {
            Shade::Alert
        })
    }
}

/// `> 1 and <= 5`.
fn range(words: &str, unit: &str) -> Option<Range> {
    let mut range = Range::default();
    for limit in words.split(" and ") {
        let limit = limit.trim();
        let (high, rest) = match (limit.strip_prefix('<'), limit.strip_prefix('>')) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return None,
        };
        let value = number(rest.trim_start_matches('='), unit)?;
        let place = if high {
            &mut range.high
        } else {
            &mut range.low
        };
        *place = Some(value);
    }
    Some(range)
}

/// `< stable + 1 s or < stable + 10 %`.
fn relative(clause: &str, unit: &str) -> Option<Vec<Relative>> {
    clause
        .split(" or ")
        .flat_map(|part| part.split(" and "))
        .map(|part| {
            let rest = part.trim().trim_start_matches(['<', '>', '=']).trim();
            moving(rest.strip_prefix("stable")?.trim(), unit)
        })
        .collect()
}

/// What is done to stable's figure: `+ 1 s`, `- 10 %`, `x 1.5`, `/ 2`, or nothing.
fn moving(words: &str, unit: &str) -> Option<Relative> {
    if words.is_empty() {
        return Some(Relative {
            plus: 0.0,
            times: 1.0,
        });
    }
    let (sign, amount) = words.split_once(' ')?;
    if let Some(percent) = amount.trim().strip_suffix('%') {
        // Points of a figure in percent and percent of it are written alike.
        if unit == "%" {
            return None;
        }
        let part: f64 = percent.trim().parse().ok()?;
        let times = match sign {
            "+" => 1.0 + part / 100.0,
            "-" => 1.0 / (1.0 + part / 100.0),
            _ => return None,
        };
        return Some(Relative { plus: 0.0, times });
    }
    let amount = number(amount, unit)?;
    let (plus, times) = match sign {
        "+" => (amount, 1.0),
        "-" => (-amount, 1.0),
        "x" => (0.0, amount),
        "/" if amount != 0.0 => (0.0, 1.0 / amount),
        _ => return None,
    };
    Some(Relative { plus, times })
}

/// A number, and after it nothing but the figure's unit.
fn number(text: &str, unit: &str) -> Option<f64> {
    let text = text.trim();
    let bare = text.strip_suffix(unit).unwrap_or(text).trim();
    bare.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_bands_are_read_from_words() {
        let shades = |words: &str, unit: &str, values: &[f64]| -> Vec<&str> {
            let demand = Demand::read(words, unit);
            let shade = |value: &f64| demand.shade(*value).map_or("", Shade::as_str);
            values.iter().map(shade).collect()
        };
        assert_eq!(
            shades("<= 500 ms", "ms", &[1.0, 501.0]),
            ["normal", "alert"]
        );
        assert_eq!(
            shades(">= 1 and < 3", "", &[0.0, 2.0, 4.0]),
            ["alert", "normal", "alert"]
        );
        assert_eq!(
            shades("normal > 99, alert < 98", "%", &[99.5, 98.5, 97.0]),
            ["normal", "warn", "alert"]
        );
        assert_eq!(
            shades("<= 5; warn >= 3", "", &[1.0, 3.0, 6.0]),
            ["normal", "warn", "alert"]
        );
        assert_eq!(Demand::read("<= 5; warn >= 3", "").limits(), [3.0, 5.0]);
    }

    #[test]
    fn limits_that_move_with_stable_are_read() {
        let at = |words: &str, unit: &str| -> Vec<f64> {
            let demand = Demand::read(words, unit);
            demand.relative.iter().map(|limit| limit.at(10.0)).collect()
        };
        let close = |found: Vec<f64>, wanted: &[f64]| {
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
            }
        };
        close(at("< stable + 1 s or < stable + 10 %", "s"), &[11.0, 11.0]);
        close(at("<= stable", ""), &[10.0]);
        close(at("> stable / 2", ""), &[5.0]);
        close(at("< stable x 1.5", "ms"), &[15.0]);
        // Ten points more, or ten percent more? The words don't say.
        close(at("< stable + 10 %", "%"), &[]);
    }

    #[test]
    fn words_that_are_not_understood_whole_draw_nothing() {
        for words in [
            "",
            "= 3",
            "= \"1.1.0\"",
            "at most a few",
            "<= 5 apples",
            "<= 0 % of points outside of < 3",
            "<= 5; whatever",
            "normal < x",
            "< stable ^ 2",
            "<= inf",
        ] {
            assert_eq!(Demand::read(words, "%"), Demand::default(), "{words}");
        }
    }
}
