//! A journal that is not what the engine wrote is named for what it is, and left as it is.

use std::fs;
use std::path::Path;

use phasegate_core::effect::{Done, Id, Outcome};
use phasegate_core::event::{Event, Record};
use phasegate_runtime::ports::Journal as _;
use phasegate_store::SqliteJournal;
use rusqlite::Connection;

use crate::desk::Desk;

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &into);
        } else {
            fs::copy(entry.path(), into).unwrap();
        }
    }
}

/// What is done to a journal, and the code that says so.
const DAMAGES: [(&str, &str, &str); 2] = [
    (
        "the tail is cut",
        "DELETE FROM records WHERE seq > 5",
        "PG0501",
    ),
    (
        "a byte is flipped",
        "UPDATE records SET bytes = CAST(replace(CAST(bytes AS TEXT), 'hello', 'hellp') AS BLOB) WHERE seq = 5",
        "PG0502",
    ),
];

#[test]
fn a_damaged_journal_is_refused_by_every_command_and_left_alone() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let run = desk.only_run();
    for (index, (name, damage, code)) in DAMAGES.into_iter().enumerate() {
        let state = desk.path(&format!("damaged-{index}"));
        copy(&desk.state(), &state);
        let connection = Connection::open(state.join("journal.db")).unwrap();
        let changed = connection.execute(damage, []).unwrap();
        assert!(changed > 0, "{name}: nothing was damaged");
        drop(connection);
        let before = fs::read(state.join("journal.db")).unwrap();
        let state = state.to_str().unwrap();
        for arguments in [
            &["history", "verify"][..],
            &["history", "verify", &run],
            &["history", &run],
            &["report", &run],
            &["status", &run],
            &["watch", &run],
            &["resume", &run],
            &["rollback", &run],
        ] {
            let mut all = arguments.to_vec();
            all.extend(["--state", state]);
            let ended = desk.run(&all).refused(2, code);
            assert!(
                ended.stderr.contains("hint"),
                "{name}, {arguments:?}:\n{}",
                ended.stderr
            );
        }
        let list = desk.run(&["history", "--state", state]).expect(2);
        assert!(list.stdout.contains(code), "{}", list.stdout);
        let told = format!("error[{code}]");
        assert!(
            list.stderr.contains(&told) && list.stderr.contains(&run),
            "{}",
            list.stderr
        );
        let again = desk.run(&[
            "run",
            "release.yaml",
            "--version",
            "1.2.0",
            "--state",
            state,
        ]);
        let refused = again.refused(2, code);
        assert!(refused.stderr.contains(&run), "{}", refused.stderr);
        let after = fs::read(Path::new(state).join("journal.db")).unwrap();
        assert!(before == after, "{name}: the journal was written to");
        // The copy names the cluster of the original, which is that desk's to end.
        fs::remove_file(Path::new(state).join("simulated.json")).unwrap();
    }
    desk.run(&["history", "verify"]).expect(0);
}

#[test]
fn a_journal_of_a_newer_engine_is_left_to_it() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let path = desk.state().join("journal.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    for arguments in [
        &["history"][..],
        &["history", "verify"],
        &["status"],
        &["resume"],
        &["run", "release.yaml"],
    ] {
        let ended = desk.run(arguments).refused(2, "PG0503");
        assert!(ended.stderr.contains("format 99"), "{}", ended.stderr);
    }
    assert!(before == fs::read(&path).unwrap(), "it was written to");
}

#[test]
fn a_byte_flipped_on_disk_is_found() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let path = desk.state().join("journal.db");
    let mut bytes = fs::read(&path).unwrap();
    let part = b"registry.example/hello:1.1.0";
    // A page that is in use no more may hold a copy.
    let places: Vec<usize> = (0..bytes.len() - part.len())
        .filter(|&at| bytes[at..].starts_with(part))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 0x02;
    }
    fs::write(&path, bytes).unwrap();
    desk.run(&["history", "verify"]).refused(2, "PG0502");
}

