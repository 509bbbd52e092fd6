//! What is told otherwise of a story, so that it can be played in little time and on a machine that is busy.

use serde_json::{Value, json};

use super::briefly::Story;

/// The acts of a story, where those of its folder are told by a time that is too rough for a real cluster.
pub(super) fn acts(acts: Value) -> impl FnOnce(&mut Story) {
    move |story| story.scenario["acts"] = acts
}

/// Linus does this so long after a step has begun.
pub(super) fn after_start(step: &str, after: &str, deed: &Value) -> Value {
    json!({"when": {"line": "step-started", "step": step}, "after": after, "by": "linus", "do": deed})
}

pub(super) fn aborted_in(step: &str, after: &str) -> impl FnOnce(&mut Story) + use<> {
    acts(json!([after_start(
        step,
        after,
        &json!({"abort": "wrong version"})
    )]))
}

/// Somebody sets another image in the soak; a while later it is decided what becomes of it.
pub(super) fn drift(decided: &Value) -> impl FnOnce(&mut Story) + use<> {
    let containers = json!([{"name": "app", "image": "registry.example/shop:1.0.9"}]);
    let merge = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let patch = json!({"patch": {"kind": "Deployment", "name": "shop", "merge": merge}});
    let mut all = vec![after_start("verify/soak-1", "1s", &patch)];
    if !decided.is_null() {
        all.push(json!({"when": {"line": "drift"}, "after": "2s", "by": "grace", "do": decided}));
    }
    acts(all.into())
}

/// Somebody else releases after the run, and then it is to be taken back.
pub(super) fn released_since(story: &mut Story) {
    let all = story.scenario["acts"].as_array_mut().unwrap();
    all[0]["after"] = "1s".into();
    all[1]["after"] = "8s".into();
}

/// The soak goes on until pods have become unready.
pub(super) fn a_longer_soak(story: &mut Story) {
    for step in story.release["phases"][1]["steps"].as_array_mut().unwrap() {
        if step["soak"].is_object() {
            step["soak"]["for"] = "15s".into();
        }
    }
}

/// All pods of the new version become unready, well after somebody has vouched.
pub(super) fn all_fail_past_the_point(story: &mut Story) {
    story.scenario["acts"] = json!([attested()]);
    let pods = story.scenario["cluster"]["pods"].as_array_mut().unwrap();
    pods[0].as_object_mut().unwrap().remove("times");
    pods[0]["unreadyAfter"] = "25s".into();
    story.release["phases"][2]["steps"][0]["soak"]["for"] = "40s".into();
}

pub(super) fn attested() -> Value {
    let deed = json!({"attest": {"name": "columns-dropped", "text": "dropped by migration 42"}});
    json!({"when": {"line": "awaiting", "step": "drop"}, "after": "4s", "by": "ada", "do": deed})
}

/// Paused in the soak, whose gate fails or is passed meanwhile.
pub(super) fn paused(failing: bool) -> impl FnOnce(&mut Story) {
    move |story| {
        let mut all = vec![after_start(
            "verify/soak-1",
            "1s",
            &json!({"pause": "lunch"}),
        )];
        if failing {
            story.scenario["series"]["errors"]["points"][1][0] = "40s".into();
        } else {
            all.push(json!({"when": {"line": "paused"}, "after": "25s", "by": "linus", "do": {"continue": null}}));
        }
        story.scenario["acts"] = all.into();
    }
}

/// Aborted in the soak; the way back gets stuck, and a while later somebody does this.
pub(super) fn stuck(deed: &Value) -> impl FnOnce(&mut Story) {
    acts(json!([
        after_start("verify/soak-1", "1s", &json!({"abort": "wrong version"})),
        {"when": {"line": "stuck"}, "after": "2s", "by": "grace", "do": deed},
    ]))
}

/// The way back waits for pods that never come up, not for long, until somebody takes over.
pub(super) fn stable_never_ready(story: &mut Story) {
    story.release["rollback"] = json!({"stepTimeout": "20s"});
    stuck(&json!({"handOver": "I do it with kubectl"}))(story);
}

