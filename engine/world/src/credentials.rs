//! Credentials from environment variables and files, each for the hosts that it is meant for.
//!
//! A credential is read when it is needed and not kept, so that one that is renewed while a run
//! goes on (a mounted token) is taken up. No error says anything of its value.

#![expect(clippy::disallowed_methods, reason = "credentials are read from files")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use phasegate_runtime::plugin_ports::{CredentialError, CredentialHeader, Credentials, Secret};

/// Most bytes of a credential.
pub const MAX_CREDENTIAL: usize = 64 << 10;
/// Most credentials of a release.
pub const MAX_CREDENTIALS: usize = 200;

/// Where the text of a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable.
    Env(String),
    /// A file, with or without a newline at its end.
    File(PathBuf),
}

/// A credential as a release or a policy defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Where its text comes from.
    pub source: Source,
    /// The authorities that it may be sent to: `sentry.io:443`, or `*.sentry.io:443` for all hosts
    /// beneath one. Without a port it is for every port of the host. Empty: none.
    pub authorities: Vec<String>,
    /// The keys of Secrets that it may become the value of: `db/password`.
    pub secrets: Vec<String>,
    /// The header that carries it; `authorization` if not said.
    pub header: Option<String>,
    /// Whether it is a whole address, that a request is sent to in place of the one that names it.
    pub url: bool,
    /// What stands before it in the header, for example `Bearer `; that, for `authorization`, if
    /// not said, and nothing for any other header.
    pub prefix: Option<String>,
}

/// The credentials of a release.
#[derive(Clone, Debug, Default)]
pub struct LocalCredentials {
    defined: BTreeMap<String, Credential>,
}

/// Too many credentials.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} credentials are more than the {MAX_CREDENTIALS} that can be used")]
pub struct TooMany(usize);

impl LocalCredentials {
    /// The credentials by name. Nothing is read yet.
    ///
    /// # Errors
    /// Where there are more than [`MAX_CREDENTIALS`].
    pub fn new(defined: BTreeMap<String, Credential>) -> Result<Self, TooMany> {
        if defined.len() > MAX_CREDENTIALS {
            return Err(TooMany(defined.len()));
        }
        Ok(Self { defined })
    }

    /// Whether each credential can be read now: its name with what is wrong. For a check before
    /// anything changes.
    #[must_use]
    pub fn missing(&self) -> Vec<CredentialError> {
        self.defined
            .iter()
            .filter_map(|(name, credential)| read_now(name, credential).err())
            .collect()
    }
}

#[async_trait]
impl Credentials for LocalCredentials {
    async fn header(
        &self,
        name: &str,
        authority: &str,
    ) -> Result<CredentialHeader, CredentialError> {
        let credential = self.meant_for(name, authority)?;
        let text = read(name, credential).await?;
        let header = credential
            .header
            .as_deref()
            .unwrap_or("authorization")
            .to_ascii_lowercase();
        let prefix = match &credential.prefix {
            Some(prefix) => prefix,
            None if header == "authorization" => "Bearer ",
            None => "",
        };
        Ok(CredentialHeader {
            name: header,
            value: Secret::new(format!("{prefix}{}", text.expose())),
            secret: text,
        })
    }

    async fn address(
        &self,
        name: &str,
        authority: &str,
    ) -> Result<Option<Secret>, CredentialError> {
        let credential = self.meant_for(name, authority)?;
        if !credential.url {
            return Ok(None);
        }
        read(name, credential).await.map(Some)
    }

    async fn value(&self, name: &str, secret: &str, key: &str) -> Result<Secret, CredentialError> {
        let credential = self
            .defined
            .get(name)
            .ok_or_else(|| CredentialError::Unknown(name.to_owned()))?;
        let place = format!("{secret}/{key}");
        if !credential.secrets.contains(&place) {
            return Err(CredentialError::NotFor {
                name: name.to_owned(),
                authority: place,
            });
        }
        read(name, credential).await
    }
}

