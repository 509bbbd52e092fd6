//! Playing a rehearsal: the same engine and the same plugins, in a simulated world, with people who act
//! and misfortune that strikes as the scenario says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phasegate_core::diagnostic::Diagnostics;
use phasegate_core::event::{Identity, Record};
use phasegate_core::plan::Plan;
use phasegate_core::run::{Run, State};
use phasegate_core::spec::policy::Policy;
use phasegate_core::spec::release::{self, Loaded};
use phasegate_core::time::{Span, Timestamp};
use phasegate_runtime::engine::{Engine, Error, GIVE_BACK, Left, Observer, Options};
use phasegate_runtime::perform::World;
use phasegate_runtime::planner;
use phasegate_runtime::ports::Journal;
use tokio::sync::{Notify, mpsc};

use crate::cluster::{Kind, LoggedRequest, Picture, Stream};
use crate::explore;
use crate::misfortune::{Fate, FatedCluster, FatedJournal, FaultyPlugins, MAX_RECORDS};
use crate::network::Network;
use crate::observer::{self, Evidence, Order, Snapshot};
use crate::scenario::Scenario;
use crate::scenario::acts::{Act, DeathPoint};
use crate::server::SharedCluster;
use crate::story::{Source, Story};
use crate::trouble::Trouble;
use crate::troubled::troubled;
use crate::web::Exchange;
use crate::witness::Witness;

mod people;
mod rescue;

use people::deed_in_words;
use rescue::{DECIDED, RESUMED, abort};

/// The run's id in a rehearsal.
pub const RUN: &str = "rehearsal";
/// How long the observer stays when the run is over: what it has set going comes to rest in that time.
const STAYS: Span = Span::from_mins(1);
/// How often an engine may be started in one rehearsal.
const MAX_LIVES: u32 = 1_000;

/// Everything that a rehearsal is played with.
pub struct Stage<'a> {
    /// The release.
    pub loaded: &'a Loaded,
    /// The policy.
    pub policy: &'a Policy,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The cluster, at the beginning of the scenario.
    pub cluster: SharedCluster,
    /// The network around it.
    pub network: Network,
    /// The engine, on that cluster and network.
    pub engine: Engine,
    /// Another, empty journal, for a second run that somebody begins elsewhere.
    pub elsewhere: Arc<dyn Journal>,
    /// What goes wrong at the ports, where that is explored.
    pub trouble: Option<Arc<Trouble>>,
    /// How often at most each gate is asked in a soak; none: soaks last as long as is planned.
    pub soaks: Option<u32>,
}

impl Stage<'_> {
    /// The workload that a rehearsal is told by, where a release has several.
    fn first_workload(&self) -> Option<&release::Workload> {
        let workloads = self.loaded.release.workloads();
        workloads.first().map(|(_, workload)| *workload)
    }
}

/// What became of a rehearsal.
#[derive(Debug)]
pub struct Rehearsal {
    /// The story.
    pub story: Story,
    /// How the run ended: an [`End`](phasegate_core::run::End) in a word, `interrupted`, or `not-started`.
    pub end: String,
    /// What was not as it must be; empty for a good rehearsal.
    pub faults: Vec<String>,
    /// The run, where it came to be.
    pub run: Option<Run>,
    /// Its records.
    pub records: Vec<Record>,
    /// What the cluster was asked.
    pub requests: Vec<LoggedRequest>,
    /// What the network carried.
    pub exchanges: Vec<Exchange>,
    /// What became of the requests of the scenario's traffic.
    pub traffic: Vec<Stream>,
    /// The fewest ready endpoints of the workload's Service at any time, where it has one.
    pub fewest_ready: Option<usize>,
    /// Why there was no plan.
    pub refused: Option<Diagnostics>,
    /// The plan, where the scenario asks for no more than that.
    pub planned: Option<Box<Plan>>,
}

