//! Time on paper: what takes long is folded, so that it doesn't flatten the rest.

use phasegate_core::time::Timestamp;

/// A stretch in which a run only waits is folded when it is so many times longer than all those in
/// which it works; and any stretch when it is so many times longer than all others.
const FOLD_IDLE: f64 = 2.0;
const FOLD_ANY: f64 = 20.0;
/// What is shorter, in milliseconds, is never folded.
const FOLD_LEAST: f64 = 60_000.0;
/// The part of the width that a folded stretch takes.
const FOLDED: f64 = 0.2;
/// The most that all folded stretches take together.
const FOLDED_MOST: f64 = 0.6;
/// The part of the width that the shortest stretch takes.
const LEAST: f64 = 0.012;
/// The most that the least parts take together.
const LEAST_MOST: f64 = 0.4;
/// The part of the width that a stretch takes in which nothing was measured.
const IDLE: f64 = 0.03;
/// The most that these take together.
const IDLE_MOST: f64 = 0.3;

/// A stretch of time and its place, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) folded: bool,
}

/// Where times are, from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Axis {
    pieces: Vec<Piece>,
}

fn length(from: Timestamp, to: Timestamp) -> f64 {
    // What is lost above 2^53 milliseconds is no part of any run.
    to.since(from).as_millis() as f64
}

impl Axis {
    /// An axis over stretches that begin and end at these times. The long ones are folded; `idle` says
    /// of which one a run only waits in it.
    pub(crate) fn folding(
        mut cuts: Vec<Timestamp>,
        idle: impl Fn(Timestamp, Timestamp) -> bool,
    ) -> Self {
        cuts.sort_unstable();
        cuts.dedup();
        let mut stretches: Vec<(Timestamp, Timestamp, bool)> = cuts
            .iter()
            .zip(cuts.iter().skip(1))
            .map(|(from, to)| (*from, *to, false))
            .collect();
        loop {
            let sum = |busy: bool| -> f64 {
                let open = stretches.iter().filter(|(.., folded)| !folded);
                let counts = open.filter(|(from, to, _)| !busy || !idle(*from, *to));
                counts.map(|(from, to, _)| length(*from, *to)).sum()
            };
            let (all, busy) = (sum(false), sum(true));
            let may = |from, to| {
                let long = length(from, to);
                let others = all - long;
                let folds = if idle(from, to) && busy > 0.0 {
                    long > FOLD_IDLE * busy
                } else {
                    long > FOLD_ANY * others
                };
                long >= FOLD_LEAST && others > 0.0 && folds
            };
            let Some(next) = stretches
                .iter()
                .position(|(from, to, folded)| !folded && may(*from, *to))
            else {
                break;
            };
            if let Some((.., folded)) = stretches.get_mut(next) {
                *folded = true;
            }
        }
        Self::laid(&stretches, FOLDED, FOLDED_MOST)
    }

    /// An axis over stretches, with what lies between them folded away.
    pub(crate) fn squeezing(stretches: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        let mut all = Vec::new();
        let mut last: Option<Timestamp> = None;
        for (from, to) in stretches {
            if let Some(last) = last
                && last < from
            {
                all.push((last, from, true));
            }
            all.push((from, to, false));
            last = Some(to);
        }
        Self::laid(&all, IDLE, IDLE_MOST)
    }

    fn laid(stretches: &[(Timestamp, Timestamp, bool)], fold: f64, most: f64) -> Self {
        let count = |which: bool| {
            let count = stretches
                .iter()
                .filter(|(.., folded)| *folded == which)
                .count();
            f64::from(u32::try_from(count).unwrap_or(u32::MAX))
        };
        let (folds, open) = (count(true), count(false));
        let each = if folds > 0.0 {
            fold.min(most / folds)
        } else {
            0.0
        };
        let rest = 1.0 - each * folds;
        let least = if open > 0.0 {
            (LEAST * rest).min(LEAST_MOST * rest / open)
        } else {
            0.0
        };
        let time: f64 = stretches
            .iter()
            .filter(|(.., folded)| !folded)
            .map(|(from, to, _)| length(*from, *to))
            .sum();
        let mut left = 0.0;
        let mut pieces = Vec::new();
        for (from, to, folded) in stretches {
            let part = match (folded, time > 0.0) {
                (true, _) => each,
                (false, true) => least + (rest - least * open) * length(*from, *to) / time,
                (false, false) => rest / open,
            };
            let right = (left + part).min(1.0);
            pieces.push(Piece {
                from: *from,
                to: *to,
                left,
                right,
                folded: *folded,
            });
            left = right;
        }
        Self { pieces }
    }

