//! What a release needs besides a world: its plugins and its credentials.
//!
//! What a run was planned with must still be there when it is resumed, even if a plugin's file was
//! rebuilt or the engine was updated meanwhile. So the components of a run are kept in the state
//! directory by their digests, and the sources of its credentials beside them; never a secret.

#![expect(
    clippy::disallowed_methods,
    reason = "what runs were begun with is kept in files of the state directory"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use phasegate_core::config::Content;
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::plan::Plan;
use phasegate_core::spec::policy::PluginLimits;
use phasegate_core::spec::release::{Credential, Loaded, PluginSource, SecretSource};
use phasegate_registry::{BuiltIn, MAX_PLUGIN_BYTES, Registry, digest};
use phasegate_runtime::planner;
use phasegate_runtime::ports::Component;
use phasegate_world::credentials::{self, LocalCredentials};
use serde::{Deserialize, Serialize};

use crate::compose::World;
use crate::exit::internal;
use crate::state::share;
use crate::{builtin, files};

/// What stands for the secret in a header.
const SECRET: &str = "{secret}";
/// Where components are kept.
const PLUGINS: &str = "plugins";
/// What the name of a file ends in that says what a run is to begin with.
const SUCCESSION: &str = ".succession.json";
/// Most bytes of what is kept for a run: what was written can be read.
const MAX_KEPT: usize = 32 << 20;
/// Most runs of that kind that are looked at.
const MAX_SUCCESSIONS: usize = 100;
/// Where it is kept what else a run needs.
const RUNS: &str = "runs";

/// What a run needs to be driven besides its journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Where its credentials come from.
    #[serde(default)]
    pub credentials: BTreeMap<String, Credential>,
    /// What its plugins may use.
    #[serde(default)]
    pub limits: PluginLimits,
    /// Pod templates of its manifests that copies are to be made of, by the copies' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, serde_json::Value>,
}

impl Kept {
    /// The same with the templates that a plan makes copies of.
    ///
    /// # Errors
    /// Where the manifests are others than those that were planned with.
    pub fn with_templates(&self, plan: &Plan, world: &World) -> Result<Self, Diagnostic> {
        let mut kept = self.clone();
        let configs = plan.workloads.iter().flat_map(|workload| &workload.configs);
        for config in configs {
            if !matches!(config.copy.content, Content::Manifest { .. }) || config.there {
                continue;
            }
            let name = &config.copy.name;
            let template = world.cluster.template_held(name).ok_or_else(|| {
                let message = format!(
                    "the release's manifests have changed since it was planned: the plan makes the PodTemplate `{name}` of others"
                );
                Diagnostic::new(codes::MANIFEST_GONE, message).hint("plan again")
            })?;
            kept.templates.insert(name.clone(), template);
        }
        Ok(kept)
    }
}

/// Finds the plugins that ship with the engine, and files relative to `folder`.
#[must_use]
pub fn registry(folder: &Path) -> Registry {
    let builtins = builtin::all().iter().map(|(name, bytes)| BuiltIn {
        name: (*name).to_owned(),
        bytes: (*bytes).into(),
    });
    Registry::new(builtins, folder)
}

/// A plugin that ships with the engine.
///
/// # Errors
/// Where there is none of that name.
pub fn shipped(name: &str) -> Result<Component, Diagnostic> {
    if builtin::all().is_empty() {
        return Err(builtin::without());
    }
    let source = PluginSource::Builtin {
        name: name.to_owned(),
    };
    registry(Path::new(".")).resolve(name, &source)
}

