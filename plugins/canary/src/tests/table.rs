//! Weights and counts against numbers that were worked out by hand.
//!
//! Where a rule is somebody else's, it was read from its source: Argo Rollouts' `docs/features/canary.md` and
//! `utils/replicaset/canary.go`, Flagger's `docs/gitbook/usage/deployment-strategies.md` and
//! `pkg/controller/scheduler.go`. The numbers were worked out here.

use super::*;

/// The pods on either side while a weight is held, and the traffic that is routed, in percent.
fn held(mut situation: Situation, replicas: u32, weight: u8) -> (u32, u32, u32) {
    situation.workload.replicas = replicas;
    let (mut candidate, mut stable, mut traffic) = (0, replicas, 0);
    for step in plan(&situation).unwrap() {
        match &step.action {
            Action::Deploy(deploy) => candidate = count(&deploy.replicas, replicas),
            Action::Scale(scale) if scale.slot == Slot::Stable => {
                stable = count(&scale.replicas, replicas);
            }
            Action::Scale(scale) => candidate = count(&scale.replicas, replicas),
            Action::Route(route) => traffic = route.split.candidate_weight / 100,
            _ => {}
        }
        if step.id == format!("soak-{weight}") {
            return (candidate, stable, traffic);
        }
    }
    panic!("{weight} is not held");
}

/// Without a router a Service shares alike among all ready pods. Argo Rollouts' basic canary looks for the
/// count whose share comes nearest to the weight: of as many pods as there were or one more, with the
/// candidate's exact part rounded up or down, and none of the two sides at nothing while both are to
/// serve. Equally near: fewer pods, then more of the candidate.
#[test]
fn by_replicas_as_argo_rollouts_approximates() {
    // (replicas, weight, candidate, stable)
    for row in [
        // 10% of 10 is 1, and 1 of 10 is 10%.
        (10, 10, 1, 9),
        // 0.1: up 1. 1 of 10 is 10%, 9 points off; 1 of 11 is 9.1%, 8.1 off.
        (10, 1, 1, 10),
        // 1.4: 1 of 10 is 10%, 4 off; 2 of 11 is 18.2%, 4.2 off; 2 of 10 is 6 off.
        (10, 14, 1, 9),
        // 1.5: 1 of 10 and 2 of 10 are both 5 off; 2 of 11 is 18.2%, 3.2 off. The example of Argo's documentation.
        (10, 15, 2, 9),
        // 1.8: 2 of 10 is 2 off; 2 of 11 is 18.2%, 0.2 off.
        (10, 18, 2, 9),
        // 1.9: 2 of 10 is 1 off; 2 of 11 is 18.2%, 0.8 off.
        (10, 19, 2, 9),
        // 20% of 10 is 2.
        (10, 20, 2, 8),
        // 2.3: 2 of 10 is 3 off; 3 of 11 is 27.3%, 4.3 off.
        (10, 23, 2, 8),
        // 2.4: 2 of 10 is 4 off; 3 of 11 is 27.3%, 3.3 off.
        (10, 24, 3, 8),
        // 2.5: 2 and 3 of 10 are 5 off; 3 of 11 is 27.3%, 2.3 off.
        (10, 25, 3, 8),
        // 3.3: 3 of 10 is 3 off; 4 of 11 is 36.4%, 3.4 off.
        (10, 33, 3, 7),
        // 3.4: 3 of 10 is 4 off; 4 of 11 is 36.4%, 2.4 off.
        (10, 34, 4, 7),
        // 50% of 10 is 5.
        (10, 50, 5, 5),
        // 7.5: 7 and 8 of 10 are 5 off; 8 of 11 is 72.7%, 2.3 off.
        (10, 75, 8, 3),
        // 90% of 10 is 9.
        (10, 90, 9, 1),
        // 9.9: 10 of 10 leaves stable nothing; 9 of 10 is 9 off; 10 of 11 is 90.9%, 8.1 off.
        (10, 99, 10, 1),
        // All of 10.
        (10, 100, 10, 0),
        // One of each is the only way in which both serve: 50%, whatever the weight.
        (1, 1, 1, 1),
        (1, 50, 1, 1),
        (1, 99, 1, 1),
        // All of 1.
        (1, 100, 1, 0),
        // 0.02: 1 of 2 is 49 off; 1 of 3 is 33.3%, 32.3 off.
        (2, 1, 1, 2),
        // 50% of 2 is 1.
        (2, 50, 1, 1),
        // 1.98: 2 of 2 leaves stable nothing; 1 of 2 is 49 off; 2 of 3 is 66.7%, 32.3 off.
        (2, 99, 2, 1),
        // 0.3: 1 of 3 is 33.3%, 23.3 off; 1 of 4 is 25%, 15 off.
        (3, 10, 1, 3),
        // 0.99: 1 of 3 is 33.3%, 0.3 off; 1 of 4 is 8 off.
        (3, 33, 1, 2),
        // 1.02: 1 of 3 is 33.3%, 0.7 off; 2 of 4 is 16 off; 2 of 3 is 32.7 off.
        (3, 34, 1, 2),
        // 1.47: 1 of 3 is 15.7 off; 2 of 3 is 17.7 off; 2 of 4 is 50%, 1 off.
        (3, 49, 2, 2),
        // 1.5: 1 and 2 of 3 are 16.7 off; 2 of 4 is 50%.
        (3, 50, 2, 2),
        // 25% of 4 is 1.
        (4, 25, 1, 3),
        // 0.4: 1 of 4 is 15 off; 1 of 5 is 20%, 10 off.
        (4, 10, 1, 4),
        // 1.25: 1 of 5 is 20%, 5 off; 1 of 6 is 16.7% and 2 of 6 33.3%, 8.3 off; 2 of 5 is 15 off.
        (5, 25, 1, 4),
        // 2.5: 2 and 3 of 5 are 10 off; 3 of 6 is 50%.
        (5, 50, 3, 3),
        // 0.5: 1 of 50 is 2%, 1 off; 1 of 51 is 1.96%, 0.96 off.
        (50, 1, 1, 50),
        // 1% of 100 is 1.
        (100, 1, 1, 99),
    ] {
        let (replicas, weight, candidate, stable) = row;
        let situation = bare(json!({ "weights": [weight], "soak": "1m" }));
        let found = held(situation, replicas, weight);
        assert_eq!(found, (candidate, stable, 0), "{row:?}");
    }
}

