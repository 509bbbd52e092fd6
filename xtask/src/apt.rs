//! A Debian package fetched without leaving a trace in the machine's own apt configuration.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::exec;

/// Names under which the Debian archive publishes its own suites.
const DEBIAN_SUITES: [&str; 10] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "experimental",
];

/// Downloading an index or a package of 50 MB takes seconds; a mirror that needs longer hangs.
const FETCH_LIMIT: Duration = Duration::from_secs(300);

/// A place from which the machine gets Debian's own packages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    uri: String,
    /// The value of `Signed-By`, with the line breaks of a key that is given in place.
    signed_by: Option<String>,
}

impl Mirror {
    /// Reads the machine's sources; `None` where apt isn't used for Debian's own archive.
    pub(crate) fn of_this_machine() -> Option<Self> {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        let mut parts: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        parts.sort();
        files.append(&mut parts);
        files.iter().find_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            match file.extension()?.to_str()? {
                "list" => Self::from_one_line_format(&text),
                "sources" => Self::from_deb822(&text),
                _ => None,
            }
        })
    }

    /// The format of `*.list`: `deb [options] uri suite component…`.
    fn from_one_line_format(text: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let line = line.split('#').next()?.trim();
            let rest = line
                .strip_prefix("deb")?
                .strip_prefix([' ', '\t'])?
                .trim_start();
            let (options, rest) = match rest.strip_prefix('[') {
                Some(inner) => inner.split_once(']')?,
                None => ("", rest),
            };
            let mut words = rest.split_whitespace();
            let uri = words.next()?;
            let suite = words.next()?;
            if !is_debian_suite(suite) || !words.any(|component| component == "main") {
                return None;
            }
            let signed_by = options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(str::to_owned);
            Some(Self {
                uri: uri.to_owned(),
                signed_by,
            })
        })
    }

    /// The format of `*.sources`: stanzas of `Field: value`, continued on indented lines.
    fn from_deb822(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::trim_end)
            .collect();
        lines.split(|line| line.is_empty()).find_map(|stanza| {
            let words = |name| field(stanza, name).unwrap_or_default();
            let has = |name, wanted: &str| words(name).split_whitespace().any(|w| w == wanted);
            let enabled = !words("Enabled").trim().eq_ignore_ascii_case("no");
            let suite = words("Suites").split_whitespace().any(is_debian_suite);
            if !(enabled && suite && has("Types", "deb") && has("Components", "main")) {
                return None;
            }
            Some(Self {
                uri: words("URIs").split_whitespace().next()?.to_owned(),
                signed_by: field(stanza, "Signed-By"),
            })
        })
    }

    /// The same mirror and keys, for another suite.
    fn stanza(&self, suite: &str) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n",
            self.uri
        );
        if let Some(keys) = &self.signed_by {
            // Writing to a string can't fail.
            let _ = writeln!(text, "Signed-By: {keys}");
        }
        text
    }
}

/// The value of a field of one stanza, continuation lines included.
fn field(stanza: &[&str], name: &str) -> Option<String> {
    let mut lines = stanza.iter();
    let first = lines.find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })?;
    let mut value = first.to_owned();
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push('\n');
        value.push_str(line);
    }
    Some(value)
}

/// Whether this is a suite of Debian's main archive, and not of security or of a third party.
fn is_debian_suite(suite: &str) -> bool {
    let base = suite
        .strip_suffix("-updates")
        .or_else(|| suite.strip_suffix("-backports"))
        .or_else(|| suite.strip_suffix("-proposed-updates"))
        .unwrap_or(suite);
    DEBIAN_SUITES.contains(&base)
}

