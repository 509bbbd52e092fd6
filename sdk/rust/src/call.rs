//! What every kind of plugin shares.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, Offer, config};

pub use crate::bindings::imports::phasegate::types::common::{
    Call, Link, Pair, Problem, Release, Split,
};

/// The workload that a step is about, by its Kubernetes names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WorkloadNames {
    /// The Deployment.
    pub deployment: String,
    /// The container whose image is released.
    pub container: String,
    /// The image that is being released.
    pub image: String,
    /// The Service in front of it, where there is one.
    #[serde(default)]
    pub service: String,
    /// The version that served when the run began, where a candidate has objects of its own.
    #[serde(default)]
    pub stable: Option<SideNames>,
    /// The version that is to serve, where it has objects of its own.
    #[serde(default)]
    pub candidate: Option<SideNames>,
}

/// One of the two versions, by its Kubernetes names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SideNames {
    /// Its Deployment.
    pub deployment: String,
    /// The Service that leads to it; empty where there is none.
    #[serde(default, deserialize_with = "or_empty")]
    pub service: String,
    /// What a Service must select to reach its pods.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Extra {
    workload: Option<WorkloadNames>,
}

impl Call {
    /// The workload that the step is about.
    ///
    /// # Errors
    ///
    /// [`Error::Permanent`] where the step is about none.
    pub fn workload(&self) -> Result<WorkloadNames, Error> {
        let extra: Extra = serde_json::from_str(&self.extra).map_err(|error| {
            Error::permanent(format!(
                "`extra.workload` of the call can't be read: {error}"
            ))
        })?;
        extra
            .workload
            .ok_or_else(|| Error::permanent("this step is about no workload"))
    }

    /// The config as the offer's type.
    pub(crate) fn config<T: config::Config>(&self) -> Result<T, Error> {
        config::parse(&self.config)
    }
}

impl Pair {
    /// A name and its value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

impl Link {
    /// A title and where it leads.
    pub fn new(title: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            url: url.into(),
        }
    }
}

/// The entry whose name the call asks for.
pub(crate) fn pick<'a, T>(
    entries: &'a [T],
    offer: fn(&T) -> &Offer,
    kind: &str,
    name: &str,
) -> Result<&'a T, Error> {
    entries
        .iter()
        .find(|entry| offer(entry).name == name)
        .ok_or_else(|| {
            let names: Vec<_> = entries.iter().map(|entry| offer(entry).name).collect();
            Error::permanent(format!(
                "this plugin has no {kind} `{name}`; it has: {}",
                names.join(", ")
            ))
        })
}
