//! Rust's standard library for `wasm32-unknown-unknown`, which plugins are built with.
//!
//! rustup installs it where it can download. Elsewhere it is built from the library's source in
//! Debian's package `rust-src`, which has to be of the very version of `rustc`: the library uses
//! the unstable features of its own compiler. What was built is kept in the cache, keyed by the
//! compiler, and copied into the toolchain, so that plain `cargo build` works for plugins as well.
//! A toolchain that this user may not change is left alone, and the copy in the cache is used as
//! a second sysroot.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::apt::{self, Mirror};
use crate::exec;
use crate::workspace::Workspace;

/// The target that plugins are built for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The linker that turns a core module into a component; it comes with the toolchain.
pub(crate) const LINKER: &str = "wasm-component-ld";

/// rustup downloads 20 MB; a connection that is dropped silently would take for ever.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Building takes one minute on two idle cores.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// Debian's suites that carry a compiler newer than the release, in the order to be tried.
const SUITES: [&str; 3] = ["trixie-backports", "testing", "unstable"];

/// Names the files that this tool put into a toolchain.
const MARKER: &str = "phasegate-built";

/// The crate that is built only for what it depends on.
const CARRIER: &str = "phasegate_wasm_std";

/// Where a missing standard library may come from.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The cache, rustup, then Debian.
    Auto,
    /// rustup alone.
    Rustup,
    /// The cache or Debian's source, also where the toolchain has the library already.
    Debian,
}

/// How a plugin build finds the standard library.
pub(crate) struct WasmStd {
    /// A sysroot other than the toolchain's own.
    private_sysroot: Option<PathBuf>,
}

impl WasmStd {
    /// Prepares a cargo command that builds for [`TARGET`].
    pub(crate) fn apply(&self, command: &mut Command) {
        // Flags meant for the host, such as those for coverage, would break or bloat a guest;
        // they would also take the place of the ones set here.
        command.env_remove("RUSTFLAGS");
        command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER);
        if let Some(sysroot) = &self.private_sysroot {
            command.env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
                format!("--sysroot={}", sysroot.display()),
            );
        }
    }
}

/// The compiler in use.
struct Toolchain {
    sysroot: PathBuf,
    /// Its version as `rustc` gives it, such as 1.95.0.
    release: String,
    /// Tells builds of one version apart.
    commit: String,
}

impl Toolchain {
    fn of(workspace: &Workspace) -> anyhow::Result<Self> {
        let rustc = |arguments: &[&str]| {
            exec::output(
                Command::new("rustc")
                    .current_dir(&workspace.root)
                    .args(arguments),
            )
        };
        let verbose = rustc(&["-vV"])?;
        let value = |key: &str| {
            verbose
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
                .map(str::to_owned)
                .with_context(|| format!("rustc -vV prints no {key}"))
        };
        Ok(Self {
            sysroot: rustc(&["--print", "sysroot"])?.trim().into(),
            release: value("release")?,
            commit: value("commit-hash")?,
        })
    }

    /// The sysroot in the cache that belongs to this compiler.
    fn cached(&self, workspace: &Workspace) -> PathBuf {
        let commit: String = self.commit.chars().take(12).collect();
        workspace
            .cache
            .join("wasm-std")
            .join(format!("{}-{commit}", self.release))
    }
}

/// The folder of a sysroot that has the target's libraries.
fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// Whether a sysroot has the standard library; it is the last file to be put there.
fn has_std(sysroot: &Path) -> bool {
    fs::read_dir(libraries(sysroot)).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            is_std(&name) && name.ends_with(".rlib")
        })
    })
}

fn is_std(file_name: &str) -> bool {
    file_name.starts_with("libstd-")
}

