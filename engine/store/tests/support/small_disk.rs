//! A disk so small that it fills up.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Set where the tests run in a namespace of their own, in which they may mount.
const AGAIN: &str = "PHASEGATE_TEST_SMALL_DISK";
/// What is written at once to fill it.
const BLOCK: usize = 4096;

/// A file system in memory, mounted until it is dropped.
pub(crate) struct SmallDisk {
    place: tempfile::TempDir,
}

/// Runs a test on a small disk. `name` is the test's own, with its modules: who may not mount runs it
/// once more in a namespace, and where that can't be had either it fails.
pub(crate) fn on_small_disk(name: &str, options: &str, test: impl FnOnce(&SmallDisk)) {
    // A program that another test starts has copies of the open files until it begins: what was removed
    // would keep its room.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match SmallDisk::mount(options) {
        Ok(disk) => test(&disk),
        Err(why) => {
            assert!(std::env::var_os(AGAIN).is_none(), "{why}");
            let again = Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount"])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(AGAIN, "1")
                .output();
            let output = again.unwrap_or_else(|error| panic!("{why}; unshare: {error}"));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{why}\n{said}\n{errors}");
            assert!(said.contains("1 passed"), "{name} is not its name:\n{said}");
        }
    }
}

impl SmallDisk {
    fn mount(options: &str) -> Result<Self, String> {
        let place = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "phasegate-test"])
            .arg(place.path())
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if mounted.status.success() {
            return Ok(Self { place });
        }
        Err(String::from_utf8_lossy(&mounted.stderr).into_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    /// Fills it but for so many blocks of 4 KiB.
    pub(crate) fn fill_but(&self, blocks: usize) {
        let mut file = File::create(self.filler()).unwrap();
        let mut length = 0;
        loop {
            match file.write(&[1; BLOCK]) {
                Ok(written) => length += written,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        let left = length.saturating_sub(blocks * BLOCK);
        file.set_len(left as u64).unwrap();
    }

    /// Takes all names but so many, where the number of files is limited.
    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub(crate) fn take_names_but(&self, names: usize) {
        let folder = self.filler();
        fs::create_dir(&folder).unwrap();
        let path = |number: usize| folder.join(number.to_string());
        let mut made = 0;
        loop {
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path(made))
            {
                Ok(_) => made += 1,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        for number in made - names..made {
            fs::remove_file(path(number)).unwrap();
        }
    }

    /// Lets nobody write to it from now on.
    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub(crate) fn only_read(&self) {
        // A process that was told to end keeps its files open for a moment.
        for _ in 0..100 {
            let done = Command::new("mount")
                .args(["-o", "remount,ro"])
                .arg(self.path())
                .output();
            if done.unwrap().status.success() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the disk can't be made read-only");
    }

    /// Makes room again.
    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub(crate) fn free(&self) {
        let filler = self.filler();
        if filler.is_dir() {
            fs::remove_dir_all(filler).unwrap();
        } else {
            fs::remove_file(filler).unwrap();
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failed test leaves behind may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