struct Desk {
    story: Story,
    /// Acts whose time is known.
    due: Vec<(Timestamp, Act)>,
    /// Acts that wait for a line.
    waiting: Vec<Act>,
    /// The run as the last engine left it, where one did.
    run: Option<Run>,
    /// The number of the last record that was told.
    told: u64,
    /// Commands that were left while nobody drove: their numbers, and who gave which.
    left: Vec<(u64, String)>,
    witness: Witness,
    cluster: SharedCluster,
}

impl Desk {
    /// What the cluster showed up to now comes before whatever is told next.
    fn look(&mut self) {
        let lines = self.cluster.with(|cluster| self.witness.look(cluster));
        self.story.add(lines);
    }
}

type SharedDesk = Arc<Mutex<Desk>>;

fn lock(desk: &SharedDesk) -> MutexGuard<'_, Desk> {
    // A holder that panicked left whole lines behind.
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Teller {
    desk: SharedDesk,
    news: Arc<Notify>,
    trouble: Option<Arc<Trouble>>,
    /// Whether somebody has to decide where trouble looks like the work of others.
    decides: bool,
}

impl Observer for Teller {
    fn recorded(&mut self, seq: u64, record: &Record, run: &Run) {
        let mut desk = lock(&self.desk);
        desk.told = seq;
        desk.look();
        desk.story.record(run);
        let waiting = std::mem::take(&mut desk.waiting);
        for act in waiting {
            let fits = act.when.as_ref().is_some_and(|when| {
                run.said().iter().any(|line| {
                    when.line.as_deref().is_none_or(|kind| kind == line.kind)
                        && when
                            .step
                            .as_deref()
                            .is_none_or(|step| line.step.as_deref() == Some(step))
                        && when
                            .message
                            .as_deref()
                            .is_none_or(|part| line.message.contains(part))
                })
            });
            if fits {
                let at = record.at.plus(act.after);
                desk.due.push((at, act));
            } else {
                desk.waiting.push(act);
            }
        }
        if let Some(trouble) = &self.trouble
            && trouble.recorded(seq, record, run)
        {
            desk.due.push((record.at, abort("it is rehearsed")));
        }
        if self.decides && run.said().iter().any(|line| line.kind == "drift") {
            let at = record.at.plus(DECIDED);
            desk.due
                .push((at, abort("nobody knows who changed the target")));
        }
        drop(desk);
        self.news.notify_one();
    }
}

/// Plays a rehearsal to its end. Must be called where the cluster's clock is the runtime's.
pub async fn play(stage: Stage<'_>) -> Rehearsal {
    let start = stage.scenario.start();
    let mut due = Vec::new();
    let mut waiting = Vec::new();
    for act in &stage.scenario.acts {
        match act.at {
            Some(at) => due.push((start.plus(at), act.clone())),
            None => waiting.push(act.clone()),
        }
    }
    let desk = Arc::new(Mutex::new(Desk {
        story: Story::new(start),
        due,
        waiting,
        run: None,
        told: 0,
        left: Vec::new(),
        witness: Witness::new(&stage.loaded.namespace),
        cluster: stage.cluster.clone(),
    }));
    let player = Player::new(stage, desk);
    player.play().await
}

struct Player<'a> {
    stage: Stage<'a>,
    desk: SharedDesk,
    news: Arc<Notify>,
    fate: Arc<Fate>,
    engine: Engine,
    order: Arc<Mutex<Order>>,
    before: Snapshot,
    scene: Picture,
}

/// What a drive came to.
enum Came {
    Died,
    Left(Left),
    Failed(Error),
}

