//! An exploration put together: the cases of a release in its scenario, played on a few threads and folded
//! into what was found, in the order of the cases.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use phasegate_core::diagnostic::Diagnostic;
use phasegate_core::time::{Span, Timestamp};
use phasegate_host::Workshop;
use phasegate_rehearsal::explore::{self, Case, Findings};
use phasegate_rehearsal::rehearse::Rehearsal;
use phasegate_rehearsal::trouble::{Fault, Seen, Trouble};
use phasegate_runtime::planner;
use phasegate_runtime::ports::Clock;
use phasegate_world::clock::SystemClock;

use crate::rehearsal::{self, Between, Inputs, Remake};

/// Most rehearsals at a time: each has a cluster in memory.
const MAX_THREADS: usize = 2;
/// Rehearsals that may wait to be folded.
const QUEUE: usize = 64;
/// How often it is said how far the exploration is.
const TELL_EVERY: Span = Span::from_secs(2);

/// How an exploration is to go.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// At most so many cases.
    pub limit: usize,
    /// Whether soaks last as long as is planned. Else they are shortened, where a rehearsal passes the same then.
    pub full_soaks: bool,
    /// What is made of the engine before, to see that its faults are found.
    pub remake: Option<Remake<'a>>,
}

/// How far an exploration is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Cases that were played.
    pub played: usize,
    /// Cases that there are.
    pub cases: usize,
    /// Rehearsals a second.
    pub rate: f64,
    /// Cases among them in which something broke.
    pub broken: usize,
    /// The first of those, and what broke in it.
    pub first: Option<String>,
}

/// What came of an exploration.
#[derive(Debug)]
pub struct Explored {
    /// How the run ends where nothing goes wrong but what the scenario says.
    pub end: String,
    /// What was wrong with that rehearsal: then nothing more was tried.
    pub faults: Vec<String>,
    /// What was found.
    pub findings: Findings,
    /// Cases that there are.
    pub cases: usize,
    /// How often at most each gate was asked in a soak; none: soaks lasted as long as is planned.
    pub soaks: Option<u32>,
    /// Points that were left out, since others like them were tried in the same step.
    pub alike: usize,
    /// Rehearsals that were played, those among them that only look for cases.
    pub rehearsals: usize,
    /// How long it took, by the clock on the wall.
    pub took: Span,
    /// The transcript of the shortest case that broke something, or of the rehearsal that was wrong by itself.
    pub transcript: Option<String>,
}

impl Explored {
    /// Rehearsals a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        per_second(self.rehearsals, self.took)
    }

    /// A rehearsal was played to see what it passes.
    fn saw(&mut self, trouble: &Trouble) -> Vec<Seen> {
        self.rehearsals = self.rehearsals.saturating_add(1);
        let seen = trouble.seen();
        self.findings.saw(&seen);
        seen
    }

    fn distinct<'s>(&mut self, seen: &'s [Seen]) -> Vec<&'s Seen> {
        let distinct = explore::distinct(seen);
        let alike = seen.len().saturating_sub(distinct.len());
        self.alike = self.alike.saturating_add(alike);
        distinct
    }

    /// Cases that the limit left out.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.cases.saturating_sub(self.findings.played)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate for people, of far fewer rehearsals than a float is exact for"
)]
fn per_second(rehearsals: usize, took: Span) -> f64 {
    rehearsals as f64 / took.to_std().as_secs_f64().max(0.001)
}

fn first_of(findings: &Findings) -> Option<String> {
    let first = findings.broken.first()?;
    Some(format!("{}: {}", first.case, first.faults.join("; ")))
}

/// What a case came to.
struct Outcome {
    end: String,
    faults: Vec<String>,
    to_safety: Option<Span>,
}

struct Explorer<'a> {
    workshop: Workshop,
    inputs: &'a Inputs<'a>,
    options: Options<'a>,
    began: Timestamp,
}

/// Tries every point of failure of a release in its scenario. Must not be called from within an async runtime.
///
/// # Errors
/// Where the scenario's cluster can't be made, or this machine can't run plugins.
pub fn explore(
    inputs: &Inputs<'_>,
    options: Options<'_>,
    tell: &mut dyn FnMut(Progress),
) -> Result<Explored, Diagnostic> {
    let workshop =
        Workshop::new().map_err(|fault| planner::diagnostic(&fault, "the host of plugins"))?;
    let explorer = Explorer {
        workshop,
        inputs,
        options,
        began: SystemClock.now(),
    };
    explorer.explore(tell)
}