/// With a router the candidate has the part of stable's replicas that its weight is, rounded up, as a
/// traffic-routed canary of Argo Rollouts has it, and never nothing. Stable keeps all.
#[test]
fn by_weight_counts_are_rounded_up() {
    // (replicas, weight, candidate)
    for row in [
        // Nothing of 10, and yet one to look at.
        (10, 0, 1),
        // 0.1
        (10, 1, 1),
        // 1
        (10, 10, 1),
        // 1.1
        (10, 11, 2),
        // 2.5
        (10, 25, 3),
        // 5
        (10, 50, 5),
        // 9.9
        (10, 99, 10),
        // 10
        (10, 100, 10),
        // 0.1 and 0.99 and 1
        (1, 10, 1),
        (1, 99, 1),
        (1, 100, 1),
        // 0.99 and 1.02
        (3, 33, 1),
        (3, 34, 2),
        // 1 and 1.04
        (4, 25, 1),
        (4, 26, 2),
        // 2.1
        (7, 30, 3),
        // 0.5
        (50, 1, 1),
        // 1 and 1.01
        (100, 1, 1),
        (101, 1, 2),
    ] {
        let (replicas, weight, candidate) = row;
        let situation = routed(json!({ "weights": [weight], "soak": "1m" }));
        let found = held(situation, replicas, weight);
        assert_eq!(found, (candidate, replicas, weight.into()), "{row:?}");
    }
}

