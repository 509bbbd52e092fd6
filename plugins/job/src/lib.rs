//! Action `job`: a Job runs once, and the release waits for its end.

use std::collections::BTreeMap;

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Duration, Error, Problem, Result, kubernetes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How soon the Job is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The longest name that a Job may have, so that its pods can be labelled with it.
const NAME_MOST: usize = 63;

/// What runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// The image; that of the version that is released if it is left out.
    #[serde(default)]
    image: Option<String>,
    /// The program with its arguments; the image's own if it is left out.
    #[serde(default)]
    command: Vec<String>,
    /// Arguments.
    #[serde(default)]
    args: Vec<String>,
    /// Variables with their texts.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Secrets and ConfigMaps by name, of which every key becomes a variable.
    #[serde(default)]
    env_from: EnvFrom,
    /// The account under which its pod runs.
    #[serde(default)]
    service_account: Option<String>,
}

/// From where variables come.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnvFrom {
    /// Secrets. The plugin names them only.
    #[serde(default)]
    secrets: Vec<String>,
    /// ConfigMaps.
    #[serde(default)]
    config_maps: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    job: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// How far a Job is.
enum Run {
    Absent,
    Going,
    Complete,
    Failed(String),
}

impl Job {
    fn manifest(&self, call: &Call, name: &str) -> Result<Value> {
        let image = match &self.image {
            Some(image) => image.clone(),
            None => call.workload()?.image,
        };
        let env = self.env.iter();
        let env = env.map(|(name, value)| json!({"name": name, "value": value}));
        let secrets = self.env_from.secrets.iter();
        let secrets = secrets.map(|name| json!({"secretRef": {"name": name}}));
        let maps = self.env_from.config_maps.iter();
        let maps = maps.map(|name| json!({"configMapRef": {"name": name}}));
        let mut container = json!({
            "name": "job",
            "image": image,
            "env": env.collect::<Vec<_>>(),
            "envFrom": secrets.chain(maps).collect::<Vec<_>>(),
        });
        for (field, words) in [("command", &self.command), ("args", &self.args)] {
            if let (false, Some(container)) = (words.is_empty(), container.as_object_mut()) {
                container.insert(field.to_owned(), json!(words));
            }
        }
        let mut pod = json!({"restartPolicy": "Never", "containers": [container]});
        if let (Some(account), Some(pod)) = (&self.service_account, pod.as_object_mut()) {
            pod.insert("serviceAccountName".to_owned(), json!(account));
        }
        let labels = json!({"app.kubernetes.io/managed-by": "phasegate"});
        Ok(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": call.namespace, "labels": labels},
            // What failed is not tried again blindly: whether it may be is for people to say.
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
        }))
    }
}

/// A name that no other step of any run has: readable first, then a digest of the step's key.
fn named(call: &Call) -> String {
    let digest = call
        .key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let suffix = format!("-{digest:016x}");
    let most = NAME_MOST.saturating_sub(suffix.len());
    let name = call.release.name.chars().take(most).collect::<String>();
    format!("{}{suffix}", name.trim_end_matches('-'))
}

fn look(call: &Call, name: &str) -> Result<Run> {
    let found = kubernetes::get::<Object>("batch/v1", "Job", &call.namespace, name);
    let found = match found {
        Ok(found) => found,
        Err(kubernetes::Error::NotFound) => return Ok(Run::Absent),
        Err(error) => return Err(error.into()),
    };
    let mut conditions = found.status.conditions.iter();
    let ended = conditions
        .find(|it| it.status == "True" && ["Complete", "Failed"].contains(&it.r#type.as_str()));
    Ok(match ended {
        None => Run::Going,
        Some(it) if it.r#type == "Complete" => Run::Complete,
        Some(it) => Run::Failed(format!("{}: {}", it.reason, it.message)),
    })
}

fn token(token: &Value) -> Result<Token> {
    serde_json::from_value(token.clone())
        .map_err(|error| Error::permanent(format!("the token can't be read: {error}")))
}

impl Action for Job {
    const NAME: &'static str = "job";
    const SUMMARY: &'static str = "a Job runs once, and its end is awaited";

    fn validate(&self) -> Vec<Problem> {
        match self.image.as_deref() {
            Some("") => vec![Problem::new("/image", "an image has a name")],
            _ => Vec::new(),
        }
    }

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        let job = named(call);
        let summary = format!("will run Job {job}");
        Ok(Preparation::new(summary, &json!(Token { job })))
    }

    fn run(&self, call: &Call, given: &Value) -> Result<Outcome> {
        let job = token(given)?.job;
        match look(call, &job)? {
            Run::Absent => {
                let _: Value = kubernetes::apply(&self.manifest(call, &job)?)?;
                Err(Error::Pending(LOOK_AGAIN))
            }
            Run::Going => Err(Error::Pending(LOOK_AGAIN)),
            Run::Complete => {
                Ok(Outcome::new(format!("Job {job} is complete")).outputs(&json!({"job": job})))
            }
            Run::Failed(reason) => Err(Error::permanent(format!(
                "Job {job} failed: {reason}; it is kept with the log of its pod"
            ))),
        }
    }

    fn probe(&self, call: &Call, given: &Value) -> Result<Progress> {
        Ok(match look(call, &token(given)?.job)? {
            Run::Absent => Progress::NotDone,
            // Whoever asks `run` again is told how it ended.
            Run::Going | Run::Failed(_) => Progress::Running,
            Run::Complete => Progress::Done,
        })
    }

    /// One that has ended is kept, for its log.
    fn cancel(&self, call: &Call, given: &Value) -> Result<()> {
        let job = token(given)?.job;
        if !matches!(look(call, &job)?, Run::Going) {
            return Ok(());
        }
        // Its pods are stopped; the Job stays, so that it can be seen what became of it.
        let stop = json!({"spec": {"suspend": true}});
        let _: Value = kubernetes::patch("batch/v1", "Job", &call.namespace, &job, &stop)?;
        Ok(())
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