impl Explorer<'_> {
    fn play(
        &self,
        case: &Case,
        soaks: Option<u32>,
    ) -> Result<(Rehearsal, Arc<Trouble>), Diagnostic> {
        let trouble = Arc::new(Trouble::new(case.0.clone()));
        let between = Between {
            trouble: Some(trouble.clone()),
            remake: self.options.remake,
            soaks,
        };
        let played = rehearsal::play_with(Some(&self.workshop), self.inputs.clone(), between)?;
        Ok((played, trouble))
    }

    fn explore(&self, tell: &mut dyn FnMut(Progress)) -> Result<Explored, Diagnostic> {
        let (undisturbed, trouble) = self.play(&Case(Vec::new()), None)?;
        let mut explored = Explored {
            end: undisturbed.end.clone(),
            faults: undisturbed.faults.clone(),
            findings: Findings::default(),
            cases: 0,
            soaks: None,
            alike: 0,
            rehearsals: 1,
            took: Span::ZERO,
            transcript: None,
        };
        if !explored.faults.is_empty() {
            explored.transcript = Some(undisturbed.story.text());
            return Ok(explored);
        }
        let mut seen = trouble.seen();
        drop(undisturbed);
        if let Some(shorter) = self.with_short_soaks(&explored.end, &seen)? {
            explored.rehearsals = 2;
            explored.soaks = Some(explore::ASKED);
            seen = shorter;
        }
        let soaks = explored.soaks;
        explored.findings.saw(&seen);
        let mut cases = explore::singles(&explored.distinct(&seen));
        let most = self.options.limit.div_ceil(explore::PER_TURN);
        let turns = explore::spread(explore::turns(&seen), most);
        let trouble = |faults: &[Fault]| Ok(self.play(&Case(faults.to_vec()), soaks)?.1);
        self.side_by_side(
            &turns,
            |first| trouble(std::slice::from_ref(first)),
            |first, trouble| {
                let seen = explored.saw(&trouble);
                cases.extend(explore::pairs(first, &explored.distinct(&seen)));
            },
        )?;
        self.side_by_side(
            &explore::lost(&cases),
            |lost| trouble(&lost.0),
            |lost, trouble| {
                let seen = explored.saw(&trouble);
                cases.extend(explore::triples(lost, &explored.distinct(&seen)));
            },
        )?;
        explored.cases = cases.len();
        let cases = explore::limited(cases, self.options.limit.min(explore::MAX_CASES));
        self.play_all(&cases, &mut explored, tell)?;
        explored.took = self.took();
        if let Some(shortest) = &explored.findings.shortest {
            let (again, _) = self.play(&shortest.case, soaks)?;
            explored.transcript = Some(again.story.text());
        }
        Ok(explored)
    }

    /// What an undisturbed rehearsal passes whose soaks are short, where it is the same as what one passes whose
    /// soaks aren't: in each step the same calls and kinds of records, if fewer of them, and the same end.
    fn with_short_soaks(&self, end: &str, seen: &[Seen]) -> Result<Option<Vec<Seen>>, Diagnostic> {
        if self.options.full_soaks {
            return Ok(None);
        }
        let (shorter, trouble) = self.play(&Case(Vec::new()), Some(explore::ASKED))?;
        let shorter_seen = trouble.seen();
        let same = shorter.end == end
            && shorter.faults.is_empty()
            && explore::passed(&shorter_seen) == explore::passed(seen);
        Ok((same && shorter_seen.len() < seen.len()).then_some(shorter_seen))
    }

    fn took(&self) -> Span {
        SystemClock.now().since(self.began)
    }

    fn outcome(
        &self,
        case: &Case,
        soaks: Option<u32>,
        undisturbed: &str,
    ) -> Result<Outcome, Diagnostic> {
        let (played, trouble) = self.play(case, soaks)?;
        Ok(Outcome {
            faults: explore::judge(case, &trouble, &played, undisturbed),
            to_safety: explore::to_safety(&trouble, &played),
            end: played.end,
        })
    }

    /// Plays the cases, and folds what becomes of them.
    fn play_all(
        &self,
        cases: &[Case],
        explored: &mut Explored,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), Diagnostic> {
        let (undisturbed, soaks) = (explored.end.clone(), explored.soaks);
        let mut told = self.began;
        self.side_by_side(
            cases,
            |case| self.outcome(case, soaks, &undisturbed),
            |case, outcome| {
                let Outcome {
                    end,
                    faults,
                    to_safety,
                } = outcome;
                explored.findings.add(case.clone(), &end, faults, to_safety);
                explored.rehearsals = explored.rehearsals.saturating_add(1);
                let now = SystemClock.now();
                if now.since(told) >= TELL_EVERY {
                    told = now;
                    tell(Progress {
                        played: explored.findings.played,
                        cases: cases.len(),
                        rate: per_second(explored.rehearsals, self.took()),
                        broken: explored.findings.broken_cases,
                        first: first_of(&explored.findings),
                    });
                }
            },
        )
    }

    /// Does the work on a few threads, each rehearsal with a runtime of its own, and folds what comes of it in the
    /// order of the work, so that the same seed finds the same.
    fn side_by_side<W: Sync, O: Send>(
        &self,
        work: &[W],
        play: impl Fn(&W) -> Result<O, Diagnostic> + Sync,
        mut fold: impl FnMut(&W, O),
    ) -> Result<(), Diagnostic> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let (next, play) = (&next, &play);
        std::thread::scope(|scope| {
            // Dropped where this closure ends early, so that no thread waits to be heard.
            let (send, receive) = mpsc::sync_channel(QUEUE);
            for _ in 0..cores.min(MAX_THREADS) {
                let send = send.clone();
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(one) = work.get(index) else { return };
                        if send.send((index, play(one))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(send);
            let mut early = BTreeMap::new();
            let mut folded = 0_usize;
            for (index, outcome) in receive {
                early.insert(index, outcome?);
                while let Some(outcome) = early.remove(&folded)
                    && let Some(one) = work.get(folded)
                {
                    fold(one, outcome);
                    folded = folded.saturating_add(1);
                }
            }
            Ok(())
        })
    }
}
