//! A disk that is really full, which takes the journal's own connection to bring about.

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Journal, JournalError, RunEntry};

use super::SqliteJournal;

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_the_run_goes_on_once_there_is_room() {
    let state = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(state.path()).unwrap();
    let record = Record {
        at: Timestamp::ZERO,
        event: Event::Interrupted {
            cause: "x".repeat(9000),
        },
    };
    let entry = RunEntry {
        run: "full".to_owned(),
        release: String::new(),
        target: String::new(),
        created: Timestamp::ZERO,
        records: 0,
    };
    let mut head = journal.create(&entry, &record).await.unwrap();
    let limit = |pages: u32| {
        let set = journal.inner.connection().pragma_update_and_check(
            None,
            "max_page_count",
            pages,
            |row| row.get::<_, u32>(0),
        );
        assert_eq!(set.unwrap(), pages);
    };
    limit(40);
    let full = loop {
        match journal
            .append("full", &head, std::slice::from_ref(&record))
            .await
        {
            Ok(next) => head = next,
            Err(error) => break error,
        }
        assert!(head.seq < 100, "the limit on pages has no effect");
    };
    assert!(matches!(full, JournalError::Full(_)), "{full:?}");
    // Nothing is half-written, and what was written is there.
    let report = journal.verify("full").await.unwrap();
    assert_eq!((&report.head, &report.anchored), (&head, &head));
    limit(4000);
    let head = journal.append("full", &head, &[record]).await.unwrap();
    assert_eq!(journal.read("full").await.unwrap().1, head);
}
