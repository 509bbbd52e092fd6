//! What the operator grants to plugins that don't come with the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a plugin may do of what it asks for. A plugin that comes with the engine needs no grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["plugin"]}, {"required": ["source"]}]))]
pub struct PluginGrant {
    /// The plugin's name in the release. A release chooses its names: give the digest too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Where the plugin comes from, as the plan names it: `path:./mine.wasm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The only bytes that it is granted to: `sha256:` and 64 hexadecimal digits. Any, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// What it may do.
    pub may: Vec<Right>,
}

impl PluginGrant {
    /// Whether it is about a plugin of this name from this source, whatever its bytes are.
    #[must_use]
    pub fn names(&self, plugin: &str, source: &str) -> bool {
        self.plugin.as_deref() == Some(plugin) || self.source.as_deref() == Some(source)
    }

    /// Whether it is about these bytes.
    #[must_use]
    pub fn fits(&self, digest: &str) -> bool {
        self.digest.as_deref().is_none_or(|only| only == digest)
    }
}

/// One thing that a plugin may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Right {
    /// Requests to this host and port: `sentry.io:443`, `*.sentry.io:443`.
    Http(String),
    /// Requests to the host that its own config has at this JSON pointer.
    HttpFromConfig(String),
    /// Objects of the release's namespace.
    Kubernetes(ObjectRight),
    /// Running this program through the engine's runner.
    Run(String),
    /// Files of the run, where it is `true`.
    Artifacts(bool),
}

/// What a plugin may do with one kind of object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRight {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind.
    pub kind: String,
    /// get, find, apply, patch, remove.
    pub verbs: Vec<Verb>,
}

/// What can be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Reads one.
    Get,
    /// Reads those that match.
    Find,
    /// Writes fields.
    Apply,
    /// Changes fields.
    Patch,
    /// Deletes it.
    Remove,
}

impl Verb {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Find => "find",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Remove => "remove",
        }
    }
}