#[test]
fn something_else_in_the_place_of_a_journal_is_not_touched() {
    let desk = Desk::quick();
    fs::create_dir(desk.state()).unwrap();
    let text = "these are somebody's notes, and no database at all, not even a little";
    fs::write(desk.state().join("journal.db"), text).unwrap();
    desk.run(&["history"]).refused(2, "PG0507");
    desk.run(&["run", "release.yaml"]).refused(2, "PG0507");
    assert_eq!(
        fs::read_to_string(desk.state().join("journal.db")).unwrap(),
        text
    );
}

/// The anchors know of runs that the database doesn't have any more.
#[test]
fn runs_that_were_lost_are_missed_by_every_command() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let run = desk.only_run();
    let lose = |state: &Path, how: usize| {
        let database = state.join("journal.db");
        match how {
            0 => fs::remove_file(database).unwrap(),
            1 => fs::write(database, "").unwrap(),
            _ => {
                let connection = Connection::open(database).unwrap();
                connection
                    .execute_batch("DELETE FROM records; DELETE FROM inbox; DELETE FROM runs")
                    .unwrap();
            }
        }
    };
    for how in 0..3 {
        let state = desk.path(&format!("lost-{how}"));
        copy(&desk.state(), &state);
        lose(&state, how);
        let at = ["--state", state.to_str().unwrap()];
        for arguments in [
            &["status"][..],
            &["status", &run],
            &["history", "verify"],
            &["history", &run],
            &["resume"],
            &["abort"],
            &["rollback", &run],
            &["run", "release.yaml"],
        ] {
            let ended = desk.run(&[arguments, &at].concat()).refused(2, "PG0501");
            assert!(
                ended.stderr.contains(&run),
                "{arguments:?}:\n{}",
                ended.stderr
            );
        }
        let list = desk.run(&[&["history"][..], &at].concat()).expect(2);
        let said = format!("{}{}", list.stdout, list.stderr);
        assert!(said.contains("PG0501") && said.contains(&run), "{said}");
        let doctor = desk.run(&[&["doctor"][..], &at].concat()).expect(3);
        assert!(doctor.stdout.contains("PG0501"), "{}", doctor.stdout);
        let made = fs::metadata(state.join("journal.db")).map_or(0, |about| about.len());
        assert!(
            how == 2 || made == 0,
            "an empty journal was put in its place"
        );
        fs::remove_file(state.join("simulated.json")).unwrap();
    }
}

/// Ends the journal of a run with the outcome of an effect that nobody asked for, sealed as every record is.
fn write_nonsense(state: &Path, run: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let journal = SqliteJournal::open(state).unwrap();
        let (records, head) = journal.read(run).await.unwrap();
        let nonsense = Record {
            at: records.last().unwrap().at,
            event: Event::Finished {
                effect: Id(99_999),
                outcome: Outcome::Done(Done::Changed),
            },
        };
        journal.append(run, &head, &[nonsense]).await.unwrap();
    });
}

/// No damage: every hash fits. No engine would have written it, so that to guess would be worse than to stop.
#[test]
fn records_that_make_no_sense_are_the_engines_fault() {
    let desk = Desk::quick();
    desk.run(&["run", "release.yaml"]).expect(0);
    let run = desk.only_run();
    write_nonsense(&desk.state(), &run);
    let before = fs::read(desk.state().join("journal.db")).unwrap();
    for arguments in [
        &["status", &run][..],
        &["history", &run],
        &["history", "verify"],
        &["report", &run],
        &["watch", &run],
        &["resume", &run],
        &["abort", &run],
        &["rollback", &run],
    ] {
        // What came before the nonsense is shown by `watch`: no command makes data of the rest.
        let ended = desk.run(arguments).expect(70);
        for part in [
            "error[PG0901]",
            format!("the journal of {run} makes no sense").as_str(),
            "99999",
            "please report it",
            "nothing was changed in the journal",
        ] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
    }
    let after = fs::read(desk.state().join("journal.db")).unwrap();
    assert!(before == after, "the journal was written to");
    let explained = desk.run(&["explain", "PG0901"]).expect(0);
    assert!(
        explained.stdout.contains("phasegate history verify"),
        "{}",
        explained.stdout
    );
}
