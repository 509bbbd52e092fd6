//! Names that nobody else has, of runs and of engines, and seeds.

use std::fmt::Write as _;

use phasegate_core::time::Timestamp;
use rustix::rand::{GetRandomFlags, getrandom};

/// Random bytes in a name: six hexadecimal digits.
const RANDOM_BYTES: usize = 3;
/// Most characters of the machine's name in an engine's.
const MAX_HOST: usize = 40;
/// How often a request for random bytes that a signal interrupted is made again.
const ATTEMPTS: u32 = 8;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct Error(#[source] std::io::Error);

/// A run's id: `<release>-<yyyymmdd>-<six hexadecimal digits>`, by the day in UTC.
///
/// # Errors
/// Where the operating system gives no random bytes.
pub fn run_id(release: &str, now: Timestamp) -> Result<String, Error> {
    let date: String = now
        .to_string()
        .chars()
        .take_while(|c| *c != 'T')
        .filter(char::is_ascii_digit)
        .collect();
    Ok(format!("{release}-{date}-{}", random_hex()?))
}

/// An engine's id: the machine's name, the process, and six hexadecimal digits, since numbers of
/// processes come again.
///
/// # Errors
/// Where the operating system gives no random bytes.
pub fn engine_id() -> Result<String, Error> {
    let system = rustix::system::uname();
    let host: String = system
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(MAX_HOST)
        .collect();
    Ok(format!("{host}-{}-{}", std::process::id(), random_hex()?))
}

/// A number that nobody can foresee.
///
/// # Errors
/// Where the operating system gives no random bytes.
pub fn seed() -> Result<u64, Error> {
    Ok(u64::from_le_bytes(random()?))
}

/// Thirty-two bytes that nobody can foresee.
pub(crate) fn block() -> Result<[u8; 32], Error> {
    random()
}

fn random_hex() -> Result<String, Error> {
    let mut hex = String::with_capacity(2 * RANDOM_BYTES);
    for byte in random::<RANDOM_BYTES>()? {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut random = [0_u8; N];
    let mut last = rustix::io::Errno::INTR;
    for _ in 0..ATTEMPTS {
        match getrandom(&mut random, GetRandomFlags::empty()) {
            Ok(length) if length == N => return Ok(random),
            // Fewer bytes than asked for count as interrupted.
            Ok(_) => {}
            Err(error) => {
                last = error;
                if error != rustix::io::Errno::INTR {
                    break;
                }
            }
        }
    }
    Err(Error(last.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_after_its_release_and_its_day() {
        let at: Timestamp = "2026-11-17T23:30:00-05:00".parse().unwrap();
        let id = run_id("hello", at).unwrap();
        let random = id.strip_prefix("hello-20261118-").unwrap();
        assert_eq!(random.len(), 6);
        assert!(random.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }

    #[test]
    fn names_differ() {
        // Twenty draws of 24 bits that are all equal would mean that nothing is random.
        let first = engine_id().unwrap();
        assert!((0..20).any(|_| engine_id().unwrap() != first));
        assert!(first.contains(&format!("-{}-", std::process::id())));
    }
}