/// The components of the plugins that a release uses. Paths are taken from the folder of its file.
///
/// # Errors
/// Every plugin that can't be had, or isn't the one that is pinned.
pub fn of_release(loaded: &Loaded, folder: &Path) -> Result<Vec<Component>, Diagnostics> {
    let registry = registry(folder);
    let mut faults = Diagnostics::new();
    let mut components = Vec::new();
    for name in planner::plugins_of(&loaded.release) {
        let source = match loaded.release.plugins.get(&name) {
            Some(source) => source.clone(),
            None => PluginSource::Builtin { name: name.clone() },
        };
        if matches!(source, PluginSource::Builtin { .. }) && builtin::all().is_empty() {
            return Err(builtin::without().into());
        }
        match registry.resolve(&name, &source) {
            Ok(found) => components.push(found),
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_result(components)
}

/// The credentials that a release defines, their files as absolute paths.
///
/// # Errors
/// Where it can't be told where a file is.
pub fn rooted(
    defined: &BTreeMap<String, Credential>,
    folder: &Path,
) -> Result<BTreeMap<String, Credential>, Diagnostic> {
    let mut rooted = defined.clone();
    for credential in rooted.values_mut() {
        if let SecretSource::File(path) = &mut credential.source {
            let full = std::path::absolute(folder.join(&*path))
                .map_err(|e| internal(format!("can't tell where {path} is")).caused_by(&e))?;
            *path = full.display().to_string();
        }
    }
    Ok(rooted)
}

/// Credentials by what [`rooted`] gave.
///
/// # Errors
/// Where there are too many.
pub fn credentials(defined: &BTreeMap<String, Credential>) -> Result<LocalCredentials, Diagnostic> {
    let credentials = defined
        .iter()
        .map(|(name, credential)| (name.clone(), local(credential)))
        .collect();
    LocalCredentials::new(credentials).map_err(|e| {
        Diagnostic::new(codes::TOO_MANY, "there are too many credentials").caused_by(&e)
    })
}

/// Refuses where one of a release's credentials can't be read: a gate that needs it would be asked in vain.
///
/// # Errors
/// The credentials that can't be read, without anything of what they hold.
pub fn readable(defined: &BTreeMap<String, Credential>) -> Result<(), Diagnostic> {
    let missing = credentials(defined)?.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(Diagnostic::new(
        codes::CREDENTIAL_UNAVAILABLE,
        "the release has credentials that can't be read",
    )
    .expected("what is defined under `credentials`")
    .found(named.join("; "))
    .hint("set the variable or bring the file to its place; nothing was changed"))
}

fn local(credential: &Credential) -> credentials::Credential {
    let source = match &credential.source {
        SecretSource::Env(variable) => credentials::Source::Env(variable.clone()),
        SecretSource::File(path) => credentials::Source::File(path.into()),
    };
    let parts = credential.header_parts().filter(|_| !credential.url);
    credentials::Credential {
        source,
        url: credential.url,
        authorities: credential.hosts.clone(),
        secrets: credential.secrets.clone(),
        header: parts.map(|(name, _)| name.to_owned()),
        prefix: parts.map(|(_, value)| value.replace(SECRET, "")),
    }
}

/// Refuses plugins that don't ship with the engine: whoever goes on with a run of a cluster's journal, a pod or a
/// colleague, has the engine and no file of whoever began it.
///
/// # Errors
/// Each that doesn't.
pub fn all_ship(components: &[Component]) -> Result<(), Diagnostics> {
    let mut faults = Diagnostics::new();
    for component in components {
        let known = builtin::all()
            .iter()
            .any(|(_, bytes)| digest(bytes) == component.digest);
        if !known {
            faults.push(
                Diagnostic::new(
                    codes::NOT_FOR_A_CLUSTER,
                    format!("plugin `{}` doesn't ship with the engine", component.name),
                )
                .expected("plugins that are wherever the engine is")
                .found(component.source.clone())
                .hint(
                    "run it with a state directory, or build the plugin into an engine of your own",
                ),
            );
        }
    }
    faults.into_result(())
}

/// Keeps what a run needs, before it begins.
///
/// # Errors
/// Where it can't be written.
pub fn keep(
    state: &Path,
    run: &str,
    components: &[Component],
    kept: &Kept,
) -> Result<(), Diagnostic> {
    for folder in [PLUGINS, RUNS] {
        let folder = state.join(folder);
        make(&folder)?;
        share(state, &folder);
    }
    for component in components {
        let path = component_path(state, &component.digest);
        if !path.is_file() {
            files::replace(&path, &component.bytes)?;
            share(state, &path);
        }
    }
    let text = serde_json::to_string(kept)
        .map_err(|e| internal("what a run needs can't be written as JSON").caused_by(&e))?;
    if text.len() > MAX_KEPT {
        let fault = Diagnostic::new(codes::TOO_MANY, "the release brings too much along");
        return Err(fault
            .expected(format!(
                "at most {MAX_KEPT} bytes of pod templates and grants"
            ))
            .found(format!("{} bytes", text.len())));
    }
    let path = kept_path(state, run);
    files::replace_private(&path, text.as_bytes())?;
    share(state, &path);
    Ok(())
}

/// Forgets what was kept for a run that never came to be. Components stay: others may use them.
pub fn forget(state: &Path, run: &str) {
    // Files that stay are clutter, and no more.
    let _ = std::fs::remove_file(kept_path(state, run));
    let _ = std::fs::remove_file(crate::runlog::path(state, run));
}

/// Makes the folder of what is kept for runs.
///
/// # Errors
/// Where it can't be made.
pub fn make_runs(state: &Path) -> Result<(), Diagnostic> {
    make(&state.join(RUNS))
}

fn make(folder: &Path) -> Result<(), Diagnostic> {
    std::fs::create_dir_all(folder).map_err(|e| {
        if files::is_full(&e) {
            return files::unwritable(folder, &e);
        }
        Diagnostic::new(
            codes::JOURNAL_WRITE_FAILED,
            format!("`{}` can't be made", folder.display()),
        )
        .caused_by(&e)
    })
}

fn component_path(state: &Path, digest: &str) -> PathBuf {
    let name = digest.replace(':', "-");
    state.join(PLUGINS).join(format!("{name}.wasm"))
}

fn kept_path(state: &Path, run: &str) -> PathBuf {
    state.join(RUNS).join(format!("{run}.json"))
}

/// Where it is kept what a run needs that is to take another's place.
pub fn succession_path(state: &Path, run: &str) -> PathBuf {
    state.join(RUNS).join(format!("{run}{SUCCESSION}"))
}

/// The runs for which there is a file of that kind, in order.
pub fn successions(state: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(state.join(RUNS)) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut runs: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(SUCCESSION)?.to_owned()))
        .take(MAX_SUCCESSIONS)
        .collect();
    runs.sort();
    runs
}

