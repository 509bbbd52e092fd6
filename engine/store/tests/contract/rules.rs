//! What every journal must do, for whatever place it is kept in.

use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal, JournalError, RunEntry};
use phasegate_store::chain::Row;
use phasegate_store::limits::{MAX_INBOX_PAGE, MAX_OPEN_COMMANDS, MAX_RECORD_BYTES};
use phasegate_store::{chain, format};

pub(crate) const RUN: &str = "shop-1.4.2";

/// Somewhere to keep a journal, and a way to damage what is kept.
pub(crate) trait Place {
    type Opened: Journal;
    /// The journal as another process would open it.
    fn open(&self) -> Self::Opened;
    /// Changes the rows of the run behind the journal's back.
    async fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>));
    /// Most bytes of a record.
    fn most(&self) -> usize {
        MAX_RECORD_BYTES
    }
}

/// One test for each function, in a place.
#[macro_export]
macro_rules! contract {
    ($place:expr) => {
        $crate::contract!($place;
    what_was_appended_is_read_back_by_another_process,
    a_batch_is_one_append,
    an_append_after_another_head_is_refused,
    a_run_is_created_once,
    unknown_runs_are_not_found,
    ids_that_are_no_names_of_files_are_refused,
    runs_are_listed_newest_first,
    one_process_drives,
    a_cut_tail_is_noticed,
    every_altered_column_is_noticed,
    rows_that_are_missing_or_swapped_are_noticed,
    what_is_kept_beside_the_records_is_covered,
    a_newer_format_is_refused_as_such,
    giant_records_are_refused_and_nothing_is_written,
    times_that_a_journal_cant_keep_are_refused,
    commands_are_kept_in_order_and_answered_once,
    commands_can_be_given_while_a_run_is_driven,
    the_inbox_is_bounded,
    the_seat_is_the_same_for_all_processes);
    };
    ($place:expr; $($name:ident),+) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::rules::$name(&$place).await;
        })+
    };
}

pub(crate) fn entry(run: &str) -> RunEntry {
    RunEntry {
        run: run.to_owned(),
        release: "shop".to_owned(),
        target: "prod/shop".to_owned(),
        created: Timestamp::from_millis(1_000),
        records: 0,
    }
}

pub(crate) fn record(at: u64, cause: &str) -> Record {
    Record {
        at: Timestamp::from_millis(at),
        event: Event::Interrupted {
            cause: cause.to_owned(),
        },
    }
}

fn ada() -> Identity {
    Identity {
        name: "ada".to_owned(),
        verified_by: "os-account:1000".to_owned(),
    }
}

/// A run with so many records, each appended by itself.
pub(crate) async fn run_of(journal: &impl Journal, count: u64) -> Head {
    let mut head = journal.create(&entry(RUN), &record(1, "r1")).await.unwrap();
    for n in 2..=count {
        let next = record(n, &format!("r{n}"));
        head = journal.append(RUN, &head, &[next]).await.unwrap();
    }
    head
}

pub(crate) async fn what_was_appended_is_read_back_by_another_process(place: &impl Place) {
    let head = run_of(&place.open(), 5).await;
    assert_eq!(head.seq, 5);
    let (records, read) = place.open().read(RUN).await.unwrap();
    assert_eq!(read, head);
    let expected: Vec<Record> = (1..=5).map(|n| record(n, &format!("r{n}"))).collect();
    assert_eq!(records, expected);
}

pub(crate) async fn a_batch_is_one_append(place: &impl Place) {
    let journal = place.open();
    let head = run_of(&journal, 1).await;
    let batch: Vec<Record> = (2..=300).map(|n| record(n, &"x".repeat(200))).collect();
    let head = journal.append(RUN, &head, &batch).await.unwrap();
    assert_eq!(head.seq, 300);
    assert_eq!(journal.append(RUN, &head, &[]).await.unwrap(), head);
    assert_eq!(place.open().read(RUN).await.unwrap().0.len(), 300);
}

pub(crate) async fn an_append_after_another_head_is_refused(place: &impl Place) {
    let (one, other) = (place.open(), place.open());
    let head = run_of(&one, 2).await;
    let next = one.append(RUN, &head, &[record(3, "mine")]).await.unwrap();
    let late = other.append(RUN, &head, &[record(3, "theirs")]).await;
    assert!(matches!(late, Err(JournalError::InUse(_))), "{late:?}");
    let beyond = Head {
        seq: 9,
        hash: next.hash.clone(),
    };
    let beyond = other.append(RUN, &beyond, &[record(9, "?")]).await;
    assert!(
        matches!(
            beyond,
            Err(JournalError::Cut {
                expected: 9,
                found: 3,
                ..
            })
        ),
        "{beyond:?}"
    );
    let other_hash = Head {
        seq: 3,
        hash: head.hash,
    };
    let other_hash = other.append(RUN, &other_hash, &[record(4, "?")]).await;
    assert!(
        matches!(other_hash, Err(JournalError::Altered { seq: 3, .. })),
        "{other_hash:?}"
    );
    let (records, head) = other.read(RUN).await.unwrap();
    assert_eq!((records.len(), head), (3, next));
}

