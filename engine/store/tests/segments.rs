//! The journal in a cluster where requests get lost, two engines want the same, and records wait.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the functions that tests call are tests too"
)]

use std::sync::Arc;

use phasegate_core::diagnostic::codes;
use phasegate_core::event::{Event, Record};
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::ports::{Head, Journal, JournalError, RunEntry};
use phasegate_runtime::shelf::{HOLD, Part};
use phasegate_store::SegmentJournal;
use phasegate_store::segments::{KEPT_BACK, MAX_KEPT_BACK, let_go};
use shelf::{Fake, Lost};

#[path = "support/shelf.rs"]
mod shelf;

const RUN: &str = "shop-1";

fn record(at: u64, event: Event) -> Record {
    let at = Timestamp::from_millis(at);
    Record { at, event }
}

/// A record that can't wait.
fn firm(at: u64) -> Record {
    let cause = format!("r{at}");
    record(at, Event::Interrupted { cause })
}

fn entry() -> RunEntry {
    RunEntry {
        run: RUN.to_owned(),
        release: "shop".to_owned(),
        target: "prod/shop".to_owned(),
        created: Timestamp::from_millis(1),
        records: 0,
    }
}

async fn begun(shelf: &Arc<Fake>) -> (SegmentJournal, Head) {
    let journal = shelf::open(shelf);
    let head = journal.create(&entry(), &firm(1)).await.unwrap();
    (journal, head)
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_written_once() {
    for lost in [Lost::Request, Lost::Answer] {
        let shelf = Arc::<Fake>::default();
        let (journal, head) = begun(&shelf).await;
        shelf.lose(&[lost, lost]);
        let head = journal.append(RUN, &head, &[firm(2)]).await.unwrap();
        assert_eq!(shelf.names(Part::Segment).len(), 1, "{lost:?}");
        let read = shelf::open(&shelf).read(RUN).await.unwrap();
        assert_eq!(read, (vec![firm(1), firm(2)], head), "{lost:?}");
    }
}

#[tokio::test]
async fn an_engine_that_was_overtaken_writes_nothing_more() {
    let shelf = Arc::<Fake>::default();
    let (one, head) = begun(&shelf).await;
    let other = shelf::open(&shelf);
    let (_, same) = other.read(RUN).await.unwrap();
    let next = other.append(RUN, &same, &[firm(2)]).await.unwrap();
    let late = one.append(RUN, &head, &[firm(2)]).await;
    assert!(matches!(late, Err(JournalError::InUse(_))), "{late:?}");
    // What it kept back is as late.
    let (third, stale) = (shelf::open(&shelf), next.clone());
    third.read(RUN).await.unwrap();
    let waits = record(3, Event::Woke);
    third.append(RUN, &stale, &[waits]).await.unwrap();
    other.append(RUN, &next, &[firm(3)]).await.unwrap();
    let late = third.flush(RUN).await;
    assert!(matches!(late, Err(JournalError::InUse(_))), "{late:?}");
    let (records, _) = shelf::open(&shelf).read(RUN).await.unwrap();
    assert_eq!(records, [firm(1), firm(2), firm(3)]);
}

#[tokio::test]
async fn records_that_can_wait_go_with_the_one_that_can_not() {
    let shelf = Arc::<Fake>::default();
    let (journal, mut head) = begun(&shelf).await;
    for at in 2..=4 {
        let waits = record(at, Event::Woke);
        head = journal.append(RUN, &head, &[waits]).await.unwrap();
    }
    assert_eq!(head.seq, 4);
    assert!(shelf.names(Part::Segment).is_empty());
    head = journal.append(RUN, &head, &[firm(5)]).await.unwrap();
    assert_eq!(shelf.names(Part::Segment).len(), 1);
    let (records, read) = shelf::open(&shelf).read(RUN).await.unwrap();
    assert_eq!((records.len(), read), (5, head));
}

#[tokio::test]
async fn nothing_waits_for_long() {
    let shelf = Arc::<Fake>::default();
    let (journal, head) = begun(&shelf).await;
    let waits = record(2, Event::Woke);
    let mut head = journal.append(RUN, &head, &[waits]).await.unwrap();
    // The engine looks into its inbox all the time.
    journal.inbox(RUN, 0).await.unwrap();
    assert!(shelf.names(Part::Segment).is_empty());
    shelf.advance(KEPT_BACK);
    journal.inbox(RUN, 0).await.unwrap();
    assert_eq!(shelf.names(Part::Segment).len(), 1);
    for at in 3..3 + MAX_KEPT_BACK as u64 {
        let waits = record(at, Event::Woke);
        head = journal.append(RUN, &head, &[waits]).await.unwrap();
    }
    assert_eq!(shelf.names(Part::Segment).len(), 2);
}

#[tokio::test]
async fn an_engine_that_died_keeps_its_run_until_it_has_been_silent_for_long_enough() {
    let shelf = Arc::<Fake>::default();
    let (dead, _) = begun(&shelf).await;
    let guard = dead.drive(RUN).await.unwrap();
    std::mem::forget(guard);
    let next = shelf::open(&shelf);
    assert!(next.driven(RUN).await.unwrap());
    assert!(next.drive(RUN).await.is_err());
    shelf.advance(HOLD);
    assert!(!next.driven(RUN).await.unwrap());
    drop(next.drive(RUN).await.unwrap());
    // One that leaves is not waited for.
    let_go().await;
    assert!(!next.driven(RUN).await.unwrap());
}

#[tokio::test]
async fn an_engine_of_the_same_name_knows_that_the_one_before_is_dead() {
    let shelf = Arc::<Fake>::default();
    let (dead, _) = begun(&shelf).await;
    std::mem::forget(dead.drive(RUN).await.unwrap());
    // Within one process it is not dead.
    assert!(dead.drive(RUN).await.is_err());
    drop(
        shelf::open_as(&shelf, "process-0")
            .drive(RUN)
            .await
            .unwrap(),
    );
}

#[tokio::test]
async fn a_run_that_was_taken_away_by_hand_is_missed_and_one_that_is_forgotten_is_not() {
    let shelf = Arc::<Fake>::default();
    let (journal, head) = begun(&shelf).await;
    journal.append(RUN, &head, &[firm(2)]).await.unwrap();
    let store: Arc<dyn phasegate_runtime::shelf::Shelf> = Arc::clone(&shelf) as _;
    let first = shelf.names(Part::First).remove(0);
    let kept = store.get(&first).await.unwrap().unwrap();
    store.remove(&first).await.unwrap();
    let cold = shelf::open(&shelf);
    assert_eq!(cold.lost().await.unwrap(), [RUN]);
    assert!(matches!(
        cold.read(RUN).await,
        Err(JournalError::Cut { .. })
    ));
    store.put(&kept).await.unwrap();
    assert_eq!(cold.lost().await.unwrap(), Vec::<String>::new());
    assert_eq!(cold.forget(RUN).await.unwrap(), 2);
    assert_eq!(cold.lost().await.unwrap(), Vec::<String>::new());
    let gone = shelf::open(&shelf).read(RUN).await;
    assert!(matches!(gone, Err(JournalError::NotFound(_))), "{gone:?}");
}

#[tokio::test]
async fn an_engine_that_stalled_leaves_the_run_to_the_one_that_followed_it() {
    let shelf = Arc::<Fake>::default();
    let (stalled, head) = begun(&shelf).await;
    let hold = stalled.drive(RUN).await.unwrap();
    let waits = record(2, Event::Woke);
    let head = stalled.append(RUN, &head, &[waits]).await.unwrap();
    shelf.advance(HOLD);
    let follower = shelf::open(&shelf);
    let _follows = follower.drive(RUN).await.unwrap();
    let (_, end) = follower.read(RUN).await.unwrap();
    // The follower has written nothing yet, so that only the slip can tell.
    let late = stalled.append(RUN, &head, &[firm(3)]).await;
    assert!(matches!(late, Err(JournalError::InUse(_))), "{late:?}");
    let late = stalled.inbox(RUN, 0).await;
    assert!(matches!(late, Err(JournalError::InUse(_))), "{late:?}");
    let late = stalled.flush(RUN).await;
    assert!(matches!(late, Err(JournalError::InUse(_))), "{late:?}");
    assert!(shelf.names(Part::Segment).is_empty());
    drop(hold);
    let_go().await;
    let end = follower.append(RUN, &end, &[firm(4)]).await.unwrap();
    follower.inbox(RUN, 0).await.unwrap();
    let read = shelf::open(&shelf).read(RUN).await.unwrap();
    assert_eq!(read, (vec![firm(1), firm(4)], end));
}

#[tokio::test]
async fn an_engine_that_stalled_and_that_nobody_followed_goes_on() {
    let shelf = Arc::<Fake>::default();
    let (stalled, head) = begun(&shelf).await;
    let _hold = stalled.drive(RUN).await.unwrap();
    shelf.advance(HOLD);
    shelf.advance(HOLD);
    stalled.append(RUN, &head, &[firm(2)]).await.unwrap();
    // It has the slip again, and nobody else can take it.
    assert!(shelf::open(&shelf).drive(RUN).await.is_err());
}

#[tokio::test]
async fn an_engine_that_drives_waits_for_a_server_that_is_away_and_whoever_looks_does_not() {
    let shelf = Arc::<Fake>::default();
    let (journal, head) = begun(&shelf).await;
    let hour = Span::from_mins(60);
    let _hold = journal.drive(RUN).await.unwrap();
    shelf.away(hour);
    assert_eq!(journal.inbox(RUN, 0).await.unwrap(), []);
    shelf.away(hour);
    let head = journal.append(RUN, &head, &[firm(2)]).await.unwrap();
    let looks = shelf::open(&shelf);
    assert_eq!(looks.read(RUN).await.unwrap().1, head);
    shelf.away(hour);
    assert!(looks.read(RUN).await.is_err());
}

#[tokio::test]
async fn whoever_drives_can_tell_what_it_waits_for() {
    let shelf = Arc::<Fake>::default();
    let (journal, _) = begun(&shelf).await;
    let _hold = journal.drive(RUN).await.unwrap();
    assert_eq!(journal.trouble(), None);
    shelf.away(Span::from_mins(60));
    let told = async {
        for _ in 0..1000 {
            if let Some(failure) = journal.trouble() {
                return failure;
            }
            tokio::task::yield_now().await;
        }
        panic!("it never said why");
    };
    let (answer, failure) = tokio::join!(journal.inbox(RUN, 0), told);
    assert_eq!(answer.unwrap(), []);
    assert_eq!(failure.code, codes::CLUSTER_UNREACHABLE);
    assert_eq!(journal.trouble(), None);
}

#[tokio::test]
async fn a_server_that_comes_back_to_another_engine_is_written_to_by_that_one_alone() {
    let shelf = Arc::<Fake>::default();
    let (cut_off, head) = begun(&shelf).await;
    let _hold = cut_off.drive(RUN).await.unwrap();
    let follower = shelf::open(&shelf);
    follower.read(RUN).await.unwrap();
    // Away from the first engine only: the other one follows while it waits.
    shelf.away(Span::from_mins(10));
    let follows = async {
        for _ in 0..1000 {
            if let Ok(hold) = follower.drive(RUN).await {
                return hold;
            }
        }
        panic!("the run was never free");
    };
    let writes = [firm(2)];
    let (late, _hold) = tokio::join!(cut_off.append(RUN, &head, &writes), follows);
    // Whichever was first, one has it and the other knows.
    let written = shelf.names(Part::Segment).len();
    let (_, end) = follower.read(RUN).await.unwrap();
    match late {
        Ok(_) => assert_eq!(written, 1),
        Err(JournalError::InUse(_)) => assert_eq!(written, 0),
        Err(other) => panic!("{other:?}"),
    }
    follower.append(RUN, &end, &[firm(3)]).await.unwrap();
}

#[tokio::test]
async fn what_is_kept_with_a_run_is_there_with_its_first_record_and_covered_by_its_hashes() {
    let shelf = Arc::<Fake>::default();
    let journal = shelf::open(&shelf);
    journal.keep(RUN, "{\"limits\":1}").unwrap();
    // Whoever is broken off here leaves nothing.
    assert!(shelf.names(Part::First).is_empty() && shelf.names(Part::Kept).is_empty());
    journal.create(&entry(), &firm(1)).await.unwrap();
    let cold = shelf::open(&shelf);
    let kept = cold.kept(RUN).await.unwrap();
    assert_eq!(kept.as_deref(), Some("{\"limits\":1}"));
    let store: Arc<dyn phasegate_runtime::shelf::Shelf> = Arc::clone(&shelf) as _;
    let first = shelf.names(Part::First).remove(0);
    let whole = store.get(&first).await.unwrap().unwrap();
    for damage in [Some("{\"limits\":9}"), None] {
        let mut other = whole.clone();
        match damage {
            Some(text) => other.text.insert("kept".to_owned(), text.to_owned()),
            None => other.text.remove("kept"),
        };
        store.remove(&first).await.unwrap();
        store.put(&other).await.unwrap();
        let told = shelf::open(&shelf).kept(RUN).await;
        let altered = matches!(told, Err(JournalError::Altered { seq: 1, .. }));
        assert!(altered, "{damage:?}: {told:?}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_run_by_whoever_was_broken_off_is_found_and_taken_away() {
    let shelf = Arc::<Fake>::default();
    let (journal, head) = begun(&shelf).await;
    journal.append(RUN, &head, &[firm(2)]).await.unwrap();
    assert_eq!(journal.remains().await.unwrap(), Vec::<String>::new());
    let store: Arc<dyn phasegate_runtime::shelf::Shelf> = Arc::clone(&shelf) as _;
    // One that is lost is not one that was forgotten.
    let first = shelf.names(Part::First).remove(0);
    store.remove(&first).await.unwrap();
    assert_eq!(journal.remains().await.unwrap(), Vec::<String>::new());
    store.remove_slip(RUN).await.unwrap();
    assert_eq!(shelf::open(&shelf).remains().await.unwrap(), [RUN]);
    assert_eq!(journal.forget(RUN).await.unwrap(), 1);
    assert_eq!(journal.remains().await.unwrap(), Vec::<String>::new());
    assert!(shelf.names(Part::Segment).is_empty());
}