/// Makes sure that there is a standard library for plugins; cheap when there is one.
pub(crate) fn ensure(workspace: &Workspace, source: Source) -> anyhow::Result<WasmStd> {
    let toolchain = Toolchain::of(workspace)?;
    let own = WasmStd {
        private_sysroot: None,
    };
    remove_duplicates(&toolchain.sysroot)?;
    if has_std(&toolchain.sysroot) && source != Source::Debian {
        return Ok(own);
    }
    fs::create_dir_all(&workspace.cache)
        .with_context(|| format!("can't create {}", workspace.cache.display()))?;
    let lock = File::create(workspace.cache.join("wasm-std.lock"))?;
    lock.lock().context("can't lock the cache")?;

    let cached = toolchain.cached(workspace);
    if !has_std(&cached) && source != Source::Debian {
        let Err(no_rustup) = with_rustup(workspace, &toolchain) else {
            exec::say(format!(
                "rustup installed the standard library for {TARGET}"
            ));
            verify(&own, &toolchain)?;
            return Ok(own);
        };
        exec::say(format!("rustup can't install {TARGET}: {no_rustup:#}"));
        if source == Source::Rustup {
            return Err(no_rustup);
        }
    }
    if !has_std(&cached) {
        build(&toolchain, &cached).with_context(|| advice(&toolchain))?;
    }
    let found = if has_std(&toolchain.sysroot) {
        WasmStd {
            private_sysroot: Some(cached),
        }
    } else {
        install(&cached, &toolchain.sysroot)
    };
    verify(&found, &toolchain)?;
    Ok(found)
}

/// What to do when nothing works, in full, since it is the first thing a newcomer may see.
fn advice(toolchain: &Toolchain) -> String {
    format!(
        "there is no standard library for {TARGET}, and neither rustup nor Debian's packages \
         gave one for rustc {release}.\n  \
         Any one of these helps:\n  \
         - `rustup target add {TARGET}` on a machine that can download;\n  \
         - a toolchain of which Debian has the source (package rust-src in {suites});\n  \
         - the files of another machine's `$(rustc --print sysroot)/lib/rustlib/{TARGET}` \
         with the same `rustc -vV`.\n  \
         The cause",
        release = toolchain.release,
        suites = SUITES.join(", "),
    )
}

/// Two copies of one library are an error for the compiler, so rustup's own wins.
fn remove_duplicates(sysroot: &Path) -> anyhow::Result<()> {
    let marker = sysroot.join("lib/rustlib").join(TARGET).join(MARKER);
    let rustup = sysroot
        .join("lib/rustlib")
        .join(format!("manifest-rust-std-{TARGET}"));
    if !rustup.is_file() || !marker.is_file() {
        return Ok(());
    }
    for name in fs::read_to_string(&marker)?.lines() {
        match fs::remove_file(libraries(sysroot).join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("can't remove the outdated {name}"));
            }
            _ => {}
        }
    }
    fs::remove_file(&marker).context("can't remove the list of outdated libraries")
}

