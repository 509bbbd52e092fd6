//! Appends to the journal, beside raw writes of the same bytes with an fsync each, on the same disk.
//!
//! An append is durable in two places: the database and the anchor, which notices a database that was
//! put back. So there are three peers: a write to the end of one file and an fsync, which is what the
//! target is about; that into two files, one after the other; and the least that a disk can be asked
//! for, an overwrite in place with fdatasync, which changes nothing about the file but its bytes.
//! All take turns, and what they write is a real record.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Journal, RunEntry};
use phasegate_store::SqliteJournal;

use crate::row::{Row, Target};
use crate::statistics::median;

/// Short rounds: a shared disk changes its pace within a run, and an append is compared with the
/// raw writes of its own round.
const ROUNDS: usize = 101;
const PER_ROUND: usize = 10;
/// The cause of an interruption, which makes a record as long as an intent with its fields.
const CAUSE_BYTES: usize = 600;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::Builder::new()
        .prefix("phasegate-bench-")
        // The same disk as the engine's build, rather than a /tmp that may be memory.
        .tempdir_in(std::env::current_exe()?.parent().context("a folder")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let rounds = runtime.block_on(rounds(folder.path()))?;
    let of = |figure: fn(&Round) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let row = || Row::new("journal appends", of(|round| round.journal), "/s");
    Ok(vec![
        row()
            .beside("write + fsync, one file", of(|round| round.one))
            .with_ratio(of(|round| round.journal / round.one))
            .wanted(Target::AtLeast(0.7)),
        row()
            .beside("the same, two files in turn", of(|round| round.two))
            .with_ratio(of(|round| round.journal / round.two)),
        row()
            .beside("overwrite + fdatasync, one file", of(|round| round.least))
            .with_ratio(of(|round| round.journal / round.least)),
    ])
}

/// Rates per second.
struct Round {
    journal: f64,
    one: f64,
    two: f64,
    least: f64,
}

async fn rounds(folder: &Path) -> anyhow::Result<Vec<Round>> {
    let journal = SqliteJournal::open(folder.join("state")).map_err(|e| anyhow!("{e}"))?;
    let entry = RunEntry {
        run: "bench".to_owned(),
        release: "bench".to_owned(),
        target: "bench".to_owned(),
        created: Timestamp::ZERO,
        records: 0,
    };
    let record = Record {
        at: Timestamp::ZERO,
        event: Event::Interrupted {
            cause: "x".repeat(CAUSE_BYTES),
        },
    };
    let bytes = serde_json::to_vec(&record)?;
    let mut head = journal.create(&entry, &record).await?;
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        options.append(true).create(true).open(folder.join(name))
    };
    let (mut only, mut first, mut second) = (open("only")?, open("first")?, open("second")?);
    let place = File::create(folder.join("place"))?;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        for _ in 0..PER_ROUND {
            durable(&mut only, &bytes)?;
        }
        let took_one = start.elapsed();
        let start = Instant::now();
        for _ in 0..PER_ROUND {
            head = journal
                .append("bench", &head, std::slice::from_ref(&record))
                .await?;
        }
        let took_append = start.elapsed();
        let start = Instant::now();
        for _ in 0..PER_ROUND {
            durable(&mut first, &bytes)?;
            durable(&mut second, &bytes)?;
        }
        let took_two = start.elapsed();
        let start = Instant::now();
        for _ in 0..PER_ROUND {
            place.write_all_at(&bytes, 0)?;
            place.sync_data()?;
        }
        let took_least = start.elapsed();
        // The first round warms up.
        if round > 0 {
            rounds.push(Round {
                journal: rate(took_append),
                one: rate(took_one),
                two: rate(took_two),
                least: rate(took_least),
            });
        }
    }
    Ok(rounds)
}

fn rate(took: Duration) -> f64 {
    PER_ROUND as f64 / took.as_secs_f64()
}

fn durable(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