impl<'a> Player<'a> {
    fn new(stage: Stage<'a>, desk: SharedDesk) -> Self {
        let fate = Arc::new(Fate::new(stage.cluster.clone()));
        let world = &stage.engine.world;
        let journal = stage.engine.journal.clone();
        let journal = FatedJournal::new(journal, fate.clone(), stage.cluster.clone());
        let order = journal.order();
        let engine = Engine {
            world: World {
                cluster: Arc::new(FatedCluster::new(world.cluster.clone(), fate.clone())),
                plugins: Arc::new(
                    FaultyPlugins::new(world.plugins.clone(), &stage.scenario.plugins)
                        .fated(fate.clone()),
                ),
                clock: world.clock.clone(),
            },
            journal: Arc::new(journal),
            leases: stage.engine.leases.clone(),
        };
        let engine = match &stage.trouble {
            Some(trouble) => troubled(&engine, trouble, &fate),
            None => engine,
        };
        let workload = stage.first_workload();
        let deployment = workload.map_or("", |workload| &workload.deployment);
        let service = workload.and_then(|workload| workload.service.as_deref());
        let (before, scene) = stage.cluster.with(|cluster| {
            cluster.record_history();
            let namespace = &stage.loaded.namespace;
            (
                Snapshot::of(cluster, namespace, deployment, service),
                cluster.picture(namespace),
            )
        });
        Self {
            stage,
            desk,
            news: Arc::new(Notify::new()),
            fate,
            engine,
            order,
            before,
            scene,
        }
    }

    fn now(&self) -> Timestamp {
        self.stage.cluster.now()
    }

    fn tell(&self, source: Source, text: impl Into<String>) {
        let now = self.now();
        let mut desk = lock(&self.desk);
        desk.look();
        desk.story.tell(now, source, text);
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.stage.engine.world.clock.sleep_until(at).await;
    }

    async fn play(self) -> Rehearsal {
        let who = self
            .stage
            .scenario
            .started_by
            .clone()
            .unwrap_or_else(|| "operator".to_owned());
        let by = identity(&who);
        let prepared = planner::prepare(
            &self.engine.world,
            self.stage.loaded,
            self.stage.policy,
            "simulated",
            &who,
        )
        .await;
        let plan = match prepared {
            Ok(prepared) => {
                let mut plan = prepared.plan;
                if let Some(times) = self.stage.soaks {
                    plan.shorten_soaks(times);
                }
                plan
            }
            Err(faults) => {
                for fault in faults.iter() {
                    let mut text = format!("refused: [{}] {}", fault.code(), fault.message());
                    let why = fault.causes().iter().map(String::as_str);
                    for part in why.chain(fault.found_text()) {
                        text.push_str(&format!(": {part}"));
                    }
                    self.tell(Source::Stage, text);
                }
                return self.finish(None, Some(faults), None).await;
            }
        };
        if self.stage.scenario.dry_run {
            self.tell(Source::Stage, "planned, and no more");
            let rehearsal = self.finish(None, None, None).await;
            return Rehearsal {
                planned: Some(Box::new(plan)),
                ..rehearsal
            };
        }
        let trouble = self.lives(&plan, &by).await;
        self.finish(Some(plan), None, trouble).await
    }

    /// Starts the run, and an engine anew for each death and for each command that comes when nobody drives.
    async fn lives(&self, plan: &Plan, by: &Identity) -> Option<String> {
        let mut deaths: VecDeque<_> = self.stage.scenario.deaths.iter().cloned().collect();
        let mut first = true;
        let mut left = 0;
        for life in 1..=MAX_LIVES {
            let death = deaths.front().cloned();
            self.fate
                .set(death.as_ref().map(|death| death.point.clone()));
            let came = self
                .drive(
                    plan,
                    by,
                    life,
                    first,
                    death.as_ref().map(|death| &death.point),
                )
                .await;
            first = false;
            let unheard = std::mem::take(&mut lock(&self.desk).left);
            for (id, who) in unheard {
                self.tell_refusal(id, &who).await;
            }
            match came {
                Came::Died if self.fate.exhausted() => {
                    let text = format!("the engine runs in circles: {MAX_RECORDS} records");
                    self.tell(Source::Stage, text.as_str());
                    return Some(text);
                }
                Came::Died => {
                    let troubled = self.trouble().is_some_and(|trouble| trouble.has_killed());
                    let death = if troubled { None } else { deaths.pop_front() };
                    let pause = match &death {
                        _ if troubled => RESUMED,
                        Some(death) => death.resume_after,
                        None => Span::ZERO,
                    };
                    self.tell_the_last().await;
                    self.tell(Source::Stage, "the engine dies");
                    self.nobody_drives(plan, self.now().plus(pause)).await;
                    first = self.stage.engine.journal.read(RUN).await.is_err();
                }
                Came::Failed(error) => {
                    let (what, text) = trouble_in_words(&error);
                    self.tell(Source::Stage, format!("{what}: {text}"));
                    if !self.returns(&mut left).await {
                        return Some(text);
                    }
                    first = self.stage.engine.journal.read(RUN).await.is_err();
                }
                Came::Left(Left::Interrupted) => {
                    if !self.returns(&mut left).await {
                        return None;
                    }
                }
                Came::Left(Left::Resting | Left::Waiting) => {
                    if !self.act_after_the_end(plan).await && !self.rescued(plan).await {
                        return None;
                    }
                }
            }
        }
        Some("too many engines".to_owned())
    }

