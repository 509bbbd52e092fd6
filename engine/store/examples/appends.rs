//! How fast the journal appends, beside the disk itself: `cargo run --release -p phasegate-store --example appends -- DIR`.
//!
//! Three things are measured in turns of some appends each, so that all meet the same disk: writing the record's bytes
//! to the end of one file with an fsync; writing them to the database's and the anchor's place, one
//! fsync each; and the journal's append. Prints one line of JSON.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Journal, RunEntry};
use phasegate_store::SqliteJournal;

const ROUNDS: usize = 21;
const PER_ROUND: usize = 30;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("phasegate-appends-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let measured = runtime.block_on(measure(&folder));
    std::fs::remove_dir_all(&folder)?;
    let [single, double, journal] = measured?;
    println!(
        "{{\"rawPerSecond\":{single:.0},\"rawTwoPlacesPerSecond\":{double:.0},\"journalPerSecond\":{journal:.0},\"ratio\":{:.2},\"ratioTwoPlaces\":{:.2}}}",
        journal / single,
        journal / double
    );
    Ok(())
}

async fn measure(folder: &Path) -> Result<[f64; 3], Failure> {
    let journal = SqliteJournal::open(folder.join("state"))?;
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
            cause: "x".repeat(600),
        },
    };
    let bytes = serde_json::to_vec(&record)?;
    let mut head = journal.create(&entry, &record).await?;
    let mut files = Vec::new();
    for name in ["single", "double", "anchor"] {
        files.push(
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(folder.join(name))?,
        );
    }
    let [single, double, anchor] = files.as_mut_slice() else {
        return Err("three files".into());
    };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut took = [Duration::ZERO; 3];
        let start = now();
        for _ in 0..PER_ROUND {
            durable(single, &bytes)?;
        }
        took[0] = start.elapsed();
        let start = now();
        for _ in 0..PER_ROUND {
            durable(double, &bytes)?;
            durable(anchor, &bytes)?;
        }
        took[1] = start.elapsed();
        let start = now();
        for _ in 0..PER_ROUND {
            head = journal
                .append("bench", &head, std::slice::from_ref(&record))
                .await?;
        }
        took[2] = start.elapsed();
        rounds.push(took.map(|took| PER_ROUND as f64 / took.as_secs_f64()));
    }
    // The first round warms up. The median, since a shared disk has hiccups.
    rounds.remove(0);
    let rates = |pick: fn(&[f64; 3]) -> f64| {
        let mut rates: Vec<f64> = rounds.iter().map(pick).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    };
    Ok([
        rates(|[it, _, _]| *it),
        rates(|[_, it, _]| *it),
        rates(|[_, _, it]| *it),
    ])
}

fn durable(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
