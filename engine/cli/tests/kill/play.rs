//! Playing a case: the engine is killed at each hold, and resumed; and what is counted over all cases.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use phasegate_rehearsal::observer;

use super::cases::{Case, Shape};
use super::lab::{End, Lab};

/// After so long an engine hangs; far above what the slowest machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The kills of a suite.
#[derive(Default)]
pub(crate) struct Tally {
    kills: AtomicUsize,
    between: AtomicUsize,
    in_rollback: AtomicUsize,
    in_resumed_rollback: AtomicUsize,
}

/// As many kills of each sort.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kills {
    pub(crate) all: usize,
    /// Between a write and its outcome.
    pub(crate) between: usize,
    pub(crate) in_rollback: usize,
    /// In the rollback of a run that was resumed before.
    pub(crate) in_resumed_rollback: usize,
}

impl Tally {
    fn kills(&self) -> Kills {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        Kills {
            all: count(&self.kills),
            between: count(&self.between),
            in_rollback: count(&self.in_rollback),
            in_resumed_rollback: count(&self.in_resumed_rollback),
        }
    }
}

/// Plays the cases, two at a time. Each must end as its shape does undisturbed, and there must be so many kills.
pub(crate) fn all(cases: &[Case], least: Kills) {
    let tally = Tally::default();
    let mut undisturbed: Vec<(Shape, End)> = Vec::new();
    for case in cases {
        if undisturbed.iter().any(|(shape, _)| *shape == case.shape) {
            continue;
        }
        let shape = case.shape;
        let end = play(&Case::calm(shape), &Tally::default());
        assert_eq!(end.exit, Some(i32::from(shape.fails)), "{shape:?}");
        assert!(!end.claimed, "{shape:?}");
        undisturbed.push((shape, end));
    }
    let next = Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else {
                        return;
                    };
                    let end = play(case, &tally);
                    let calm = undisturbed.iter().find(|(shape, _)| *shape == case.shape);
                    assert_eq!(Some(&end), calm.map(|(_, end)| end), "{case:?}");
                }
            });
        }
    });
    let kills = tally.kills();
    println!("{kills:?}");
    assert!(kills.all >= least.all, "{kills:?}");
    assert!(kills.between >= least.between, "{kills:?}");
    assert!(kills.in_rollback >= least.in_rollback, "{kills:?}");
    assert!(
        kills.in_resumed_rollback >= least.in_resumed_rollback,
        "{kills:?}"
    );
}

/// Plays a case to its end: the engine is killed at each hold, and resumed.
fn play(case: &Case, tally: &Tally) -> End {
    let lab = Lab::new(case);
    let mut killed = 0;
    let mut killed_forward = false;
    for attempt in 0.. {
        let began = Instant::now();
        assert!(
            attempt <= case.holds.len() + 1,
            "{case:?}: resumed too often\n{}",
            lab.stderr()
        );
        let mut engine = lab.spawn(attempt == 0);
        let lines = Arc::new(AtomicUsize::new(0));
        let reader = count_lines(&mut engine, lines.clone());
        let exit = loop {
            assert!(
                began.elapsed() < PATIENCE,
                "{case:?} hangs\n{}",
                lab.stderr()
            );
            if let Some(status) = engine.try_wait().unwrap() {
                break Some(status);
            }
            let held = lab.held() > killed;
            let by_lines = attempt == 0
                && case
                    .after_lines
                    .is_some_and(|after| lines.load(Ordering::SeqCst) >= after);
            if held || by_lines {
                engine.kill().unwrap();
                engine.wait().unwrap();
                tally.kills.fetch_add(1, Ordering::SeqCst);
                if held {
                    killed += 1;
                    note_hold(case, &lab, tally, killed_forward);
                    killed_forward |= !held_write_is_back(case.shape, &lab);
                }
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        reader.join().unwrap();
        let Some(status) = exit else { continue };
        // An engine that was to be killed by its lines may be quicker than the test.
        assert_eq!(
            killed,
            case.holds.len(),
            "{case:?}: not every hold was met\n{}",
            lab.stderr()
        );
        let faults =
            observer::against_journal(&lab.requests(), &lab.records(), &observer::Order::new());
        assert!(faults.is_empty(), "{case:?}: {faults:#?}\n{}", lab.stderr());
        return lab.end(status.code());
    }
    unreachable!("the loop ends by a return or a failed assertion")
}

fn count_lines(engine: &mut Child, lines: Arc<AtomicUsize>) -> JoinHandle<()> {
    let stdout = engine.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if line.is_err() {
                return;
            }
            lines.fetch_add(1, Ordering::SeqCst);
        }
    })
}

/// Whether the write that was held last belongs to the way back.
fn held_write_is_back(shape: Shape, lab: &Lab) -> bool {
    let requests = lab.requests();
    let held = requests
        .iter()
        .rev()
        .find(|request| request.injected && request.status.is_none());
    shape.fails
        && held
            .and_then(observer::effect_key)
            .is_some_and(|key| key.contains("/rollback/"))
}

fn note_hold(case: &Case, lab: &Lab, tally: &Tally, resumed_before: bool) {
    tally.between.fetch_add(1, Ordering::SeqCst);
    if held_write_is_back(case.shape, lab) {
        tally.in_rollback.fetch_add(1, Ordering::SeqCst);
        // With the second held write the run was resumed at least once.
        if resumed_before || lab.held() > 1 {
            tally.in_resumed_rollback.fetch_add(1, Ordering::SeqCst);
        }
    }
}
