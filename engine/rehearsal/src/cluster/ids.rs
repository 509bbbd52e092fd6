//! Names and identifiers that look random and derive from the seed.

use std::fmt::Write as _;

use serde_json::Value;

use super::json;

/// Kubernetes leaves vowels and look-alikes out of generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;

/// A small generator (SplitMix64): the same seed gives the same identifiers in the same order.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    state: u64,
    addresses: u32,
    services: u32,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            addresses: 0,
            services: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A version-4 UUID.
    pub(super) fn uid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            ((low >> 48) & 0x3fff) | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// Five letters, as they end generated names.
    pub(super) fn suffix(&mut self) -> String {
        let mut rest = self.next();
        let mut out = String::with_capacity(SUFFIX);
        for _ in 0..SUFFIX {
            out.push(letter(rest));
            rest /= ALPHABET.len() as u64;
        }
        out
    }

    /// The next address for a pod.
    pub(super) fn pod_ip(&mut self) -> String {
        self.addresses = self.addresses.wrapping_add(1);
        let n = self.addresses % 0xfe_fefe;
        format!(
            "10.{}.{}.{}",
            64 + (n / (254 * 256)) % 64,
            (n / 254) % 256,
            n % 254 + 1
        )
    }

    /// The next address for a Service.
    pub(super) fn cluster_ip(&mut self) -> String {
        self.services = self.services.wrapping_add(1);
        format!(
            "10.43.{}.{}",
            (self.services / 254) % 256,
            self.services % 254 + 1
        )
    }

    /// One of a few nodes.
    pub(super) fn node(&mut self, nodes: u64) -> u64 {
        self.next() % nodes.max(1)
    }
}

fn letter(n: u64) -> char {
    let index = usize::try_from(n % ALPHABET.len() as u64).unwrap_or_default();
    char::from(ALPHABET.get(index).copied().unwrap_or(b'b'))
}

/// Hexadecimal digits in the letters of generated names.
pub(super) fn lettered(digits: &str) -> String {
    let letters = digits.chars().filter_map(|digit| digit.to_digit(16));
    letters.map(|digit| letter(u64::from(digit))).collect()
}

/// The hash that names a ReplicaSet: it depends on the template alone.
pub(super) fn template_hash(template: &Value) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    json::canonical(template, &mut |bytes| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    });
    hash.to_string()
        .bytes()
        .map(|digit| letter(u64::from(digit)))
        .collect()
}

/// A short stable name part out of any text.
pub(super) fn short_hash(parts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut out = String::new();
    let _ = write!(out, "{hash:016x}");
    out
}
