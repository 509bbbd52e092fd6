//! The loop against ports that are at fault: what it starts, what it journals, and when it leaves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod fakes;
mod supersede;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fakes::{Fake, Fakes};
use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::failure::Failure;
use phasegate_core::judge::GatePolicy;
use phasegate_core::plan::*;
use phasegate_core::run::{End, Run, State};
use phasegate_core::spec::Change;
use phasegate_core::spec::policy::Policy;
use phasegate_core::strategy::{Amount, Placement};
use phasegate_core::time::Span;
use phasegate_core::workload::{Baseline, Rollout, Settings, Target};
use phasegate_runtime::engine::{
    Engine, Error, GIVE_BACK, INBOX_POLL, Lack, Left, Nudge, Observer, Options, Unobserved,
};
use phasegate_runtime::perform::World;
use phasegate_runtime::ports::{Holder, JournalError, LeaseError};
use tokio::sync::mpsc;

const RUN: &str = "shop-1";
const OLD: &str = "shop/api:1.4.0";
const NEW: &str = "shop/api:1.5.0";

pub(crate) fn ada() -> Identity {
    Identity {
        name: "ada".to_owned(),
        verified_by: "test".to_owned(),
    }
}

fn step(id: &str, action: Action) -> Step {
    Step::new(id.to_owned(), action)
}

fn deploy(percent: u8) -> Step {
    let action = Action::Deploy {
        placement: Placement::InPlace,
        replicas: Amount::Percent(percent),
        surge: Some("1".to_owned()),
        unavailable: Some("0".to_owned()),
        timeout: Span::from_mins(5),
    };
    step("deploy", action)
}

fn check() -> Step {
    let gates = vec!["health".to_owned()];
    step("check", Action::Check { gates })
}

fn soak(seconds: u64) -> Step {
    let action = Action::Soak {
        duration: Span::from_secs(seconds),
        interval: Span::from_secs(10),
        gates: vec!["health".to_owned()],
    };
    step("soak", action)
}

fn baseline() -> Baseline {
    Baseline {
        uid: "uid-1".to_owned(),
        resource_version: "7".to_owned(),
        revision: 3,
        settings: Settings {
            image: OLD.to_owned(),
            replicas: 4,
            rollout: Rollout::RollingUpdate {
                surge: "1".to_owned(),
                unavailable: "0".to_owned(),
            },
        },
        version: "1.4.0".to_owned(),
        ready: 4,
        autoscaler: None,
        template_digest: "template".to_owned(),
        self_healing: None,
        labels: BTreeMap::new(),
        idle: None,
    }
}

fn plan(steps: Vec<Step>) -> Plan {
    let policy = GatePolicy {
        interval: Span::from_secs(10),
        initial_delay: Span::ZERO,
        sustained: Span::ZERO,
        failure_limit: 0,
        inconclusive_limit: 2,
        error_limit: 2,
        timeout: Span::from_secs(10),
        bands: BTreeMap::new(),
        hold: Span::from_mins(5),
    };
    let offer = Use {
        plugin: "probe".to_owned(),
        offer: "probe".to_owned(),
        config: serde_json::Value::Null,
    };
    Plan {
        format: FORMAT,
        subject: Subject {
            name: "shop".to_owned(),
            version: "1.5.0".to_owned(),
            previous_version: "1.4.0".to_owned(),
            environment: "production".to_owned(),
            change: Change::Minor,
        },
        workloads: vec![Workload {
            name: "api".to_owned(),
            image: NEW.to_owned(),
            target: Target {
                cluster: "fake".to_owned(),
                namespace: "shop".to_owned(),
                workload: "api".to_owned(),
                deployment: "api".to_owned(),
                container: "api".to_owned(),
                service: None,
                config_maps: Vec::new(),
                secrets: Vec::new(),
                beside: None,
            },
            baseline: baseline(),
            router: None,
            configs: Vec::new(),
        }],
        plugins: BTreeMap::new(),
        gates: [("health".to_owned(), Gate { offer, policy })].into(),
        notifiers: BTreeMap::new(),
        phases: vec![Phase {
            name: "deploy".to_owned(),
            steps,
            gates: vec!["health".to_owned()],
            actions: Vec::new(),
            timeout: None,
            strategies: Vec::new(),
        }],
        approvals: Vec::new(),
        calendar: Policy::default(),
        rollback: RollbackPolicy {
            target: Span::from_mins(5),
            step_timeout: Span::from_mins(5),
            retries: 3,
            keep: None,
        },
        due: Vec::new(),
        people_timeout: Span::from_mins(120),
        minimum_soak: Span::from_secs(30),
    }
}

