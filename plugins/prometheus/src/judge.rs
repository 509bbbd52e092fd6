//! What follows from the figures.

use phasegate_plugin::{Duration, Measurement, Status, Verdict};

use crate::config::{Need, Prometheus, Worse};
use crate::figure::NoData;

/// Figures come with rounding errors: what is a hair, in parts of itself, from a limit is on it.
const HAIR: f64 = 1e-9;
/// Significant digits of a figure in a sentence.
const DIGITS: i32 = 6;

/// What was measured on one side.
#[derive(Debug)]
pub(crate) struct Side {
    /// The side in words: `1.4.0`. None where the query is about both.
    pub(crate) name: Option<String>,
    /// What `{{window}}` stood for.
    pub(crate) window: Duration,
    pub(crate) figure: Result<f64, NoData>,
    /// Observations behind the figure, where they are asked for.
    pub(crate) samples: Option<Result<u64, NoData>>,
}

impl Side {
    /// ` on 1.4.0`.
    fn on(&self) -> String {
        let name = self.name.as_ref();
        name.map(|name| format!(" on {name}")).unwrap_or_default()
    }
}

/// A finding about the figures: its status, its band, and what to say.
struct Finding {
    status: Status,
    band: &'static str,
    reason: String,
    needs: Option<Duration>,
}

impl Finding {
    fn of(status: Status, band: &'static str, reason: String) -> Self {
        Self {
            status,
            band,
            reason,
            needs: None,
        }
    }

    fn no_data(reason: String, needs: Option<Duration>) -> Self {
        Self {
            needs,
            ..Self::of(Status::Inconclusive, "normal", reason)
        }
    }
}

impl Prometheus {
    /// The verdict on the figures, without its links.
    pub(crate) fn judge(&self, candidate: &Side, stable: Option<&Side>) -> Verdict {
        let finding = self.finding(candidate, stable);
        let mut verdict = Verdict::new(finding.status, finding.reason);
        if let Some(needs) = finding.needs {
            verdict = verdict.needs(needs);
        }
        let figure = |side: &Side| side.figure.as_ref().ok().copied();
        let mut measured = Measurement::new(&self.name, figure(candidate), finding.status)
            .unit(self.shown_unit())
            .stable(stable.and_then(figure))
            .limit(self.demanded())
            .band(finding.band);
        let sides = [Some(candidate), stable];
        let counts = sides.into_iter().flatten().filter_map(|side| {
            let samples = side.samples.as_ref()?;
            samples.as_ref().ok().copied()
        });
        if let Some(least) = counts.min() {
            measured = measured.samples(least);
        }
        verdict.measured(measured)
    }

    fn finding(&self, candidate: &Side, stable: Option<&Side>) -> Finding {
        // A few observations prove nothing, neither that it is well nor that it isn't.
        for side in [Some(candidate), stable].into_iter().flatten() {
            if let Some(finding) = self.too_few(side) {
                return finding;
            }
        }
        let value = match &candidate.figure {
            Ok(value) => *value,
            Err(none) => return self.none(candidate, none),
        };
        let said = self.said(value, candidate, stable);
        let band = match self.own_band(value) {
            // Whatever stable does, this is too much.
            Err(demanded) => {
                let reason = format!("{said}, must be {demanded}");
                return Finding::of(Status::Fail, "alert", reason);
            }
            Ok(band) => band,
        };
        let Some(stable) = stable else {
            return self.well(said, band);
        };
        let reference = match &stable.figure {
            Ok(value) => *value,
            Err(none) => return self.none(stable, none),
        };
        match self.compare(value, reference) {
            Ok(true) => self.well(said, band),
            Ok(false) => {
                let reason = format!("{said}, must be {}", self.comparison());
                Finding::of(Status::Fail, "alert", reason)
            }
            Err(reason) => Finding::no_data(format!("{said}: {reason}"), None),
        }
    }

    fn well(&self, said: String, band: &'static str) -> Finding {
        let reason = if band == "normal" {
            said
        } else {
            format!("{said}, in band {band} ({})", self.bands().words())
        };
        Finding::of(Status::Pass, band, reason)
    }

    fn none(&self, side: &Side, none: &NoData) -> Finding {
        let reason = format!("no data of {}{}: {}", self.name, side.on(), none.reason);
        Finding::no_data(reason, none.needs)
    }

    fn too_few(&self, side: &Side) -> Option<Finding> {
        let needed = u64::from(self.minimum_samples.as_ref()?.at_least);
        let (reason, needs) = match side.samples.as_ref()? {
            Ok(count) if *count >= needed => return None,
            Ok(count) => {
                let mut reason = format!("{count} samples{}, {needed} are needed", side.on());
                if side.window >= self.window.max {
                    let most = self.window.max;
                    reason.push_str(&format!("; the window of {most} grows no longer"));
                }
                (reason, needs(side.window, *count, needed))
            }
            Err(none) => {
                let on = side.on();
                let reason = format!("no number of samples{on}: {}", none.reason);
                (reason, none.needs)
            }
        };
        Some(Finding::no_data(reason, needs))
    }

