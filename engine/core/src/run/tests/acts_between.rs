//! Actions that a strategy has put between a deployment and its traffic, of one workload and of several.

use super::acts::{act, is};
use super::plans::*;
use super::sim::*;
use crate::effect::{Effect, Request};
use crate::event::Event;
use crate::failure::Kind;
use crate::plan::{Plan, Step};
use crate::run::End;
use crate::strategy::{self, Split};
use crate::verdict::Status;

/// Puts an action behind the step of that id, for the same workload.
fn acts_after(mut plan: Plan, id: &str, name: &str) -> Plan {
    let last = plan.phases.last_mut().unwrap();
    let at = last.steps.iter().position(|step| step.id == id).unwrap();
    let workload = last.steps[at].workload;
    let act = Step {
        workload,
        origin: Some(name.to_owned()),
        ..step(&format!("deploy/{name}"), act())
    };
    last.steps.insert(at + 1, act);
    plan
}

/// Puts an action before everything.
fn acts_first(mut plan: Plan, name: &str) -> Plan {
    let last = plan.phases.last_mut().unwrap();
    last.steps.insert(0, step(&format!("deploy/{name}"), act()));
    plan
}

/// Before the candidate comes up, before it has traffic, and while both sides have some.
fn by_weight() -> Plan {
    let plan = acts_after(canary(), "deploy/a-third", "shared");
    acts_first(acts_after(plan, "deploy/up", "idle"), "first")
}

fn by_replicas() -> Plan {
    let plan = acts_after(canary_by_replicas(), "deploy/two-left", "shared");
    acts_first(acts_after(plan, "deploy/up", "idle"), "first")
}

/// Before the switch, after it, and after the swap.
fn switched() -> Plan {
    let plan = acts_after(blue_green(), "deploy/promote", "swapped");
    let plan = acts_after(plan, "deploy/switch", "after");
    acts_after(plan, "deploy/preview", "before")
}

/// In each of three waves.
fn in_waves() -> Plan {
    let mut plan = three_services();
    for (id, name) in [
        ("api/deploy/bring-up", "api"),
        ("web/deploy/preview", "web"),
        ("pay/deploy/a-third", "pay"),
    ] {
        plan = acts_after(plan, id, name);
    }
    acts_first(plan, "first")
}

fn every_plan() -> [Plan; 4] {
    [by_weight(), by_replicas(), switched(), in_waves()]
}

fn names(plan: &Plan) -> Vec<String> {
    let steps = plan.steps().map(|(_, step)| step);
    let acts = steps.filter(|step| step.action.kind() == "act");
    acts.map(|step| step.id.clone()).collect()
}

/// What has taken place, in order: deeds with their step, and writes to targets.
fn took_place(sim: &Sim) -> Vec<String> {
    let done = sim.records.iter().filter_map(|record| match &record.event {
        Event::Finished {
            effect,
            outcome: crate::effect::Outcome::Done(_),
        } => Some(*effect),
        _ => None,
    });
    let done: Vec<_> = done.collect();
    let intents = sim.records.iter().filter_map(|record| match &record.event {
        Event::Intended { effect } if done.contains(&effect.id) => Some(effect),
        _ => None,
    });
    intents.map(|effect| named(effect)).collect()
}

fn named(effect: &Effect) -> String {
    match &effect.request {
        Request::Act { deed } => {
            let step = effect.step.as_deref().unwrap_or_default();
            format!("{} {step} of {}", deed.kind(), effect.workload)
        }
        _ => effect.key.replacen(&format!("{RUN}/"), "", 1),
    }
}

/// The places in a story at which something stands.
fn at(story: &[String], wanted: &str) -> usize {
    let found = story.iter().position(|line| line.starts_with(wanted));
    found.unwrap_or_else(|| panic!("no {wanted} in {story:#?}"))
}

fn aborted_at(plan: Plan, step: &str) -> Sim {
    let mut sim = Sim::new(plan);
    sim.until_step(step);
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    sim.check_replay();
    assert_eq!(left(&sim), Vec::<String>::new(), "{}", sim.story());
    sim
}

/// The actions that were done and not undone, or are under way.
fn left(sim: &Sim) -> Vec<String> {
    let worlds = [&sim.world].into_iter().chain(&sim.others);
    let acts = worlds.flat_map(|world| world.acted.iter().chain(&world.acting));
    acts.cloned().collect()
}

