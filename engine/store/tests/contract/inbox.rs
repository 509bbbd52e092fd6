//! The inbox against a reference model: people post, engines take and answer, and processes die in between.

use std::collections::BTreeMap;

use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal};
use phasegate_store::limits::MAX_INBOX_PAGE;
use proptest::prelude::*;

use super::rules::{Place, entry, record};

/// Two runs: what is left for the one is not the other's.
const RUNS: [&str; 2] = ["shop-1", "shop-2"];
/// Processes that have the journal open at the same time.
const PROCESSES: usize = 3;

/// Where an engine dies that takes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    Never,
    /// It has seen the command and recorded nothing.
    BeforeRecord,
    /// The command is recorded and not answered.
    BeforeAnswer,
    /// It has answered, and doesn't know it.
    AfterAnswer,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A person leaves a command.
    Post {
        run: usize,
        process: usize,
        by: String,
        at: u64,
        command: Command,
    },
    /// Somebody looks at what was left after a number.
    Look {
        run: usize,
        process: usize,
        after: u64,
    },
    /// Whoever drives takes what comes next.
    Take {
        run: usize,
        process: usize,
        refused: Option<String>,
        dies: Dies,
    },
    /// A command is answered by its number, whether there is one, and whether that was done before.
    Answer {
        run: usize,
        process: usize,
        id: u64,
        refused: Option<String>,
    },
    /// A person asks what became of a command.
    Ask { run: usize, process: usize, id: u64 },
    /// A process ends and another takes its place.
    Reopen { process: usize },
}

/// What became of a command, as a person is told.
type Answer = Option<Result<(), String>>;

/// A command that was left.
struct Left {
    at: Timestamp,
    by: Identity,
    command: Command,
    answer: Answer,
}

/// What a run's inbox must be.
#[derive(Default)]
struct Model {
    left: Vec<Left>,
    /// Numbers in the order in which they were recorded.
    taken: Vec<u64>,
}

impl Model {
    fn find(&mut self, id: u64) -> Option<&mut Left> {
        let index = usize::try_from(id).unwrap().checked_sub(1)?;
        self.left.get_mut(index)
    }

    /// The first answer is what people were told.
    fn answer(&mut self, id: u64, refused: Option<&str>) -> bool {
        let Some(left) = self.find(id) else {
            return false;
        };
        let answer = refused.map_or(Ok(()), |why| Err(why.to_owned()));
        left.answer.get_or_insert(answer);
        true
    }
}

pub(crate) fn acts() -> impl Strategy<Value = Act> {
    let run = 0..RUNS.len();
    let process = 0..PROCESSES;
    let refused = proptest::option::of("[a-z]{0,8}");
    let commands = prop_oneof![
        Just(Command::Retry),
        proptest::option::of(".{0,12}").prop_map(|reason| Command::Abort { reason }),
        ".{0,12}".prop_map(|reason| Command::HandOver { reason }),
    ];
    let dies = prop_oneof![
        4 => Just(Dies::Never),
        1 => Just(Dies::BeforeRecord),
        2 => Just(Dies::BeforeAnswer),
        1 => Just(Dies::AfterAnswer),
    ];
    let at = 0..(1_u64 << 40);
    prop_oneof![
        4 => (run.clone(), process.clone(), ".{0,8}", at, commands)
            .prop_map(|(run, process, by, at, command)| Act::Post { run, process, by, at, command }),
        2 => (run.clone(), process.clone(), 0_u64..12)
            .prop_map(|(run, process, after)| Act::Look { run, process, after }),
        4 => (run.clone(), process.clone(), refused.clone(), dies)
            .prop_map(|(run, process, refused, dies)| Act::Take { run, process, refused, dies }),
        1 => (run.clone(), process.clone(), 0_u64..12, refused)
            .prop_map(|(run, process, id, refused)| Act::Answer { run, process, id, refused }),
        2 => (run, process.clone(), 0_u64..12).prop_map(|(run, process, id)| Act::Ask { run, process, id }),
        1 => process.prop_map(|process| Act::Reopen { process }),
    ]
}

/// The processes, and what each run's inbox must be.
struct Stage<'a, P: Place> {
    place: &'a P,
    processes: Vec<P::Opened>,
    models: BTreeMap<usize, Model>,
}

impl<'a, P: Place> Stage<'a, P> {
    async fn new(place: &'a P) -> Self {
        let processes: Vec<P::Opened> = (0..PROCESSES).map(|_| place.open()).collect();
        for run in RUNS {
            let first = record(1, "");
            processes[0].create(&entry(run), &first).await.unwrap();
        }
        let models = (0..RUNS.len()).map(|run| (run, Model::default()));
        Self {
            place,
            processes,
            models: models.collect(),
        }
    }

    fn model(&mut self, run: usize) -> &mut Model {
        self.models.get_mut(&run).unwrap()
    }

