//! What a run is asked for with: its files as they were read, so that what begins later begins with the same.

use std::path::PathBuf;

use phasegate_core::plan::Plan;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::release::{self, Given};
use super::run::read_plan;
use crate::args::{self, Inputs};
use crate::exit::Fault;
use crate::files;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    /// Its name, for faults in it.
    file: String,
    /// What it says.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    text: Vec<u8>,
}

impl Text {
    fn read(file: &str, most: usize) -> Result<Self, Fault> {
        Ok(Self {
            file: file.to_owned(),
            text: files::read_up_to(file, most)?,
        })
    }

    fn parts(&self) -> (&str, &[u8]) {
        (&self.file, &self.text)
    }
}

/// What was read as a release, a policy or a plan is text.
fn as_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

fn of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(deserializer).map(String::into_bytes)
}

/// A run that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Order {
    release: Text,
    /// The folder that paths in the release are relative to.
    folder: PathBuf,
    policy: Option<Text>,
    plan: Option<Text>,
    version: Option<String>,
    environment: Option<String>,
}

impl Order {
    /// Reads the files that the command names.
    pub(super) fn read(args: &args::Run) -> Result<Self, Fault> {
        let plan = match &args.plan {
            Some(file) => Some(Text::read(file, files::MAX_PLAN)?),
            None => None,
        };
        let policy = match &args.inputs.policy {
            Some(file) => {
                release::named(file)?;
                Some(Text::read(file, files::MAX_TEXT)?)
            }
            None => None,
        };
        Ok(Self {
            release: Text::read(&args.file, files::MAX_TEXT)?,
            folder: release::folder_of(&args.file),
            policy,
            plan,
            version: args.inputs.version.clone(),
            environment: args.inputs.environment.clone(),
        })
    }

    /// The same from wherever it is read again.
    pub(super) fn rooted(mut self) -> Result<Self, Fault> {
        self.folder = release::absolute(&self.folder)?;
        Ok(self)
    }

    /// The release with its policy, and the plan that is to be run, where one was kept.
    pub(super) fn given(&self) -> Result<(Given, Option<Plan>), Fault> {
        let saved = match &self.plan {
            Some(plan) => Some(read_plan(&plan.file, &plan.text)?),
            None => None,
        };
        let subject = saved.as_ref().map(|plan| &plan.subject);
        let inputs = Inputs {
            version: subject
                .map(|subject| subject.version.clone())
                .or_else(|| self.version.clone()),
            environment: subject
                .map(|subject| subject.environment.clone())
                .or_else(|| self.environment.clone()),
            policy: None,
        };
        let policy = self.policy.as_ref().map(Text::parts);
        let given = release::parse(self.release.parts(), policy, &inputs, self.folder.clone())?;
        Ok((given, saved))
    }
}