pub(crate) async fn a_run_is_created_once(place: &impl Place) {
    let journal = place.open();
    let head = run_of(&journal, 2).await;
    assert!(
        journal
            .create(&entry(RUN), &record(1, "again"))
            .await
            .is_err()
    );
    assert_eq!(journal.read(RUN).await.unwrap().1, head);
}

pub(crate) async fn unknown_runs_are_not_found(place: &impl Place) {
    let journal = place.open();
    run_of(&journal, 1).await;
    let head = Head {
        seq: 0,
        hash: String::new(),
    };
    let not_found =
        |error: JournalError| matches!(error, JournalError::NotFound(run) if run == "other");
    assert!(not_found(journal.read("other").await.unwrap_err()));
    assert!(not_found(
        journal
            .append("other", &head, &[record(1, "")])
            .await
            .unwrap_err()
    ));
    assert!(not_found(journal.inbox("other", 0).await.unwrap_err()));
    assert!(not_found(
        journal.answer("other", 1, None).await.unwrap_err()
    ));
    let posted = journal
        .post("other", Timestamp::ZERO, &ada(), &Command::Retry)
        .await;
    assert!(not_found(posted.unwrap_err()));
}

pub(crate) async fn ids_that_are_no_names_of_files_are_refused(place: &impl Place) {
    let journal = place.open();
    for run in ["../escape", "", "a/b", "A"] {
        let created = journal.create(&entry(run), &record(1, "")).await;
        assert!(
            matches!(created, Err(JournalError::Limit(_))),
            "{created:?}"
        );
        assert!(journal.drive(run).await.is_err());
        assert!(journal.read(run).await.is_err());
    }
}

pub(crate) async fn runs_are_listed_newest_first(place: &impl Place) {
    let journal = place.open();
    assert_eq!(journal.runs(10).await.unwrap(), []);
    for run in ["a", "b", "c"] {
        journal.create(&entry(run), &record(1, "")).await.unwrap();
    }
    let (_, head) = journal.read("b").await.unwrap();
    journal.append("b", &head, &[record(2, "")]).await.unwrap();
    let listed = place.open().runs(2).await.unwrap();
    let expected = [entry("c"), entry("b")].into_iter().zip([1, 2]);
    let expected: Vec<RunEntry> = expected
        .map(|(entry, records)| RunEntry { records, ..entry })
        .collect();
    assert_eq!(listed, expected);
}

pub(crate) async fn one_process_drives(place: &impl Place) {
    let (one, other) = (place.open(), place.open());
    run_of(&one, 1).await;
    let guard = one.drive(RUN).await.unwrap();
    for journal in [&one, &other] {
        assert!(matches!(journal.drive(RUN).await, Err(JournalError::InUse(run)) if run == RUN));
    }
    drop(other.drive("another").await.unwrap());
    drop(guard);
    drop(other.drive(RUN).await.unwrap());
}

pub(crate) async fn a_cut_tail_is_noticed(place: &impl Place) {
    let head = run_of(&place.open(), 6).await;
    for left in [5_u64, 3, 0] {
        place
            .damage(RUN, |rows| rows.truncate(usize::try_from(left).unwrap()))
            .await;
        let read = place.open().read(RUN).await;
        assert!(
            matches!(read, Err(JournalError::Cut { expected: 6, found, .. }) if found == left),
            "{left}: {read:?}"
        );
        let append = place.open().append(RUN, &head, &[record(7, "on")]).await;
        assert!(
            matches!(append, Err(JournalError::Cut { expected: 6, .. })),
            "{append:?}"
        );
    }
}

