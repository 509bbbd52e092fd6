//! What holds for every plan, tried on all small ones.

use phasegate_plugins_shared::testing::{State, follow};

use super::*;

/// The most replicas that are tried.
const MOST: u32 = 50;

fn states(situation: &Situation, steps: &[Step]) -> Vec<State> {
    match follow(situation, steps) {
        Ok(states) => states,
        Err(broken) => {
            let notes: Vec<_> = steps.iter().map(note).collect();
            panic!("{broken}\n{notes:#?}\n{:?}", situation.call.config)
        }
    }
}

/// Every choice of weights from these, but none.
fn ladders(weights: &[u8]) -> Vec<Vec<u8>> {
    (1..1_u32 << weights.len())
        .map(|bits| {
            let chosen = weights.iter().enumerate();
            let chosen = chosen.filter(|(index, _)| bits & (1 << index) != 0);
            chosen.map(|(_, weight)| *weight).collect()
        })
        .collect()
}

/// The weights of a plan's routes, in percent, without repetitions.
fn routes(steps: &[Step]) -> Vec<u32> {
    let mut weights: Vec<u32> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Route(route) => Some(route.split.candidate_weight / 100),
            _ => None,
        })
        .collect();
    weights.dedup();
    weights
}

#[test]
fn by_weight_no_prefix_takes_capacity_away_and_no_weight_is_left_out() {
    let ladders = ladders(&[0, 1, 10, 25, 33, 50, 75, 99, 100]);
    for ladder in &ladders {
        let config = json!({ "weights": ladder, "soak": "1m" });
        for replicas in 1..=MOST {
            let mut situation = routed(config.clone());
            situation.workload.replicas = replicas;
            let steps = plan(&situation).unwrap();
            let states = states(&situation, &steps);
            let end = states.last().unwrap();
            assert_eq!((end.stable, end.candidate, end.weight), (replicas, 0, 0));

            let mut expected: Vec<u32> = ladder.iter().map(|weight| (*weight).into()).collect();
            expected.retain(|weight| *weight > 0);
            if expected.last() != Some(&100) {
                expected.push(100);
            }
            assert_eq!(routes(&steps), expected);
        }
    }
}

#[test]
fn by_replicas_no_prefix_takes_capacity_away_and_both_sides_serve_until_one_has_all() {
    for ladder in &ladders(&[1, 10, 25, 33, 50, 75, 99, 100]) {
        let config = json!({ "weights": ladder, "soak": "1m" });
        for replicas in 1..=MOST {
            let mut situation = bare(config.clone());
            situation.workload.replicas = replicas;
            let steps = plan(&situation).unwrap();
            let states = states(&situation, &steps);
            let end = states.last().unwrap();
            assert_eq!((end.stable, end.candidate), (replicas, 0));

            // A state follows each step; the first is the one before them all.
            for (step, state) in steps.iter().zip(&states[1..]) {
                let Some(weight) = step.id.strip_prefix("soak-") else {
                    continue;
                };
                let pods = state.stable + state.candidate;
                assert!(pods <= replicas + 1, "{pods} pods of {replicas}");
                assert_eq!(state.stable == 0, weight == "100", "{state:?}");
                assert!(state.candidate > 0);
            }
        }
    }
}

#[test]
fn by_replicas_a_greater_weight_never_means_fewer_of_the_candidate_or_more_of_stable() {
    for replicas in 1..=200 {
        let mut last = (0, replicas);
        for weight in 1..=100 {
            let mut situation = bare(json!({ "weights": [weight], "soak": "1m" }));
            situation.workload.replicas = replicas;
            let steps = plan(&situation).unwrap();
            let soak = steps.iter().position(|step| step.id.starts_with("soak"));
            let state = &states(&situation, &steps)[soak.unwrap() + 1];
            let now = (state.candidate, state.stable);
            assert!(
                now.0 >= last.0 && now.1 <= last.1,
                "{weight}% of {replicas}"
            );
            last = now;
        }
        assert_eq!(last, (replicas, 0));
    }
}

/// Every list of up to four of these, where it is a plan at all.
#[test]
fn no_list_of_steps_takes_capacity_away_or_names_what_is_not_there() {
    let header = |name: &str| {
        json!({ "setHeaderRoute": { "match": [
            { "headerName": name, "headerValue": { "exact": "1" } },
        ] } })
    };
    let entries = [
        json!({ "setWeight": 0 }),
        json!({ "setWeight": 10 }),
        json!({ "setWeight": 60 }),
        json!({ "setWeight": 100 }),
        json!({ "pause": { "duration": "1m" } }),
        json!({ "pause": {} }),
        json!({ "setCanaryScale": { "replicas": 3 } }),
        json!({ "setCanaryScale": { "weight": 25 } }),
        json!({ "setCanaryScale": { "matchTrafficWeight": true } }),
        header("x-team"),
        json!({ "setHeaderRoute": {} }),
        json!({ "mirror": 50 }),
        json!({ "mirror": 0 }),
        json!({ "check": ["health"] }),
        json!({ "act": "warm" }),
    ];
    let (mut plans, mut by_replicas) = (0, 0);
    let base = entries.len();
    for length in 1..=4_u32 {
        for number in 0..base.pow(length) {
            let digits = (0..length).map(|place| (number / base.pow(place)) % base);
            let list: Vec<&Value> = digits.map(|digit| &entries[digit]).collect();
            // Three numbers of replicas, taken in turn: below, at and above what the scales say.
            let replicas = [1, 3, 10][number % 3];
            let config = json!({ "steps": list });
            for (mut situation, plans) in [
                (routed(config.clone()), &mut plans),
                (bare(config.clone()), &mut by_replicas),
            ] {
                situation.workload.replicas = replicas;
                if list.contains(&&json!({ "act": "warm" })) {
                    situation.actions = vec!["warm".to_owned()];
                }
                if let Ok(steps) = plan(&situation) {
                    states(&situation, &steps);
                    *plans += 1;
                }
            }
        }
    }
    // Most lists are refused for weights that shrink or repeat, and yet these many are not.
    assert!(plans > 15_000, "{plans}");
    assert!(by_replicas > 100, "{by_replicas}");
}

/// The model that these laws are checked with does notice what it is there for.
#[test]
fn a_plan_without_one_of_its_steps_or_with_two_in_the_wrong_order_breaks_a_law() {
    let config = json!({ "weights": [10, 50, 100], "soak": "1m" });
    for situation in [routed(config.clone()), bare(config)] {
        let steps = plan(&situation).unwrap();
        for (index, step) in steps.iter().enumerate() {
            let needed = match &step.action {
                // Holding changes nothing.
                Action::Soak(_) => false,
                // Without a weight in between the next one comes all the same.
                Action::Route(route) => route.split.candidate_weight == 10_000,
                // Stable that keeps more than its share is more careful.
                Action::Scale(scale) => scale.slot == Slot::Candidate,
                _ => true,
            };
            let mut without = steps.clone();
            without.remove(index);
            assert_eq!(follow(&situation, &without).is_err(), needed, "{}", step.id);
        }
        let grow = steps.iter().position(|step| step.id == "scale-50").unwrap();
        let mut swapped = steps.clone();
        swapped.swap(grow, grow + 1);
        assert!(follow(&situation, &swapped).is_err());
    }
}
