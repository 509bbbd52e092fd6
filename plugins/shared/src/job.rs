//! One Job that an action runs and awaits.

use std::collections::BTreeMap;

use phasegate_plugin::{Call, Duration, Error, Problem, Result, clock, kubernetes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pods::any_works;
use crate::timestamp;

const API: &str = "batch/v1";
const KIND: &str = "Job";
/// The longest name that a Job may have, so that its pods can be labelled with it.
const NAME_MOST: usize = 63;
/// How soon a Job is looked at again that has just begun, and one that has been at it for long.
const LOOK_FIRST: u32 = 2_000;
const LOOK_LAST: u32 = 30_000;
/// A Job is looked at again after such a part of the time that it has taken so far.
const LOOK_PART: u64 = 8;
/// How long a Job is kept after its end where nothing else is said.
const KEEP: Duration = Duration::from_mins(7 * 24 * 60);
/// The shortest such time: whoever drives must have seen its end before it goes.
const KEEP_LEAST: Duration = Duration::from_mins(60);

/// What runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
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
    /// How long it is kept after its end, with the log of its pod. An hour at least, and longer than the step may take.
    #[serde(default = "keep")]
    keep: Duration,
}

const fn keep() -> Duration {
    KEEP
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

/// How far a Job is.
#[derive(Debug, PartialEq)]
pub enum JobRun {
    /// There is none.
    Absent,
    /// It has not ended; when it is to be looked at again.
    Going(Duration),
    /// It has not ended, and somebody has stopped it.
    Stopped,
    /// It has done its work, and nobody had stopped it.
    Complete,
    /// It has not, and why.
    Failed(String),
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    suspend: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    creation_timestamp: String,
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

impl JobSpec {
    /// Faults that the schema can't express; `pointer` is where the spec stands.
    #[must_use]
    pub fn problems(&self, pointer: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.image.as_deref() == Some("") {
            let message = "an image has a name";
            problems.push(Problem::new(format!("{pointer}/image"), message));
        }
        if self.keep < KEEP_LEAST {
            let message = format!("a Job is kept for {KEEP_LEAST} at least");
            problems.push(Problem::new(format!("{pointer}/keep"), message));
        }
        problems
    }

    /// Whether a Job that is not there can have run, ended and gone since it was prepared at that time.
    #[must_use]
    pub fn may_have_gone(&self, prepared: u64) -> bool {
        clock::now_ms() >= prepared.saturating_add(u64::from(self.keep.as_millis()))
    }

    /// Why a Job is not made that may have run.
    #[must_use]
    pub fn gone(&self, job: &str) -> Error {
        Error::permanent(format!(
            "Job {job} is not there, and may have run: it is kept for {} after its end, which have passed since it was \
             prepared; it is not made again",
            self.keep
        ))
    }

    /// Makes the Job.
    ///
    /// # Errors
    ///
    /// The API server refuses it.
    pub fn start(&self, call: &Call, name: &str) -> Result<()> {
        let _: Value = kubernetes::apply(&self.manifest(call, name)?)?;
        Ok(())
    }

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
            "apiVersion": API,
            "kind": KIND,
            "metadata": {"name": name, "namespace": call.namespace, "labels": labels},
            // What failed is not tried again blindly: whether it may be is for people to say.
            "spec": {
                "backoffLimit": 0,
                "ttlSecondsAfterFinished": self.keep.as_millis() / 1000,
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }))
    }
}

impl JobRun {
    /// The Job of that name.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub fn look(call: &Call, name: &str) -> Result<Self> {
        let found = kubernetes::get::<Object>(API, KIND, &call.namespace, name);
        let found = match found {
            Ok(found) => found,
            Err(kubernetes::Error::NotFound) => return Ok(Self::Absent),
            Err(error) => return Err(error.into()),
        };
        let mut conditions = found.status.conditions.iter();
        let ended = conditions
            .find(|it| it.status == "True" && ["Complete", "Failed"].contains(&it.r#type.as_str()));
        Ok(match ended {
            None if found.spec.suspend => Self::Stopped,
            None => Self::Going(again(&found.metadata.creation_timestamp)),
            Some(it) if it.r#type == "Complete" && found.spec.suspend => {
                Self::Failed("it was stopped, when it had just done its work".to_owned())
            }
            Some(it) if it.r#type == "Complete" => Self::Complete,
            Some(it) => Self::Failed(format!("{}: {}", it.reason, it.message)),
        })
    }
}

/// When a Job that was made then is looked at again: one that takes a day would else fill the journal with looks.
fn again(made: &str) -> Duration {
    let taken = timestamp::ms(made).map_or(0, |made| clock::now_ms().saturating_sub(made));
    let part = u32::try_from(taken / LOOK_PART).unwrap_or(LOOK_LAST);
    Duration::from_millis(part.clamp(LOOK_FIRST, LOOK_LAST))
}

/// Stops the pods of a Job. The Job stays, so that it can be seen what became of it.
///
/// # Errors
///
/// The API server refuses it.
pub fn stop(call: &Call, name: &str) -> Result<()> {
    let stop = json!({"spec": {"suspend": true}});
    let _: Value = kubernetes::patch(API, KIND, &call.namespace, name, &stop)?;
    Ok(())
}

/// Whether any pod of a Job works still, be it on its way out.
///
/// # Errors
///
/// The cluster doesn't say.
pub fn works(call: &Call, name: &str) -> Result<bool> {
    any_works(call, &format!("job-name={name}"))
}

/// A name that no other step of any run has: readable first, then a digest of the step's key.
#[must_use]
pub fn named(call: &Call) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use phasegate_plugin::testing::Fake;

    #[test]
    fn a_job_that_takes_long_is_looked_at_less_often() {
        // 1970-01-01T00:00:10Z, and so long after it.
        for (seconds, looked) in [(0, 2), (15, 2), (16, 2), (80, 10), (240, 30), (86_400, 30)] {
            let mut fake = Fake::new().at((10 + seconds) * 1000);
            let told = fake.run(|| again("1970-01-01T00:00:10Z"));
            assert_eq!(told, Duration::from_secs(looked), "after {seconds} s");
        }
    }

    #[test]
    fn a_job_whose_age_is_unknown_is_looked_at_soon() {
        let told = Fake::new().at(1_000_000).run(|| again("yesterday"));
        assert_eq!(told, Duration::from_secs(2));
    }
}
