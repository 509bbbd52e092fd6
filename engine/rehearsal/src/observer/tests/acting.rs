//! Actions, of which one key may change the world more than once.

use phasegate_core::effect::Progress;

use super::*;

const JOB: &str = "/apis/batch/v1/namespaces/shop/jobs/shop-1";

fn act() -> Record {
    let mut record = intent(0, "r/act");
    if let Event::Intended { effect } = &mut record.event {
        let token = json!({});
        let deed = Deed::Run { token };
        effect.request = Request::Act { deed };
    }
    record
}

fn pending(seconds: u64) -> Record {
    let failure = Failure::new(failure::Kind::Pending, codes::PLUGIN_FAILED, "not yet");
    Record {
        at: at(seconds),
        event: Event::Finished {
            effect: Id(1),
            outcome: Outcome::Failed { failure },
        },
    }
}

fn found_running(seconds: u64) -> Record {
    let after = Span::from_secs(1);
    Record {
        at: at(seconds),
        event: Event::Probed {
            effect: Id(1),
            progress: Progress::Running { after },
        },
    }
}

/// By times, and by the order alone.
fn judged(writes: &[(u64, &str)], records: &[Record]) -> Vec<String> {
    let writes = writes.iter();
    let mut requests: Vec<LoggedRequest> = writes
        .map(|(second, path)| write(*second, path, "r/act"))
        .collect();
    with_others(&mut requests, records)
}

fn with_others(requests: &mut [LoggedRequest], records: &[Record]) -> Vec<String> {
    let by_time = against_journal(requests, records, &Order::new());
    // Which request came last before a record: they are numbered by their seconds here.
    let behind = |record: &Record| record.at.since(at(0)).as_millis() / 1000;
    let order = (1..).zip(records.iter().map(behind)).collect();
    for request in requests.iter_mut() {
        request.at = at(60);
    }
    let by_order = against_journal(requests, records, &order);
    assert_eq!(by_time.len(), by_order.len(), "{by_time:?} {by_order:?}");
    by_order
}

fn a_second_time(faults: &[String]) {
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].contains("r/act changed the world a second time"),
        "{faults:?}"
    );
}

#[test]
fn an_action_changes_the_world_once_more_each_time_that_it_was_not_finished() {
    let twice = [(1, DEPLOYMENT), (4, DEPLOYMENT)];
    assert!(judged(&twice, &[act(), pending(2)]).is_empty());
    a_second_time(&judged(&twice, &[act()]));
    // Any other effect is finished, or isn't done.
    a_second_time(&judged(&twice, &[intent(0, "r/act"), pending(2)]));
}

#[test]
fn an_answer_lets_one_change_follow_the_one_before_it() {
    let thrice = [(1, DEPLOYMENT), (4, JOB), (6, DEPLOYMENT)];
    assert!(judged(&thrice, &[act(), pending(2), pending(5)]).is_empty());
    for answers in [[2, 3], [5, 5], [7, 8]] {
        let faults = judged(&thrice, &[act(), pending(answers[0]), pending(answers[1])]);
        assert!(!faults.is_empty(), "{answers:?}");
    }
}

#[test]
fn a_write_that_an_action_repeats_after_a_death_is_found() {
    let twice = [(1, DEPLOYMENT), (4, DEPLOYMENT)];
    let faults = judged(&twice, &[act(), found_running(2)]);
    a_second_time(&faults);
    assert!(faults[0].contains("nobody knew"), "{faults:?}");
    // The next of its changes is none that it repeats, and what it answered for itself it may change anew.
    let next = [(1, DEPLOYMENT), (4, JOB)];
    assert!(judged(&next, &[act(), found_running(2)]).is_empty());
    assert!(judged(&twice, &[act(), pending(2), found_running(3)]).is_empty());
}

#[test]
fn an_action_may_mend_what_somebody_else_changed_while_no_engine_drove() {
    let others = |seconds| {
        let mut request = write(seconds, DEPLOYMENT, "");
        request.user_agent = "kubectl/v1.34".to_owned();
        request
    };
    let own = |seconds| write(seconds, DEPLOYMENT, "r/act");
    let records = [act(), found_running(4)];
    let mut between = [own(2), others(3), own(5)];
    assert!(with_others(&mut between, &records).is_empty());
    let mut before = [others(1), own(2), own(5)];
    a_second_time(&with_others(&mut before, &records));
}
