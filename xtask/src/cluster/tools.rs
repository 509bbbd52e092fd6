//! The programs of the control plane, and those that make manifests: built from the Go modules that `tools/` pins, once for each
//! state of those files and each version of Go, into the cache; etcd is Debian's.

use std::env::consts::{ARCH, OS};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::debian::Package;
use crate::exec;
use crate::workspace::Workspace;

/// Kubernetes takes about ten minutes on two idle cores; a build that needs longer than this hangs.
const BUILD_LIMIT: Duration = Duration::from_secs(3_000);

/// What is built of a Go module, and kept as a folder of the cache.
struct Module {
    /// Its folder in `tools/`, and what the folder of the cache begins with.
    name: &'static str,
    /// Files that decide what is built, in `tools/`.
    sources: &'static [&'static str],
    programs: &'static [&'static str],
    takes: &'static str,
}

const CLUSTER: Module = Module {
    name: "cluster",
    sources: &[
        "cluster/go.mod",
        "cluster/go.sum",
        "cluster/keys/main.go",
        "cluster/launch/main.go",
        "definitions/go.mod",
        "definitions/go.sum",
    ],
    programs: &[
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
        "kwok",
        "keys",
        "launch",
    ],
    takes: "ten minutes",
};

const RENDERERS: Module = Module {
    name: "renderers",
    sources: &["renderers/go.mod", "renderers/go.sum"],
    programs: &["kustomize", "helm"],
    takes: "two minutes",
};

const ETCD: Package = Package {
    name: "etcd",
    package: "etcd-server",
    suite: "bookworm",
    version: "3.4.23",
    programs: &["etcd"],
};

/// Custom resource definitions: the folder of `tools/` that pins a module, the module, the files in it.
const DEFINITIONS: [(&str, &str, &str); 3] = [
    ("cluster", "sigs.k8s.io/kwok", "kustomize/crd/bases"),
    (
        "definitions",
        "sigs.k8s.io/gateway-api",
        "config/crd/standard",
    ),
    ("definitions", "istio.io/api", "kubernetes"),
];

/// Where the programs are.
pub(crate) struct Tools {
    own: PathBuf,
    etcd: PathBuf,
    renderers: PathBuf,
}

impl Tools {
    /// Finds the programs in the cache, and builds them where they aren't there yet.
    pub(crate) fn ensure(workspace: &Workspace, go: &Go) -> anyhow::Result<Self> {
        let etcd = ETCD.find(workspace)?.join("etcd");
        let own = built(workspace, go, &CLUSTER)?;
        let renderers = built(workspace, go, &RENDERERS)?;
        Ok(Self {
            own,
            etcd,
            renderers,
        })
    }

    /// The folder with `kustomize` and `helm`.
    pub(crate) fn renderers(&self) -> &Path {
        &self.renderers
    }

    /// The program of this name.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        if name == "etcd" {
            self.etcd.clone()
        } else {
            self.own.join(name)
        }
    }

    /// The folder with kwok's own custom resource definitions.
    pub(crate) fn kwok_definitions(&self) -> PathBuf {
        self.own.join("definitions/kwok")
    }

    /// The folders with the definitions that releases use.
    pub(crate) fn definitions(&self) -> [PathBuf; 2] {
        ["gateway-api", "api"].map(|name| self.own.join("definitions").join(name))
    }
}

/// A Go that can build the modules.
pub(crate) struct Go {
    version: String,
}

impl Go {
    /// Asks for the version; the error says why there is none that will do.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self, String> {
        let mut command = go(&workspace.root.join("tools/cluster"));
        // In the module, since the version it asks for may be fetched, or be refused.
        let output = command
            .args(["version"])
            .output()
            .map_err(|_| "there is no Go on the PATH".to_owned())?;
        let version = String::from_utf8_lossy(&output.stdout);
        let version = version.split_whitespace().nth(2);
        let refused = go(&workspace.root.join("tools/cluster"))
            .args(["list", "-m"])
            .output()
            .map_err(|error| error.to_string())?;
        match version {
            Some(version) if output.status.success() && refused.status.success() => Ok(Self {
                version: version.to_owned(),
            }),
            _ => Err(format!(
                "Go can't build the module tools/cluster: {}{}",
                String::from_utf8_lossy(&output.stderr).trim(),
                String::from_utf8_lossy(&refused.stderr).trim()
            )),
        }
    }
}

/// A Go command in a module of ours, without what the machine has set for others.
fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly")
        .env("CGO_ENABLED", "0");
    command
}