impl LocalCredentials {
    fn meant_for(&self, name: &str, authority: &str) -> Result<&Credential, CredentialError> {
        let credential = self
            .defined
            .get(name)
            .ok_or_else(|| CredentialError::Unknown(name.to_owned()))?;
        if credential.authorities.iter().any(|a| covers(a, authority)) {
            return Ok(credential);
        }
        Err(CredentialError::NotFor {
            name: name.to_owned(),
            authority: authority.to_owned(),
        })
    }
}

/// Whether an entry of the allow-list covers an authority (`host:port`). Hosts are compared without
/// regard to case; `*.` stands for one or more labels.
fn covers(entry: &str, authority: &str) -> bool {
    let entry = entry.to_ascii_lowercase();
    let authority = authority.to_ascii_lowercase();
    let (host, port) = split(&authority);
    let (allowed_host, allowed_port) = split(&entry);
    let host_fits = match allowed_host.strip_prefix("*.") {
        Some(parent) => host
            .strip_suffix(parent)
            .and_then(|below| below.strip_suffix('.'))
            .is_some_and(|below| !below.is_empty()),
        None => host == allowed_host,
    };
    host_fits && !host.is_empty() && (allowed_port.is_none() || allowed_port == port)
}

/// Host and port; the colons of an IPv6 address stand in brackets.
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Reads a credential where a file system that doesn't answer holds up nobody else.
async fn read(name: &str, credential: &Credential) -> Result<Secret, CredentialError> {
    let (name, credential) = (name.to_owned(), credential.clone());
    let lost = CredentialError::Unavailable {
        name: name.clone(),
        detail: "it could not be read".to_owned(),
    };
    let reading = tokio::task::spawn_blocking(move || read_now(&name, &credential));
    reading.await.unwrap_or(Err(lost))
}

