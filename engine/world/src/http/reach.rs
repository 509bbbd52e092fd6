//! Which addresses are connected to, and whom TLS trusts.
//!
//! A name is resolved once for a connection, and the connection goes to the addresses that were looked at: a
//! name that leads elsewhere a moment later leads nowhere new. Link-local addresses are refused: nothing that a
//! release asks is there, and on many machines the credentials of the machine itself are.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use rustls::{ClientConfig, RootCertStore};
use tower::Service;

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 32;

pub(super) type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// Connects by plain HTTP or TLS, as the URL says.
pub(super) fn connector(roots: Arc<RootCertStore>) -> Connector {
    let mut plain = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
    plain.enforce_http(false);
    // The features choose `ring` for the whole program: there is one provider only.
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain)
}

/// The machine's own authorities, which are read once. On a machine that has none no certificate is trusted.
pub(super) fn machine() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    Arc::clone(roots)
}

/// Nobody: for a simulated cluster, which is spoken to without TLS.
pub(super) fn nobody() -> Arc<RootCertStore> {
    Arc::new(RootCertStore::empty())
}

/// Refuses a host that is itself an address which isn't connected to. Such a host is not resolved.
pub(super) fn literal(host: &str) -> Result<(), String> {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) if is_link_local(address) => Err(Refused(host.to_owned()).to_string()),
        _ => Ok(()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

/// A host that leads to link-local addresses only.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.0;
        write!(
            f,
            "`{host}` leads to a link-local address, where the machine's own credentials may be"
        )
    }
}

impl std::error::Error for Refused {}

/// The addresses of a name that may be connected to; none left is an error.
fn allowed(
    name: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let addresses: Vec<SocketAddr> = found
        .filter(|address| !is_link_local(address.ip()))
        .take(MAX_ADDRESSES)
        .collect();
    if addresses.is_empty() {
        return Err(io::Error::other(Refused(name.to_owned())));
    }
    Ok(addresses.into_iter())
}

/// The machine's resolver, without the addresses that are refused.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let found = self.0.call(name);
        Box::pin(async move { allowed(&host, found.await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_refused_however_they_are_written() {
        for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
            assert!(literal(host).is_err(), "{host}");
        }
        for host in ["127.0.0.1", "[::1]", "10.0.0.1", "example.com"] {
            assert!(literal(host).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_name_leads_to_the_addresses_that_are_left() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let mixed = [address("169.254.169.254:80"), address("10.0.0.1:80")];
        let left = allowed("x", mixed.into_iter()).unwrap();
        assert_eq!(left.collect::<Vec<_>>(), [address("10.0.0.1:80")]);
        let none = allowed("metadata.test", [mixed[0]].into_iter()).unwrap_err();
        assert!(none.to_string().contains("metadata.test"));
    }
}
