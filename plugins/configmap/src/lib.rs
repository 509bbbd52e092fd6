//! Action `configmap`: keys of a ConfigMap are set, and put back on the way back.

use std::collections::BTreeMap;

use phasegate_plugin::action::{Action, Outcome, Preparation, Progress};
use phasegate_plugin::{Ask, Call, Error, Problem, Result, kubernetes};
use phasegate_plugins_shared::token;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMap {
    /// The ConfigMap. It has to be there.
    name: String,
    /// Keys and their new texts; null takes a key away. Others stay as they are.
    set: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    immutable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: Option<String>,
}

/// The keys as they were before, where they were there.
#[derive(Serialize, Deserialize)]
struct Token {
    before: BTreeMap<String, Option<String>>,
}

impl ConfigMap {
    fn look(&self, call: &Call) -> Result<Object> {
        Ok(kubernetes::get(
            "v1",
            "ConfigMap",
            &call.namespace,
            &self.name,
        )?)
    }

    /// A key that is neither as it was found nor as it is to be was set by somebody else, and is not written over.
    fn refuse_others(
        &self,
        found: &Object,
        before: &BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        let is = |key: &String, texts: &BTreeMap<String, Option<String>>| {
            found.data.get(key) == texts.get(key).and_then(Option::as_ref)
        };
        let others = before.keys();
        let others = others.filter(|key| !is(key, &self.set) && !is(key, before));
        let others = others.cloned().collect::<Vec<_>>();
        match others.is_empty() {
            true => Ok(()),
            false => Err(Error::permanent(format!(
                "{} of ConfigMap {} was changed by somebody else since; nothing was written",
                others.join(", "),
                self.name
            ))),
        }
    }

    /// Writes these keys over the version that was read. Whatever else was changed meanwhile stays.
    fn write(
        &self,
        call: &Call,
        found: &Object,
        keys: &BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        let version = found.metadata.resource_version.as_deref();
        let change = kubernetes::over(json!({"data": keys}), version);
        let _: Value = kubernetes::patch("v1", "ConfigMap", &call.namespace, &self.name, &change)?;
        Ok(())
    }
}

fn has(found: &Object, keys: &BTreeMap<String, Option<String>>) -> bool {
    keys.iter()
        .all(|(key, text)| found.data.get(key) == text.as_ref())
}

impl Action for ConfigMap {
    const NAME: &'static str = "configmap";
    const SUMMARY: &'static str = "keys of a ConfigMap are set, and put back on the way back";

    fn validate(&self) -> Vec<Problem> {
        match self.set.is_empty() {
            true => vec![Problem::new("/set", "there is no key to set")],
            false => Vec::new(),
        }
    }

    fn prepare(&self, call: &Call) -> Result<Preparation> {
        let found = self.look(call)?;
        if found.immutable {
            let message = format!("ConfigMap {} is immutable", self.name);
            return Err(Error::permanent(message));
        }
        let before = self.set.keys();
        let before = before.map(|key| (key.clone(), found.data.get(key).cloned()));
        let token = Token {
            before: before.collect(),
        };
        let keys = self.set.keys().cloned().collect::<Vec<_>>().join(", ");
        let summary = format!("will set {keys} of ConfigMap {}", self.name);
        Ok(Preparation::new(summary, &json!(token)).reversible())
    }

    fn run(&self, call: &Call, given: &Value) -> Result<Outcome> {
        let before = token::<Token>(given)?.before;
        let found = self.look(call)?;
        self.refuse_others(&found, &before)?;
        if !has(&found, &self.set) {
            self.write(call, &found, &self.set)?;
        }
        let keys = self.set.keys().collect::<Vec<_>>();
        let (count, name) = (keys.len(), &self.name);
        Ok(
            Outcome::new(format!("set {count} keys of ConfigMap {name}"))
                .outputs(&json!({"configMap": name, "keys": keys})),
        )
    }

    fn probe(&self, call: &Call, _: &Value) -> Result<Progress> {
        Ok(match has(&self.look(call)?, &self.set) {
            true => Progress::Done,
            false => Progress::NotDone,
        })
    }

    fn undo(&self, call: &Call, given: &Value) -> Result<()> {
        let before = token::<Token>(given)?.before;
        // Where it changed nothing, whatever is there now is somebody else's, be it an earlier action's.
        if before == self.set {
            return Ok(());
        }
        let found = self.look(call)?;
        self.refuse_others(&found, &before)?;
        if has(&found, &before) {
            return Ok(());
        }
        self.write(call, &found, &before)
    }
}

phasegate_plugin::export! {
    name: "configmap",
    summary: "Sets keys of a ConfigMap",
    actions: [ConfigMap],
    asks: [Ask::Kubernetes { group: "", kind: "ConfigMap", verbs: &["get", "patch"] }],
}

#[cfg(test)]
mod tests;
