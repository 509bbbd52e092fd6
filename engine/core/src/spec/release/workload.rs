//! What is deployed, and what shares traffic in front of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::VERSION_PLACEHOLDER;
use crate::config::ConfigKind;

/// The highest wave that a workload can be put into.
pub const MAX_WAVE: u32 = 100;

/// What is deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Its name, where there are several; the Deployment's if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Workloads of a lower wave come first. A wave begins when the one before it is done.
    #[serde(default = "super::one")]
    pub wave: u32,
    /// The Deployment. With colours, what their Deployments' names begin with: `shop` for `shop-blue` and `shop-green`.
    pub deployment: String,
    /// The container in it whose image is replaced.
    pub container: String,
    /// The image; `{version}` stands for the release's version.
    pub image: String,
    /// The Service in front of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Two Deployments that take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colours: Option<Colours>,
    /// What shares traffic between the version that serves and the one that is to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// ConfigMaps that belong to the workload and must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_maps: Vec<String>,
    /// Secrets that belong to the workload and must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// ConfigMaps and Secrets that are versioned with the release: the new version gets a copy of its own, and the
    /// old one keeps its.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<Config>,
    /// Where the pod template of the new version comes from. Without it, the new version is another image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Manifests>,
}

/// Manifests: for a workload, with the Deployment whose pod template is what the new version is, but for the released
/// container's image (other objects of them are not applied); for an action, what it is to apply. One of the fields is
/// given; paths are taken from the folder of this file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifests {
    /// A file, or a folder of files, of one or several documents each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The folder that `kustomize build` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<String>,
    /// What `helm template` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<Helm>,
}

/// A chart whose templates `helm template` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Helm {
    /// The chart: a folder or a packed one.
    pub chart: String,
    /// Files of values, the last one first where they differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The name of Helm's release; the Deployment's, or for an action this release's, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A ConfigMap or Secret that is versioned with the release. The pod template refers to it by its name, or to a copy
/// of it that an earlier run has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The ConfigMap's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// The Secret's name. What stands in the cluster under it when the run is planned is what the new version gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The ConfigMap's content: a folder with a file for each key, or one file, its name the key; the path is taken
    /// from the folder of this file. Without it the new version gets what stands in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Config {
    /// What it is, and its name.
    #[must_use]
    pub fn named(&self) -> Option<(ConfigKind, &str)> {
        match (&self.config_map, &self.secret) {
            (Some(name), None) => Some((ConfigKind::ConfigMap, name)),
            (None, Some(name)) => Some((ConfigKind::Secret, name)),
            _ => None,
        }
    }
}

impl Workload {
    /// The image for a version.
    #[must_use]
    pub fn image_for(&self, version: &str) -> String {
        self.image.replace(VERSION_PLACEHOLDER, version)
    }

    /// The name by which the run calls it.
    #[must_use]
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.deployment)
    }
}

/// Two Deployments that take turns: the Service's selector says which of them serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Colours {
    /// The label in the Service's selector whose value is the colour that serves.
    pub label: String,
    /// The two colours.
    #[serde(default = "blue_and_green")]
    pub values: [String; 2],
}

fn blue_and_green() -> [String; 2] {
    ["blue".to_owned(), "green".to_owned()]
}

/// What shares traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Router {
    /// The router plugin.
    pub plugin: String,
    /// Which of the plugin's routers, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The router's own config.
    #[serde(default = "super::empty_config")]
    pub config: serde_json::Value,
}
