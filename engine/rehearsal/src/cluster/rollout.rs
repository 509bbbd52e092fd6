//! The arithmetic of rollouts.

use serde_json::Value;

use super::json::{at, int, text};

/// How far a rolling update may go above and below the wanted number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) surge: i64,
    pub(super) unavailable: i64,
}

/// A count or a percentage of `total`; percentages are rounded up or down.
fn resolve(value: &Value, total: i64, up: bool) -> i64 {
    if let Some(count) = value.as_i64() {
        return count.max(0);
    }
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%'))
        .and_then(|text| text.parse::<i64>().ok());
    let share = percent.unwrap_or_default().max(0).saturating_mul(total);
    if up {
        share.saturating_add(99) / 100
    } else {
        share / 100
    }
}

/// The bounds of a Deployment: surge rounds up, unavailable rounds down, both zero means one unavailable.
pub(super) fn bounds(deployment: &Value) -> Bounds {
    let total = int(deployment, &["spec", "replicas"]).unwrap_or(1);
    if text(deployment, &["spec", "strategy", "type"]) != "RollingUpdate" {
        return Bounds {
            surge: 0,
            unavailable: 0,
        };
    }
    let rolling = at(deployment, &["spec", "strategy", "rollingUpdate"]);
    let surge = resolve(at(rolling, &["maxSurge"]), total, true);
    let mut unavailable = resolve(at(rolling, &["maxUnavailable"]), total, false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds {
        surge,
        unavailable: unavailable.min(total),
    }
}

/// A set of pods as the arithmetic sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// The wanted number.
    pub(super) wanted: i64,
    /// How many have been ready for long enough.
    pub(super) available: i64,
    /// The largest size of the whole Deployment when this set was last sized; 0 if unknown.
    pub(super) largest: i64,
}

/// The size of the newest set in a rolling update.
pub(super) fn grown(total: i64, bounds: Bounds, newest: Size, all_wanted: i64) -> i64 {
    let room = (total + bounds.surge).saturating_sub(all_wanted);
    if room <= 0 {
        return newest.wanted;
    }
    newest.wanted + room.min(total - newest.wanted)
}

/// The sizes of the older sets, oldest first, after one step of a rolling update.
pub(super) fn shrunk(total: i64, bounds: Bounds, newest: Size, old: &[Size]) -> Vec<i64> {
    let mut sizes: Vec<i64> = old.iter().map(|set| set.wanted).collect();
    let least = total - bounds.unavailable;
    let all: i64 = sizes.iter().sum::<i64>() + newest.wanted;
    let mut budget = all - least - (newest.wanted - newest.available);
    if budget <= 0 {
        return sizes;
    }
    // What is not available goes first: it serves nobody.
    for (size, set) in sizes.iter_mut().zip(old) {
        let sick = (*size - set.available).clamp(0, budget);
        *size -= sick;
        budget -= sick;
    }
    let available: i64 = old.iter().map(|set| set.available).sum::<i64>() + newest.available;
    let mut spare = available - least;
    for size in &mut sizes {
        if spare <= 0 {
            break;
        }
        let gone = (*size).min(spare);
        *size -= gone;
        spare -= gone;
    }
    sizes
}

/// The sizes after the wanted number changed in the middle of a rollout: each set keeps its share.
/// `sets` come newest first when growing and oldest first when shrinking.
pub(super) fn proportional(total: i64, bounds: Bounds, sets: &[Size]) -> Vec<i64> {
    let allowed = if total > 0 { total + bounds.surge } else { 0 };
    let now: i64 = sets.iter().map(|set| set.wanted).sum();
    let to_add = allowed - now;
    let mut added = 0;
    let mut sizes = Vec::with_capacity(sets.len());
    for set in sets {
        let mut size = set.wanted;
        if to_add != 0 {
            let share = fraction(total, bounds, *set, now);
            let rest = to_add - added;
            let change = if to_add > 0 {
                share.clamp(0, rest)
            } else {
                share.clamp(rest, 0)
            };
            size += change;
            added += change;
        }
        sizes.push(size);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

fn fraction(total: i64, bounds: Bounds, set: Size, now: i64) -> i64 {
    if total == 0 {
        return -set.wanted;
    }
    let before = if set.largest > 0 {
        set.largest
    } else {
        now.max(1)
    };
    // Half away from zero, as Kubernetes rounds.
    let scaled = (set.wanted * (total + bounds.surge) * 2 + before) / (before * 2);
    scaled - set.wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        for (replicas, surge, unavailable, expected) in [
            (3, json!("25%"), json!("25%"), (1, 0)),
            (4, json!("25%"), json!("25%"), (1, 1)),
            (10, json!("25%"), json!("25%"), (3, 2)),
            (10, json!("0%"), json!("25%"), (0, 2)),
            (3, json!(0), json!("25%"), (0, 1)),
            (3, json!("0%"), json!("10%"), (0, 1)),
            (1, json!("100%"), json!("0%"), (1, 0)),
            (5, json!(2), json!(1), (2, 1)),
            (2, json!(0), json!(5), (0, 2)),
            (0, json!("25%"), json!("25%"), (0, 0)),
        ] {
            let deployment = json!({"spec": {"replicas": replicas, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}});
            let found = bounds(&deployment);
            assert_eq!(
                (found.surge, found.unavailable),
                expected,
                "{replicas} {surge} {unavailable}"
            );
        }
    }

    fn size(wanted: i64, available: i64) -> Size {
        Size {
            wanted,
            available,
            largest: 0,
        }
    }

    #[test]
    fn old_pods_go_only_as_far_as_the_new_ones_serve() {
        let bounds = Bounds {
            surge: 1,
            unavailable: 0,
        };
        assert_eq!(grown(3, bounds, size(0, 0), 3), 1);
        assert_eq!(shrunk(3, bounds, size(1, 0), &[size(3, 3)]), [3]);
        assert_eq!(shrunk(3, bounds, size(1, 1), &[size(3, 3)]), [2]);
        assert_eq!(shrunk(3, bounds, size(3, 3), &[size(1, 1)]), [0]);
        // One of the old ones is sick: it goes, although the new one isn't there yet.
        let bounds = Bounds {
            surge: 1,
            unavailable: 1,
        };
        assert_eq!(shrunk(4, bounds, size(1, 0), &[size(4, 3)]), [3]);
    }

    #[test]
    fn a_change_of_size_in_the_middle_keeps_the_shares() {
        let bounds = Bounds {
            surge: 3,
            unavailable: 2,
        };
        let sets = [
            Size {
                wanted: 5,
                available: 0,
                largest: 13,
            },
            Size {
                wanted: 8,
                available: 8,
                largest: 13,
            },
        ];
        let bigger = proportional(
            15,
            bounds,
            &[
                Size {
                    wanted: 8,
                    ..sets[1]
                },
                sets[0],
            ],
        );
        assert_eq!(bigger.iter().sum::<i64>(), 18);
        assert_eq!(bigger, [11, 7]);
        assert_eq!(proportional(0, bounds, &sets), [0, 0]);
    }
}
