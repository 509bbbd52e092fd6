//! Programs that the tests run against and that come from Debian.
//!
//! The machine's own are used where there are such. Elsewhere Debian's package is unpacked into the
//! cache, and nothing is installed.

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

/// A package, and the programs in it.
pub(crate) struct Package {
    /// What it is called in the cache and for people.
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) suite: &'static str,
    /// The upstream version in that suite.
    pub(crate) version: &'static str,
    pub(crate) programs: &'static [&'static str],
}

impl Package {
    /// The folder that has all programs: one of the search path, or one in the cache.
    pub(crate) fn find(&self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        if let Some(folder) = self.installed(env::var_os("PATH").as_deref()) {
            return Ok(folder);
        }
        self.cached(workspace).with_context(|| {
            format!(
                "there is no {}, which the tests need: put {} on the PATH",
                self.name,
                self.programs.join(" and ")
            )
        })
    }

    /// The first folder of the search path that has all programs.
    fn installed(&self, path: Option<&OsStr>) -> Option<PathBuf> {
        env::split_paths(path?).find(|folder| self.is_in(folder))
    }

    fn is_in(&self, folder: &Path) -> bool {
        self.programs
            .iter()
            .all(|program| folder.join(program).is_file())
    }

    /// Debian's programs in the cache, fetched where they aren't there yet.
    fn cached(&self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let Self { name, version, .. } = self;
        let tools = workspace.cache.join("tools");
        let own = tools.join(format!("{name}-{version}"));
        if self.is_in(&own) {
            return Ok(own);
        }
        fs::create_dir_all(&tools)?;
        // Two work trees that need it at once fetch it once.
        let lock = File::create(tools.join(format!("{name}.lock")))?;
        lock.lock().context("can't lock the cache")?;
        if self.is_in(&own) {
            return Ok(own);
        }
        let mirror = Mirror::of_this_machine()
            .context("this machine's apt sources name no mirror of Debian's own archive")?;
        let suite = self.suite;
        exec::say(format!("fetching {name} {version} from Debian's {suite}"));
        // Within the cache, so that what is complete can be moved to its place.
        let scratch = tempfile::tempdir_in(&tools)?;
        let package = apt::fetch(&mirror, suite, self.package, version, scratch.path())?;
        let unpacked = scratch.path().join("unpacked");
        exec::run(
            Command::new("dpkg-deb")
                .arg("-x")
                .args([&package, &unpacked]),
        )?;
        let programs = unpacked.join("usr/bin");
        if !self.is_in(&programs) {
            bail!("Debian's package has no {}", self.programs.join(" and "));
        }
        fs::rename(&programs, &own).with_context(|| format!("can't write {}", own.display()))?;
        Ok(own)
    }
}

/// Puts a link to `program` at `place`, unless one is there already.
pub(crate) fn point(place: &Path, program: &Path) -> anyhow::Result<()> {
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
    fn only_a_folder_with_all_programs_will_do() {
        let package = Package {
            name: "p",
            package: "p",
            suite: "sid",
            version: "1",
            programs: &["server", "tool"],
        };
        let folder = tempfile::tempdir().unwrap();
        let (half, whole) = (folder.path().join("half"), folder.path().join("whole"));
        for place in [&half, &whole] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("server"), "").unwrap();
        }
        let path = env::join_paths([&half, &whole]).unwrap();
        assert_eq!(package.installed(Some(&path)), None);
        fs::write(whole.join("tool"), "").unwrap();
        assert_eq!(package.installed(Some(&path)), Some(whole));
        assert_eq!(package.installed(None), None);
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
