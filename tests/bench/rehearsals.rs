//! Whole rehearsals of a release: parse nothing, but plan, run and judge, in virtual time.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use phasegate_cli::builtin;
use phasegate_cli::compose::Invented;
use phasegate_cli::plugins;
use phasegate_cli::rehearsal::{Between, Inputs, play_with};
use phasegate_core::spec::policy::Policy;
use phasegate_core::spec::release::{self, Loaded, Overrides};
use phasegate_host::Workshop;
use phasegate_rehearsal::scenario::{self, Scenario};

use crate::row::{Row, Target};
use crate::statistics::median;

const RELEASE: &str = include_str!("rolling.yaml");
const SCENARIO: &str = include_str!("world.yaml");
/// Rehearsals are counted over rounds this long, of which the median is told.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 11;

/// The world in which they take place.
pub(crate) fn scenario() -> anyhow::Result<Scenario> {
    let loaded = scenario::load("world.yaml", SCENARIO.as_bytes()).map_err(|e| anyhow!("{e}"))?;
    Ok(loaded.scenario)
}

/// A rolling release in a small world.
pub(crate) fn rolling() -> anyhow::Result<Vec<Row>> {
    let loaded = load("rolling.yaml", RELEASE.as_bytes())?;
    measure(&loaded, &scenario()?, None, "rolling releases")
}

/// The example's canary by weight: four weights, five gates, ninety minutes of soaks; and the same with soaks in which
/// each gate is asked once or twice.
pub(crate) fn canary() -> anyhow::Result<Vec<Row>> {
    let (loaded, scenario) = canary_files()?;
    let short = "canaries, 4 weights, 5 gates, soaks of a minute,";
    let mut rows = measure(&loaded, &scenario, Some(1), short)?;
    let long = "canaries, 4 weights, 5 gates, ninety minutes of soaks,";
    rows.extend(measure(&loaded, &scenario, None, long)?);
    Ok(rows)
}

/// That example, and its scenario.
pub(crate) fn canary_files() -> anyhow::Result<(Loaded, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/payments-canary");
    let loaded = load("release.yaml", &fs::read(folder.join("release.yaml"))?)?;
    let world = fs::read(folder.join("scenario.yaml"))?;
    let world = scenario::load("scenario.yaml", &world).map_err(|e| anyhow!("{e}"))?;
    Ok((loaded, world.scenario))
}

fn load(name: &str, bytes: &[u8]) -> anyhow::Result<Loaded> {
    let overrides = Overrides::default();
    release::load(name, bytes, &overrides, &builtin::NAMES).map_err(|e| anyhow!("{e}"))
}

fn measure(
    loaded: &Loaded,
    scenario: &Scenario,
    soaks: Option<u32>,
    what: &str,
) -> anyhow::Result<Vec<Row>> {
    let components = plugins::of_release(loaded, ".".as_ref()).map_err(|e| anyhow!("{e}"))?;
    let workshop = Workshop::new().map_err(|e| anyhow!("{e}"))?;
    let policy = Policy::default();
    let mut seed = 0;
    let mut once = || {
        seed += 1;
        let between = Between {
            soaks,
            ..Between::default()
        };
        let rehearsal = play_with(
            Some(&workshop),
            Inputs {
                loaded,
                policy: &policy,
                scenario,
                components: components.clone(),
                credentials: Arc::new(Invented),
                cache: None,
                seed,
            },
            between,
        )
        .map_err(|e| anyhow!("{e}"))?;
        let (end, faults) = (&rehearsal.end, &rehearsal.faults);
        ensure!(
            end == "succeeded",
            "seed {seed}: {end}, {}",
            rehearsal.story.text()
        );
        ensure!(faults.is_empty(), "seed {seed}: {faults:?}");
        Ok(rehearsal.records.len())
    };
    // Loads the plugins.
    let records = once()?;
    let (mut of_core, mut of_wall) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (start, computed, mut played) = (Instant::now(), computed()?, 0_u32);
        while start.elapsed() < ROUND {
            once()?;
            played += 1;
        }
        of_core.push(f64::from(played) / self::computed()?.saturating_sub(computed).as_secs_f64());
        of_wall.push(f64::from(played) / start.elapsed().as_secs_f64());
    }
    let name = format!("rehearsed {what} on one core, {records} records each");
    Ok(vec![
        Row::new(name, median(&of_core), "/s").wanted(Target::AtLeast(100.0)),
        Row::new("the same by the clock on the wall", median(&of_wall), "/s"),
    ])
}

/// How long this thread had a core. A rehearsal waits for nothing, and on a shared machine the clock
/// on the wall counts what others do.
fn computed() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text
        .split_whitespace()
        .next()
        .context("an empty schedstat")?;
    Ok(Duration::from_nanos(first.parse()?))
}