fn with_rustup(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<()> {
    exec::say(format!("asking rustup for {TARGET}"));
    exec::run_within(
        Command::new("rustup")
            .current_dir(&workspace.root)
            .args(["target", "add", TARGET]),
        RUSTUP_LIMIT,
    )?;
    if !has_std(&toolchain.sysroot) {
        bail!(
            "it reports success, but {} has no library",
            toolchain.sysroot.display()
        );
    }
    Ok(())
}

/// Builds the library from Debian's source into the sysroot `cached`.
fn build(toolchain: &Toolchain, cached: &Path) -> anyhow::Result<()> {
    let mirror = Mirror::of_this_machine()
        .context("this machine's apt sources name no mirror of Debian's own archive")?;
    let scratch = tempfile::tempdir()?;
    let mut failures = Vec::new();
    for suite in SUITES {
        exec::say(format!(
            "looking for rust-src {} in Debian's {suite}",
            toolchain.release
        ));
        let folder = scratch.path().join(suite);
        match apt::fetch(&mirror, suite, "rust-src", &toolchain.release, &folder) {
            Ok(package) => return build_from(&package, scratch.path(), cached),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    bail!("{}", failures.join("; "))
}

fn build_from(package: &Path, scratch: &Path, cached: &Path) -> anyhow::Result<()> {
    let library = unpack(package, scratch)?;
    exec::say(format!(
        "building the standard library for {TARGET}, which takes about a minute"
    ));
    let carrier = scratch.join("carrier");
    fs::create_dir_all(carrier.join("src"))?;
    fs::write(
        carrier.join("Cargo.toml"),
        format!(
            "[package]\nname = \"{CARRIER}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [workspace]\n"
        ),
    )?;
    fs::write(carrier.join("src/lib.rs"), "#![no_std]\n")?;
    let target = scratch.join("target");
    exec::run_within(
        exec::cargo(&carrier)
            .args(["build", "--release", "--target", TARGET])
            .arg("-Zbuild-std=std,panic_abort")
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", library)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTC_WRAPPER"),
        BUILD_LIMIT,
    )?;
    let built = target.join(TARGET).join("release/deps");
    let rlibs: Vec<PathBuf> = fs::read_dir(&built)
        .with_context(|| format!("cargo left nothing in {}", built.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "rlib")
        })
        .filter(|path| !path.to_string_lossy().contains(CARRIER))
        .collect();
    copy_libraries(&rlibs, &libraries(cached))?;
    if !has_std(cached) {
        bail!(
            "the build succeeded, but left no library in {}",
            built.display()
        );
    }
    Ok(())
}

/// Unpacks the folder `library` of a `rust-src` package.
fn unpack(package: &Path, scratch: &Path) -> anyhow::Result<PathBuf> {
    let mut reader = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start `dpkg-deb`")?;
    let archive = reader.stdout.take().context("dpkg-deb has no output")?;
    let folder = scratch.join("source");
    fs::create_dir_all(&folder)?;
    exec::run(
        Command::new("tar")
            .arg("-x")
            .arg("-C")
            .arg(&folder)
            .args(["--wildcards", "./usr/src/rustc-*/library/*"])
            .stdin(archive),
    )?;
    if !reader.wait()?.success() {
        bail!("`dpkg-deb` can't read {}", package.display());
    }
    fs::read_dir(folder.join("usr/src"))?
        .flatten()
        .map(|entry| entry.path().join("library"))
        .find(|path| path.join("Cargo.toml").is_file())
        .context("the package rust-src has no folder library")
}

/// Copies whole files, and the one by which the set is recognised last.
fn copy_libraries(files: &[PathBuf], into: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(into)?;
    let mut named: Vec<(String, &PathBuf)> = files
        .iter()
        .filter_map(|file| Some((file.file_name()?.to_string_lossy().into_owned(), file)))
        .collect();
    named.sort_by_key(|(name, _)| is_std(name));
    for (name, file) in &named {
        let partial = into.join(format!(".{name}.partial"));
        fs::copy(file, &partial)?;
        fs::rename(&partial, into.join(name))?;
    }
    Ok(named.into_iter().map(|(name, _)| name).collect())
}

/// Copies the cached library into the toolchain, or says that the cache has to be used in place.
fn install(cached: &Path, sysroot: &Path) -> WasmStd {
    let put = || -> io::Result<()> {
        let files: Vec<PathBuf> = fs::read_dir(libraries(cached))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "rlib")
            })
            .collect();
        let target = sysroot.join("lib/rustlib").join(TARGET);
        fs::create_dir_all(&target)?;
        // The list goes first: a copy that is cut short can still be cleaned up.
        let names: Vec<String> = files
            .iter()
            .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
            .collect();
        fs::write(target.join(MARKER), names.join("\n"))?;
        copy_libraries(&files, &libraries(sysroot)).map(drop)
    };
    match put() {
        Ok(()) => {
            exec::say(format!(
                "the standard library for {TARGET} is now in {}",
                sysroot.display()
            ));
            WasmStd {
                private_sysroot: None,
            }
        }
        Err(error) => {
            exec::say(format!(
                "the toolchain can't be changed ({error}), so plugins are built with {}",
                cached.display()
            ));
            WasmStd {
                private_sysroot: Some(cached.to_owned()),
            }
        }
    }
}