fn frozen(mut plan: Plan) -> Plan {
    let mut policy = serde_json::to_value(&plan.calendar).unwrap();
    policy["freezes"] = serde_json::json!([{
        "from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z", "reason": "a long holiday",
    }]);
    plan.calendar = serde_json::from_value(policy).unwrap();
    plan
}

struct Test {
    fakes: Arc<Fakes>,
    journal: Arc<Fake>,
    nudge: mpsc::Sender<Nudge>,
    nudges: Option<mpsc::Receiver<Nudge>>,
    held_up: Arc<Mutex<Vec<String>>>,
}

/// Notes what holds a run up.
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn recorded(&mut self, _: u64, _: &Record, _: &Run) {}

    fn held_up(&mut self, lack: Lack, failure: &Failure) {
        let words = format!("[{}] until {}: {failure}", failure.code, lack.until());
        self.0.lock().unwrap().push(words);
    }
}

type Driven = Result<(Run, Left), Error>;

impl Test {
    fn new() -> Self {
        let (nudge, nudges) = mpsc::channel(4);
        Self {
            fakes: Arc::new(Fakes::new(baseline())),
            journal: Arc::new(Fake::default()),
            nudge,
            nudges: Some(nudges),
            held_up: Arc::default(),
        }
    }

    fn engine(&self) -> Engine {
        Engine {
            world: World {
                cluster: self.fakes.clone(),
                plugins: self.fakes.clone(),
                clock: self.fakes.clock.clone(),
            },
            journal: self.journal.clone(),
            leases: self.fakes.clone(),
        }
    }

    fn options() -> Options {
        Options {
            engine: "engine-1".to_owned(),
            leave_when_waiting: false,
            inbox_poll: INBOX_POLL,
            give_back: GIVE_BACK,
        }
    }