/// What was kept for a run; nothing where there is nothing, since an older engine kept nothing.
///
/// # Errors
/// Where it is there and makes no sense.
pub fn kept(state: &Path, run: &str) -> Result<Kept, Diagnostic> {
    let path = kept_path(state, run);
    if !path.exists() {
        return Ok(Kept::default());
    }
    let bytes = files::read_up_to(&path.display().to_string(), MAX_KEPT)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Diagnostic::new(
            codes::JOURNAL_UNREADABLE,
            format!("`{}` makes no sense", path.display()),
        )
        .caused_by(&e)
    })
}

/// The components that a plan pins: as they were kept, or from where they ship.
///
/// # Errors
/// Each that isn't there any more with the bytes that the plan pins.
pub fn of_plan(state: &Path, plan: &Plan) -> Result<Vec<Component>, Diagnostics> {
    let mut faults = Diagnostics::new();
    let mut components = Vec::new();
    for (name, pin) in &plan.plugins {
        let path = component_path(state, &pin.digest);
        let found = if path.is_file() {
            files::read_up_to(&path.display().to_string(), MAX_PLUGIN_BYTES).map(|bytes| {
                Component {
                    name: name.clone(),
                    source: pin.source.clone(),
                    digest: digest(&bytes),
                    bytes: bytes.into(),
                }
            })
        } else {
            shipped(name)
        };
        match found {
            Ok(found) if found.digest == pin.digest => components.push(found),
            Ok(found) => faults.push(
                Diagnostic::new(
                    codes::PLUGIN_DIGEST_DIFFERS,
                    format!("plugin `{name}` is not the one that the run was planned with"),
                )
                .expected(pin.digest.as_str())
                .found(found.digest)
                .hint("put the state directory back as it was, or use the engine that planned the run"),
            ),
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_result(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_keeps_its_header_and_what_stands_before_the_secret() {
        let credential = Credential {
            source: SecretSource::File("token".into()),
            hosts: vec!["sentry.io:443".into()],
            secrets: Vec::new(),
            header: "X-Token: key {secret}".into(),
            url: false,
        };
        let defined = BTreeMap::from([("t".to_owned(), credential)]);
        let rooted = rooted(&defined, Path::new("/etc/release")).unwrap();
        let local = local(&rooted["t"]);
        assert_eq!(local.header.as_deref(), Some("X-Token"));
        assert_eq!(local.prefix.as_deref(), Some("key "));
        assert_eq!(
            local.source,
            credentials::Source::File("/etc/release/token".into())
        );
    }

    #[test]
    fn what_a_run_needs_is_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let component = Component {
            name: "mine".into(),
            source: "path:mine.wasm".into(),
            digest: digest(b"x"),
            bytes: (&b"x"[..]).into(),
        };
        let kept_before = Kept {
            limits: PluginLimits {
                host_calls: Some(3),
                ..PluginLimits::default()
            },
            ..Kept::default()
        };
        keep(folder.path(), "r-1", &[component], &kept_before).unwrap();
        assert_eq!(kept(folder.path(), "r-1").unwrap(), kept_before);
        assert_eq!(kept(folder.path(), "r-2").unwrap(), Kept::default());
        assert!(component_path(folder.path(), &digest(b"x")).is_file());
    }
}
