//! The acceptance scenarios on both clusters: the same release, the same plugins, the same people. A run takes the same steps in
//! the same order, its effects have the same outcomes, its gates come to the same, and the same is left behind.
//!
//! Each folder of `tests/scenarios` is either played here or listed with the reason why it isn't.

mod accounts;
mod autoscaler;
mod briefly;
mod edits;
mod fates;
mod mishaps;
mod moves;
mod people;
mod real;
mod remains;
mod simulated;
mod stage;
mod town;
mod within;

use std::time::Duration;

use phasegate_core::event::Record;
use serde_json::{Value, json};

use briefly::{NAMESPACE, Story};
use edits::*;
use moves::Moves;
use remains::Remains;

use crate::space::Space;

/// How often it is looked whether a cluster has come to rest, and how long is waited in between.
const LOOKS: u32 = 60;
const BETWEEN: Duration = Duration::from_millis(500);

/// What became of a story.
struct Played {
    /// The run's name.
    run: String,
    end: String,
    records: Vec<Record>,
    remains: Remains,
    /// What was said, for people.
    told: String,
}

/// Plays a folder on both, and holds one against the other.
fn same(name: &str, edit: impl FnOnce(&mut Story)) {
    let mut story = Story::of(name);
    edit(&mut story);
    story.wait_for_people();
    let simulated = simulated::play(&story);
    assert_eq!(simulated.end, story.end(), "{}", simulated.told);
    let space = Space::new(&format!("both-{name}"));
    let mut real = real::play(&space, &story);
    let told = format!("simulated:\n{}\nreal:\n{}", simulated.told, real.told);
    assert_eq!(real.end, simulated.end, "{told}");
    let moves = |played: &Played, namespace: &str| {
        let successor = Moves::successor(&played.records).unwrap_or("SUCCESSOR");
        let names = [(successor, "SUCCESSOR"), (namespace, "NAMESPACE")];
        Moves::of(&played.run, &played.records, &names)
    };
    let (here, there) = (moves(&simulated, NAMESPACE), moves(&real, &space.name));
    assert_eq!(here.sequence, there.sequence, "{told}");
    assert_eq!(here.notices, there.notices, "{told}");
    assert_eq!(here.verdicts, there.verdicts, "{told}");
    // Pods that are on their way out may take longer here than there.
    for _ in 0..LOOKS {
        if real.remains.objects == simulated.remains.objects {
            break;
        }
        std::thread::sleep(BETWEEN);
        real.remains = real::remains(&space);
    }
    assert_eq!(real.remains.objects, simulated.remains.objects, "{told}");
}

macro_rules! stories {
    ($($test:ident: $folder:literal, $edit:expr;)*) => {
        const PLAYED: &[&str] = &[$($folder),*];
        $(#[test]
        fn $test() {
            same($folder, $edit);
        })*
    };
}

