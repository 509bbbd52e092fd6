//! A whole exploration of the canary, on two threads, and whether memory stays the same over it.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use phasegate_cli::compose::Invented;
use phasegate_cli::explore::{Options, explore};
use phasegate_cli::plugins;
use phasegate_cli::rehearsal::Inputs;
use phasegate_core::spec::policy::Policy;

use crate::rehearsals;
use crate::row::{Row, Target};

/// Kilobytes of a megabyte.
const MB: f64 = 1024.0;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (loaded, scenario) = rehearsals::canary_files()?;
    let components = plugins::of_release(&loaded, ".".as_ref()).map_err(|e| anyhow!("{e}"))?;
    let policy = Policy::default();
    let inputs = Inputs {
        loaded: &loaded,
        policy: &policy,
        scenario: &scenario,
        components,
        credentials: Arc::new(Invented),
        cache: None,
        seed: 1,
    };
    let options = Options {
        limit: usize::MAX,
        full_soaks: false,
        remake: None,
    };
    let mut resident = Vec::new();
    let explored = explore(&inputs, options, &mut |progress| {
        resident.push((progress.played * 10 / progress.cases.max(1), now_resident()));
    })
    .map_err(|e| anyhow!("{e}"))?;
    ensure!(explored.faults.is_empty(), "{:?}", explored.faults);
    ensure!(
        explored.findings.broken_cases == 0 && explored.findings.gaps().is_empty(),
        "{} broken, never tried: {:?}",
        explored.findings.broken_cases,
        explored.findings.gaps()
    );
    let of = |tenth: usize| {
        let found = resident.iter().filter(|(played, _)| *played == tenth);
        let found: Vec<f64> = found.filter_map(|(_, kilobytes)| *kilobytes).collect();
        found.iter().copied().reduce(f64::max).map(|most| most / MB)
    };
    let soon = of(1).context("nothing was heard of the second tenth of the cases")?;
    let late = of(9).context("nothing was heard of the last tenth of the cases")?;
    let name = format!(
        "full exploration of the canary, {} cases, nothing broken",
        explored.findings.played
    );
    Ok(vec![
        Row::new(name, explored.took.to_std().as_secs_f64(), "s").wanted(Target::AtMost(300.0)),
        Row::new("resident memory in its last tenth, at most", late, "MB")
            .beside("in its second tenth", soon)
            .wanted(Target::AtMost(1.2)),
    ])
}

fn now_resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
