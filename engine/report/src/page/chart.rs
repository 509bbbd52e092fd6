//! Charts: a frame with a scale, lines that stretch with the page, and texts and marks that don't.

use crate::markup::Markup;
use crate::page::percent;
use crate::shown;

/// The height of a chart's frame, in pixels and in units of its drawing alike.
const HEIGHT: f64 = 140.0;
/// The same where the figure never changes.
const STILL: f64 = 56.0;
/// The width of the drawing, in its own units.
const WIDTH: f64 = 1000.0;
/// Room below the frame for times.
const FOOT: f64 = 18.0;
/// Steps of a scale that people read easily.
const STEPS: [f64; 4] = [1.0, 2.0, 2.5, 5.0];
/// How many steps a scale has at most.
const MOST_STEPS: f64 = 4.0;

/// The part of itself by which a figure may change and still counts as one that doesn't.
const STEADY: f64 = 0.001;
/// How many times the height of the values a scale may have for the sake of limits.
const ROOM: f64 = 8.0;

/// The scale of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    step: f64,
    height: f64,
}

impl Scale {
    /// A scale on which all of these values have a place, and of the wishes those that leave the
    /// values a part of the height in which they can be told apart.
    pub(super) fn over(values: impl Iterator<Item = f64>, wishes: &[f64]) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A figure that never changes can't be flattened, and needs no height to be read.
        let still = high - low <= high.abs() * STEADY;
        let height = if still { STILL } else { HEIGHT };
        let reach = (high - low).max(high.abs() * 0.05) * ROOM;
        for wish in wishes {
            if still || (*wish >= low - reach && *wish <= high + reach) {
                low = low.min(*wish);
                high = high.max(*wish);
            }
        }
        // A scale that begins at nothing misleads least, where it doesn't take up most of the room.
        let alone = high - low <= high.abs() * STEADY;
        if low > 0.0 && (alone || low < high * 0.7) {
            low = 0.0;
        }
        if low == high {
            (low, high) = (low.min(0.0), high.max(1.0));
        }
        let size = high - low;
        let step = nice(size / (MOST_STEPS * height / HEIGHT));
        let below = if low == 0.0 { 0.0 } else { size * 0.08 };
        Self {
            low: ((low - below) / step).floor() * step,
            high: ((high + size * 0.08) / step).ceil() * step,
            step,
            height,
        }
    }

    /// A scale from nothing to this, in whole numbers.
    pub(super) fn counts(most: f64) -> Self {
        let step = nice(most / MOST_STEPS).max(1.0).ceil();
        Self {
            low: 0.0,
            high: ((most + 0.25) / step).ceil().max(1.0) * step,
            step,
            height: HEIGHT,
        }
    }

    /// A scale of shares, in percent.
    pub(super) const fn shares() -> Self {
        Self {
            low: 0.0,
            high: 108.0,
            step: 25.0,
            height: HEIGHT,
        }
    }

    /// Whether a value has a place.
    pub(super) fn has(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Where a value is, from the top.
    pub(super) fn y(self, value: f64) -> f64 {
        let part = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.height * (1.0 - part)
    }

    /// The height of the frame: where its foot is.
    pub(super) const fn height(self) -> f64 {
        self.height
    }

    /// The edges, lowest first.
    pub(super) const fn edges(self) -> (f64, f64) {
        (self.low, self.high)
    }

    fn lines(self) -> impl Iterator<Item = f64> {
        (0_u32..=12)
            .map(move |n| self.low + f64::from(n) * self.step)
            .take_while(move |value| *value <= self.high + self.step * 1e-6)
    }
}

/// The least step that is easy to read and no less than this.
fn nice(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-12).log10().floor());
    let fits = STEPS.iter().map(|step| step * power);
    let mut fits = fits.filter(|step| *step >= least * (1.0 - 1e-9));
    fits.next().unwrap_or(10.0 * power)
}

/// Patterns that charts fill with, once for the page.
pub(super) fn patterns(m: &mut Markup) {
    let hidden = [
        ("class", "patterns"),
        ("width", "0"),
        ("height", "0"),
        ("aria-hidden", "true"),
    ];
    m.el("svg", &hidden, |m| {
        m.el("defs", &[], |m| {
            for (id, angle) in [("hatch", "rotate(45)"), ("hatch-back", "rotate(-45)")] {
                let pattern = [
                    ("id", id),
                    ("width", "7"),
                    ("height", "7"),
                    ("patternUnits", "userSpaceOnUse"),
                    ("patternTransform", angle),
                ];
                m.el("pattern", &pattern, |m| {
                    m.empty("line", &[("class", id), ("y2", "7")]);
                });
            }
        });
    });
}