pub(crate) async fn every_altered_column_is_noticed(place: &impl Place) {
    run_of(&place.open(), 4).await;
    type Alter = fn(&mut Row);
    let alterations: [(&str, Alter); 6] = [
        ("bytes", |row| row.bytes[20] ^= 1),
        ("fewer bytes", |row| row.bytes.truncate(row.bytes.len() - 1)),
        ("hash", |row| row.hash.replace_range(5..6, "x")),
        ("format", |row| row.format += 1),
        ("at", |row| row.at = Timestamp::from_millis(77)),
        ("seq", |row| row.seq += 100),
    ];
    for (column, alter) in alterations {
        for index in 0..4_usize {
            let mut kept = Vec::new();
            place
                .damage(RUN, |rows| {
                    kept.clone_from(rows);
                    alter(&mut rows[index]);
                })
                .await;
            let read = place.open().read(RUN).await;
            // In the order of their numbers the one that follows is in the place of what was moved away.
            let seq = index as u64 + 1;
            assert!(
                matches!(&read, Err(JournalError::Altered { seq: found, .. }) if *found == seq),
                "{column} of {seq}: {read:?}"
            );
            place.damage(RUN, |rows| *rows = kept).await;
        }
    }
    assert_eq!(place.open().read(RUN).await.unwrap().0.len(), 4);
}

pub(crate) async fn rows_that_are_missing_or_swapped_are_noticed(place: &impl Place) {
    run_of(&place.open(), 5).await;
    let mut kept = Vec::new();
    place
        .damage(RUN, |rows| {
            kept.clone_from(rows);
            rows.remove(2);
        })
        .await;
    let read = place.open().read(RUN).await;
    assert!(
        matches!(read, Err(JournalError::Altered { seq: 3, .. })),
        "{read:?}"
    );
    place
        .damage(RUN, |rows| {
            rows.clone_from(&kept);
            let (second, third) = (rows[1].bytes.clone(), rows[2].bytes.clone());
            (rows[1].bytes, rows[2].bytes) = (third, second);
        })
        .await;
    let read = place.open().read(RUN).await;
    assert!(
        matches!(read, Err(JournalError::Altered { seq: 2, .. })),
        "{read:?}"
    );
    // A chain that is whole in itself, but is not the one that was written.
    place
        .damage(RUN, |rows| {
            let records = [record(1, "r1"), record(2, "forged")];
            *rows = chain::seal(&chain::genesis(&entry(RUN)), &records).unwrap();
            let tail = kept
                .iter()
                .skip(2)
                .map(|row| format::decode(row.format, &row.bytes).unwrap());
            let tail: Vec<Record> = tail.collect();
            rows.extend(chain::seal(&rows[1].head(), &tail).unwrap());
        })
        .await;
    let read = place.open().read(RUN).await;
    assert!(
        matches!(read, Err(JournalError::Altered { .. })),
        "{read:?}"
    );
}

pub(crate) async fn what_is_kept_beside_the_records_is_covered(place: &impl Place) {
    run_of(&place.open(), 2).await;
    place
        .damage(RUN, |rows| {
            let other = RunEntry {
                target: "prod/other".to_owned(),
                ..entry(RUN)
            };
            let records = [record(1, "r1"), record(2, "r2")];
            *rows = chain::seal(&chain::genesis(&other), &records).unwrap();
        })
        .await;
    let read = place.open().read(RUN).await;
    assert!(
        matches!(read, Err(JournalError::Altered { seq: 1, .. })),
        "{read:?}"
    );
}

pub(crate) async fn a_newer_format_is_refused_as_such(place: &impl Place) {
    run_of(&place.open(), 2).await;
    place
        .damage(RUN, |rows| {
            let newer = format::FORMAT + 1;
            let bytes = br#"{"from":"the future"}"#.to_vec();
            let hash = chain::link(&rows[1].hash, 3, newer, &bytes);
            rows.push(Row {
                seq: 3,
                at: Timestamp::from_millis(3),
                format: newer,
                bytes,
                hash,
            });
        })
        .await;
    let read = place.open().read(RUN).await;
    assert!(
        matches!(
            read,
            Err(JournalError::Newer {
                found: 2,
                supported: 1
            })
        ),
        "{read:?}"
    );
}

pub(crate) async fn giant_records_are_refused_and_nothing_is_written(place: &impl Place) {
    let journal = place.open();
    let head = run_of(&journal, 1).await;
    let giant = record(3, &"x".repeat(MAX_RECORD_BYTES));
    let append = journal
        .append(RUN, &head, &[record(2, "small"), giant])
        .await;
    assert!(matches!(append, Err(JournalError::Limit(_))), "{append:?}");
    assert_eq!(journal.read(RUN).await.unwrap().1, head);
    let large = record(2, &"x".repeat(place.most() / 2));
    let head = journal.append(RUN, &head, &[large]).await.unwrap();
    assert_eq!(place.open().read(RUN).await.unwrap().1, head);
}

