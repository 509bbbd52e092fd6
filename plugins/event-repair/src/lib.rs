//! Action `event-repair`: a Deployment has no pods while a Job runs, and gets its own number back after it.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Problem, Result, clock, kubernetes, log};
use phasegate_plugins_shared::job::{JobRun, JobSpec, named, stop, works};
use phasegate_plugins_shared::{Autoscaler, Deployment, not_released, token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Says on the Deployment that it is kept without pods, for which Job, and which generation of it that is. It comes
/// and goes in the writes that set the number, so that it is there exactly as long as the number isn't its own.
const MARK: &str = "event-repair.phasegate.dev/job";
/// How soon pods are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The longest time between looks at the Job: somebody may scale the Deployment up meanwhile.
const LOOK_LAST: Duration = Duration::from_secs(10);

/// Whose pods go, and what runs meanwhile.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventRepair {
    /// The Deployment that has no pods meanwhile: one beside those that are released.
    deployment: String,
    /// What runs while there are none.
    job: JobSpec,
}

/// How many pods it had, and the Job.
#[derive(Serialize, Deserialize)]
struct Token {
    before: u32,
    job: String,
    /// When it was prepared, in milliseconds since 1970.
    prepared: u64,
}

/// Who keeps the Deployment without pods.
#[derive(Debug, PartialEq)]
enum Held {
    /// Nobody.
    Free,
    /// This repair, and nobody has changed what it wants since.
    AtZero,
    /// This repair, and somebody has.
    Disturbed,
    /// Another repair, maybe of another run.
    Other(String),
}

impl Held {
    fn of(found: &Deployment, job: &str) -> Self {
        let Some(mark) = found.mark(MARK) else {
            return Self::Free;
        };
        let (generation, holder) = mark.split_once(' ').unwrap_or(("", mark));
        if holder != job {
            return Self::Other(holder.to_owned());
        }
        // One that was scaled up and down between two looks wants none either: its generation tells.
        match found.wanted() == 0 && generation.parse() == Ok(found.generation()) {
            true => Self::AtZero,
            false => Self::Disturbed,
        }
    }
}

impl EventRepair {
    fn look(&self, call: &Call) -> Result<Deployment> {
        Deployment::named(call, &self.deployment)
    }

    fn write(&self, call: &Call, found: &Deployment, replicas: u32, mark: &Value) -> Result<()> {
        let metadata = json!({"annotations": {MARK: mark}});
        let change = json!({"metadata": metadata, "spec": {"replicas": replicas}});
        let change = kubernetes::over(change, found.version());
        Deployment::patch(call, &self.deployment, &change)
    }

    /// Takes the pods away, if the number is as it was found, and says so on the Deployment.
    fn begin(&self, call: &Call, found: &Deployment, token: &Token) -> Result<()> {
        let (now, before) = (found.wanted(), token.before);
        if now != before {
            return Err(Error::permanent(format!(
                "Deployment {} wants {now} pods, not {before}: somebody else scaled it; nothing was changed",
                self.deployment
            )));
        }
        // The API server counts this write, also where only the annotation changes.
        let generation = found.generation() + 1;
        let mark = format!("{generation} {}", token.job);
        self.write(call, found, 0, &json!(mark))
    }

    /// Gives the Deployment its number back. Somebody else's number stays, and people are told.
    fn give_back(&self, call: &Call, found: &Deployment, before: u32) -> Result<()> {
        let now = found.wanted();
        if now == 0 || now == before {
            return self.write(call, found, before, &Value::Null);
        }
        self.write(call, found, now, &Value::Null)?;
        Err(Error::permanent(format!(
            "somebody else scaled Deployment {} to {now} pods, where it had {before}: it is left so",
            self.deployment
        )))
    }

    /// Stops the Job, and gives the number back once no pod of it works any more.
    fn back(&self, call: &Call, token: &Token) -> Result<()> {
        let job = &token.job;
        match JobRun::look(call, job)? {
            // One change at a time, so that whoever asks again finds out how far it came.
            JobRun::Going(_) => {
                stop(call, job)?;
                return Err(Error::Pending(LOOK_AGAIN));
            }
            // One that somebody deleted may have a pod that still works.
            _ if works(call, job)? => return Err(Error::Pending(LOOK_AGAIN)),
            _ => {}
        }
        let found = self.look(call)?;
        match Held::of(&found, job) {
            Held::Free | Held::Other(_) => Ok(()),
            Held::AtZero | Held::Disturbed => self.give_back(call, &found, token.before),
        }
    }

    /// The Deployment was to have no pods all the time, and nobody can tell whether it had: the repair is given up.
    fn give_up(&self, call: &Call, token: &Token, run: &JobRun) -> Error {
        let job = &token.job;
        // Stopped first, even one that has just ended: whoever asks later is told so by the Job.
        if *run == JobRun::Complete {
            return match stop(call, job) {
                Ok(()) => Error::Pending(LOOK_AGAIN),
                Err(error) => error,
            };
        }
        let name = &self.deployment;
        let why = format!(
            "somebody else changed Deployment {name} or stopped Job {job}, while it was to run without pods; the repair is given up"
        );
        match self.back(call, token) {
            Ok(()) => Error::permanent(why),
            Err(Error::Permanent(more)) => Error::permanent(format!("{why}: {more}")),
            Err(later) => later,
        }
    }
}

impl Action for EventRepair {
    const NAME: &'static str = "event-repair";
    const SUMMARY: &'static str =
        "a Deployment has no pods while a Job runs, and gets its own number back after it";

