//! Where plugins and secrets come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::check::{coded, exactly_one};
use crate::diagnostic::codes;

/// The header that a credential is sent in unless it says otherwise.
pub const DEFAULT_HEADER: &str = "Authorization: Bearer {secret}";

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawPlugin", into = "RawPlugin")]
pub enum PluginSource {
    /// It ships with the engine.
    Builtin {
        /// Its name there.
        name: String,
    },
    /// It is a file.
    Path {
        /// Relative to the release file.
        path: String,
        /// `sha256:` and 64 hexadecimal digits: the only bytes that will be run.
        digest: Option<String>,
    },
}

/// A plugin's source: give either `builtin` or `path`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "PluginSource", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["builtin"]}, {"required": ["path"]}]))]
struct RawPlugin {
    /// The name of a plugin that ships with the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    builtin: Option<String>,
    /// A component file, relative to the release file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The SHA-256 digest that the file must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    digest: Option<String>,
}

impl TryFrom<RawPlugin> for PluginSource {
    type Error = String;

    fn try_from(raw: RawPlugin) -> Result<Self, Self::Error> {
        let builtin = raw.builtin.is_some();
        if builtin && raw.digest.is_some() {
            return Err(coded(
                codes::CONTRADICTION,
                "a built-in plugin has the engine's own digest; leave `digest` out",
            ));
        }
        let digest = raw.digest;
        exactly_one(
            "a plugin",
            [
                ("builtin", raw.builtin.map(|name| Self::Builtin { name })),
                ("path", raw.path.map(|path| Self::Path { path, digest })),
            ],
        )
    }
}

impl From<PluginSource> for RawPlugin {
    fn from(source: PluginSource) -> Self {
        match source {
            PluginSource::Builtin { name } => Self {
                builtin: Some(name),
                ..Self::default()
            },
            PluginSource::Path { path, digest } => Self {
                path: Some(path),
                digest,
                builtin: None,
            },
        }
    }
}

/// A secret that the engine adds to requests. No plugin ever sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawCredential", into = "RawCredential")]
pub struct Credential {
    /// Where the secret is read from.
    pub source: SecretSource,
    /// The authorities that it may be sent to: `prometheus.example:443`.
    pub hosts: Vec<String>,
    /// The keys of Secrets that it may become the value of: `db/password`.
    pub secrets: Vec<String>,
    /// The header that carries it; `{secret}` stands for the secret.
    pub header: String,
    /// Whether it is a whole address in place of a header's value.
    pub url: bool,
}

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the engine.
    Env(String),
    /// A file, relative to the release file.
    File(String),
}

impl Credential {
    /// The header's name, and its value, which ends with `{secret}`.
    #[must_use]
    pub fn header_parts(&self) -> Option<(&str, &str)> {
        let (name, value) = self.header.split_once(':')?;
        Some((name.trim(), value.trim()))
    }
}

/// A secret's source: give either `env` or `file`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Credential", rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["env"]}, {"required": ["file"]}]))]
struct RawCredential {
    /// The environment variable that holds the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    /// The file that holds the secret, relative to the release file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The authorities that it may be sent to: `prometheus.example:443`. Only a credential that is sent nowhere has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    /// The keys of Secrets that a release may rotate to it: `db/password`, the Secret's name and the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    /// The header that carries it; it ends with `{secret}`, which stands for the secret. Default: `Authorization: Bearer {secret}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// Whether the secret is a whole address, as that of an incoming webhook: a request that names the credential
    /// goes there. Plugins are configured with the address up to the host, and never see the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    url: bool,
}

impl TryFrom<RawCredential> for Credential {
    type Error = String;

    fn try_from(raw: RawCredential) -> Result<Self, Self::Error> {
        let source = exactly_one(
            "a credential",
            [
                ("env", raw.env.map(SecretSource::Env)),
                ("file", raw.file.map(SecretSource::File)),
            ],
        )?;
        if raw.url && raw.header.is_some() {
            return Err(coded(
                codes::CONTRADICTION,
                "a credential that is a whole address goes into no header; leave `header` or `url` out",
            ));
        }
        Ok(Self {
            source,
            hosts: raw.hosts,
            secrets: raw.secrets,
            header: raw.header.unwrap_or_else(|| DEFAULT_HEADER.to_owned()),
            url: raw.url,
        })
    }
}

impl From<Credential> for RawCredential {
    fn from(credential: Credential) -> Self {
        let (env, file) = match credential.source {
            SecretSource::Env(name) => (Some(name), None),
            SecretSource::File(path) => (None, Some(path)),
        };
        Self {
            env,
            file,
            hosts: credential.hosts,
            secrets: credential.secrets,
            header: (!credential.url).then_some(credential.header),
            url: credential.url,
        }
    }
}
