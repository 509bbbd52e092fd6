//! The compiled form of components: from the cache where it is whole and fits this engine, else made anew.

use std::hash::{Hash, Hasher};

use phasegate_core::failure::Failure;
use phasegate_runtime::plugin_ports::CompiledCache;
use phasegate_runtime::ports::Component;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component as Compiled;

use crate::fault;

/// Begins every entry; another format is another beginning.
const MAGIC: &[u8] = b"phasegate compiled 1\n";
/// Length of the checksum that follows.
const SUM: usize = 32;
/// Hex digits of the engine's compatibility hash within a key.
const ENGINE_DIGITS: usize = 16;

/// The component compiled for the engine. An entry of the cache that is missing, cut, altered or
/// made for another engine is replaced.
pub(crate) async fn load(
    engine: &Engine,
    cache: Option<&dyn CompiledCache>,
    component: &Component,
) -> Result<Compiled, Failure> {
    let Some(cache) = cache else {
        return compile(engine, component).await;
    };
    let key = key(engine, &component.digest);
    if let Some(compiled) = cache
        .get(&key)
        .and_then(|entry| restore(engine, &key, &entry))
    {
        return Ok(compiled);
    }
    let compiled = compile(engine, component).await?;
    if let Ok(artifact) = compiled.serialize() {
        // A cache that can't be written makes the engine slow, not wrong.
        let _ = cache.put(&key, &seal(&key, &artifact));
    }
    Ok(compiled)
}

/// Compiles beside the executor: it takes tens of milliseconds, and seconds for a Python plugin.
async fn compile(engine: &Engine, component: &Component) -> Result<Compiled, Failure> {
    let engine = engine.clone();
    let bytes = std::sync::Arc::clone(&component.bytes);
    let name = &component.name;
    match tokio::task::spawn_blocking(move || Compiled::from_binary(&engine, &bytes)).await {
        Ok(Ok(compiled)) => Ok(compiled),
        Ok(Err(error)) => Err(fault::not_a_component(name, &fault::chain(&error))),
        Err(_) => Err(fault::not_a_component(name, "the compiler gave up on it")),
    }
}

/// `DIGEST-ENGINE`: which component, compiled by which engine with which settings.
fn key(engine: &Engine, digest: &str) -> String {
    let mut hash = Sum(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hash);
    let mut engine = hex(&hash.0.finalize());
    engine.truncate(ENGINE_DIGITS);
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    let plain = digest.bytes().all(|b| b.is_ascii_alphanumeric()) && digest.len() == 2 * SUM;
    if plain {
        return format!("{}-{engine}", digest.to_ascii_lowercase());
    }
    // No digest as the contract has it: a name is made that can't be anything but a name.
    format!("{}-{engine}", hex(&Sha256::digest(digest.as_bytes())))
}

/// `Hasher` over SHA-256: the standard library's may differ from one release to the next.
struct Sum(Sha256);

impl Hasher for Sum {
    fn finish(&self) -> u64 {
        let sum: [u8; SUM] = self.0.clone().finalize().into();
        sum.iter()
            .take(8)
            .fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The key goes into the checksum, so that one plugin's entry is never taken for another's.
fn checksum(key: &str, artifact: &[u8]) -> [u8; SUM] {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update([0]);
    hash.update(artifact);
    hash.finalize().into()
}

fn seal(key: &str, artifact: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(MAGIC.len() + SUM + artifact.len());
    entry.extend_from_slice(MAGIC);
    entry.extend_from_slice(&checksum(key, artifact));
    entry.extend_from_slice(artifact);
    entry
}

fn open<'a>(key: &str, entry: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, artifact) = entry.strip_prefix(MAGIC)?.split_at_checked(SUM)?;
    (checksum(key, artifact) == sum).then_some(artifact)
}

fn restore(engine: &Engine, key: &str, entry: &[u8]) -> Option<Compiled> {
    let artifact = open(key, entry)?;
    #[expect(
        unsafe_code,
        reason = "wasmtime can't check that compiled code is what a compiler made. The checksum says \
                  that this engine wrote these bytes under this key, and the cache is private to the \
                  user; nothing compiled is ever taken from elsewhere. Version and settings are \
                  checked by wasmtime."
    )]
    let compiled = unsafe { Compiled::deserialize(engine, artifact) };
    compiled.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_whole_or_no_entry() {
        let sealed = seal("a-1", b"machine code");
        assert_eq!(open("a-1", &sealed), Some(&b"machine code"[..]));
        assert_eq!(open("b-1", &sealed), None);
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(open("a-1", &flipped), None, "byte {at}");
            assert_eq!(open("a-1", &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_key_is_a_plain_name_whatever_the_digest_says() {
        let engine = crate::engine::engine().unwrap();
        let digest = "ab".repeat(32);
        let good = key(&engine, &format!("sha256:{digest}"));
        assert!(good.starts_with(&format!("{digest}-")), "{good}");
        assert_eq!(good, key(&crate::engine::engine().unwrap(), &digest));
        for digest in ["../../etc/passwd", "", "sha256:xyz"] {
            let key = key(&engine, digest);
            assert!(key.len() <= phasegate_runtime::plugin_ports::MAX_CACHE_KEY);
            assert!(
                key.bytes()
                    .all(|b| b == b'-' || b.is_ascii_lowercase() || b.is_ascii_digit()),
                "{key}"
            );
        }
    }
}
