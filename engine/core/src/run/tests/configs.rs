//! ConfigMaps and Secrets that are versioned with the workload.

mod left;

use super::plans::*;
use super::sim::*;
use crate::effect::{Piece, Request};
use crate::event::{Command, DriftAnswer};
use crate::failure::Kind;
use crate::run::End;

fn ended(plan: crate::plan::Plan) -> Sim {
    let mut sim = Sim::new(plan);
    sim.rest();
    sim
}

/// The keys of what was intended, in order, without the run's name.
fn intended(sim: &Sim) -> Vec<String> {
    let records = sim.records.iter();
    let keys = records.filter_map(|record| match &record.event {
        crate::event::Event::Intended { effect } => effect.key.split_once('/'),
        _ => None,
    });
    keys.map(|(_, key)| key.to_owned()).collect()
}

#[test]
fn copies_come_before_what_refers_to_them_and_stay_with_a_success() {
    for plan in [rolling(), canary(), canary_by_replicas(), blue_green()] {
        let sim = ended(configured(plan));
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
    }
    let sim = ended(configured(rolling()));
    let keys = intended(&sim);
    let place = |what: &str| keys.iter().position(|key| key.contains(what)).unwrap();
    assert!(place("create-config/") < place("/change/"), "{keys:?}");
}

#[test]
fn a_copy_that_is_there_is_neither_made_nor_removed() {
    let mut plan = configured(rolling());
    for config in &mut plan.workloads[0].configs {
        config.there = true;
    }
    let mut sim = Sim::new(plan);
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    sim.check_end();
    let keys = intended(&sim);
    assert!(!keys.iter().any(|key| key.contains("config")), "{keys:?}");
}

#[test]
fn a_rollback_after_success_brings_the_old_configuration_back() {
    for plan in [rolling(), canary(), blue_green()] {
        let mut sim = ended(configured(plan));
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.drive();
        sim.command("bob", Command::RollBack { reason: None })
            .unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn the_way_back_takes_copies_away_only_once_stable_is_ready() {
    let mut sim = Sim::new(configured(rolling()));
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.rest();
    let keys = intended(&sim);
    let back: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.strip_prefix("rollback/"))
        .collect();
    let kinds: Vec<&str> = back
        .iter()
        .filter_map(|key| key.split('/').next())
        .collect();
    assert_eq!(
        kinds,
        [
            "restore",
            "remove-config-0",
            "remove-config-1",
            "unmark",
            "release"
        ],
        "{}",
        sim.story()
    );
    assert!(sim.said("restored"));
}

#[test]
fn a_copy_that_somebody_needs_calls_people_instead_of_going() {
    let mut sim = Sim::new(configured(rolling())).faulty(|_, effect| {
        let removes = matches!(
            &effect.request,
            Request::Remove {
                piece: Piece::Config(0),
                ..
            }
        );
        removes.then(|| Fault::Fails(failure(Kind::Conflict)))
    });
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.until(|sim| sim.run.stuck_now().is_some());
    let step = "remove".to_owned();
    sim.command("bob", Command::Skip { step }).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert!(sim.world.pieces.contains(&Piece::Config(0)));
    assert_eq!(sim.world.settings.image, OLD);
}

#[test]
fn a_template_comes_with_what_the_way_back_needs_and_goes_back_whole() {
    for plan in [rolling(), canary(), blue_green()] {
        let mut sim = Sim::new(templated(plan));
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
        let keys = intended(&sim);
        let made = keys.iter().filter(|key| key.contains("create-config"));
        assert_eq!(made.count(), 3, "{keys:?}");
        sim.drive();
        sim.command("bob", Command::RollBack { reason: None })
            .unwrap();
        sim.rest();
        assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
        assert_eq!(sim.world.template_digest, "template");
        sim.check_end();
        sim.check_replay();
    }
}

#[test]
fn a_template_of_the_release_is_no_drift_and_another_one_is() {
    let mut sim = Sim::new(templated(rolling()));
    sim.until_step("deploy/soak");
    assert_eq!(sim.world.template_digest, NEW_TEMPLATE);
    sim.world.template_digest = "another".to_owned();
    sim.until(|sim| sim.said("drift"));
    let adopt = Command::Continue {
        drift: Some(DriftAnswer::Adopt),
    };
    assert!(sim.command("bob", adopt).is_err());
    let force = Command::Continue {
        drift: Some(DriftAnswer::Force),
    };
    sim.command("bob", force).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert_eq!(sim.world.template_digest, NEW_TEMPLATE);
    sim.check_end();
}

#[test]
fn a_way_back_that_is_stuck_after_the_old_templates_copy_is_gone_goes_on_by_retry() {
    let mut sim = Sim::new(templated(rolling())).faulty(|_, effect| {
        let last = effect.key.contains("/rollback/unmark");
        last.then(|| Fault::Fails(failure(Kind::Permanent)))
    });
    sim.until_step("deploy/soak");
    sim.command("bob", abort()).unwrap();
    sim.until(|sim| sim.run.stuck_now().is_some());
    assert!(
        intended(&sim)
            .iter()
            .any(|key| key.contains("remove-config")),
        "{}",
        sim.story()
    );
    sim.world.faults = std::rc::Rc::new(|_, _| None);
    sim.command("bob", Command::Retry).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::RolledBack, "{}", sim.story());
    assert_eq!(sim.world.template_digest, "template");
    sim.check_end();
    sim.check_replay();
}

#[test]
fn a_rollback_after_success_is_refused_where_somebody_changed_the_template_since() {
    let mut sim = Sim::new(templated(rolling()));
    sim.rest();
    sim.world.template_digest = "of a later release".to_owned();
    sim.drive();
    let back = Command::RollBack { reason: None };
    sim.command("bob", back.clone()).unwrap();
    sim.rest();
    assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
    assert!(sim.said("rollback-refused"), "{}", sim.story());
    assert_eq!(sim.world.template_digest, "of a later release");
}