    /// The stretches.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Where a time is. What is outside is at the edge.
    pub(crate) fn at(&self, time: Timestamp) -> f64 {
        for piece in &self.pieces {
            if time <= piece.from {
                return piece.left;
            }
            if time <= piece.to {
                let part = length(piece.from, time) / length(piece.from, piece.to);
                return piece.left + (piece.right - piece.left) * part;
            }
        }
        self.pieces.last().map_or(0.0, |piece| piece.right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn folded(axis: &Axis) -> Vec<bool> {
        axis.pieces().iter().map(|piece| piece.folded).collect()
    }

    #[test]
    fn a_day_of_soaking_leaves_room_for_the_rest() {
        let day = 86_400;
        let cuts = || vec![at(0), at(10), at(70), at(70 + day), at(90 + day)];
        let axis = Axis::folding(cuts(), |from, _| from == at(70));
        assert_eq!(folded(&axis), [false, false, true, false]);
        let soak = axis.at(at(70 + day)) - axis.at(at(70));
        assert!((soak - FOLDED).abs() < 1e-9, "{soak}");
        let deploy = axis.at(at(70)) - axis.at(at(10));
        assert!(deploy > 0.4, "{deploy}");
        assert!((axis.at(at(90 + day)) - 1.0).abs() < 1e-9);
        // Within a fold time goes on, and before and after all there is the edge.
        let middle = axis.at(at(70 + day / 2));
        assert!(middle > axis.at(at(70)) && middle < axis.at(at(70 + day)));
        assert_eq!(axis.at(at(1_000_000)), axis.at(at(90 + day)));
    }

    #[test]
    fn work_is_folded_only_where_nothing_else_could_be_seen() {
        let cuts = |deploy: u64| vec![at(0), at(deploy), at(deploy + 9), at(deploy + 12)];
        let never = |_, _| false;
        assert_eq!(
            folded(&Axis::folding(cuts(90), never)),
            [false, false, false]
        );
        assert_eq!(
            folded(&Axis::folding(cuts(9_000), never)),
            [true, false, false]
        );
        // Nor is what is short, nor all that there is.
        let short = Axis::folding(vec![at(0), at(50), at(51)], |_, _| true);
        assert_eq!(folded(&short), [false, false]);
        assert_eq!(
            folded(&Axis::folding(vec![at(0), at(9_000)], |_, _| true)),
            [false]
        );
    }

    #[test]
    fn long_waits_are_folded_one_after_the_other() {
        let cuts = vec![at(0), at(8), at(1_800), at(2_340), at(50_000), at(50_008)];
        let axis = Axis::folding(cuts, |from, _| {
            (8..50_000).contains(&(from.as_millis() / 1000))
        });
        assert_eq!(folded(&axis), [false, true, true, true, false]);
    }

    #[test]
    fn equal_stretches_are_not_folded() {
        let axis = Axis::folding(vec![at(0), at(60), at(120), at(180)], |_, _| true);
        assert_eq!(folded(&axis), [false, false, false]);
        assert!((axis.at(at(60)) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn many_stretches_without_length_fit_in_all_the_same() {
        for count in [0, 1, 2, 5_000] {
            let axis = Axis::folding((0..count).map(at).collect(), |_, _| true);
            let end = axis.at(at(count));
            assert!((0.0..=1.0 + 1e-9).contains(&end), "{count}: {end}");
        }
        let axis = Axis::squeezing([(at(5), at(5))]);
        assert_eq!(axis.at(at(5)), 0.0);
        assert_eq!(axis.at(at(6)), 1.0);
    }

    #[test]
    fn what_lies_between_is_folded_away() {
        let axis = Axis::squeezing([(at(0), at(60)), (at(10_000), at(10_060))]);
        assert!((axis.at(at(10_000)) - axis.at(at(60)) - IDLE).abs() < 1e-9);
    }
}
