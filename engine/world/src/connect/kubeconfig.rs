//! Clients for real clusters: by a context of the kubeconfig, or from within a pod.
//!
//! `kube` reads the file, speaks to proxies and runs credential programs. Everything that can be wrong on the
//! way to the first answer is told with a code here, so that a command says it before it has begun anything.

use std::error::Error;

use ::http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use phasegate_core::diagnostic::{Diagnostic, codes, listed, nearest};
use phasegate_core::time::Span;
use phasegate_runtime::ports::Clock;
use serde::Deserialize;

use super::unspoken::{about_credentials, causes};
use crate::clock::SystemClock;
use crate::kubernetes::chain;

/// The context that stands for the cluster of the pod that the engine runs in.
pub const IN_CLUSTER: &str = "in-cluster";
/// The variable that says where the files of this pod's service account are, where they aren't where Kubernetes puts them.
const SERVICE_ACCOUNT: &str = "PHASEGATE_SERVICE_ACCOUNT";
/// How the simulated cluster is called in targets: no context can have this name.
pub const SIMULATED: &str = "simulated";
/// How long a cluster may take until it has answered for the first time, credential programs included.
const CONNECT_TIMEOUT: Span = Span::from_secs(30);
/// Most bytes of the first answer.
const MAX_VERSION: usize = 64 << 10;
/// Most contexts that are named in a message.
const MAX_NAMED: usize = 20;

/// A cluster that has answered.
#[derive(Clone)]
pub struct Connected {
    /// The client. It repeats nothing by itself.
    pub client: Client,
    /// Where the API server is.
    pub url: String,
    /// What it says of its version.
    pub version: String,
}

/// How the cluster of a context is called in targets, journals and commands.
///
/// # Errors
/// Where no context is named and this is no pod, or it has a name that means something else.
pub fn name_of(context: Option<&str>) -> Result<String, Diagnostic> {
    match context.map(str::trim) {
        Some(SIMULATED) => Err(Diagnostic::new(
            codes::UNSUPPORTED_TARGET,
            "a context can't have the simulated cluster's name",
        )
        .expected("a context with another name")
        .found(format!("`{SIMULATED}`"))
        .hint("`kubectl config rename-context` gives it another name")),
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ if in_a_pod() => Ok(IN_CLUSTER.to_owned()),
        // Without a kubeconfig as well, that no context is named is what is to be mended first.
        _ => Err(unnamed(
            &read().map(|file| names(&file)).unwrap_or_default(),
        )),
    }
}

/// Connects to the cluster of a context. Must be called within a tokio runtime.
///
/// # Errors
/// What is in the way: no kubeconfig, no such context, no answer, credentials or a certificate that are not
/// accepted.
pub async fn connect(context: &str) -> Result<Connected, Diagnostic> {
    let mut config = config_of(context).await?;
    // A request that is repeated beneath the journal would be a write that it knows nothing of.
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    let deadline = SystemClock.now().plus(CONNECT_TIMEOUT);
    let late = || unreachable(context, &url).found(format!("no answer within {CONNECT_TIMEOUT}"));
    // A credential program is waited for; it must not hold up the loop.
    let building = tokio::task::spawn_blocking(move || ClientBuilder::try_from(config));
    let built = tokio::select! {
        biased;
        built = building => built,
        () = SystemClock.sleep_until(deadline) => return Err(late()),
    };
    let client = built
        .map_err(|error| unreachable(context, &url).caused_by(&error))?
        .map_err(|error| failed(&error, context, &url))?
        .build();
    let version = tokio::select! {
        biased;
        version = version(&client, context, &url) => version?,
        () = SystemClock.sleep_until(deadline) => return Err(late()),
    };
    Ok(Connected {
        client,
        url,
        version,
    })
}

async fn config_of(context: &str) -> Result<Config, Diagnostic> {
    if context == IN_CLUSTER {
        return in_cluster().map_err(|error| {
            Diagnostic::new(
                codes::KUBECONFIG_UNUSABLE,
                "this is no pod of a cluster, or it has no service account",
            )
            .expected("the environment and the token that Kubernetes gives to a pod")
            .found(chain(&*error))
            .hint(format!(
                "outside of a pod, name a context of the kubeconfig instead of `{IN_CLUSTER}`"
            ))
        });
    }
    let file = read()?;
    let names = names(&file);
    if !names.iter().any(|name| name == context) {
        return Err(unknown(context, &names));
    }
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(|error| {
            unusable()
                .expected(format!("all that the context `{context}` needs"))
                .found(chain(&error))
        })
}

/// The cluster of this pod, by its service account; whose files are where [`SERVICE_ACCOUNT`] says, if it does.
fn in_cluster() -> Result<Config, Box<dyn Error + Send + Sync>> {
    let Some(folder) = std::env::var_os(SERVICE_ACCOUNT).filter(|folder| !folder.is_empty()) else {
        return Ok(Config::incluster()?);
    };
    let folder = std::path::PathBuf::from(folder);
    let host = std::env::var("KUBERNETES_SERVICE_HOST")?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT")?;
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    let mut config = Config::new(format!("https://{host}:{port}").parse()?);
    config.root_cert_file = Some(folder.join("ca.crt"));
    config.auth_info.token_file = Some(folder.join("token").display().to_string());
    Ok(config)
}

fn read() -> Result<Kubeconfig, Diagnostic> {
    Kubeconfig::read().map_err(|error| {
        unusable()
            .expected("a file in KUBECONFIG or at ~/.kube/config")
            .found(chain(&error))
    })
}

fn names(file: &Kubeconfig) -> Vec<String> {
    file.contexts.iter().map(|c| c.name.clone()).collect()
}

fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty())
}

fn unusable() -> Diagnostic {
    Diagnostic::new(codes::KUBECONFIG_UNUSABLE, "the kubeconfig can't be used").hint(
        "set KUBECONFIG to a file that kubectl can use, and look at it with `kubectl config view`",
    )
}

fn there_are(names: &[String]) -> String {
    match names.len() {
        0 => "a kubeconfig with contexts; this one has none".to_owned(),
        _ => format!(
            "one of: {}",
            listed(names.iter().map(String::as_str).take(MAX_NAMED))
        ),
    }
}

fn unnamed(names: &[String]) -> Diagnostic {
    Diagnostic::new(
        codes::CONTEXT_UNKNOWN,
        "the release names no context, and this is no pod of a cluster",
    )
    .expected(there_are(names))
    .found("none")
    .hint("a release never takes whatever context is current: name it under target.kubernetes.context")
}

fn unknown(context: &str, names: &[String]) -> Diagnostic {
    let fault = Diagnostic::new(
        codes::CONTEXT_UNKNOWN,
        format!("the kubeconfig has no context `{context}`"),
    )
    .expected(there_are(names))
    .found(format!("`{context}`"));
    match nearest(context, names.iter().map(String::as_str)) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => fault.hint("set KUBECONFIG to the file that has it"),
    }
}

fn unreachable(context: &str, url: &str) -> Diagnostic {
    Diagnostic::new(
        codes::CLUSTER_UNREACHABLE,
        format!("the cluster of context `{context}` can't be reached"),
    )
    .expected(format!("an API server at {url}"))
    .hint("check network, VPN and proxy; `kubectl --context … version` meets the same")
}

fn refused(context: &str) -> Diagnostic {
    Diagnostic::new(
        codes::CREDENTIALS_REFUSED,
        format!("the cluster of context `{context}` doesn't accept the credentials"),
    )
    .expected("a token or client certificate that is valid now")
    .hint("log in again as for kubectl; a token may have expired")
}

#[derive(Default, Deserialize)]
struct Version {
    #[serde(default, rename = "gitVersion")]
    git_version: String,
}

/// The first exchange. Whoever may not read the version has been let in all the same.
async fn version(client: &Client, context: &str, url: &str) -> Result<String, Diagnostic> {
    let request = Request::get("/version")
        .body(Body::empty())
        .map_err(|error| unreachable(context, url).caused_by(&error))?;
    let response = client
        .send(request)
        .await
        .map_err(|error| failed(&error, context, url))?;
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(refused(context).found("status 401"));
    }
    if status.is_server_error() || status == StatusCode::NOT_FOUND {
        return Err(unreachable(context, url).found(format!("status {}", status.as_u16())));
    }
    let body = Limited::new(response.into_body(), MAX_VERSION)
        .collect()
        .await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let told: Version = serde_json::from_slice(&body).unwrap_or_default();
    Ok(match told.git_version.is_empty() {
        true => "version unknown".to_owned(),
        false => told.git_version,
    })
}

/// Tells what kind of fault keeps a client from its cluster.
fn failed(error: &(dyn Error + 'static), context: &str, url: &str) -> Diagnostic {
    if let Some(why) = about_credentials(error) {
        return refused(context).found(why);
    }
    let untrusted_why = causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why.to_string()),
        _ => None,
    });
    match untrusted_why {
        Some(why) => untrusted(context, url).found(why),
        None => unreachable(context, url).found(chain(error)),
    }
}

fn untrusted(context: &str, url: &str) -> Diagnostic {
    Diagnostic::new(
        codes::CERTIFICATE_UNTRUSTED,
        format!("what answers for context `{context}` has a certificate that is not trusted"),
    )
    .expected(format!(
        "a certificate for {url} by the authority that the kubeconfig names"
    ))
    .hint("correct certificate-authority or tls-server-name; nothing was sent to it")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn contexts_that_there_are_are_named() {
        let names = ["prod".to_owned(), "stage".to_owned()];
        let fault = unknown("prd", &names).to_string();
        for part in ["PG0411", "`prd`", "prod", "stage", "did you mean `prod`?"] {
            assert!(fault.contains(part), "`{part}` is not in {fault}");
        }
        assert!(unnamed(&names).to_string().contains("prod"));
    }

    #[test]
    fn no_context_has_the_name_of_the_simulated_cluster() {
        let fault = name_of(Some("simulated")).unwrap_err();
        assert_eq!(fault.code(), codes::UNSUPPORTED_TARGET);
        assert_eq!(name_of(Some(" prod ")).unwrap(), "prod");
    }

    #[test]
    fn a_certificate_is_told_from_a_dead_line_however_deep_it_lies() {
        let deep = |error: rustls::Error| io::Error::other(io::Error::other(error));
        let why = rustls::CertificateError::UnknownIssuer;
        let bad = failed(
            &deep(rustls::Error::InvalidCertificate(why)),
            "prod",
            "https://c",
        );
        assert_eq!(bad.code(), codes::CERTIFICATE_UNTRUSTED);
        let gone = failed(
            &io::Error::from(io::ErrorKind::ConnectionRefused),
            "prod",
            "https://c",
        );
        assert_eq!(gone.code(), codes::CLUSTER_UNREACHABLE);
    }

    #[test]
    fn credentials_that_cannot_be_had_are_told_from_a_dead_line() {
        let error = kube::client::AuthError::MissingCommand;
        let fault = failed(&kube::Error::Auth(error), "prod", "https://c");
        assert_eq!(fault.code(), codes::CREDENTIALS_REFUSED);
        assert!(fault.to_string().contains("no credential program"));
    }
}
