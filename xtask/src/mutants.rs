//! Mutants: faults that are put into a copy of this repository on purpose, to see that a test catches each.
//!
//! A list that nobody can break isn't worth much: [`list::MUTANTS`] names for each fault the text that it
//! replaces and the test that must fail then. `cargo xtask mutants` tries all, or those that are named.

mod list;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::exec;
use crate::workspace::Workspace;
use list::{MUTANTS, Mutant};

/// What came of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its test failed, as it should.
    Caught,
    /// Its test passed.
    Survived,
    /// No test of that name ran: the code doesn't compile, or the test is called otherwise.
    Untried,
}

/// Tries the mutants whose names contain one of `filter`; all where it is empty.
pub(crate) fn run(workspace: &Workspace, filter: &[String]) -> anyhow::Result<ExitCode> {
    let wanted: Vec<&Mutant> = MUTANTS
        .iter()
        .filter(|mutant| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|part| mutant.name.contains(part.as_str()))
        })
        .collect();
    if wanted.is_empty() {
        bail!("no mutant has a name like that; `xtask/src/mutants/list.rs` names them");
    }
    let tree = copy(workspace)?;
    let mut escaped = 0_usize;
    for (number, mutant) in wanted.iter().enumerate() {
        let fate = try_one(workspace, &tree, mutant)?;
        if fate != Fate::Caught {
            escaped = escaped.saturating_add(1);
        }
        let number = number.saturating_add(1);
        let what = match fate {
            Fate::Caught => format!("caught by {}", mutant.test),
            Fate::Survived => format!("SURVIVED {}", mutant.test),
            Fate::Untried => format!("NOT TRIED: no result of {}", mutant.test),
        };
        println!("{number}/{}  {}: {what}", wanted.len(), mutant.name);
    }
    let caught = wanted.len().saturating_sub(escaped);
    println!("{caught} of {} mutants were caught", wanted.len());
    Ok(if escaped == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A copy of all files that git knows of, in which faults may be put.
fn copy(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let tree = workspace.target.join("mutants");
    let listed = exec::output(
        Command::new("git")
            .current_dir(&workspace.root)
            .args(["ls-files", "-z"]),
    )?;
    let files: BTreeSet<&str> = listed.split('\0').filter(|file| !file.is_empty()).collect();
    let kept = files.iter().map(|file| tree.join(file)).collect();
    remove_others(&tree, &kept)?;
    for file in files {
        let (from, to) = (workspace.root.join(file), tree.join(file));
        let Ok(bytes) = fs::read(&from) else {
            // Removed, and git not yet told.
            continue;
        };
        // What is the same stays as old as it is, so that cargo builds it no second time.
        if fs::read(&to).is_ok_and(|present| present == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, bytes).with_context(|| format!("can't write {}", to.display()))?;
    }
    Ok(tree)
}

/// Takes away what an earlier copy had and this one hasn't.
fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn try_one(workspace: &Workspace, tree: &Path, mutant: &Mutant) -> anyhow::Result<Fate> {
    let path = tree.join(mutant.file);
    let sound = fs::read_to_string(&path).with_context(|| format!("no {}", mutant.file))?;
    fs::write(&path, mutant.applied(&sound)?)?;
    let fate = judge(workspace, tree, mutant);
    fs::write(&path, sound)?;
    fate
}

fn judge(workspace: &Workspace, tree: &Path, mutant: &Mutant) -> anyhow::Result<Fate> {
    let mut command = exec::cargo(&tree.join(mutant.workspace.folder()));
    let target = match mutant.workspace {
        list::In::Root => workspace.target.clone(),
        list::In::Plugins => workspace.guests_target(),
    };
    command.env("CARGO_TARGET_DIR", target);
    command.args(["test", "-p", mutant.package]);
    command.args(mutant.target.iter().copied());
    command.args(["--", "--exact", mutant.test]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't start `{}`", exec::shown(&command)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(fate(&said, mutant.test))
}

/// What the test's own line says.
fn fate(said: &str, test: &str) -> Fate {
    let line = |end: &str| {
        let whole = format!("test {test} ... {end}");
        said.lines().any(|line| line == whole)
    };
    if line("FAILED") {
        Fate::Caught
    } else if line("ok") {
        Fate::Survived
    } else {
        Fate::Untried
    }
}

impl Mutant {
    /// The file's text with the fault in it.
    fn applied(&self, sound: &str) -> anyhow::Result<String> {
        let found = sound.matches(self.find).count();
        if found != 1 {
            bail!(
                "mutant `{}`: its text is in {} {found} times and must be there once",
                self.name,
                self.file
            );
        }
        Ok(sound.replacen(self.find, self.replace, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_its_place_in_the_code_and_its_test() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for mutant in MUTANTS {
            let text = fs::read_to_string(root.join(mutant.file)).unwrap();
            let mutated = mutant.applied(&text).unwrap();
            assert_ne!(mutated, text, "{}", mutant.name);
            let name = mutant.test.rsplit("::").next().unwrap();
            let folder = mutant.file.split("/src/").next().unwrap();
            assert!(
                mentions(&root.join(folder), &format!("fn {name}")),
                "{}: no test {name} in {folder}",
                mutant.name
            );
        }
        let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len(), "a name is there twice");
        assert!(names.len() >= 20);
    }

    fn mentions(folder: &Path, text: &str) -> bool {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries.into_iter().any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return mentions(&path, text);
            }
            path.extension().is_some_and(|extension| extension == "rs")
                && fs::read_to_string(&path).unwrap().contains(text)
        })
    }

    #[test]
    fn a_copy_keeps_nothing_of_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let (kept, gone) = (
            folder.path().join("sub/kept"),
            folder.path().join("sub/gone"),
        );
        fs::write(&kept, "").unwrap();
        fs::write(&gone, "").unwrap();
        remove_others(folder.path(), &BTreeSet::from([kept.clone()])).unwrap();
        assert!(kept.exists() && !gone.exists());
    }

    #[test]
    fn only_the_tests_own_line_counts() {
        let said =
            "running 1 test\ntest a::b ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed";
        assert_eq!(fate(said, "a::b"), Fate::Caught);
        assert_eq!(fate(said, "a"), Fate::Untried);
        assert_eq!(fate("test a::b ... ok\n", "a::b"), Fate::Survived);
        assert_eq!(fate("error: could not compile", "a::b"), Fate::Untried);
    }
}
