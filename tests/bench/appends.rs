//! Appends to the journal, beside raw writes of the same bytes with an fsync each, on the same disk.
//!
//! An append is durable in two places: the database and the anchor, which notices a database that was
//! put back. So there are two peers: one write and fsync, which is what the target is about, and two
//! of them, one after the other, into two files. All take turns, and what they write is real records.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Journal, RunEntry};
use phasegate_store::SqliteJournal;

use crate::row::{Row, Target};
use crate::statistics::median;

const ROUNDS: usize = 31;
const PER_ROUND: usize = 30;
/// The cause of an interruption, which makes a record as long as an intent with its fields.
const CAUSE_BYTES: usize = 600;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::Builder::new()
        .prefix("phasegate-bench-")
        // The same disk as the engine's build, rather than a /tmp that may be memory.
        .tempdir_in(std::env::current_exe()?.parent().context("a folder")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let [one, two, journal] = runtime.block_on(rates(folder.path()))?;
    Ok(vec![
        Row::new("journal appends", journal, "/s")
            .beside("write + fsync, one file", one)
            .wanted(Target::AtLeast(0.7)),
        Row::new("journal appends", journal, "/s").beside("the same, two files in turn", two),
    ])
}

async fn rates(folder: &Path) -> anyhow::Result<[f64; 3]> {
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
    let (mut one, mut two, mut appends) = (Vec::new(), Vec::new(), Vec::new());
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
        // The first round warms up.
        if round > 0 {
            one.push(rate(took_one));
            two.push(rate(took_two));
            appends.push(rate(took_append));
        }
    }
    Ok([median(&one), median(&two), median(&appends)])
}

fn rate(took: Duration) -> f64 {
    PER_ROUND as f64 / took.as_secs_f64()
}

fn durable(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}