/// Replicas apart from the weight, as `setCanaryScale` of Argo Rollouts, but never fewer than the weight needs.
#[test]
fn by_weight_a_scale_apart_is_the_least_that_the_candidate_has() {
    // (replicas, scale, weight, candidate)
    for row in [
        // The weight needs 1, and 3 are asked for.
        (10, json!({ "replicas": 3 }), 10, 3),
        // The weight needs 5: 3 are too few.
        (10, json!({ "replicas": 3 }), 50, 5),
        // More than stable has is as asked.
        (10, json!({ "replicas": 12 }), 100, 12),
        // 25% of 10 is 2.5, so 3; the weight needs 1.
        (10, json!({ "weight": 25 }), 10, 3),
        // The weight needs 2.6, so 3: 25% would be 3 as well.
        (10, json!({ "weight": 25 }), 26, 3),
        // The weight needs 5.
        (10, json!({ "weight": 25 }), 50, 5),
        // Everything from the first percent on, as Flagger has it.
        (10, json!({ "weight": 100 }), 1, 10),
        // 1% of 3 is 0.03, so 1.
        (3, json!({ "weight": 1 }), 1, 1),
    ] {
        let (replicas, scale, weight, candidate) = row.clone();
        let config = json!({ "weights": [weight], "soak": "1m", "canaryScale": scale });
        let found = held(routed(config), replicas, weight);
        assert_eq!(found, (candidate, replicas, weight.into()), "{row:?}");
    }
}

/// Copies are carried on top of what the candidate serves.
#[test]
fn by_weight_copies_need_replicas_too() {
    // (replicas, weight, mirror, candidate)
    for row in [
        // 25% of 10 is 2.5.
        (10, 0, 25, 3),
        // 10% and 50% of 10 are 6.
        (10, 10, 50, 6),
        // 11% and 50% of 10 are 6.1.
        (10, 11, 50, 7),
        // 80% and 50% are more than all there is.
        (10, 80, 50, 10),
        // A copy of everything needs as much as everything.
        (10, 0, 100, 10),
        // 0.03 and 0.03 of a pod are one pod.
        (3, 1, 1, 1),
    ] {
        let (replicas, weight, mirror, candidate) = row;
        let mut situation = routed(json!({ "steps": [
            { "setWeight": weight },
            { "mirror": mirror },
            { "pause": { "duration": "1m" } },
        ] }));
        situation.workload.replicas = replicas;
        let steps = plan(&situation).unwrap();
        let held = format!("soak-{weight}");
        let soak = steps.iter().position(|step| step.id == held);
        let amounts = steps[..soak.unwrap()]
            .iter()
            .map(|step| match &step.action {
                Action::Deploy(deploy) => count(&deploy.replicas, replicas),
                Action::Scale(scale) => count(&scale.replicas, replicas),
                _ => 0,
            });
        assert_eq!(amounts.max(), Some(candidate), "{row:?}");
    }
}

/// Flagger adds `stepWeight` until the weight is at `maxWeight` or above, and never goes above 100. Here it
/// never goes above `maxWeight` either: the last step is cut.
#[test]
fn weights_that_grow_by_themselves() {
    // (stepWeight, maxWeight, weights)
    for (step, most, weights) in [
        // Multiples, up to and with the most: as in Flagger.
        (10, 50, vec![10, 20, 30, 40, 50]),
        (25, 100, vec![25, 50, 75, 100]),
        (50, 50, vec![50]),
        (100, 100, vec![100]),
        // 60 and 120: above all there is, in Flagger too.
        (60, 100, vec![60, 100]),
        // 33, 66, 99, 132.
        (33, 100, vec![33, 66, 99, 100]),
        // 20, 40, 60: Flagger goes to 60.
        (20, 50, vec![20, 40, 50]),
        // 30: Flagger goes to 30.
        (30, 20, vec![20]),
    ] {
        let config = json!({ "stepWeight": step, "maxWeight": most });
        let soaks: Vec<u32> = notes(&routed(config))
            .iter()
            .filter_map(|note| note.strip_prefix("soak-")?.split(':').next()?.parse().ok())
            .collect();
        assert_eq!(soaks, weights, "{step} up to {most}");
    }
    // 2, 4, … 50: 25 weights, and so 25 minutes, as Flagger's documentation reckons.
    let steps = plan(&routed(json!({ "stepWeight": 2, "maxWeight": 50 }))).unwrap();
    let held = steps.iter().filter_map(|step| match &step.action {
        Action::Soak(soak) => Some(soak.duration_ms),
        _ => None,
    });
    assert_eq!(held.sum::<u32>(), 25 * MINUTE);
}