    fn validate(&self) -> Vec<Problem> {
        self.job.problems("/job")
    }

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        let name = &self.deployment;
        not_released(call, name)?;
        let (found, job) = (self.look(call)?, named(call));
        if found.mark(MARK).is_some() {
            return Err(Error::permanent(format!(
                "Deployment {name} is kept without pods by another repair, says its annotation {MARK}"
            )));
        }
        // With a minimum above 0 an autoscaler is off where there are no pods, and comes back with them.
        if let Some(hpa) = Autoscaler::of(call, name)?.filter(|hpa| hpa.bounds().minimum == 0) {
            return Err(Error::permanent(format!(
                "autoscaler {} may give Deployment {name} pods at any time, as its minimum is 0; give it a minimum of 1",
                hpa.name()
            )));
        }
        let before = found.wanted();
        let summary = format!(
            "will keep Deployment {name} without pods while Job {job} runs, and give it back its {before}; what the Job does can't be undone"
        );
        let prepared = clock::now_ms();
        let token = Token {
            before,
            job,
            prepared,
        };
        Ok(Preparation::new(summary, &json!(token)).reversible())
    }

    fn run(&self, call: &Call, given: &Value) -> Result<Outcome> {
        let token: Token = token(given)?;
        let (name, job) = (&self.deployment, &token.job);
        let run = JobRun::look(call, job)?;
        let found = self.look(call)?;
        match (Held::of(&found, job), run) {
            (Held::Other(holder), _) => Err(Error::permanent(format!(
                "Deployment {name} is kept without pods for {holder}; nothing was changed"
            ))),
            (Held::Disturbed, run) => Err(self.give_up(call, &token, &run)),
            (_, run @ JobRun::Stopped) | (Held::Free, run @ JobRun::Going(_)) => {
                Err(self.give_up(call, &token, &run))
            }
            (Held::Free, JobRun::Absent) if self.job.may_have_gone(token.prepared) => {
                Err(self.job.gone(job))
            }
            (Held::Free, JobRun::Absent) => {
                self.begin(call, &found, &token)?;
                Err(Error::Pending(LOOK_AGAIN))
            }
            (Held::Free, JobRun::Complete) if found.settled() => {
                let pods = found.pods();
                let told =
                    format!("Job {job} is complete, and Deployment {name} has its {pods} pods");
                let outputs = json!({"deployment": name, "pods": pods, "job": job});
                Ok(Outcome::new(told).outputs(&outputs))
            }
            (Held::Free, JobRun::Complete) => Err(Error::Pending(LOOK_AGAIN)),
            (Held::AtZero, JobRun::Absent) if self.job.may_have_gone(token.prepared) => {
                // One that somebody deleted may have a pod that still works.
                if works(call, job)? {
                    return Err(Error::Pending(LOOK_AGAIN));
                }
                self.give_back(call, &found, token.before)?;
                Err(Error::Pending(LOOK_AGAIN))
            }
            (Held::AtZero, JobRun::Absent) => {
                if !found.has_pods(call)? && !works(call, job)? {
                    self.job.start(call, job)?;
                }
                Err(Error::Pending(LOOK_AGAIN))
            }
            (Held::AtZero, JobRun::Going(again)) => Err(Error::Pending(again.min(LOOK_LAST))),
            (Held::AtZero, JobRun::Complete) => {
                self.give_back(call, &found, token.before)?;
                Err(Error::Pending(LOOK_AGAIN))
            }
            (held, JobRun::Failed(reason)) => {
                if held == Held::AtZero {
                    if works(call, job)? {
                        return Err(Error::Pending(LOOK_AGAIN));
                    }
                    self.give_back(call, &found, token.before)?;
                }
                Err(Error::permanent(format!(
                    "Job {job} failed: {reason}; it is kept with the log of its pod, and Deployment {name} has its number back"
                )))
            }
        }
    }

    fn probe(&self, call: &Call, given: &Value) -> Result<Progress> {
        let token: Token = token(given)?;
        let run = JobRun::look(call, &token.job)?;
        let found = self.look(call)?;
        Ok(match (Held::of(&found, &token.job), run) {
            (Held::Free, JobRun::Absent) if !self.job.may_have_gone(token.prepared) => {
                Progress::NotDone
            }
            (Held::Free, JobRun::Complete) if found.settled() => Progress::Done,
            // Whoever asks `run` again is told how far it is, or why it failed.
            _ => Progress::Running,
        })
    }

    fn undo(&self, call: &Call, given: &Value) -> Result<()> {
        let token: Token = token(given)?;
        self.back(call, &token)?;
        if JobRun::look(call, &token.job)? != JobRun::Absent {
            log::warn(format!("what Job {} did stays as it is", token.job));
        }
        Ok(())
    }

    /// The pods come back here too: past the point of no return nothing is undone after it.
    fn cancel(&self, call: &Call, given: &Value) -> Result<()> {
        self.back(call, &token(given)?)
    }
}

phasegate_plugin::export! {
    name: "event-repair",
    summary: "Keeps a Deployment without pods while a Job runs, and gives them back",
    actions: [EventRepair],
    asks: [
        Ask::Kubernetes { group: "apps", kind: "Deployment", verbs: &["get", "patch"] },
        Ask::Kubernetes { group: "autoscaling", kind: "HorizontalPodAutoscaler", verbs: &["find"] },
        Ask::Kubernetes { group: "batch", kind: "Job", verbs: &["get", "apply", "patch"] },
        Ask::Kubernetes { group: "", kind: "Pod", verbs: &["find"] },
    ],
}

#[cfg(test)]
mod tests;
