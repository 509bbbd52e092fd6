//! Prometheus, against which the gate of that name is tested.
//!
//! The machine's own is used where there is one. Elsewhere Debian's package is unpacked into the
//! cache, and nothing is installed. The tests find the programs in `<target>/tools`.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::apt::{self, Mirror};
use crate::exec;
use crate::workspace::Workspace;

/// The server, and the tool that writes its blocks.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Debian's suite and the version in it.
const SUITE: &str = "bookworm";
const VERSION: &str = "2.42.0";

/// Makes the programs available to the tests.
pub(crate) fn ensure(workspace: &Workspace) -> anyhow::Result<()> {
    let found = match installed(env::var_os("PATH").as_deref()) {
        Some(folder) => folder,
        None => cached(workspace).with_context(|| {
            format!(
                "there is no Prometheus, which the tests need: put {} on the PATH",
                PROGRAMS.join(" and ")
            )
        })?,
    };
    let tools = workspace.tools();
    fs::create_dir_all(&tools)?;
    for program in PROGRAMS {
        point(&tools.join(program), &found.join(program))?;
    }
    Ok(())
}

/// The first folder of the search path that has all programs.
fn installed(path: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(path?).find(|folder| has_all(folder))
}

fn has_all(folder: &Path) -> bool {
    PROGRAMS
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Debian's programs in the cache, fetched where they aren't there yet.
fn cached(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let tools = workspace.cache.join("tools");
    let own = tools.join(format!("prometheus-{VERSION}"));
    if has_all(&own) {
        return Ok(own);
    }
    fs::create_dir_all(&tools)?;
    // Two work trees that need it at once fetch it once.
    let lock = File::create(tools.join("prometheus.lock"))?;
    lock.lock().context("can't lock the cache")?;
    if has_all(&own) {
        return Ok(own);
    }
    let mirror = Mirror::of_this_machine()
        .context("this machine's apt sources name no mirror of Debian's own archive")?;
    exec::say(format!(
        "fetching Prometheus {VERSION} from Debian's {SUITE}"
    ));
    // Within the cache, so that what is complete can be moved to its place.
    let scratch = tempfile::tempdir_in(&tools)?;
    let package = apt::fetch(&mirror, SUITE, "prometheus", VERSION, scratch.path())?;
    let unpacked = scratch.path().join("unpacked");
    exec::run(
        Command::new("dpkg-deb")
            .arg("-x")
            .args([&package, &unpacked]),
    )?;
    let programs = unpacked.join("usr/bin");
    if !has_all(&programs) {
        bail!("Debian's package has no {}", PROGRAMS.join(" and "));
    }
    fs::rename(&programs, &own).with_context(|| format!("can't write {}", own.display()))?;
    Ok(own)
}

/// Puts a link to `program` at `place`, unless one is there already.
fn point(place: &Path, program: &Path) -> anyhow::Result<()> {
    if fs::read_link(place).is_ok_and(|there| there == program) {
        return Ok(());
    }
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("can't replace {}", place.display()));
        }
        _ => {}
    }
    link(program, place).with_context(|| format!("can't write {}", place.display()))
}

#[cfg(unix)]
fn link(program: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(program, place)
}

#[cfg(not(unix))]
fn link(program: &Path, place: &Path) -> io::Result<()> {
    fs::copy(program, place).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_with_both_programs_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let (half, whole) = (folder.path().join("half"), folder.path().join("whole"));
        for place in [&half, &whole] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("prometheus"), "").unwrap();
        }
        let path = env::join_paths([&half, &whole]).unwrap();
        assert_eq!(installed(Some(&path)), None);
        fs::write(whole.join("promtool"), "").unwrap();
        assert_eq!(installed(Some(&path)), Some(whole));
        assert_eq!(installed(None), None);
    }

    #[test]
    fn a_link_is_replaced_when_it_leads_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["old", "new"] {
            fs::write(file(name), name).unwrap();
        }
        for name in ["old", "new", "new"] {
            point(&file("link"), &file(name)).unwrap();
            assert_eq!(fs::read_to_string(file("link")).unwrap(), name);
        }
    }
}