/// What a component starts with; a core module has another version and layer.
const COMPONENT_PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A plugin in miniature: it needs the allocator, and so the library is really linked.
const PROBE: &str = "#[unsafe(no_mangle)]\n\
    pub extern \"C\" fn probe(n: u32) -> usize { vec![1u8; n as usize].len() }\n";

/// Builds a minimal component, so that a library that doesn't work is noticed here.
fn verify(found: &WasmStd, toolchain: &Toolchain) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    fs::create_dir_all(scratch.path().join("src"))?;
    fs::write(
        scratch.path().join("Cargo.toml"),
        "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n[lib]\ncrate-type = [\"cdylib\"]\n\
         [profile.release]\npanic = \"abort\"\n",
    )?;
    fs::write(scratch.path().join("src/lib.rs"), PROBE)?;
    let mut command = exec::cargo(scratch.path());
    command
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .arg("--target-dir")
        .arg(scratch.path().join("target"));
    found.apply(&mut command);
    exec::run(&mut command).with_context(|| {
        format!(
            "the standard library for {TARGET} is there, but a plugin can't be linked with \
             rustc {}",
            toolchain.release
        )
    })?;
    let built = scratch.path().join("target").join(TARGET);
    let bytes = fs::read(built.join("release/probe.wasm"))?;
    if !bytes.starts_with(&COMPONENT_PREAMBLE) {
        bail!("{LINKER} wrote a core module instead of a component");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, names: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        for name in names {
            fs::write(folder.join(name), name).unwrap();
        }
    }

    #[test]
    fn a_built_library_is_installed_and_makes_way_for_rustups() {
        let folder = tempfile::tempdir().unwrap();
        let cached = folder.path().join("cached");
        let sysroot = folder.path().join("toolchain");
        fs::create_dir_all(&sysroot).unwrap();
        put(&libraries(&cached), &["libcore-1.rlib", "libstd-1.rlib"]);
        assert!(has_std(&cached) && !has_std(&sysroot));

        assert_eq!(install(&cached, &sysroot).private_sysroot, None);
        assert!(has_std(&sysroot));
        remove_duplicates(&sysroot).unwrap();
        assert!(has_std(&sysroot), "without rustup's copy ours stays");

        put(&libraries(&sysroot), &["libstd-2.rlib"]);
        let manifest = format!("manifest-rust-std-{TARGET}");
        put(&sysroot.join("lib/rustlib"), &[&manifest]);
        remove_duplicates(&sysroot).unwrap();
        let left: Vec<_> = fs::read_dir(libraries(&sysroot))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["libstd-2.rlib"]);
    }

    #[test]
    fn a_toolchain_that_cannot_be_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cached = folder.path().join("cached");
        put(&libraries(&cached), &["libstd-1.rlib"]);
        // A file where a folder is needed refuses even the superuser.
        let sysroot = folder.path().join("toolchain");
        fs::write(&sysroot, "").unwrap();
        assert_eq!(install(&cached, &sysroot).private_sysroot, Some(cached));
    }

    #[test]
    fn a_copy_that_was_cut_short_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        put(
            &libraries(folder.path()),
            &["libcore-1.rlib", ".libstd-1.rlib.partial"],
        );
        assert!(!has_std(folder.path()));
    }

    #[test]
    fn the_private_sysroot_reaches_the_compiler_and_the_hosts_flags_do_not() {
        let mut command = Command::new("cargo");
        command.env("RUSTFLAGS", "-Cinstrument-coverage");
        let found = WasmStd {
            private_sysroot: Some(PathBuf::from("/cache/std")),
        };
        found.apply(&mut command);
        let value = |name: &str| {
            let (_, value) = command.get_envs().find(|(key, _)| *key == name)?;
            value?.to_str().map(str::to_owned)
        };
        assert_eq!(value("RUSTFLAGS"), None);
        assert_eq!(
            value("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS").as_deref(),
            Some("--sysroot=/cache/std")
        );
    }
}
