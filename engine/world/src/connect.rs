//! Clients for clusters: real ones by [`connect`], simulated ones in another process or in this one.

use ::http::{Request, Response, Uri};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{BoxError, Service};

mod kubeconfig;
pub(crate) mod unspoken;

pub use kubeconfig::{Connected, IN_CLUSTER, SIMULATED, connect, name_of};

/// A client that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is no address.
    #[error("`{endpoint}` is not an address")]
    NotAnAddress {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: ::http::uri::InvalidUri,
    },
    /// The endpoint is not one that plain HTTP may be spoken to.
    #[error("`{0}` is not of the form http://127.0.0.1:PORT: plain HTTP goes to this machine only")]
    NotLoopback(String),
    /// The client's own set-up failed.
    #[error("the client for the cluster can't be set up")]
    Setup(#[source] Box<kube::Error>),
}

/// A client for a cluster that speaks plain HTTP on this machine, as `phasegate simulate` does.
/// Must be called within a tokio runtime.
///
/// # Errors
/// Where the endpoint isn't of the form `http://127.0.0.1:PORT`.
pub fn client_for_loopback(endpoint: &str) -> Result<Client, Error> {
    let mut config = Config::new(loopback(endpoint)?);
    // A request that is repeated beneath the journal would be a write that it knows nothing of.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|e| Error::Setup(Box::new(e)))?;
    Ok(builder.build())
}

/// A client for a cluster within this process. Must be called within a tokio runtime, since it
/// keeps a task that hands the requests on.
pub fn client_from_service<S, B>(service: S, namespace: &str) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, namespace)
}

/// The endpoint of a simulated cluster, checked.
pub(crate) fn loopback(endpoint: &str) -> Result<Uri, Error> {
    let uri: Uri = endpoint.parse().map_err(|source| Error::NotAnAddress {
        endpoint: endpoint.to_owned(),
        source,
    })?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let bare = uri.path() == "/" && uri.query().is_none();
    let user = uri.authority().is_some_and(|a| a.as_str().contains('@'));
    if uri.scheme_str() == Some("http") && here && bare && !user {
        Ok(uri)
    } else {
        Err(Error::NotLoopback(endpoint.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        for endpoint in [
            "http://127.0.0.1:8001",
            "http://127.0.0.1:8001/",
            "http://[::1]:1",
            "http://localhost:5",
        ] {
            assert!(loopback(endpoint).is_ok(), "{endpoint}");
        }
        for endpoint in [
            "http://10.0.0.1:8001",
            "https://127.0.0.1:1",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1:1/path",
            "http://127.0.0.1@example.com/",
            "127.0.0.1:1",
            "",
        ] {
            assert!(loopback(endpoint).is_err(), "{endpoint}");
        }
    }
}