pub(crate) async fn times_that_a_journal_cant_keep_are_refused(place: &impl Place) {
    let journal = place.open();
    let late = record(1 << 63, "late");
    let created = journal.create(&entry(RUN), &late).await;
    assert!(
        matches!(created, Err(JournalError::Limit(_))),
        "{created:?}"
    );
    let later = RunEntry {
        created: Timestamp::from_millis(1 << 63),
        ..entry(RUN)
    };
    let created = journal.create(&later, &record(1, "")).await;
    assert!(
        matches!(created, Err(JournalError::Limit(_))),
        "{created:?}"
    );
    let head = run_of(&journal, 1).await;
    let append = journal.append(RUN, &head, &[late]).await;
    assert!(matches!(append, Err(JournalError::Limit(_))), "{append:?}");
    let last = record((1 << 63) - 1, "in time");
    let head = journal.append(RUN, &head, &[last]).await.unwrap();
    assert_eq!(place.open().read(RUN).await.unwrap().1, head);
}

pub(crate) async fn commands_are_kept_in_order_and_answered_once(place: &impl Place) {
    let (engine, person) = (place.open(), place.open());
    run_of(&engine, 1).await;
    let abort = Command::Abort {
        reason: Some("too slow".to_owned()),
    };
    let at = Timestamp::from_millis(7);
    assert_eq!(person.post(RUN, at, &ada(), &abort).await.unwrap(), 1);
    assert_eq!(
        person.post(RUN, at, &ada(), &Command::Retry).await.unwrap(),
        2
    );
    let inbox = engine.inbox(RUN, 0).await.unwrap();
    assert_eq!(
        inbox.iter().map(|command| command.id).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        (inbox[0].at, &inbox[0].by, &inbox[0].command),
        (at, &ada(), &abort)
    );
    assert_eq!(engine.inbox(RUN, 1).await.unwrap(), inbox[1..]);
    assert_eq!(person.answered(RUN, 1).await.unwrap(), None);
    engine.answer(RUN, 1, None).await.unwrap();
    engine
        .answer(RUN, 2, Some("nothing to retry"))
        .await
        .unwrap();
    // An engine that died after its answer gives another one; the person was told the first.
    engine.answer(RUN, 2, None).await.unwrap();
    assert_eq!(person.answered(RUN, 1).await.unwrap(), Some(Ok(())));
    assert_eq!(
        person.answered(RUN, 2).await.unwrap(),
        Some(Err("nothing to retry".to_owned()))
    );
    assert!(engine.answer(RUN, 3, None).await.is_err());
    assert!(person.answered(RUN, 3).await.is_err());
    assert_eq!(place.open().inbox(RUN, 0).await.unwrap().len(), 2);
}

pub(crate) async fn commands_can_be_given_while_a_run_is_driven(place: &impl Place) {
    let (engine, person) = (place.open(), place.open());
    let mut head = run_of(&engine, 1).await;
    let _guard = engine.drive(RUN).await.unwrap();
    let drive = async {
        for n in 2..=20 {
            head = engine.append(RUN, &head, &[record(n, "")]).await.unwrap();
        }
    };
    let command = async {
        for n in 1..=20 {
            let id = person
                .post(RUN, Timestamp::ZERO, &ada(), &Command::Retry)
                .await;
            assert_eq!(id.unwrap(), n);
            person.read(RUN).await.unwrap();
        }
    };
    futures::join!(drive, command);
    assert_eq!(person.read(RUN).await.unwrap().1.seq, 20);
    assert_eq!(engine.inbox(RUN, 0).await.unwrap().len(), 20);
}

pub(crate) async fn the_inbox_is_bounded(place: &impl Place) {
    let journal = place.open();
    run_of(&journal, 1).await;
    let post = || journal.post(RUN, Timestamp::ZERO, &NOBODY, &Command::Retry);
    for _ in 0..MAX_OPEN_COMMANDS {
        post().await.unwrap();
    }
    let full = post().await;
    assert!(matches!(full, Err(JournalError::Limit(_))), "{full:?}");
    assert_eq!(journal.inbox(RUN, 0).await.unwrap().len(), MAX_INBOX_PAGE);
    journal.answer(RUN, 1, None).await.unwrap();
    assert_eq!(post().await.unwrap(), MAX_OPEN_COMMANDS as u64 + 1);
    let long = Command::HandOver {
        reason: "x".repeat(1 << 20),
    };
    let long = journal.post(RUN, Timestamp::ZERO, &NOBODY, &long).await;
    assert!(matches!(long, Err(JournalError::Limit(_))), "{long:?}");
}

static NOBODY: Identity = Identity {
    name: String::new(),
    verified_by: String::new(),
};

pub(crate) async fn the_seat_is_the_same_for_all_processes(place: &impl Place) {
    let seat = place.open().seat();
    assert!(!seat.is_empty());
    assert_eq!(place.open().seat(), seat);
}
