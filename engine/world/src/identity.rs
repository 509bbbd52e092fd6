//! Who runs the engine, as far as the operating system vouches for it.

#![expect(clippy::disallowed_methods, reason = "the list of accounts is a file")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use phasegate_core::event::Identity;

/// Most bytes of the account file that are read.
const MAX_ACCOUNTS: u64 = 4 << 20;
/// Most characters of an account's name.
const MAX_NAME: usize = 64;

/// The account that this process runs under.
///
/// The name comes from `/etc/passwd` by the process's user id, and not from `USER` or `LOGNAME`,
/// which anybody can set. An account that isn't listed there (one of a directory service, or of a
/// container) is called `uid-<number>`.
#[must_use]
pub fn os_account() -> Identity {
    identity(rustix::process::getuid().as_raw(), Path::new("/etc/passwd"))
}

fn identity(uid: u32, accounts: &Path) -> Identity {
    Identity {
        name: name_of(uid, accounts).unwrap_or_else(|| format!("uid-{uid}")),
        verified_by: format!("os-account:{uid}"),
    }
}

fn name_of(uid: u32, accounts: &Path) -> Option<String> {
    let file = File::open(accounts).ok()?;
    let mut reader = BufReader::new(file.take(MAX_ACCOUNTS));
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&line);
        let mut fields = text.split(':');
        let (Some(name), Some(_), Some(found)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if found.parse() == Ok(uid) && is_name(name) {
            return Some(name.to_owned());
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.chars().all(|c| c.is_ascii_graphic() && c != '/')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn accounts(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    #[test]
    fn an_account_is_found_by_its_number() {
        let file = accounts(b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n");
        let found = identity(1000, file.path());
        assert_eq!(
            (found.name.as_str(), found.verified_by.as_str()),
            ("ada", "os-account:1000")
        );
    }

    #[test]
    fn an_account_that_is_not_listed_is_called_by_its_number() {
        let file = accounts(b"\xff\xfe:x\n:x:7:\nev\x1bil:x:7:7::/:\n");
        assert_eq!(identity(7, file.path()).name, "uid-7");
        assert_eq!(identity(7, Path::new("/does/not/exist")).name, "uid-7");
    }
}