/// Fetches the package whose upstream version is exactly `upstream` from `suite` into `folder`.
///
/// Everything that apt writes stays in `folder`.
pub(crate) fn fetch(
    mirror: &Mirror,
    suite: &str,
    package: &str,
    upstream: &str,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let sources = folder.join("phasegate.sources");
    fs::write(&sources, mirror.stanza(suite))?;
    let apt = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(folder);
        for (name, value) in [
            ("Dir::Etc::sourcelist", sources.as_path()),
            ("Dir::Etc::sourceparts", Path::new("-")),
            ("Dir::State::lists", &folder.join("lists")),
            ("Dir::Cache", &folder.join("cache")),
            // The folder is private to this user, so apt's own user can't write into it.
            ("APT::Sandbox::User", Path::new("root")),
        ] {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        }
        command
    };
    exec::run_within(apt("apt-get").args(["-qq", "update"]), FETCH_LIMIT)
        .with_context(|| format!("can't read the index of Debian's {suite}"))?;
    let known = exec::output(apt("apt-cache").args(["madison", package]))?;
    let Some(version) = version_of(&known, upstream) else {
        bail!("Debian's {suite} has no {package} {upstream}");
    };
    let wanted = format!("{package}={version}");
    exec::run_within(
        apt("apt-get").args(["-qq", "download", &wanted]),
        FETCH_LIMIT,
    )?;
    fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")
}

/// Finds the Debian version of an upstream version in the output of `apt-cache madison`.
fn version_of(madison: &str, upstream: &str) -> Option<String> {
    madison.lines().find_map(|line| {
        let version = line.split('|').nth(1)?.trim();
        let after = version.strip_prefix(upstream)?;
        after
            .starts_with(['+', '-', '~'])
            .then(|| version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(uri: &str, signed_by: Option<&str>) -> Option<Mirror> {
        Some(Mirror {
            uri: uri.to_owned(),
            signed_by: signed_by.map(str::to_owned),
        })
    }

    #[test]
    fn deb822_gives_the_main_archive_and_neither_security_nor_third_parties() {
        let text = "\
Types: deb
URIs: https://third.example/apt
Suites: bookworm-pgdg
Components: main

Types: deb
URIs: https://sec.example/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: https://src.example/debian
Suites: bookworm
Components: main

Types: deb deb-src
# a comment inside
URIs: https://deb.example/debian https://second.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg
";
        assert_eq!(
            Mirror::from_deb822(text),
            mirror(
                "https://deb.example/debian",
                Some("/usr/share/keyrings/debian.gpg")
            )
        );
    }

    #[test]
    fn deb822_keeps_a_key_that_is_given_in_place() {
        let text = "types: deb\nuris: http://m/debian\nsuites: trixie\ncomponents: main\n\
                    Signed-By:\n -----BEGIN PGP-----\n .\n abc\nTrusted: no\n";
        let found = Mirror::from_deb822(text).unwrap();
        assert_eq!(
            found.signed_by.as_deref(),
            Some("\n -----BEGIN PGP-----\n .\n abc")
        );
        assert_eq!(
            found.stanza("sid"),
            "Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\n\
             Signed-By: \n -----BEGIN PGP-----\n .\n abc\n"
        );
    }

    #[test]
    fn a_disabled_stanza_is_not_used() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://m/debian\nSuites: trixie\n\
                    Components: main\n";
        assert_eq!(Mirror::from_deb822(text), None);
    }

    #[test]
    fn the_one_line_format_is_read_with_and_without_options() {
        let text = "\
# deb http://old/debian bookworm main
deb-src http://src/debian bookworm main
deb http://sec/debian-security bookworm-security main
deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm-backports main contrib # why
";
        assert_eq!(
            Mirror::from_one_line_format(text),
            mirror("http://m/debian", Some("/k.gpg"))
        );
        assert_eq!(
            Mirror::from_one_line_format("deb\thttp://m/debian stable contrib main"),
            mirror("http://m/debian", None)
        );
        assert_eq!(
            Mirror::from_one_line_format("deb http://m/ubuntu jammy main"),
            None
        );
        assert_eq!(Mirror::from_one_line_format("deb http://m/debian"), None);
    }

    #[test]
    fn only_the_very_same_upstream_version_is_taken() {
        let madison = "  rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://m trixie-backports/main\n  \
                       rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://m trixie-backports/main\n";
        assert_eq!(
            version_of(madison, "1.95.0").as_deref(),
            Some("1.95.0+dfsg1-2~bpo13+1")
        );
        assert_eq!(version_of(madison, "1.9"), None);
        assert_eq!(version_of(madison, "1.97.0"), None);
    }
}