    /// The band of the figure by itself, or what it should be.
    fn own_band(&self, value: f64) -> Result<&'static str, String> {
        if self.counts_breaches() {
            let tolerated = self.range.as_ref().map_or(0.0, |range| range.tolerate);
            return match value <= tolerated {
                true => Ok("normal"),
                false => Err(self.breaches()),
            };
        }
        if !self.limits().holds(value) {
            return Err(self.limits().words());
        }
        match self.bands().of(value) {
            "alert" => Err(format!("not in alert ({})", self.bands().words())),
            band => Ok(band),
        }
    }

    /// Whether the candidate is less worse than stable than it may be.
    fn compare(&self, candidate: f64, stable: f64) -> Result<bool, String> {
        let sign = match self.worse {
            Worse::Higher => 1.0,
            Worse::Lower => -1.0,
        };
        let excess = (candidate - stable) * sign;
        let within = |allowed: f64| {
            let hair = HAIR * candidate.abs().max(stable.abs());
            // As good as stable is always good enough, or a limit of 0 could not be met.
            excess <= 0.0 || excess + hair < allowed
        };
        let relative = match (self.delta_percent, self.ratio_max, self.worse) {
            (Some(percent), _, _) => Some(stable * percent / 100.0),
            (None, Some(ratio), Worse::Higher) => Some(stable * ratio - stable),
            (None, Some(ratio), Worse::Lower) => Some(stable - stable / ratio),
            (None, None, _) => None,
        };
        if relative.is_some() && stable < 0.0 {
            return Err("no part of a negative figure can be taken".to_owned());
        }
        let holds = [self.delta_max, relative].map(|allowed| allowed.map(within));
        let mut holds = holds.into_iter().flatten();
        Ok(match self.need {
            Some(Need::Any) => holds.any(|holds| holds),
            Some(Need::All) | None => holds.all(|holds| holds),
        })
    }

    /// All that is demanded, in words.
    fn demanded(&self) -> String {
        let mut words = Vec::new();
        if self.counts_breaches() {
            words.push(self.breaches());
        } else {
            words.push(self.limits().words());
            words.push(self.bands().words());
        }
        words.push(self.comparison());
        words.retain(|words| !words.is_empty());
        words.join("; ")
    }

    /// `< stable + 1 s or < stable + 10 %`.
    fn comparison(&self) -> String {
        let (than, plus, times) = match self.worse {
            Worse::Higher => ("<", "+", "x"),
            Worse::Lower => (">", "-", "/"),
        };
        let unit = spaced(&self.unit);
        let words = |limit: Option<f64>, none: f64, rest: &dyn Fn(f64) -> String| {
            limit.map(|limit| match limit == none {
                true => format!("{than}= stable"),
                false => format!("{than} stable {}", rest(limit)),
            })
        };
        let all = [
            words(self.delta_max, 0.0, &|limit| {
                format!("{plus} {limit}{unit}")
            }),
            words(self.delta_percent, 0.0, &|limit| {
                format!("{plus} {limit} %")
            }),
            words(self.ratio_max, 1.0, &|limit| format!("{times} {limit}")),
        ];
        let between = match self.need {
            Some(Need::Any) => " or ",
            Some(Need::All) | None => " and ",
        };
        all.into_iter().flatten().collect::<Vec<_>>().join(between)
    }

    fn breaches(&self) -> String {
        let tolerated = self.range.as_ref().map_or(0.0, |range| range.tolerate);
        let limits = [self.limits().words(), self.bands().words()];
        let limits: Vec<_> = limits
            .into_iter()
            .filter(|words| !words.is_empty())
            .collect();
        format!(
            "<= {tolerated} % of points outside of {}",
            limits.join("; ")
        )
    }

    fn shown_unit(&self) -> &str {
        if self.counts_breaches() {
            "%"
        } else {
            &self.unit
        }
    }

    /// `errors: 1.2 % on 1.4.0, 0.3 % on 1.3.0`.
    fn said(&self, value: f64, candidate: &Side, stable: Option<&Side>) -> String {
        let unit = spaced(self.shown_unit());
        let mut said = format!("{}: {}{unit}{}", self.name, shown(value), candidate.on());
        if let Some(stable) = stable
            && let Ok(reference) = stable.figure
        {
            said.push_str(&format!(", {}{unit}{}", shown(reference), stable.on()));
        }
        said
    }
}

/// How much longer it takes until there are enough observations, if they come on as they did.
fn needs(window: Duration, count: u64, needed: u64) -> Option<Duration> {
    let so_far = u64::from(window.as_millis());
    let rest = match count {
        // Nothing is known of how they come; as long again is as good as any guess.
        0 => so_far,
        count => so_far.saturating_mul(needed.saturating_sub(count)) / count,
    };
    u32::try_from(rest).ok().map(Duration::from_millis)
}

fn spaced(unit: &str) -> String {
    if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    }
}

/// A figure for people: a mean of 10.199999999999998 is 10.2.
fn shown(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let before = value.abs().log10().floor() as i32 + 1;
    if !(-DIGITS..=2 * DIGITS).contains(&before) {
        return format!("{value:.3e}");
    }
    let decimals = usize::try_from(DIGITS - before).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn figures_are_shown_as_people_write_them() {
        for (value, text) in [
            (10.199_999_999_999_998, "10.2"),
            (0.0, "0"),
            (12_000.0, "12000"),
            (1_234_567.8, "1234568"),
            (0.000_123_456_78, "0.000123457"),
            (-0.5, "-0.5"),
            (99.999_999_9, "100"),
            (1e-9, "1.000e-9"),
            (2.5e15, "2.500e15"),
        ] {
            assert_eq!(shown(value), text);
        }
    }
}