    async fn play(&mut self, act: &Act) {
        match act {
            Act::Post {
                run,
                process,
                by,
                at,
                command,
            } => {
                let by = Identity {
                    name: by.clone(),
                    verified_by: "test".to_owned(),
                };
                let at = Timestamp::from_millis(*at);
                let posted = self.processes[*process].post(RUNS[*run], at, &by, command);
                let id = posted.await.unwrap();
                let model = self.model(*run);
                let command = command.clone();
                let answer = None;
                model.left.push(Left {
                    at,
                    by,
                    command,
                    answer,
                });
                assert_eq!(id, model.left.len() as u64);
            }
            Act::Look {
                run,
                process,
                after,
            } => self.look(*run, *process, *after).await,
            Act::Take {
                run,
                process,
                refused,
                dies,
            } => {
                self.take(*run, *process, refused.as_deref(), *dies).await;
            }
            Act::Answer {
                run,
                process,
                id,
                refused,
            } => {
                let answered = self.processes[*process].answer(RUNS[*run], *id, refused.as_deref());
                let answered = answered.await.is_ok();
                assert_eq!(answered, self.model(*run).answer(*id, refused.as_deref()));
            }
            Act::Ask { run, process, id } => {
                let told = self.processes[*process].answered(RUNS[*run], *id).await;
                let wanted = self.model(*run).find(*id).map(|left| left.answer.clone());
                assert_eq!(told.ok(), wanted);
            }
            Act::Reopen { process } => self.processes[*process] = self.place.open(),
        }
    }

    async fn look(&mut self, run: usize, process: usize, after: u64) {
        let seen = self.processes[process]
            .inbox(RUNS[run], after)
            .await
            .unwrap();
        let left = &self.model(run).left;
        let wanted = left.iter().zip(1_u64..).filter(|(_, id)| *id > after);
        let wanted: Vec<_> = wanted.take(MAX_INBOX_PAGE).collect();
        assert_eq!(seen.len(), wanted.len());
        for (seen, (left, id)) in seen.iter().zip(wanted) {
            assert_eq!(
                (seen.id, seen.at, &seen.by, &seen.command),
                (id, left.at, &left.by, &left.command)
            );
        }
    }

    /// What an engine does: it knows from the records what was taken, answers what another left unanswered,
    /// and takes the next one.
    async fn take(&mut self, run: usize, process: usize, refused: Option<&str>, dies: Dies) {
        let engine = &self.processes[process];
        let (records, head) = engine.read(RUNS[run]).await.unwrap();
        let before = taken(&records);
        let last = before.last().copied().unwrap_or(0);
        let mut answers = Vec::new();
        if last > 0 && engine.answered(RUNS[run], last).await.unwrap().is_none() {
            engine.answer(RUNS[run], last, None).await.unwrap();
            answers.push((last, None));
        }
        let next = engine
            .inbox(RUNS[run], last)
            .await
            .unwrap()
            .into_iter()
            .next();
        let mut took = None;
        if let Some(next) = next
            && dies != Dies::BeforeRecord
        {
            let event = Event::Commanded {
                by: next.by,
                command: next.command,
                inbox: Some(next.id),
            };
            let at = Timestamp::from_millis(2);
            let _: Head = engine
                .append(RUNS[run], &head, &[Record { at, event }])
                .await
                .unwrap();
            took = Some(next.id);
            if dies != Dies::BeforeAnswer {
                engine.answer(RUNS[run], next.id, refused).await.unwrap();
                answers.push((next.id, refused));
            }
        }
        let model = self.model(run);
        assert_eq!(before, model.taken);
        for (id, refused) in answers {
            assert!(model.answer(id, refused));
        }
        model.taken.extend(took);
        if dies != Dies::Never {
            self.processes[process] = self.place.open();
        }
    }

    /// Each command was taken once, in the order in which they were left, and is what a person left.
    async fn end(&mut self) {
        let fresh = self.place.open();
        for (run, name) in RUNS.into_iter().enumerate() {
            let (records, _) = fresh.read(name).await.unwrap();
            let count = self.model(run).taken.len() as u64;
            assert_eq!(taken(&records), (1..=count).collect::<Vec<_>>());
            for id in 1..=self.model(run).left.len() as u64 {
                let told = fresh.answered(name, id).await.unwrap();
                assert_eq!(told, self.model(run).find(id).unwrap().answer);
            }
            self.look(run, 0, 0).await;
        }
    }
}

/// The numbers of the commands in a run's records.
fn taken(records: &[Record]) -> Vec<u64> {
    let numbers = records.iter().filter_map(|record| match &record.event {
        Event::Commanded { inbox, .. } => *inbox,
        _ => None,
    });
    numbers.collect()
}

pub(crate) async fn play(place: &impl Place, acts: &[Act]) {
    let mut stage = Stage::new(place).await;
    for act in acts {
        stage.play(act).await;
    }
    stage.end().await;
}
