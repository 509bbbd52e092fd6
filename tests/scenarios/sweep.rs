//! The engine dies at every record, and between every write and its outcome; another takes over.

use phasegate_core::time::Span;
use phasegate_rehearsal::misfortune;
use phasegate_rehearsal::observer;
use phasegate_rehearsal::rehearse::Rehearsal;
use phasegate_rehearsal::scenario::Death;
use phasegate_rehearsal::scenario::acts::{DeathPoint, Way};

use super::harness::Case;

/// How long nobody drives.
const AWAY: Span = Span::from_secs(20);

fn with_deaths(case: &Case, points: &[DeathPoint]) -> Rehearsal {
    let mut scenario = case.scenario.clone();
    // Whoever listens to an engine doesn't hear the record that it dies with; the journal has it.
    scenario.expect.story.clear();
    scenario.deaths = points
        .iter()
        .map(|point| Death {
            point: point.clone(),
            resume_after: AWAY,
        })
        .collect();
    case.play_as(&scenario, scenario.seed)
}

fn resumed(rehearsal: &Rehearsal) -> usize {
    let text = rehearsal.story.text();
    text.matches("stage: the engine dies").count()
}

/// An engine that dies once ends where an undisturbed one does, with the same writes.
pub(crate) fn at_every_record(case: &Case) -> Vec<String> {
    let undisturbed = case.play(case.scenario.seed);
    let records = u64::try_from(undisturbed.records.len()).unwrap();
    assert!(records < misfortune::MAX_RECORDS);
    let wanted = observer::changes_by_kind(&undisturbed.requests);
    let mut wrong = Vec::new();
    for record in 1..records {
        let played = with_deaths(case, &[DeathPoint::AfterRecord(record)]);
        let mut fault =
            |what: String| wrong.push(format!("{} dies after record {record}: {what}", case.name));
        if resumed(&played) != 1 {
            fault("it did not die".to_owned());
        }
        if played.end != undisturbed.end {
            fault(format!("it ends {}", played.end));
        }
        let found = observer::changes_by_kind(&played.requests);
        if found != wanted {
            fault(format!("it changes {found:?}, not {wanted:?}"));
        }
        for problem in &played.faults {
            fault(problem.clone());
        }
    }
    wrong
}

/// The same between a write and its outcome, in both directions; and once more in what follows.
pub(crate) fn at_every_write(case: &Case) -> Vec<String> {
    let undisturbed = case.play(case.scenario.seed);
    let writes = |back: bool| {
        observer::changes(&undisturbed.requests)
            .filter(|request| {
                observer::effect_key(request).is_some_and(|key| key.contains("/rollback/") == back)
            })
            .count()
    };
    let points: Vec<DeathPoint> = [(Way::Forward, writes(false)), (Way::Back, writes(true))]
        .into_iter()
        .flat_map(|(direction, count)| {
            (1..=count).map(move |nth| DeathPoint::AfterWrite {
                direction,
                nth: u32::try_from(nth).unwrap(),
            })
        })
        .collect();
    assert!(points.len() >= 4, "{}: {points:?}", case.name);
    let wanted = observer::changes_by_kind(&undisturbed.requests);
    let mut wrong = Vec::new();
    for (index, first) in points.iter().enumerate() {
        let alone = std::iter::once(vec![first.clone()]);
        let pairs = points
            .iter()
            .skip(index + 1)
            .map(|second| vec![first.clone(), second.clone()]);
        for deaths in alone.chain(pairs) {
            let played = with_deaths(case, &deaths);
            let mut fault =
                |what: String| wrong.push(format!("{} dies at {deaths:?}: {what}", case.name));
            if resumed(&played) != deaths.len() {
                fault(format!("it died {} times", resumed(&played)));
            }
            if played.end != undisturbed.end {
                fault(format!("it ends {}", played.end));
            }
            let found = observer::changes_by_kind(&played.requests);
            if found != wanted {
                fault(format!("it changes {found:?}, not {wanted:?}"));
            }
            for problem in &played.faults {
                fault(problem.clone());
            }
        }
    }
    wrong
}
