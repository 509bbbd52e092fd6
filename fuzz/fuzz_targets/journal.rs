//! The journal: any rows and any anchor are either a whole journal or refused.
//!
//! The first byte chooses. Rows are taken as they are, or with hashes that fit, so that the bytes
//! of the records are reached; what was read must then be written back to the same hashes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, RunEntry};
use phasegate_store::anchor::Anchor;
use phasegate_store::chain::{Row, genesis, link, seal, verify};
use phasegate_store::format::{FORMAT, decode};

const RUN: &str = "fuzz";

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    match choice % 3 {
        0 => anchor(rest),
        1 => damaged(rest),
        _ => forged(rest),
    }
});

fn start() -> Head {
    genesis(&RunEntry {
        run: RUN.to_owned(),
        release: String::new(),
        target: String::new(),
        created: Timestamp::ZERO,
        records: 0,
    })
}

/// An anchor's file: whatever it says, it knows of two heads at most, and the latest is the last of them.
fn anchor(bytes: &[u8]) {
    let anchor = Anchor::parse(RUN, bytes);
    let numbers: Vec<u64> = anchor.heads().map(|head| head.seq).collect();
    assert!(numbers.len() <= 2 && numbers.is_sorted());
    assert_eq!(anchor.head().map(|head| head.seq), numbers.last().copied());
}

/// Rows as a damaged disk gives them: one to a line, number, time, format and hash before the bytes.
fn damaged(bytes: &[u8]) {
    let rows = bytes.split(|byte| *byte == b'\n').map(|line| {
        let mut parts = line.splitn(5, |byte| *byte == b' ');
        let mut part = || {
            parts
                .next()
                .map(String::from_utf8_lossy)
                .unwrap_or_default()
        };
        Row {
            seq: part().parse().unwrap_or(1),
            at: Timestamp::from_millis(part().parse().unwrap_or(0)),
            format: part().parse().unwrap_or(FORMAT),
            hash: part().into_owned(),
            bytes: part().into_owned().into_bytes(),
        }
    });
    let anchored = Head {
        seq: 1,
        hash: "anchored".to_owned(),
    };
    // No input makes a hash that fits: the fuzzer can't find one.
    assert!(verify(RUN, &start(), rows, &[anchored]).is_err());
}

/// Rows whose hashes fit, with any bytes as records, one to a line.
fn forged(bytes: &[u8]) {
    let mut head = start();
    let mut rows = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let seq = head.seq + 1;
        let row = Row {
            seq,
            at: decode(FORMAT, line).map_or(Timestamp::ZERO, |record| record.at),
            format: FORMAT,
            bytes: line.to_vec(),
            hash: link(&head.hash, seq, FORMAT, line),
        };
        head = row.head();
        rows.push(row);
    }
    let count = rows.len() as u64;
    if let Ok((records, end)) = verify(RUN, &start(), rows, std::slice::from_ref(&head)) {
        assert_eq!((records.len() as u64, &end), (count, &head));
        // What can be read can be written, and is then read as the same.
        for chunk in records.chunks(phasegate_store::limits::MAX_BATCH) {
            let again = seal(&start(), chunk).expect("a record that was read can be written");
            let (read, _) =
                verify(RUN, &start(), again, &[]).expect("what was written can be read");
            assert_eq!(read, chunk);
        }
    }
}
