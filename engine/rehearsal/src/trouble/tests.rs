use super::*;

fn call(mischief: Mischief, nth: u32) -> Fault {
    Fault {
        point: Point::Call {
            kind: Kind::Change,
            subject: None,
            nth,
        },
        direction: Direction::Forward,
        mischief,
    }
}

#[test]
fn a_fault_strikes_at_its_call_and_at_no_other() {
    let trouble = Trouble::new(vec![call(Mischief::Fails, 2)]);
    let at = Timestamp::from_millis(7);
    assert_eq!(trouble.call(Kind::Change, None, at), None);
    assert_eq!(trouble.call(Kind::Release, None, at), None);
    assert_eq!(trouble.unstruck().len(), 1);
    assert_eq!(trouble.call(Kind::Change, None, at), Some(Mischief::Fails));
    assert_eq!(trouble.struck_at(), Some(at));
    assert_eq!(trouble.call(Kind::Change, None, at), None);
    assert!(trouble.unstruck().is_empty());
}

#[test]
fn what_lasts_lasts_until_somebody_sees_to_it() {
    let trouble = Trouble::new(vec![call(Mischief::Denied, 1)]);
    let at = Timestamp::ZERO;
    for _ in 0..3 {
        assert_eq!(trouble.call(Kind::Change, None, at), Some(Mischief::Denied));
    }
    assert!(trouble.lift());
    assert!(!trouble.lift());
    // Who lifts it so that an engine can begin has not said retry yet.
    assert!(trouble.retry());
    assert!(!trouble.retry());
    assert_eq!(trouble.call(Kind::Change, None, at), None);
}

#[test]
fn a_case_is_named_so_that_people_find_the_point() {
    assert_eq!(
        call(Mischief::AnswerLost, 2).to_string(),
        "change#2 forward answer-lost"
    );
    let abort = Fault {
        point: Point::Record(9),
        direction: Direction::Back,
        mischief: Mischief::Abort,
    };
    assert_eq!(abort.to_string(), "record#9 back abort");
}

#[test]
fn every_nature_is_open_to_a_failure_and_says_why_it_is_not_to_others() {
    for kind in KINDS {
        assert_eq!(Mischief::Fails.impossible(kind.nature()), None);
        assert!(Mischief::Abort.impossible(kind.nature()).is_some());
    }
    assert!(Mischief::Hang.impossible(Nature::ClusterWrite).is_some());
    assert!(Mischief::SaysFail.impossible(Nature::PluginWrite).is_some());
    assert_eq!(Mischief::StaleEpoch.impossible(Nature::ClusterWrite), None);
}
