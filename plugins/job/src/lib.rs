//! Action `job`: a Job runs once, and the release waits for its end.

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Problem, Result, clock};
use phasegate_plugins_shared::job::{JobRun, JobSpec, named, stop};
use phasegate_plugins_shared::token;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How soon the Job is looked at that was just made.
const LOOK_FIRST: Duration = Duration::from_secs(2);

/// What runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Job(JobSpec);

#[derive(Serialize, Deserialize)]
struct Token {
    job: String,
    /// When it was prepared, in milliseconds since 1970.
    prepared: u64,
}

impl Action for Job {
    const NAME: &'static str = "job";
    const SUMMARY: &'static str = "a Job runs once, and its end is awaited";

    fn validate(&self) -> Vec<Problem> {
        self.0.problems("")
    }

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        let job = named(call);
        let summary = format!("will run Job {job}");
        let prepared = clock::now_ms();
        Ok(Preparation::new(summary, &json!(Token { job, prepared })))
    }

    fn run(&self, call: &Call, given: &Value) -> Result<Outcome> {
        let Token { job, prepared } = token(given)?;
        match JobRun::look(call, &job)? {
            JobRun::Absent if self.0.may_have_gone(prepared) => Err(self.0.gone(&job)),
            JobRun::Absent => {
                self.0.start(call, &job)?;
                Err(Error::Pending(LOOK_FIRST))
            }
            // Whoever stopped it may let it go on, within the time of the step.
            JobRun::Stopped => Err(Error::Pending(LOOK_FIRST)),
            JobRun::Going(again) => Err(Error::Pending(again)),
            JobRun::Complete => {
                Ok(Outcome::new(format!("Job {job} is complete")).outputs(&json!({"job": job})))
            }
            JobRun::Failed(reason) => Err(Error::permanent(format!(
                "Job {job} failed: {reason}; it is kept with the log of its pod"
            ))),
        }
    }

    fn probe(&self, call: &Call, given: &Value) -> Result<Progress> {
        let Token { job, prepared } = token(given)?;
        Ok(match JobRun::look(call, &job)? {
            JobRun::Absent if !self.0.may_have_gone(prepared) => Progress::NotDone,
            // Whoever asks `run` again is told how it ended.
            JobRun::Absent | JobRun::Going(_) | JobRun::Stopped | JobRun::Failed(_) => {
                Progress::Running
            }
            JobRun::Complete => Progress::Done,
        })
    }

    /// One that has ended is kept, for its log.
    fn cancel(&self, call: &Call, given: &Value) -> Result<()> {
        let job = token::<Token>(given)?.job;
        if !matches!(JobRun::look(call, &job)?, JobRun::Going(_)) {
            return Ok(());
        }
        stop(call, &job)
    }
}

phasegate_plugin::export! {
    name: "job",
    summary: "Runs a Job and waits for its end",
    actions: [Job],
    asks: [Ask::Kubernetes { group: "batch", kind: "Job", verbs: &["get", "apply", "patch"] }],
}

#[cfg(test)]
mod tests;
