//! From the bytes of a release file to a release that was checked.

use std::collections::BTreeMap;

use super::{DEFAULT_ENVIRONMENT, DEFAULT_NAMESPACE, Release, Target};
use crate::diagnostic::{Diagnostic, Diagnostics, codes};
use crate::spec::{API_VERSION, validate};
use crate::yaml::{self, Document};

/// What the command line sets over the file. Applied before anything is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--version`.
    pub version: Option<String>,
    /// `--environment`.
    pub environment: Option<String>,
}

/// A release that was checked, with what follows from the environment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file, with the overrides applied.
    pub release: Release,
    /// Where everything in it stands.
    pub document: Document,
    /// The version to bring up.
    pub version: String,
    /// The environment to deploy to.
    pub environment: String,
    /// Where that is.
    pub target: Target,
    /// The namespace there.
    pub namespace: String,
    /// The content of ConfigMaps that the release brings along, by the path that it gives. Whoever can read files
    /// fills it in.
    pub contents: BTreeMap<String, BTreeMap<String, String>>,
    /// The pod templates of the release's manifests, by Deployment; filled in likewise.
    pub manifests: BTreeMap<String, Manifest>,
}

/// What the manifests of a release have for a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// The Deployment's pod template.
    pub template: serde_json::Value,
    /// The other objects that they describe and that nobody applies, for people.
    pub others: Vec<String>,
}

/// Reads and checks a release. `builtin` are the names of the plugins that ship with the engine.
///
/// # Errors
///
/// Every fault that can be found without asking a plugin or the world, in the order of the file.
pub fn load(
    file: &str,
    bytes: &[u8],
    overrides: &Overrides,
    builtin: &[&str],
) -> Result<Loaded, Diagnostics> {
    let document = yaml::read(file, bytes)?;
    check_kind(&document, "Release")?;
    let yaml::Parsed {
        value: mut release,
        document,
    } = yaml::fit::<Release>(document)?;
    release.version = overrides.version.clone().or(release.version);
    release.environment = overrides.environment.clone().or(release.environment);
    let mut faults = validate::release(&release, &document, overrides, builtin);
    faults.sort_by_place();
    let environment = environment_of(&release);
    let chosen = release.environments.get(&environment);
    let target = chosen
        .and_then(|e| e.target.clone())
        .or_else(|| release.target.clone());
    match (release.version.clone(), target, faults.is_empty()) {
        (Some(version), Some(target), true) => {
            let own = match &target {
                Target::Kubernetes(kubernetes) => kubernetes.namespace.clone(),
                Target::Simulated(_) => None,
            };
            let namespace = chosen
                .and_then(|e| e.namespace.clone())
                .or(own)
                .or_else(|| release.namespace.clone())
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
            Ok(Loaded {
                release,
                document,
                version,
                environment,
                target,
                namespace,
                contents: BTreeMap::new(),
                manifests: BTreeMap::new(),
            })
        }
        (_, _, false) => Err(faults),
        // Both are faults that the check reports; a release without them must not go through.
        _ => Err(Diagnostic::new(
            codes::INTERNAL,
            "a release without version or target passed its check",
        )
        .into()),
    }
}

/// The environment that is asked for: the one named, the only one, or the default one.
pub(in crate::spec) fn environment_of(release: &Release) -> String {
    let only = || match release.environments.len() {
        1 => release.environments.keys().next().cloned(),
        _ => None,
    };
    release
        .environment
        .clone()
        .or_else(only)
        .unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned())
}

/// Says plainly that a file is of another kind, before its fields are looked at.
pub(in crate::spec) fn check_kind(document: &Document, kind: &str) -> Result<(), Diagnostic> {
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", kind)] {
        let pointer = format!("/{field}");
        let found = document.get(&pointer);
        if found.and_then(|v| v.as_str()) == Some(wanted) {
            continue;
        }
        let found = match found {
            Some(serde_json::Value::String(text)) => format!("`{text}`"),
            Some(_) => "a value that is not a text".to_owned(),
            None => "none".to_owned(),
        };
        return Err(Diagnostic::new(
            codes::WRONG_KIND,
            format!("this is not a {kind} file for this engine"),
        )
        .at(document.place(&pointer))
        .expected(format!("`{field}: {wanted}`"))
        .found(found));
    }
    Ok(())
}
