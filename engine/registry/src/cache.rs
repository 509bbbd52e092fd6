//! Compiled plugins in a folder of the user.
//!
//! What is in it is run as machine code. So the folder must be the user's own and writable by nobody
//! else, and so must each entry; the host checks a checksum besides. An entry needs no flush to
//! disk: one that a power cut damaged is compiled again.

#![expect(
    clippy::disallowed_methods,
    reason = "compiled plugins are kept in files"
)]

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use phasegate_runtime::plugin_ports::{CompiledCache, MAX_CACHE_ENTRY, MAX_CACHE_KEY};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use crate::files::{self, Content};

/// Most bytes of all entries together; those not used for longest go first.
pub const MAX_CACHE_BYTES: u64 = 1 << 30;
/// Most files that are looked at when room is made.
const MAX_FILES: usize = 10_000;
/// Rights to write of others than the owner.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A folder that can't be used for compiled plugins. The engine can go on without it, only slower.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It is missing and can't be made, or can't be looked at.
    #[error("the folder {} for compiled plugins can't be made", folder.display())]
    Unusable {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else could put machine code into it.
    #[error("{} for compiled plugins must be a folder of this user that nobody else may write to, but is {found}", folder.display())]
    NotPrivate {
        /// Which.
        folder: PathBuf,
        /// What it is instead.
        found: String,
    },
}

/// `$XDG_CACHE_HOME/phasegate/compiled`, else `~/.cache/phasegate/compiled`; none where neither is
/// set to an absolute path.
#[must_use]
pub fn default_cache_dir(xdg_cache_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    xdg_cache_home
        .and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".cache")))
        .map(|cache| cache.join("phasegate").join("compiled"))
}

/// The compiled cache in a folder.
#[derive(Debug)]
pub struct DirCache {
    folder: PathBuf,
    most: u64,
    /// Tells temporary files of one process apart.
    written: AtomicU64,
}

impl DirCache {
    /// The cache in this folder, which is made where it is missing, with [`MAX_CACHE_BYTES`].
    ///
    /// # Errors
    /// Where the folder can't be made, or isn't private to the user.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, CacheError> {
        Self::with_limit(folder, MAX_CACHE_BYTES)
    }

    /// The same with another limit on the bytes of all entries together.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_limit(folder: impl Into<PathBuf>, most: u64) -> Result<Self, CacheError> {
        let folder = folder.into();
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        let meta = match made.and_then(|()| fs::symlink_metadata(&folder)) {
            Ok(meta) => meta,
            Err(source) => return Err(CacheError::Unusable { folder, source }),
        };
        if !meta.is_dir() || !private(&meta) {
            let found = format!(
                "{} of user {} with mode {:03o}",
                if meta.is_dir() {
                    "a folder"
                } else {
                    "a link or file"
                },
                meta.uid(),
                meta.mode() & 0o777
            );
            return Err(CacheError::NotPrivate { folder, found });
        }
        Ok(Self {
            folder,
            most,
            written: AtomicU64::new(0),
        })
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let well_formed = !key.is_empty() && key.len() <= MAX_CACHE_KEY && key.bytes().all(plain);
        well_formed.then(|| self.folder.join(key))
    }

    /// Removes what was not used for longest until the rest and `needed` bytes fit.
    fn make_room(&self, needed: u64, keep: &Path) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for file in fs::read_dir(&self.folder)?.flatten().take(MAX_FILES) {
            if let Ok(meta) = file.metadata()
                && meta.is_file()
                && file.path() != keep
            {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((used, meta.len(), file.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total.saturating_add(needed) <= self.most {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => {}
                // Another process made room too.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            total = total.saturating_sub(size);
        }
        Ok(())
    }
}

impl CompiledCache for DirCache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        let Content::Whole(bytes, file) = files::read(&path, MAX_CACHE_ENTRY).ok()? else {
            return None;
        };
        if !private(&file.metadata().ok()?) {
            return None;
        }
        touch(&file);
        Some(bytes)
    }

    fn put(&self, key: &str, entry: &[u8]) -> io::Result<()> {
        let refuse = |why: &str| Err(io::Error::new(ErrorKind::InvalidInput, why.to_owned()));
        let Some(path) = self.path(key) else {
            return refuse("not a key of the cache");
        };
        let size = entry.len() as u64;
        if entry.len() > MAX_CACHE_ENTRY || size > self.most {
            return refuse("larger than the cache may be");
        }
        self.make_room(size, &path)?;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{key}.{}.{number}", std::process::id());
        let temporary = self.folder.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(entry))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            // Nothing more can be done about it; room is made of it later.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Notes the use of an entry. Where that fails it goes earlier than it had to.
fn touch(file: &File) {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    let _ = futimens(file, &times);
}

fn private(meta: &Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & WRITABLE_BY_OTHERS == 0
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files as they are")]
mod tests {
    use std::fs::{FileTimes, Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_entry_is_kept_replaced_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/b/compiled");
        let cache = DirCache::open(&folder).unwrap();
        assert_eq!(cache.get("k1"), None);
        cache.put("k1", b"one").unwrap();
        cache.put("k1", b"two").unwrap();
        assert_eq!(
            DirCache::open(&folder).unwrap().get("k1").as_deref(),
            Some(&b"two"[..])
        );
        assert_eq!(names(&folder), ["k1"]);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(
            fs::metadata(folder.join("k1")).unwrap().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn keys_that_are_no_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DirCache::open(folder.path().join("c")).unwrap();
        fs::write(folder.path().join("outside"), "x").unwrap();
        for key in [
            "../outside",
            "",
            ".",
            "a/b",
            "A",
            &"a".repeat(MAX_CACHE_KEY + 1),
        ] {
            assert!(cache.put(key, b"x").is_err(), "{key}");
            assert_eq!(cache.get(key), None, "{key}");
        }
    }

    #[test]
    fn what_others_may_write_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("c");
        let cache = DirCache::open(&folder).unwrap();
        cache.put("k", b"x").unwrap();
        set_permissions(folder.join("k"), Permissions::from_mode(0o620)).unwrap();
        assert_eq!(cache.get("k"), None);
        set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let fault = DirCache::open(&folder).unwrap_err();
        assert!(fault.to_string().contains("mode 777"), "{fault}");
        let link = folder.with_extension("link");
        set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(DirCache::open(&link).is_err());
    }

    #[test]
    fn room_is_made_by_what_was_not_used_for_longest() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DirCache::with_limit(folder.path().join("c"), 30).unwrap();
        for (age, key) in [(300, "old"), (200, "used"), (100, "new")] {
            cache.put(key, &[0; 10]).unwrap();
            let file = File::open(folder.path().join("c").join(key)).unwrap();
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
            file.set_times(FileTimes::new().set_modified(then)).unwrap();
        }
        assert!(cache.get("old").is_some());
        cache.put("more", &[0; 15]).unwrap();
        assert_eq!(names(&folder.path().join("c")), ["more", "old"]);
        assert!(cache.put("giant", &[0; 31]).is_err());
        assert_eq!(names(&folder.path().join("c")), ["more", "old"]);
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let dir = |xdg: Option<&str>, home: Option<&str>| {
            default_cache_dir(xdg.map(OsStr::new), home.map(OsStr::new))
        };
        assert_eq!(
            dir(Some("/x"), Some("/h")),
            Some("/x/phasegate/compiled".into())
        );
        assert_eq!(
            dir(Some("relative"), Some("/h")),
            Some("/h/.cache/phasegate/compiled".into())
        );
        assert_eq!(dir(None, None), None);
    }
}