stories! {
    s06_missing: "06-settings-missing", as_it_is;
    s08_holiday: "08-day-before-a-holiday", played_within;
    s08_friday: "08-friday-afternoon", played_within;
    s08_gate_friday: "08-gate-on-a-friday-afternoon", played_within;
    s08_gate_holiday: "08-gate-on-the-day-before-a-holiday", played_within;
    s09_closes: "09-the-window-closes", the_window_closes;
    s09_summer: "09-first-tuesday-of-summer-time", played_within;
    s09_tuesday: "09-tuesday-at-eleven", played_within;
    s09_winter: "09-first-tuesday-of-winter-time", played_within;
    s10_approved: "10-minor-release", as_it_is;
    s10_not_approved: "10-minor-release-by-a-team-lead-only", as_it_is;
    s11_configuration: "11-configuration", as_it_is;
    s11_hotfix: "11-hotfix", as_it_is;
    s11_major: "11-major", as_it_is;
    s11_patch: "11-patch", as_it_is;
    s11_production: "11-production", as_it_is;
    s12_major: "12-major-in-production", as_it_is;
    s12_without: "12-major-without-the-manager", as_it_is;
    s13_development: "13-development", as_it_is;
    s13_production: "13-production", as_it_is;
    s14_given: "14-attestation-given", as_it_is;
    s14_missing: "14-attestation-missing", as_it_is;
    s16_start_is_told: "16-start-is-told", as_it_is;
    s17_critical: "17-critical-notifier-falls-back", as_it_is;
    s17_notifier_unreachable: "17-notifier-unreachable", as_it_is;
    s18_dry_run: "18-dry-run", as_it_is;
    s19_second_run: "19-second-run", as_it_is;
    s20_crash_in_a_soak: "20-crash-in-a-soak", as_it_is;
    s21_claim: "21-abort-during-the-claim", aborted_in_the_claim;
    s21_dies_twice: "21-engine-dies-in-the-rollback-twice", aborted_in("verify/soak-1", "1s");
    s21_rollback: "21-abort-during-a-rollback", acts(json!([
        after_start("verify/soak-1", "1s", &json!({"abort": "too slow"})),
        {"when": {"line": "rolling-back"}, "after": "300ms", "by": "grace", "do": {"abort": "much too slow"}},
    ]));
    s21_soak: "21-abort-during-a-soak", aborted_in("verify/soak-1", "1s");
    s21_approval: "21-abort-during-an-approval", as_it_is;
    s21_deployment: "21-abort-during-the-deployment", aborted_in("deploy/deploy", "700ms");
    s21_nobody_drives: "21-abort-while-nobody-drives", as_it_is;
    s22_rolling: "22-rolling-success", as_it_is;
    s22_recreate: "22-recreate-success", as_it_is;
    s22_recreate_again: "22-recreate-a-write-is-tried-again", as_it_is;
    s22_recreate_dies: "22-recreate-engine-dies-in-the-gap", as_it_is;
    s22_recreate_gate: "22-recreate-a-gate-fails", a_longer_soak;
    s22_recreate_gap: "22-recreate-abort-in-the-gap", aborted_in("deploy/deploy", "300ms");
    s22_recreate_back: "22-recreate-goes-back", as_it_is;
    s23_over_its_time: "23-rollout-over-its-time", as_it_is;
    s24_crash_loop: "24-crash-loop", as_it_is;
    s24_image_pull: "24-image-pull", as_it_is;
    s26_wrong_version: "26-wrong-version-after-the-switch", as_it_is;
    s27_green_not_ready: "27-green-not-ready", as_it_is;
    s28_database_health: "28-database-health-500", as_it_is;
    s29_live_colour: "29-live-colour-green", as_it_is;
    s30_warm_rollback: "30-warm-rollback", as_it_is;
    s31_green_fails: "31-green-fails-before-its-time", as_it_is;
    s31_no_time: "31-no-time-to-prove-itself", as_it_is;
    s31_without_an_engine: "31-time-without-an-engine-is-not-stable-time", as_it_is;
    s32_kept: "32-kept-for-a-day", as_it_is;
    s32_needed_again: "32-needed-again-when-it-is-due", as_it_is;
    s33_over: "33-rollback-over-its-target", as_it_is;
    s33_within: "33-rollback-within-its-target", as_it_is;
    s34_weights: "34-canary-weights", as_it_is;
    s34_istio: "34-istio", as_it_is;
    s34_nginx: "34-nginx", as_it_is;
    s35_ten: "35-ten-replicas", as_it_is;
    s35_fourteen: "35-ten-replicas-become-fourteen", looked_at_often;
    s36_stable: "36-stable-does-not-come-up", as_it_is;
    s36_promotion: "36-promotion", as_it_is;
    s58_configuration: "58-configuration", as_it_is;
    s58_back: "58-configuration-goes-back", aborted_in("verify/soak-1", "1s");
    s58_canary: "58-configuration-by-canary", as_it_is;
    s59_rotation: "59-rotation", as_it_is;
    s59_fails: "59-rotation-a-gate-fails", as_it_is;
    s59_back: "59-rotation-rolled-back", as_it_is;
    s59_again: "59-rotation-again", as_it_is;
    s59_lost: "59-rotated-keys-would-be-lost", as_it_is;
    manifests: "manifests", as_it_is;
    manifests_back: "manifests-go-back", aborted_in("verify/soak-1", "1s");
    manifests_canary: "manifests-by-canary", as_it_is;
    s61_autoscaler: "61-autoscaler", as_it_is;
    s61_refused: "61-scaling-is-refused", as_it_is;
    s62_scaled: "62-scaled-and-back", aborted_in("verify/soak-1", "1s");
    s63_hotfix: "63-hotfix", as_it_is;
    s66_event_repair: "66-event-repair", as_it_is;
    s66_aborted: "66-event-repair-aborted", while_the_job_runs(&json!({"abort": null}));
    s66_dies: "66-event-repair-engine-dies", the_last_is_away_for_long;
    s66_job_fails: "66-event-repair-job-fails", as_it_is;
    s66_scaled_up: "66-event-repair-scaled-up", while_the_job_runs(&json!({
        "patch": {"kind": "Deployment", "name": "worker", "merge": {"spec": {"replicas": 2}}},
    }));
    s64_eight_services: "64-eight-services", as_it_is;
    s68_success: "68-success-is-told", as_it_is;
    s69_rollback: "69-rollback-is-told", as_it_is;
    s70_after_success: "70-rollback-after-success", as_it_is;
    s70_released_since: "70-rollback-after-somebody-else-released", released_since;
    s71_hangs: "71-gate-hangs", played_within;
    s71_traps: "71-gate-traps", played_within;
    s72_errors: "72-api-errors", reads_fail_later;
    s72_conflicts: "72-conflict-storm", as_it_is;
    s73_back: "73-answer-lost-on-the-way-back", aborted_in("verify/soak-1", "1s");
    s73_forward: "73-answer-lost-on-the-way-forward", as_it_is;
    s73_request: "73-request-lost", as_it_is;
    s74_aborted: "74-drift-aborted", drift(&json!({"abort": null}));
    s74_adopted: "74-drift-adopted", drift(&json!({"continue": "adopt"}));
    s74_forced: "74-drift-forced", drift(&json!({"continue": "force"}));
    s74_candidate: "74-drift-of-the-candidate", looked_at_often;
    s74_undecided: "74-drift-undecided", drift(&Value::Null);
    s74_scaled: "74-scaled-by-somebody", as_it_is;
    s75_handed_over: "75-stuck-then-handed-over", stuck(&json!({"handOver": "I do it with kubectl"}));
    s75_stable: "75-stable-never-ready", stable_never_ready;
    s75_retried: "75-stuck-then-retried", stuck(&json!("retry"));
    s75_skipped: "75-stuck-then-skipped", stuck(&json!({"skip": "restore"}));
    s76_fails: "76-a-gate-fails-in-a-pause", paused(true);
    s76_continued: "76-paused-and-continued", paused(false);
    s76_paused: "76-paused-for-too-long", as_it_is;
    s77_pods_fail_later: "77-pods-fail-later", a_longer_soak;
    s78_claim: "78-the-claim-is-somebody-elses", between_attempts;
    s79_autoscaled: "79-autoscaled", autoscaled;
    s79_behind: "79-behind-a-route", under_traffic;
    s79_rollback: "79-requests-during-a-rollback", |story| {
        under_traffic(story);
        aborted_in("verify/soak-1", "1s")(story);
    };
    s79_rollout: "79-requests-during-a-rollout", under_traffic;
    s80_canary: "80-superseded-canary", superseded_in("deploy/soak-25");
    s80_dies: "80-superseded-and-the-engine-dies", superseded_in("verify/soak-1");
    s80_soak: "80-superseded-in-a-soak", superseded_in("verify/soak-1");
    s81_fails: "81-a-gate-fails-past-the-point-of-no-return", all_fail_past_the_point;
    s81_abort: "81-abort-past-the-point-of-no-return", acts(json!([
        attested(),
        after_start("watch/soak-1", "1s", &json!({"abort": "seen enough"})),
    ]));
    act_fails: "act-fails", as_it_is;
    acts_around: "acts-around-a-release", as_it_is;
    acts_undone: "acts-undone", aborted_in("after/soak-1", "1s");
    canary_acts: "canary-acts", as_it_is;
    canary_acts_dies: "canary-acts-engine-dies", the_last_is_away_for_long;
    canary_acts_fail: "canary-acts-fail", as_it_is;
    canary_acts_revised: "canary-acts-revised", looked_at_often_and_promoted_slowly;
    canary_acts_undone: "canary-acts-undone", aborted_in("deploy/soak-50", "1s");
    blue_green_acts: "blue-green-acts-in-waves", aborted_in_the_second_wave;
    apply: "apply", as_it_is;
    apply_conflict: "apply-conflict", as_it_is;
    apply_dies: "apply-engine-dies", as_it_is;
    apply_dies_back: "apply-engine-dies-on-the-way-back", aborted_in("verify/soak-1", "1s");
    apply_undone: "apply-undone", aborted_in("verify/soak-1", "1s");
    acts_late: "acts-late", aborted_in("after/soak-1", "1s");
}

/// Why a folder isn't played on a real cluster, by the beginnings of names.
const NOT_PLAYED: &[(&str, &[&str])] = &[
    (
        "its metrics are scripted by the share of traffic, or as a Prometheus has them",
        &["37-", "38-", "39-", "40-", "41-", "42-", "43-"],
    ),
    (
        "its run waits for a night, and here time goes by as it does",
        &["09-across-a-clock-change"],
    ),
];

#[test]
fn every_scenario_is_played_or_it_is_said_why_not() {
    let folders = briefly::all();
    for name in &folders {
        let reasons = NOT_PLAYED
            .iter()
            .filter(|(_, left_out)| left_out.iter().any(|begins| name.starts_with(begins)));
        let played = PLAYED.contains(&name.as_str());
        assert_eq!(reasons.count() + usize::from(played), 1, "{name}");
    }
    for name in PLAYED {
        assert!(folders.iter().any(|folder| folder == name), "{name}");
    }
}