/// A chart. `stretched` draws in units of [`x`] and of the scale, `fixed` in parts of the width.
pub(super) fn chart(
    m: &mut Markup,
    about: &str,
    scale: Scale,
    times: &[(f64, String)],
    stretched: impl FnOnce(&mut Markup),
    fixed: impl FnOnce(&mut Markup),
) {
    m.el("div", &[("class", "plot")], |m| {
        let height = number(scale.height + FOOT);
        let gutter = [
            ("class", "scale"),
            ("height", height.as_str()),
            ("width", "56"),
            ("aria-hidden", "true"),
        ];
        m.el("svg", &gutter, |m| {
            for value in scale.lines() {
                let text = [
                    ("class", "tick"),
                    ("x", "50"),
                    (
                        "y",
                        &number((scale.y(value) + 4.0).clamp(10.0, scale.height)),
                    ),
                    ("text-anchor", "end"),
                ];
                m.leaf("text", &text, &shown::figure(value));
            }
        });
        let frame = [
            ("class", "chart"),
            ("width", "100%"),
            ("height", height.as_str()),
            ("role", "img"),
            ("aria-label", about),
        ];
        m.el("svg", &frame, |m| {
            for value in scale.lines() {
                let y = number(scale.y(value));
                let line = [("class", "grid"), ("x2", "100%"), ("y1", &y), ("y2", &y)];
                m.empty("line", &line);
            }
            let drawing = [
                ("width", "100%"),
                ("height", &number(scale.height)),
                ("viewBox", &format!("0 0 {WIDTH} {}", scale.height)),
                ("preserveAspectRatio", "none"),
            ];
            m.el("svg", &drawing, stretched);
            fixed(m);
            time_labels(m, scale, times);
        });
    });
}

fn time_labels(m: &mut Markup, scale: Scale, times: &[(f64, String)]) {
    let last = times.len().saturating_sub(1);
    for (index, (part, words)) in times.iter().enumerate() {
        let anchor = match index {
            0 => "start",
            _ if index == last => "end",
            _ => "middle",
        };
        let text = [
            ("class", "tick"),
            ("x", &percent(*part)),
            ("y", &number(scale.height + 14.0)),
            ("text-anchor", anchor),
        ];
        m.leaf("text", &text, words);
    }
}

/// A part of the width in the drawing's own units.
pub(super) fn x(part: f64) -> f64 {
    part * WIDTH
}

/// A number for an attribute.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A line through points, in the drawing's own units.
pub(super) fn line(m: &mut Markup, class: &str, points: &[(f64, f64)]) {
    let text: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{},{}", number(*x), number(*y)))
        .collect();
    m.empty("polyline", &[("class", class), ("points", &text.join(" "))]);
}

/// A rectangle, in the drawing's own units.
pub(super) fn area(
    m: &mut Markup,
    class: &str,
    (left, right): (f64, f64),
    (top, foot): (f64, f64),
) {
    let rect = [
        ("class", class),
        ("x", &number(left)),
        ("y", &number(top)),
        ("width", &number((right - left).max(0.0))),
        ("height", &number((foot - top).max(0.0))),
    ];
    m.empty("rect", &rect);
}

/// A mark that keeps its shape, at a part of the width.
pub(super) fn dot(m: &mut Markup, class: &str, part: f64, y: f64, about: &str) {
    let circle = [
        ("class", class),
        ("cx", &percent(part)),
        ("cy", &number(y)),
        ("r", "3.5"),
    ];
    m.el("circle", &circle, |m| m.leaf("title", &[], about));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(values: &[f64], wishes: &[f64]) -> (f64, f64) {
        Scale::over(values.iter().copied(), wishes).edges()
    }

    #[test]
    fn a_scale_begins_at_nothing_unless_that_flattens_the_values() {
        assert_eq!(edges(&[1.0, 4.0], &[]), (0.0, 5.0));
        let (low, high) = edges(&[98.5, 99.5], &[]);
        assert!(low > 90.0 && high < 105.0, "{low} {high}");
        assert_eq!(edges(&[], &[]), (0.0, 1.25));
    }

    #[test]
    fn a_limit_is_on_the_scale_where_it_does_not_flatten_the_values() {
        let scale = Scale::over([1.0, 2.0].into_iter(), &[5.0, 1e6]);
        assert!(scale.has(5.0));
        assert!(!scale.has(1e6));
    }

    #[test]
    fn values_have_their_places_and_what_is_beyond_is_at_the_edge() {
        let scale = Scale::counts(3.0);
        assert_eq!(scale.edges(), (0.0, 4.0));
        assert_eq!((scale.y(0.0), scale.y(4.0)), (HEIGHT, 0.0));
        assert_eq!(scale.y(99.0), 0.0);
        assert_eq!(scale.lines().count(), 5);
        assert!(Scale::over([7.0].into_iter(), &[]).y(7.0).is_finite());
        assert!(Scale::over([0.0].into_iter(), &[]).y(0.0).is_finite());
    }
}