    /// An engine that died may have written a record without anybody hearing of it.
    async fn tell_the_last(&self) {
        let Ok((records, _)) = self.stage.engine.journal.read(RUN).await else {
            return;
        };
        let mut teller = self.teller();
        let told = lock(&self.desk).told;
        for (seq, record) in (1..).zip(&records) {
            let upto = usize::try_from(seq).unwrap_or(usize::MAX);
            if seq > told
                && let Some(past) = records.get(..upto)
                && let Ok(run) = Run::replay(RUN, past)
            {
                teller.recorded(seq, record, &run);
            }
        }
    }

    async fn drive(
        &self,
        plan: &Plan,
        by: &Identity,
        life: u32,
        first: bool,
        death: Option<&DeathPoint>,
    ) -> Came {
        lock(&self.desk).run = None;
        let (nudge, nudges) = mpsc::channel(16);
        let options = Options {
            engine: format!("engine-{life}"),
            leave_when_waiting: false,
            inbox_poll: Span::from_secs(60),
            give_back: GIVE_BACK,
        };
        let mut teller = self.teller();
        let drive = async {
            if first {
                self.engine
                    .start(RUN, plan.clone(), by, &options, nudges, &mut teller)
                    .await
            } else {
                self.engine.drive(RUN, &options, nudges, &mut teller).await
            }
        };
        let timed = async {
            match death {
                Some(DeathPoint::At(after)) => {
                    self.sleep_until(self.stage.scenario.start().plus(*after))
                        .await
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.fate.died() => Came::Died,
            () = timed => Came::Died,
            () = self.people(plan, &nudge) => Came::Left(Left::Interrupted),
            result = drive => match result {
                Ok((run, left)) => {
                    lock(&self.desk).run = Some(run);
                    Came::Left(left)
                }
                Err(error) => Came::Failed(error),
            },
        }
    }

    async fn finish(
        self,
        plan: Option<Plan>,
        refused: Option<Diagnostics>,
        trouble: Option<String>,
    ) -> Rehearsal {
        if plan.is_some() {
            self.sleep_until(self.now().plus(STAYS)).await;
        }
        let stage = &self.stage;
        let records = stage
            .engine
            .journal
            .read(RUN)
            .await
            .map(|(records, _)| records)
            .unwrap_or_default();
        let workload = stage.first_workload();
        let deployment = workload.map_or("", |workload| &workload.deployment);
        let service = workload.and_then(|workload| workload.service.as_deref());
        let (history, requests, traffic, moves) = stage.cluster.with(|cluster| {
            (
                cluster.history().to_vec(),
                cluster.requests().to_vec(),
                cluster.traffic(),
                cluster.moves().to_vec(),
            )
        });
        let driven = lock(&self.desk).run.take();
        let run = driven.or_else(|| Run::replay(RUN, &records).ok());
        let left = run.as_ref().map_or_else(Vec::new, left);
        let (after, claimed) =
            stage.cluster.with(|cluster| {
                let namespace = &stage.loaded.namespace;
                let workloads = stage.loaded.release.workloads();
                (
                    Snapshot::of(cluster, namespace, deployment, service),
                    workloads.iter().any(|(_, workload)| {
                        let claim = format!("phasegate-claim-{}", workload.deployment);
                        // Another run's claim is not ours to take away.
                        !left.contains(&workload.deployment)
                            && cluster.get(Kind::ConfigMap, namespace, &claim).is_some_and(
                                |claim| claim.pointer("/data/run").is_some_and(|run| run == RUN),
                            )
                    }),
                )
            });
        let exchanges = stage.network.exchanges();
        let (story, undone) = {
            let mut desk = lock(&self.desk);
            let rest = stage.cluster.with(|cluster| desk.witness.close(cluster));
            desk.story.add(rest);
            let undone: Vec<Act> = desk
                .waiting
                .iter()
                .cloned()
                .chain(desk.due.iter().map(|(_, act)| act.clone()))
                .collect();
            (desk.story.clone(), undone)
        };
        let end = match run.as_ref().map(Run::state) {
            None => "not-started".to_owned(),
            Some(State::Ended { end }) => end.to_string().replace(' ', "-"),
            Some(_) => "interrupted".to_owned(),
        };
        let reason = match (&run, &refused, &trouble) {
            (Some(run), _, _) if run.cause().is_some() => run
                .cause()
                .map(|cause| cause.reason.clone())
                .unwrap_or_default(),
            (_, Some(refused), _) => refused.to_string(),
            (_, _, Some(trouble)) => trouble.clone(),
            _ => String::new(),
        };
        let order = self
            .order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let evidence = Evidence {
            history: &history,
            requests: &requests,
            traffic: &traffic,
            scene: &self.scene,
            moves: &moves,
            exchanges: &exchanges,
            records: &records,
            order: &order,
            before: &self.before,
            after: &after,
            claimed,
            service,
            namespace: &stage.loaded.namespace,
            end: &end,
            reason: &reason,
            rollback_ms: run
                .as_ref()
                .and_then(Run::rollback_time)
                .map(Span::as_millis),
            story: &story,
        };
        // What a scenario says beyond this it says of soaks as long as they are planned.
        let mut faults = if self.trouble().is_some() || stage.soaks.is_some() {
            observer::judge(&explore::demands(stage.scenario, &end), &evidence)
        } else {
            observer::judge(&stage.scenario.expect, &evidence)
        };
        // Trouble may leave people without an occasion.
        if plan.is_some() && self.trouble().is_none() {
            faults.extend(undone.iter().map(|act| {
                format!(
                    "never took place: {} by {}",
                    deed_in_words(&act.deed),
                    act.by
                )
            }));
        }
        let fewest_ready = service
            .and_then(|service| observer::fewest_ready(&history, &stage.loaded.namespace, service));
        Rehearsal {
            story,
            end,
            faults,
            run,
            records,
            requests,
            exchanges,
            traffic,
            fewest_ready,
            refused,
            planned: None,
        }
    }
}

/// The workloads of which the run says that it left its claim on them, by the names that claims have.
fn left(run: &Run) -> Vec<String> {
    let places = run.claims_left();
    let workloads = places.filter_map(|place| run.plan().workload(place));
    workloads
        .map(|workload| workload.target.workload.clone())
        .collect()
}

fn identity(name: &str) -> Identity {
    Identity {
        name: name.to_owned(),
        verified_by: "scenario".to_owned(),
    }
}

/// What is told of an engine that doesn't drive, and why it doesn't.
fn trouble_in_words(error: &Error) -> (&'static str, String) {
    match error {
        Error::Window { reason, opens_at } => {
            let opens = opens_at.map(|at| format!("; opens at {at}"));
            let text = format!("{reason}{}", opens.unwrap_or_default());
            ("the run is refused", text)
        }
        Error::Busy { .. } => ("the run is refused", error.to_string()),
        _ => ("the engine can't go on", error.to_string()),
    }
}
