//! A run that takes another's place: what the old one leaves behind, and how the new one begins.

use phasegate_core::diagnostic::codes;
use phasegate_core::run::State;
use phasegate_runtime::engine::{Predecessor, Start};
use phasegate_runtime::ports::ClaimRecord;

use super::*;

const BEFORE: &str = "shop-0";

fn kept_for(run: &str) -> ClaimRecord {
    ClaimRecord {
        run: run.to_owned(),
        plan: String::new(),
        started_by: "ada".to_owned(),
        key: format!("{BEFORE}/rollback/release/0"),
        handed_over_by: Some(BEFORE.to_owned()),
    }
}

fn dead() -> Holder {
    Holder {
        engine: "engine-0".to_owned(),
        seat: "seat".to_owned(),
        run: BEFORE.to_owned(),
    }
}

impl Test {
    /// Begins the run in the place of the one before.
    async fn succeed(&mut self, meanwhile: impl Future<Output = ()>) -> Driven {
        let (engine, nudges, options) = (self.engine(), self.nudges(), Self::options());
        let mut unobserved = Unobserved;
        let by = ada();
        let start = Start {
            run: RUN,
            plan: plan(vec![deploy(100)]),
            by: &by,
            after: Some(Predecessor {
                run: BEFORE,
                guard: Box::new(()),
            }),
        };
        let run = engine.begin(start, &options, nudges, &mut unobserved);
        futures::join!(run, meanwhile).0
    }
}

#[tokio::test(start_paused = true)]
async fn a_superseded_run_hands_its_claim_over_and_lets_go_of_nothing() {
    let mut test = Test::new();
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let plan = plan(vec![deploy(100), soak(600)]);
    let targets = vec![plan.workloads[0].target.to_string()];
    let meanwhile = async {
        clock.second(60).await;
        let run = "shop-2".to_owned();
        journal.put(Command::Supersede { run, targets });
    };
    let driven = test.start(plan, meanwhile).await;
    assert_eq!(end(driven), End::Superseded);
    assert_eq!(test.fakes.image(), OLD);
    assert_eq!(test.journal.answer_to(1), Some(Ok(())));
    assert_eq!(
        (test.requests("hand-over"), test.requests("release")),
        (1, 0)
    );
    let claim = test.fakes.claim().unwrap();
    assert_eq!(claim.run, "shop-2");
    assert_eq!(claim.started_by, "ada");
    assert_eq!(claim.handed_over_by.as_deref(), Some(RUN));

    // Nobody else can begin on the target now.
    let mut third = Test {
        fakes: test.fakes.clone(),
        journal: Arc::new(Fake::default()),
        ..Test::new()
    };
    let driven = third.start(super::plan(vec![deploy(100)]), nothing()).await;
    assert!(matches!(driven, Err(Error::Busy { run, .. }) if run == "shop-2"));
    assert_eq!(third.journal.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_begins_with_the_claim_that_is_kept_for_it_and_names_the_one_before() {
    let mut test = Test::new();
    test.fakes.keep(kept_for(RUN));
    let driven = test.succeed(nothing()).await;
    let run = driven.unwrap().0;
    assert_eq!(
        run.state(),
        State::Ended {
            end: End::Succeeded
        }
    );
    assert_eq!(run.supersedes(), Some(BEFORE));
    assert_eq!(test.fakes.claim(), None);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_the_run_before_is_waited_for_and_no_other() {
    let mut test = Test::new();
    test.fakes.keep(kept_for(RUN));
    test.fakes.outside().rival = Some(dead());
    let (clock, fakes) = (test.fakes.clock.clone(), test.fakes.clone());
    let meanwhile = async {
        clock.second(9).await;
        fakes.outside().rival = None;
    };
    let driven = test.succeed(meanwhile).await;
    assert_eq!(end(driven), End::Succeeded);

    let mut other = Test::new();
    other.fakes.keep(kept_for(RUN));
    other.fakes.outside().rival = Some(rival());
    let driven = other.succeed(nothing()).await;
    assert!(matches!(driven, Err(Error::Lease(LeaseError::Held { .. }))));
    assert_eq!(other.journal.runs(), 0, "nothing is left behind");
    assert_eq!(
        other.fakes.claim(),
        Some(kept_for(RUN)),
        "it can be tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_never_given_back_is_not_waited_for_for_ever() {
    let mut test = Test::new();
    test.fakes.keep(kept_for(RUN));
    test.fakes.outside().rival = Some(dead());
    let driven = test.succeed(nothing()).await;
    assert!(matches!(driven, Err(Error::Lease(LeaseError::Held { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_begin_lets_go_of_what_is_kept_for_it_and_of_nothing_else() {
    for (holder, left) in [(RUN, None), ("shop-9", Some(kept_for("shop-9")))] {
        let test = Test::new();
        test.fakes.keep(kept_for(holder));
        let targets = [plan(Vec::new()).workloads[0].target.clone()];
        let engine = test.engine();
        let declined = engine
            .decline(RUN, BEFORE, &targets, &Test::options())
            .await;
        assert!(declined.is_ok(), "{declined:?}");
        assert_eq!(test.fakes.claim(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_all_but_done_refuses_and_says_so() {
    let mut test = Test::new();
    let driven = test.start(plan(vec![deploy(100)]), nothing()).await;
    assert_eq!(end(driven), End::Succeeded);
    let number = test.journal.put(Command::Supersede {
        run: "shop-2".to_owned(),
        targets: Vec::new(),
    });
    assert_eq!(end(test.resume().await), End::Succeeded);
    let answer = test.journal.answer_to(number).unwrap().unwrap_err();
    let code = codes::SUPERSEDE_REFUSED;
    assert!(answer.starts_with(&format!("[{code}]")), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_dies_right_after_the_hand_over_is_followed_by_one_that_ends_the_run() {
    let mut test = Test::new();
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let plan = plan(vec![deploy(100), soak(600)]);
    let targets = vec![plan.workloads[0].target.to_string()];
    let meanwhile = async {
        clock.second(60).await;
        let run = "shop-2".to_owned();
        journal.put(Command::Supersede { run, targets });
        journal.full_at(Some("release"));
    };
    assert!(test.start(plan, meanwhile).await.is_err());
    // As the write left it.
    test.fakes.keep(ClaimRecord {
        handed_over_by: Some(RUN.to_owned()),
        ..kept_for("shop-2")
    });
    test.journal.full_at(None);
    assert_eq!(end(test.resume().await), End::Superseded);
    assert_eq!(test.fakes.claim().unwrap().run, "shop-2");
    assert_eq!(test.requests("release"), 0);
}