/// Aborted while what became of the claim isn't known.
pub(super) fn aborted_in_the_claim(story: &mut Story) {
    let abort = json!({"abort": "wrong day"});
    story.scenario["acts"] =
        json!([{"when": {"line": "intent"}, "after": "2s", "by": "linus", "do": abort}]);
}

/// The workload is looked at within the soak, so that what others changed is seen in it.
pub(super) fn looked_at_often(story: &mut Story) {
    story.release["phases"][0]["strategy"]["config"]["every"] = "1s".into();
}

/// Also the promotion replaces its pods one by one, which takes longer than most steps have.
pub(super) fn looked_at_often_and_promoted_slowly(story: &mut Story) {
    looked_at_often(story);
    story.release["phases"][0]["strategy"]["config"]["timeout"] = "2m".into();
}

/// Somebody aborts in the soak of the second wave. No gate is asked while actions take their second.
pub(super) fn aborted_in_the_second_wave(story: &mut Story) {
    aborted_in("deploy/web/soak", "1s")(story);
    story.release["gates"]["pods"]["policy"]["interval"] = "5s".into();
}

/// Reads fail once there is a run, and not for as long: there are more of them before, and its steps have less time.
pub(super) fn reads_fail_later(story: &mut Story) {
    story.scenario["faults"][1]["skip"] = 18.into();
    story.scenario["faults"][1]["count"] = 4.into();
}

/// The Job of a repair takes its time, and somebody does this meanwhile.
pub(super) fn while_the_job_runs(deed: &Value) -> impl FnOnce(&mut Story) {
    let act = json!({
        "when": {"line": "prepared", "step": "after/act-1"}, "after": "7s", "by": "grace", "do": deed,
    });
    move |story| {
        story.scenario["cluster"]["pods"][0]["crash"]["after"] = "25s".into();
        story.scenario["acts"] = json!([act]);
    }
}

/// A newer run takes this one's place. That it is alone with that, and what becomes of it, is the command line's affair.
pub(super) fn superseded_in(step: &str) -> impl FnOnce(&mut Story) + use<> {
    acts(json!([after_start(
        step,
        "1s",
        &json!({"supersede": "shop-successor"})
    )]))
}

/// Pods stop slowly enough for a data plane to follow, on a machine that is busy too.
pub(super) fn under_traffic(story: &mut Story) {
    for rule in story.scenario["cluster"]["pods"].as_array_mut().unwrap() {
        rule["termination"] = "5s".into();
    }
}

/// An autoscaler adds pods within the soak, whose gate is asked more seldom than pods take to be ready.
pub(super) fn autoscaled(story: &mut Story) {
    under_traffic(story);
    story.release["gates"]["pods"]["policy"]["interval"] = "10s".into();
    story.scenario["cluster"]["autoscalers"][0]["wants"] = json!([["0s", 3], ["30s", 5]]);
    let soak = &mut story.release["phases"][1]["steps"][1]["soak"];
    soak["for"] = "50s".into();
    soak["every"] = "10s".into();
}

/// The last engine comes when the pods are there that the action before asked for.
pub(super) fn the_last_is_away_for_long(story: &mut Story) {
    let deaths = story.scenario["deaths"].as_array_mut().unwrap();
    deaths.last_mut().unwrap()["resumeAfter"] = "10s".into();
}

/// The program can't be told that its clock shows another day, nor that a plugin misbehaves.
pub(super) fn played_within(story: &mut Story) {
    story.within = true;
}

/// The window closes forty seconds after the beginning, and within the soak.
pub(super) fn the_window_closes(story: &mut Story) {
    played_within(story);
    story.scenario["start"] = "2026-11-17T13:59:20-05:00".into();
    story.release["phases"][1]["steps"][0]["soak"]["for"] = "60s".into();
}

/// Somebody claims the target between two attempts, of which the second is to come in three seconds.
pub(super) fn between_attempts(story: &mut Story) {
    story.scenario["acts"][0]["after"] = "4s".into();
}

pub(super) fn as_it_is(_: &mut Story) {}