fn read_now(name: &str, credential: &Credential) -> Result<Secret, CredentialError> {
    let unavailable = |detail: String| CredentialError::Unavailable {
        name: name.to_owned(),
        detail,
    };
    let bytes = match &credential.source {
        Source::Env(variable) => std::env::var_os(variable)
            .map(OsString::into_encoded_bytes)
            .ok_or_else(|| {
                unavailable(format!("the environment variable {variable} is not set"))
            })?,
        Source::File(path) => {
            read_file(path).map_err(|error| unavailable(format!("{}: {error}", path.display())))?
        }
    };
    if bytes.len() > MAX_CREDENTIAL {
        return Err(unavailable(format!(
            "it has more than {MAX_CREDENTIAL} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| unavailable("it is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(unavailable("it is empty".to_owned()));
    }
    // What is sent nowhere goes into no header: a private key has many lines.
    if !credential.authorities.is_empty() && text.chars().any(char::is_control) {
        return Err(unavailable(
            "it holds a line break or another control character, which no header can carry"
                .to_owned(),
        ));
    }
    Ok(Secret::new(text))
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would be waited for, and could be read only once.
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let limit = u64::try_from(MAX_CREDENTIAL).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn one(source: Source, authorities: &[&str]) -> LocalCredentials {
        let credential = Credential {
            source,
            authorities: authorities.iter().map(|a| (*a).to_owned()).collect(),
            secrets: vec!["db/password".to_owned()],
            header: None,
            url: false,
            prefix: None,
        };
        LocalCredentials::new(BTreeMap::from([("token".to_owned(), credential)])).unwrap()
    }

    fn file(content: &[u8]) -> (tempfile::NamedTempFile, Source) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let source = Source::File(file.path().to_owned());
        (file, source)
    }

    #[test]
    fn a_token_in_a_file_becomes_a_header_without_its_newline() {
        let (_file, source) = file(b"hunter2\n");
        let credentials = one(source, &["sentry.io:443"]);
        let header = block_on(credentials.header("token", "Sentry.io:443")).unwrap();
        assert_eq!(header.name, "authorization");
        assert_eq!(header.value.expose(), "Bearer hunter2");
        assert!(!format!("{header:?}").contains("hunter2"));
        assert_eq!(credentials.missing(), []);
    }

    #[test]
    fn a_whole_address_is_given_for_its_hosts_only_and_no_other_credential_is_one() {
        let (_file, source) = file(b"https://hooks.slack.com/services/T0/B0/hunter2\n");
        let mut credentials = one(source, &["hooks.slack.com:443"]);
        let plain = block_on(credentials.address("token", "hooks.slack.com:443"));
        assert!(plain.unwrap().is_none());
        credentials.defined.get_mut("token").unwrap().url = true;
        let address = block_on(credentials.address("token", "hooks.slack.com:443"));
        let address = address.unwrap().unwrap();
        assert!(address.expose().ends_with("/T0/B0/hunter2"));
        assert!(!format!("{address:?}").contains("hunter2"));
        let refused = block_on(credentials.address("token", "evil.example:443")).unwrap_err();
        assert!(matches!(refused, CredentialError::NotFor { .. }));
    }

    #[test]
    fn a_credential_becomes_the_value_of_its_own_keys_only() {
        let (_file, source) = file(b"-----BEGIN-----\nhunter2\n-----END-----\n");
        let credentials = one(source, &[]);
        assert_eq!(credentials.missing(), []);
        let value = block_on(credentials.value("token", "db", "password")).unwrap();
        assert_eq!(value.expose(), "-----BEGIN-----\nhunter2\n-----END-----");
        for (secret, key) in [("db", "user"), ("other", "password"), ("d", "b/password")] {
            let refused = block_on(credentials.value("token", secret, key)).unwrap_err();
            assert!(
                matches!(refused, CredentialError::NotFor { .. }),
                "{refused}"
            );
        }
        // And it goes into no header.
        let refused = block_on(credentials.header("token", "sentry.io:443")).unwrap_err();
        assert!(
            matches!(refused, CredentialError::NotFor { .. }),
            "{refused}"
        );
    }

    #[test]
    fn a_credential_goes_to_its_own_hosts_only() {
        for (entry, authority, covered) in [
            ("sentry.io:443", "sentry.io:443", true),
            ("sentry.io:443", "sentry.io:80", false),
            ("sentry.io", "sentry.io:8443", true),
            ("*.sentry.io:443", "eu.sentry.io:443", true),
            ("*.sentry.io:443", "sentry.io:443", false),
            ("*.sentry.io:443", "evilsentry.io:443", false),
            ("*.sentry.io:443", ".sentry.io:443", false),
            ("[::1]:80", "[::1]:80", true),
            ("[::1]", "[::1]:80", true),
            ("", ":80", false),
        ] {
            assert_eq!(covers(entry, authority), covered, "{entry} {authority}");
        }
        let (_file, source) = file(b"x");
        let credentials = one(source, &["sentry.io:443"]);
        let refused = block_on(credentials.header("token", "evil.example:443")).unwrap_err();
        assert!(matches!(refused, CredentialError::NotFor { .. }));
        let unknown = block_on(credentials.header("other", "sentry.io:443")).unwrap_err();
        assert_eq!(unknown, CredentialError::Unknown("other".to_owned()));
    }

    #[test]
    fn a_source_that_gives_nothing_usable_is_named_without_its_content() {
        let large = vec![b'a'; MAX_CREDENTIAL + 1];
        for content in [&b""[..], b"\n", b"hunter2\nhunter3", b"\xffhunter2", &large] {
            let (_file, source) = file(content);
            let missing = one(source, &["sentry.io"]).missing();
            let text = missing.first().unwrap().to_string();
            assert!(text.contains("token") && !text.contains("hunter"), "{text}");
        }
        let folder = Source::File(std::env::temp_dir());
        let text = one(folder, &[]).missing().first().unwrap().to_string();
        assert!(text.contains("no regular file"), "{text}");
        let unset = Source::Env("PHASEGATE_TEST_THAT_NOBODY_SETS".to_owned());
        let text = one(unset, &[]).missing().first().unwrap().to_string();
        assert!(text.contains("PHASEGATE_TEST_THAT_NOBODY_SETS"), "{text}");
    }
}