fn built(workspace: &Workspace, go: &Go, module: &Module) -> anyhow::Result<PathBuf> {
    let tools = workspace.cache.join("tools");
    let own = tools.join(name(&workspace.root.join("tools"), go, module)?);
    if own.is_dir() {
        return Ok(own);
    }
    fs::create_dir_all(&tools)?;
    // Two work trees that need it at once build it once.
    let lock = File::create(tools.join(format!("{}.lock", module.name)))?;
    lock.lock().context("can't lock the cache")?;
    if own.is_dir() {
        return Ok(own);
    }
    let scratch = tempfile::tempdir_in(&tools)?;
    let folder = workspace.root.join("tools");
    if module.name == CLUSTER.name {
        define(&folder, scratch.path())?;
    }
    build(&folder, module, scratch.path())?;
    fs::rename(scratch.path(), &own).with_context(|| format!("can't write {}", own.display()))?;
    Ok(own)
}

/// What the build is called in the cache: another one for each state of the sources and version of Go.
fn name(folder: &Path, go: &Go, module: &Module) -> anyhow::Result<String> {
    let mut texts = Vec::new();
    for source in module.sources {
        let file = folder.join(source);
        texts.push(fs::read(&file).with_context(|| format!("can't read {}", file.display()))?);
    }
    let version = &go.version;
    Ok(format!(
        "{}-{version}-{OS}-{ARCH}-{:016x}",
        module.name,
        fingerprint(texts.iter().map(Vec::as_slice))
    ))
}

/// FNV-1a over all texts, each with its length. It tells files apart that nobody forges.
fn fingerprint<'a>(texts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for text in texts {
        for byte in text.len().to_le_bytes().iter().chain(text) {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    sum
}

/// Fetches the custom resource definitions.
fn define(folder: &Path, to: &Path) -> anyhow::Result<()> {
    for (module, path, files) in DEFINITIONS {
        let module = folder.join(module);
        exec::run_within(go(&module).args(["mod", "download", path]), BUILD_LIMIT)?;
        let found = exec::output(go(&module).args(["list", "-m", "-f", "{{.Dir}}", path]))?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let place = to.join("definitions").join(name);
        copy_definitions(&Path::new(found.trim()).join(files), &place)?;
    }
    Ok(())
}

fn build(folder: &Path, module: &Module, to: &Path) -> anyhow::Result<()> {
    let Module { name, takes, .. } = module;
    exec::say(format!(
        "building what the module tools/{name} pins, which takes about {takes} once"
    ));
    let mut command = go(&folder.join(name));
    command
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(to)
        .arg("tool");
    exec::run_within(&mut command, BUILD_LIMIT)?;
    for program in module.programs {
        if !to.join(program).is_file() {
            bail!("the module tools/{name} builds no {program}");
        }
    }
    Ok(())
}

/// Formatting and lints of the Go programs here.
pub(crate) fn lint(workspace: &Workspace) -> anyhow::Result<()> {
    let module = workspace.root.join("tools/cluster");
    let mut vet = go(&module);
    exec::run_within(vet.args(["vet", "./keys", "./launch"]), BUILD_LIMIT)?;
    let mut format = Command::new("gofmt");
    let other = exec::output(format.current_dir(&module).args(["-l", "keys", "launch"]))?;
    if !other.is_empty() {
        bail!("gofmt would change {}", other.trim());
    }
    Ok(())
}

fn copy_definitions(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("can't read {}", from.display()))? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && let Some(name) = file.file_name()
        {
            fs::write(to.join(name), fs::read(&file)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_named_by_its_sources_and_the_version_of_go() {
        let folder = tempfile::tempdir().unwrap();
        for source in CLUSTER.sources {
            let file = folder.path().join(source);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, source).unwrap();
        }
        let named = |version: &str| {
            let go = Go {
                version: version.to_owned(),
            };
            name(folder.path(), &go, &CLUSTER).unwrap()
        };
        let first = named("go1.26.8");
        assert_eq!(named("go1.26.8"), first);
        assert_ne!(named("go1.26.9"), first);
        fs::write(folder.path().join("definitions/go.sum"), "another").unwrap();
        assert_ne!(named("go1.26.8"), first);
    }

    #[test]
    fn where_a_text_ends_matters() {
        let sum = |texts: [&str; 2]| fingerprint(texts.into_iter().map(str::as_bytes));
        assert_ne!(sum(["ab", "c"]), sum(["a", "bc"]));
    }
}