    fn nudges(&mut self) -> mpsc::Receiver<Nudge> {
        self.nudges.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Starts a run, and does something else meanwhile.
    async fn start(&mut self, plan: Plan, meanwhile: impl Future<Output = ()>) -> Driven {
        let (engine, nudges, options) = (self.engine(), self.nudges(), Self::options());
        let mut observed = Told(self.held_up.clone());
        let by = ada();
        let run = engine.start(RUN, plan, &by, &options, nudges, &mut observed);
        futures::join!(run, meanwhile).0
    }

    async fn resume(&mut self) -> Driven {
        let (engine, nudges) = (self.engine(), self.nudges());
        engine
            .drive(RUN, &Self::options(), nudges, &mut Unobserved)
            .await
    }

    fn requests(&self, what: &str) -> usize {
        let outside = self.fakes.outside();
        outside
            .requests
            .iter()
            .filter(|(_, w, _)| w == what)
            .count()
    }

    /// What was asked of the outside world while the lease did not hold.
    fn without_lease(&self) -> Vec<String> {
        let outside = self.fakes.outside();
        let without = outside.requests.iter().filter(|(_, _, held)| !held);
        without
            .map(|(at, what, _)| format!("{what} at {at}"))
            .collect()
    }

    fn drives(&self) -> usize {
        let events = self.journal.events();
        let driving = |event: &&Event| matches!(event, Event::Driving { .. });
        events.iter().filter(driving).count()
    }
}

fn end(driven: Driven) -> End {
    let (run, left) = driven.unwrap();
    assert_eq!(left, Left::Resting);
    match run.state() {
        State::Ended { end } => end,
        other => panic!("{other}"),
    }
}

async fn nothing() {}

#[tokio::test(start_paused = true)]
async fn a_run_goes_through_and_every_write_was_announced() {
    let mut test = Test::new();
    let driven = test
        .start(plan(vec![check(), deploy(100), soak(60)]), nothing())
        .await;
    assert_eq!(end(driven), End::Succeeded);
    assert_eq!(test.fakes.image(), NEW);
    let events = test.journal.events();
    let announced = |key: &String| {
        events
            .iter()
            .any(|event| matches!(event, Event::Intended { effect } if effect.key == *key))
    };
    let written = test.fakes.outside().written.clone();
    assert_eq!(written.len(), 2, "{written:?}");
    assert!(
        written
            .iter()
            .all(|(key, times)| *times == 1 && announced(key))
    );
    assert_eq!(test.without_lease(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_is_started_and_after_it_what_was_open_is_probed() {
    let mut test = Test::new();
    {
        let mut outside = test.fakes.outside();
        outside.no_lease = 4..80;
        outside.lost_answer = true;
    }
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let meanwhile = async {
        // By now the lease has run out, and the write has no answer.
        clock.second(50).await;
        journal.put(Command::Abort { reason: None });
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(60)]), meanwhile)
        .await;
    assert_eq!(end(driven), End::RolledBack);
    assert_eq!(test.fakes.image(), OLD);
    assert_eq!(test.without_lease(), Vec::<String>::new());
    assert_eq!(test.drives(), 2);
    assert!(test.requests("probe") >= 1);
    let written = test.fakes.outside().written.clone();
    assert!(written.values().all(|times| *times == 1), "{written:?}");
    assert_eq!(test.journal.answer_to(1), Some(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn an_abort_without_the_lease_waits_for_it() {
    let mut test = Test::new();
    test.fakes.outside().no_lease = 4..80;
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let meanwhile = async {
        clock.second(50).await;
        journal.put(Command::Abort { reason: None });
        clock.second(60).await;
        assert_eq!(journal.answer_to(1), Some(Ok(())));
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(600)]), meanwhile)
        .await;
    assert_eq!(end(driven), End::RolledBack);
    assert_eq!(test.without_lease(), Vec::<String>::new());
    assert_eq!(test.fakes.image(), OLD);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_lease_holds_up_says_why_once() {
    let mut test = Test::new();
    test.fakes.outside().no_lease = 4..80;
    let driven = test
        .start(plan(vec![deploy(100), soak(60)]), async {})
        .await;
    assert_eq!(end(driven), End::Succeeded);
    let told = test.held_up.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("[PG"), "{told:?}");
    assert!(told[0].contains("the lease can be had"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_its_journal_holds_up_says_why_once() {
    for (away, times) in [(0, 0), (5, 0), (40, 1)] {
        let mut test = Test::new();
        let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
        let meanwhile = async {
            clock.second(20).await;
            journal.be_away(true);
            clock.second(20 + away).await;
            journal.be_away(false);
        };
        let driven = test
            .start(plan(vec![deploy(100), soak(120)]), meanwhile)
            .await;
        assert_eq!(end(driven), End::Succeeded);
        let told = test.held_up.lock().unwrap();
        assert_eq!(told.len(), times, "{away}: {told:?}");
        let why = "[PG0403] until the journal can be reached again: the API server is away";
        assert!(told.iter().all(|told| told == why), "{told:?}");
    }
}

/// The one request for the lease hangs all the time, and so does the abort's effect; the abort doesn't.
#[tokio::test(start_paused = true)]
async fn an_abort_is_taken_while_the_request_for_the_lease_hangs() {
    let mut test = Test::new();
    test.fakes.outside().no_answer = 4..80;
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let meanwhile = async {
        clock.second(50).await;
        journal.put(Command::Abort { reason: None });
        clock.second(52).await;
        assert_eq!(journal.answer_to(1), Some(Ok(())));
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(600)]), meanwhile)
        .await;
    assert_eq!(end(driven), End::RolledBack);
    assert_eq!(test.without_lease(), Vec::<String>::new());
    assert_eq!(test.fakes.image(), OLD);
    assert!(test.fakes.clock.elapsed() < Span::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_taken_while_an_engine_that_resumes_waits_for_the_lease() {
    let mut test = Test::new();
    let nudge = test.nudge.clone();
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let meanwhile = async {
        clock.second(20).await;
        nudge
            .send(Nudge::Leave("SIGTERM".to_owned()))
            .await
            .unwrap();
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(600)]), meanwhile)
        .await;
    assert_eq!(driven.unwrap().1, Left::Interrupted);
    test.fakes.outside().no_answer = 20..60;
    let meanwhile = async {
        clock.second(40).await;
        journal.put(Command::Abort { reason: None });
        clock.second(42).await;
        assert_eq!(journal.answer_to(1), Some(Ok(())));
    };
    let (resumed, ()) = futures::join!(test.resume(), meanwhile);
    assert!(matches!(resumed, Err(Error::Lease(LeaseError::Failed(_)))));
    assert_eq!(end(test.resume().await), End::RolledBack);
    assert_eq!(test.fakes.image(), OLD);
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_after_the_lease_ran_out_starts_nothing() {
    let mut test = Test::new();
    // No renewal is answered, and what is asked for at the last moment is asked for without a lease.
    test.fakes.outside().no_answer = 4..40;
    let clock = test.fakes.clock.clone();
    let nudge = test.nudge.clone();
    let meanwhile = async {
        clock.second(16).await;
        nudge
            .send(Nudge::Abort(ada(), "SIGTERM".to_owned()))
            .await
            .unwrap();
        clock.second(30).await;
        nudge
            .send(Nudge::Leave("SIGTERM".to_owned()))
            .await
            .unwrap();
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(600)]), meanwhile)
        .await;
    let (run, left) = driven.unwrap();
    assert_eq!(left, Left::Interrupted);
    assert_eq!(test.without_lease(), Vec::<String>::new());
    // The abort came while the lease was asked for in vain. It is not forgotten.
    assert!(
        run.cause()
            .is_some_and(|cause| cause.reason.contains("SIGTERM"))
    );
    clock.second(41).await;
    assert_eq!(end(test.resume().await), End::RolledBack);
    assert_eq!(test.fakes.image(), OLD);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_to_leave_leaves_though_nobody_answers() {
    let mut test = Test::new();
    {
        let mut outside = test.fakes.outside();
        outside.no_answer = 4..1000;
        outside.lost_answer = true;
    }
    let (clock, nudge) = (test.fakes.clock.clone(), test.nudge.clone());
    let meanwhile = async {
        clock.second(60).await;
        nudge
            .send(Nudge::Leave("SIGTERM".to_owned()))
            .await
            .unwrap();
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(600)]), meanwhile)
        .await;
    assert_eq!(driven.unwrap().1, Left::Interrupted);
    assert!(
        clock.elapsed() <= Span::from_secs(63),
        "{}",
        clock.elapsed()
    );
    let last = test.journal.events().pop().unwrap();
    assert!(matches!(last, Event::Interrupted { cause } if cause == "SIGTERM"));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_overtaken_leaves_without_another_word() {
    let mut test = Test::new();
    test.fakes.outside().fenced = true;
    let driven = test.start(plan(vec![deploy(100)]), nothing()).await;
    assert!(matches!(driven, Err(Error::Fenced(_))));
    let last = test.journal.events().pop().unwrap();
    assert!(matches!(last, Event::Intended { effect } if effect.request.kind() == "change"));
    assert_eq!(test.requests("change"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_meanwhile_is_left_to_it() {
    let mut test = Test::new();
    test.fakes.outside().no_lease = 4..30;
    let (clock, fakes) = (test.fakes.clock.clone(), test.fakes.clone());
    let meanwhile = async {
        clock.second(25).await;
        fakes.outside().rival = Some(rival());
    };
    let driven = test
        .start(plan(vec![deploy(100), soak(600)]), meanwhile)
        .await;
    assert_eq!(driven.unwrap().1, Left::Interrupted);
    assert_eq!(test.without_lease(), Vec::<String>::new());
    assert_eq!(test.drives(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_cannot_be_journalled_is_not_performed() {
    let mut test = Test::new();
    test.journal.full_at(Some("change"));
    let driven = test
        .start(plan(vec![check(), deploy(100)]), nothing())
        .await;
    assert!(matches!(driven, Err(Error::Journal(JournalError::Full(_)))));
    assert_eq!(test.requests("change"), 0);
    assert_eq!(test.fakes.image(), OLD);
    test.journal.full_at(None);
    assert_eq!(end(test.resume().await), End::Succeeded);
    assert_eq!(test.fakes.image(), NEW);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_refused_is_answered_and_hides_none_behind_it() {
    let mut test = Test::new();
    let refused = test.journal.put(Command::Retry);
    let driven = test.start(plan(vec![deploy(100)]), nothing()).await;
    assert_eq!(end(driven), End::Succeeded);
    let why = test.journal.answer_to(refused).unwrap().unwrap_err();
    assert!(
        why.starts_with("[PG06") && why.contains("nothing waits"),
        "{why}"
    );
    // More than one page of them.
    for _ in 0..250 {
        test.journal.put(Command::Retry);
    }
    assert_eq!(end(test.resume().await), End::Succeeded);
    let taken = test.journal.put(Command::RollBack { reason: None });
    assert_eq!(end(test.resume().await), End::RolledBack);
    assert_eq!(test.journal.answer_to(taken), Some(Ok(())));
    assert_eq!(test.fakes.image(), OLD);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_engine_found_by_an_answer_ends_in_an_abort() {
    let mut test = Test::new();
    // A plan that no planner would let pass: capacity is taken away.
    let driven = test.start(plan(vec![check(), deploy(50)]), nothing()).await;
    let (run, _) = driven.as_ref().unwrap();
    let reason = run.cause().unwrap().reason.clone();
    assert!(reason.contains("invariant 5 would be broken"), "{reason}");
    assert_eq!(end(driven), End::Cancelled);
    assert_eq!(test.fakes.image(), OLD);
    assert_eq!(test.requests("change"), 0);
    assert_eq!(test.requests("release"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_engine_found_by_a_command_is_told_to_whoever_gave_it() {
    let mut test = Test::new();
    let pause = test.journal.put(Command::Pause { reason: None });
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let meanwhile = async {
        clock.second(30).await;
        journal.put(Command::Continue { drift: None });
    };
    let driven = test.start(plan(vec![deploy(50)]), meanwhile).await;
    assert_eq!(end(driven), End::Cancelled);
    assert_eq!(test.journal.answer_to(pause), Some(Ok(())));
    let why = test.journal.answer_to(pause + 1).unwrap().unwrap_err();
    assert!(why.contains("did not take the command"), "{why}");
}

/// A plan that no planner would let pass: the key of its step is that of a write on the way back, by which
/// the second workload is let go of.
fn repeats_itself() -> Plan {
    let mut deploy = deploy(100);
    deploy.id = "rollback/release/0".to_owned();
    let mut plan = plan(vec![deploy, soak(600)]);
    let mut other = plan.workloads[0].clone();
    other.name = "change/1".to_owned();
    other.target.workload = other.name.clone();
    other.target.deployment = "web".to_owned();
    plan.workloads.push(other);
    plan
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_engine_on_the_way_back_calls_people_and_takes_their_help() {
    let mut test = Test::new();
    let (clock, journal) = (test.fakes.clock.clone(), test.journal.clone());
    let meanwhile = async {
        clock.second(60).await;
        journal.put(Command::Abort { reason: None });
    };
    let driven = test.start(repeats_itself(), meanwhile).await;
    let (run, _) = driven.as_ref().unwrap();
    let reason = run.stuck_now().unwrap().reason.clone();
    assert!(reason.contains("invariant 3 would be broken"), "{reason}");
    assert_eq!(end(driven), End::RollbackStuck);
    let faults = |test: &Test| {
        let events = test.journal.events().into_iter();
        let faults = events.filter(|event| matches!(event, Event::Faulted { .. }));
        faults.count()
    };
    assert_eq!(faults(&test), 1);
    assert_eq!(test.fakes.image(), OLD, "what came before it was done");
    assert!(test.fakes.claim().is_some(), "nothing was let go of");
    assert_eq!(test.requests("release"), 0);

    // Help that would break the same is left out, and whoever gave it is told.
    let reason = "by hand".to_owned();
    let hand_over = test.journal.put(Command::HandOver { reason });
    let (run, _) = test.resume().await.unwrap();
    assert!(run.stuck_now().is_some());
    let why = test.journal.answer_to(hand_over).unwrap().unwrap_err();
    assert!(why.contains("did not take the command"), "{why}");
    assert_eq!((faults(&test), test.requests("release")), (1, 0));

    let retry = test.journal.put(Command::Retry);
    assert_eq!(end(test.resume().await), End::RolledBack);
    assert_eq!(test.journal.answer_to(retry), Some(Ok(())));
    assert_eq!((faults(&test), test.requests("release")), (1, 2));
    assert_eq!(test.without_lease(), Vec::<String>::new());
    let outside = test.fakes.outside();
    assert!(outside.written.values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_writes_too_much_turns_back_while_there_is_room_for_that() {
    let mut test = Test::new();
    test.journal.long(149_900);
    let driven = test
        .start(plan(vec![deploy(100), soak(36_000)]), nothing())
        .await;
    let (run, _) = driven.as_ref().unwrap();
    let reason = run.cause().unwrap().reason.clone();
    assert!(reason.contains("the run has 150000 records"), "{reason}");
    assert_eq!(end(driven), End::RolledBack);
    assert_eq!(test.fakes.image(), OLD);
}

/// A gate that takes two seconds of real time takes two minutes of a time that goes sixty times as fast.
#[tokio::test(start_paused = true)]
async fn a_plugin_has_its_time_in_real_time_too() {
    for (scale, wanted) in [(60, End::Succeeded), (1, End::Refused)] {
        let mut test = Test::new();
        test.fakes.clock.scaled(scale);
        test.fakes.outside().gate_takes = 120;
        let driven = test
            .start(plan(vec![check(), deploy(100)]), nothing())
            .await;
        assert_eq!(end(driven), wanted);
    }
}

fn rival() -> Holder {
    Holder {
        engine: "engine-2".to_owned(),
        seat: "elsewhere".to_owned(),
        run: "shop-2".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_leaves_nothing_behind() {
    let fine = || plan(vec![deploy(100)]);
    let mut closed = Test::new();
    let refused = closed.start(frozen(fine()), nothing()).await;
    assert!(
        matches!(refused, Err(Error::Window { reason, .. }) if reason.contains("a long holiday"))
    );

    let mut claimed = Test::new();
    claimed.fakes.claim_by("shop-0");
    let refused = claimed.start(fine(), nothing()).await;
    assert!(matches!(refused, Err(Error::Busy { run, .. }) if run == "shop-0"));

    let mut driven = Test::new();
    driven.fakes.outside().rival = Some(rival());
    let refused = driven.start(fine(), nothing()).await;
    assert!(matches!(
        refused,
        Err(Error::Lease(LeaseError::Held { .. }))
    ));

    for test in [closed, claimed, driven] {
        assert_eq!(test.journal.runs(), 0);
        assert!(test.fakes.outside().requests.is_empty());
    }
}
