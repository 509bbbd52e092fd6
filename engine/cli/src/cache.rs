//! The compiled cache of the user. Without one plugins are compiled at each start, which is slow and
//! nothing worse: a command goes on, and says at its end what kept it from being written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use phasegate_core::diagnostic::Diagnostic;
use phasegate_registry::{CacheError, DirCache};
use phasegate_runtime::plugin_ports::CompiledCache;

use crate::files;

/// The first full disk that the cache met in this process.
static FULL: OnceLock<Diagnostic> = OnceLock::new();

/// A cache that notes when its disk is full.
struct Noting {
    cache: DirCache,
    folder: PathBuf,
}

impl CompiledCache for Noting {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.cache.get(key)
    }

    fn put(&self, key: &str, entry: &[u8]) -> io::Result<()> {
        self.cache
            .put(key, entry)
            .inspect_err(|error| note(&self.folder, error))
    }
}

/// The cache in this folder, if it can be used.
#[must_use]
pub fn open(folder: &Path) -> Option<Arc<dyn CompiledCache>> {
    match DirCache::open(folder) {
        Ok(cache) => Some(Arc::new(Noting {
            cache,
            folder: folder.to_owned(),
        })),
        Err(CacheError::Unusable { source, .. }) => {
            note(folder, &source);
            None
        }
        Err(CacheError::NotPrivate { .. }) => None,
    }
}

fn note(folder: &Path, error: &io::Error) {
    if files::is_full(error) {
        // A second one says nothing new.
        let _ = FULL.set(fault(folder, error));
    }
}

fn fault(folder: &Path, error: &io::Error) -> Diagnostic {
    files::unwritable(folder, error)
        .hint("make room there: until then plugins are compiled at each start, which is slow and nothing worse")
}

/// What is to be told of a full disk.
#[must_use]
pub fn full() -> Option<&'static Diagnostic> {
    FULL.get()
}