#[test]
fn each_is_done_once_on_its_workloads_target() {
    for plan in every_plan() {
        let wanted = names(&plan);
        let mut sim = Sim::new(plan);
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
        let deeds = took_place(&sim);
        let deeds = deeds.iter().filter_map(|line| line.strip_prefix("act "));
        let deeds: Vec<_> = deeds.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(deeds, wanted);
    }
}

#[test]
fn what_was_done_beside_a_candidate_is_undone_while_it_still_serves_and_the_rest_last() {
    for (plan, gone) in [
        (by_weight(), "rollback/remove-deployment"),
        (by_replicas(), "rollback/remove-deployment"),
    ] {
        let mut sim = Sim::new(plan);
        sim.until_step("deploy/soak");
        let traffic = sim.world.traffic.clone();
        let stable = sim.world.settings.replicas;
        sim.command("bob", abort()).unwrap();
        sim.until(|sim| sim.count_said("undone") == 2);
        // Traffic and pods are as they were.
        assert_eq!(sim.world.traffic, traffic, "{}", sim.story());
        assert_eq!(sim.world.settings.replicas, stable);
        sim.rest();
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        let story = took_place(&sim);
        let order = [
            "undo deploy/shared",
            "undo deploy/idle",
            gone,
            "undo deploy/first",
        ]
        .map(|wanted| at(&story, wanted));
        assert!(order.is_sorted(), "{story:#?}");
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn what_was_done_before_a_switch_is_undone_after_what_came_later_and_before_traffic_goes_back() {
    let sim = aborted_at(switched(), "deploy/soak");
    let story = took_place(&sim);
    let order = [
        "undo deploy/after",
        "undo deploy/before",
        "rollback/traffic",
        "rollback/remove-deployment",
    ]
    .map(|wanted| at(&story, wanted));
    assert!(order.is_sorted(), "{story:#?}");
}

#[test]
fn in_waves_the_last_one_is_undone_first_and_all_of_them_before_any_workload_goes_back() {
    let sim = aborted_at(in_waves(), "pay/deploy/soak");
    let story = took_place(&sim);
    let undone = [
        "undo deploy/pay of 2",
        "undo deploy/web of 1",
        "undo deploy/api of 0",
        "rollback/pay/",
        "rollback/web/",
        "rollback/api/",
        "undo deploy/first of 0",
    ]
    .map(|wanted| at(&story, wanted));
    assert!(undone.is_sorted(), "{story:#?}");
    // One that was never come to is left alone.
    let sim = aborted_at(in_waves(), "api/deploy/soak");
    let story = took_place(&sim);
    assert!(!story.iter().any(|line| line.contains("deploy/web")));
    assert!(at(&story, "undo deploy/api of 0") < at(&story, "rollback/api/"));
}

#[test]
fn one_that_fails_leads_back() {
    for (plan, failing) in [
        (by_weight(), "deploy/shared"),
        (by_weight(), "deploy/idle"),
        (by_replicas(), "deploy/shared"),
        (switched(), "deploy/before"),
        (switched(), "deploy/swapped"),
        (in_waves(), "deploy/pay"),
    ] {
        for kind in [Kind::Permanent, Kind::Retryable] {
            let mut sim = Sim::new(plan.clone()).faulty(move |_, effect| {
                let fails = is(effect, "act") && effect.step.as_deref() == Some(failing);
                fails.then(|| Fault::Fails(failure(kind)))
            });
            for other in &mut sim.others {
                other.faults = sim.world.faults.clone();
            }
            sim.rest();
            assert_eq!(sim.end(), End::RolledBack, "{failing}\n{}", sim.story());
            sim.check_end();
            sim.check_replay();
            assert_eq!(left(&sim), Vec::<String>::new(), "{}", sim.story());
        }
    }
}

#[test]
fn a_gate_that_fails_while_one_takes_its_time_leads_back_and_it_is_cancelled() {
    let plan = acts_after(canary(), "deploy/soak", "slow");
    let mut sim = Sim::new(plan).judged(|world, _, _| {
        Ok(match world.acting.is_empty() {
            true => Status::Pass,
            false => Status::Fail,
        })
    });
    sim.until_step("deploy/slow");
    sim.world.pendings = 10_000;
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    let story = took_place(&sim);
    assert!(at(&story, "cancel deploy/slow") < at(&story, "undo deploy/slow"));
    assert!(at(&story, "undo deploy/slow") < at(&story, "rollback/traffic"));
    assert_eq!(left(&sim), Vec::<String>::new());
    sim.check_end();
}

#[test]
fn a_death_at_every_record_and_an_abort_at_every_record_keep_the_rules() {
    for plan in every_plan() {
        let mut sim = Sim::new(plan.clone());
        sim.rest();
        for number in 1..sim.records.len() {
            let mut sim = Sim::new(plan.clone());
            sim.dies_before.insert(number);
            sim.rest();
            assert_eq!(sim.end(), End::Succeeded, "{number}\n{}", sim.story());
            sim.check_end();

            let mut sim = Sim::new(plan.clone());
            sim.injected
                .entry(number)
                .or_default()
                .push(Inject::Command("bob", abort()));
            sim.dies_after.insert(number + 3);
            sim.rest();
            let told = sim
                .records
                .iter()
                .any(|r| matches!(r.event, Event::Commanded { .. }));
            let back = matches!(sim.end(), End::Cancelled | End::RolledBack);
            assert_eq!(back, told, "{number}\n{}", sim.story());
            if back {
                assert_eq!(left(&sim), Vec::<String>::new(), "{number}");
            }
            sim.check_end();
            sim.check_replay();
        }
    }
}

#[test]
fn a_rollback_after_success_undoes_them_once_the_old_version_serves() {
    for plan in every_plan() {
        let wanted = names(&plan);
        let mut sim = Sim::new(plan);
        sim.rest();
        let reason = None;
        sim.command("bob", crate::event::Command::RollBack { reason })
            .unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        let story = took_place(&sim);
        let undone = story.iter().filter_map(|line| line.strip_prefix("undo "));
        let undone: Vec<_> = undone.filter_map(|line| line.split(' ').next()).collect();
        assert!(undone.iter().eq(wanted.iter().rev()), "{story:#?}");
        assert_eq!(left(&sim), Vec::<String>::new());
        assert_eq!(sim.world.traffic, Split::default());
        sim.check_end();
    }
}

/// A plan whose strategy may still say otherwise once its soak is over.
fn revisable() -> Plan {
    let mut plan = with_strategy();
    let acting = |id: &str| strategy::Step {
        id: id.to_owned(),
        action: strategy::Action::Act {
            action: "warm".to_owned(),
        },
        extra: serde_json::Value::Null,
    };
    let phase = &mut plan.phases[1];
    phase.actions = vec!["warm".to_owned(), "seed".to_owned()];
    let mut action = act();
    if let crate::plan::Action::Act { name, .. } = &mut action {
        *name = Some("warm".to_owned());
    }
    let planned = Step {
        origin: Some("act".to_owned()),
        ..step("deploy/act", action)
    };
    phase.steps.insert(2, planned);
    phase.strategies[0].steps.insert(2, acting("act"));
    plan
}

fn revised(ids: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let plan = revisable();
    let mut phases = plan.phases.clone();
    let planned = &plan.phases[1].strategies[0].steps;
    let last = planned.last().unwrap().clone();
    let acts = ids.iter().map(|(id, action)| strategy::Step {
        id: (*id).to_owned(),
        action: strategy::Action::Act {
            action: (*action).to_owned(),
        },
        extra: serde_json::Value::Null,
    });
    let steps: Vec<_> = acts.chain([last]).collect();
    crate::planning::revise(&plan, &mut phases, 1, 1, &steps)?;
    let steps = phases[1].steps.iter();
    Ok(steps.map(|step| step.id.clone()).collect())
}

#[test]
fn a_revision_may_keep_one_or_drop_it_and_not_bring_another() {
    let kept = revised(&[("act", "warm")]).unwrap();
    let whole = [
        "deploy/bring-up",
        "deploy/soak",
        "deploy/act",
        "deploy/last",
    ];
    assert_eq!(kept, whole);
    let dropped = revised(&[]).unwrap();
    assert_eq!(dropped, ["deploy/bring-up", "deploy/soak", "deploy/last"]);
    for brought in [
        ("act-2", "warm"),
        ("act", "seed"),
        ("bring-up", "warm"),
        ("last", "warm"),
    ] {
        let refused = revised(&[brought]).unwrap_err();
        assert!(
            refused.contains("that the plan did not have there"),
            "{refused}"
        );
    }
    let twice = revised(&[("act", "warm"), ("act", "warm")]).unwrap_err();
    assert!(twice.contains("two steps"), "{twice}");
}
