//! Host and port of a request, and patterns of them.

use std::fmt;

use http::Uri;

/// Longest address that is looked at, in bytes.
pub(crate) const MAX_URL: usize = 8 << 10;

/// Host, in lower case, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    host: String,
    port: u16,
}

impl Authority {
    /// The authority of an absolute `http` or `https` address, and the address as it is to be sent:
    /// put together again from the parts that were looked at, so that nobody reads it otherwise.
    pub(crate) fn of_url(url: &str) -> Result<(Self, String), String> {
        if url.len() > MAX_URL {
            return Err(format!("the address is longer than {MAX_URL} bytes"));
        }
        let uri: Uri = url.parse().map_err(|e| format!("not an address: {e}"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err("the address must begin with https:// or http://".into()),
        };
        let authority = uri.authority().ok_or("the address names no host")?;
        if authority.as_str().contains('@') {
            return Err("the address holds user information; name a credential instead".into());
        }
        let host = normal(authority.host()).ok_or("the address names no host")?;
        // Not `authority.port()`: it is none where the port is impossible, too.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default_port,
            Some(rest) => rest
                .strip_prefix(':')
                .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or("the address has an impossible port")?,
            None => return Err("the address names no host".into()),
        };
        let this = Self { host, port };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        let sent = format!("{scheme}://{this}{slash}{path}");
        Ok((this, sent))
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `sentry.io:443` means this host and port, `*.sentry.io:443` every host beneath it. Without a port
/// it is 443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    suffix: bool,
    authority: Authority,
}

impl Pattern {
    /// Reads a pattern; none where it isn't one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (suffix, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // A scheme makes the default port, and the rules for hosts are those of addresses.
        let (authority, sent) = Authority::of_url(&format!("https://{rest}")).ok()?;
        let bare = sent.strip_prefix("https://")?.strip_suffix('/')?;
        let plain = bare == authority.to_string() && !authority.host.contains('*');
        (plain && !rest.contains(['/', '?', '#'])).then_some(Self { suffix, authority })
    }

    /// The authority of an address in a config: with a scheme, or `host:port`. What follows the
    /// authority doesn't matter. `variables` stand in braces: `http://{service}.{namespace}:8080`.
    pub(crate) fn of_address(text: &str, variables: &[(&str, &str)]) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let template = rest.get(..end)?;
        let named = variables
            .iter()
            .fold(template.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            });
        let Some(scheme) = scheme else {
            return Self::parse(&named).filter(|pattern| !pattern.suffix);
        };
        let (authority, _) = Authority::of_url(&format!("{scheme}://{named}/")).ok()?;
        Some(Self {
            suffix: false,
            authority,
        })
    }

    /// Whether the authority is one of those meant.
    pub(crate) fn matches(&self, to: &Authority) -> bool {
        if self.authority.port != to.port {
            return false;
        }
        if !self.suffix {
            return self.authority.host == to.host;
        }
        to.host
            .strip_suffix(&self.authority.host)
            .is_some_and(|left| left.len() > 1 && left.ends_with('.'))
    }
}

/// The host in lower case without the dot that may end it; none where there is nothing else.
fn normal(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_sent() {
        let read = |url: &str| Authority::of_url(url).map(|(a, sent)| (a.to_string(), sent));
        assert_eq!(
            read("https://Sentry.IO./api?x=1").unwrap(),
            (
                "sentry.io:443".into(),
                "https://sentry.io:443/api?x=1".into()
            )
        );
        assert_eq!(
            read("http://[::1]:9090").unwrap(),
            ("[::1]:9090".into(), "http://[::1]:9090/".into())
        );
        for bad in [
            "sentry.io/api",
            "ftp://sentry.io",
            "/api",
            "https://user:pw@sentry.io/",
            "https://sentry.io\\@evil.example/",
            "https://sentry.io:99999/",
            "https://sentry.io:/",
            "https://sentry.io:+443/",
            "https://sentry.io:0/",
            "https:///x",
            "https://sentry.io/\r\nHost: evil",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("https://a/{}", "x".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn patterns_match_whole_labels_and_the_port() {
        let matches = |pattern: &str, url: &str| {
            Pattern::parse(pattern)
                .unwrap()
                .matches(&Authority::of_url(url).unwrap().0)
        };
        assert!(matches("sentry.io", "https://sentry.io/"));
        assert!(!matches("sentry.io", "http://sentry.io/"));
        assert!(matches("sentry.io:80", "http://SENTRY.io/"));
        assert!(matches("*.sentry.io:443", "https://eu.sentry.io/"));
        assert!(matches("*.sentry.io:443", "https://a.eu.sentry.io/"));
        assert!(!matches("*.sentry.io:443", "https://sentry.io/"));
        assert!(!matches("*.sentry.io:443", "https://evilsentry.io/"));
        assert!(!matches("sentry.io:443", "https://sentry.io.evil.example/"));
        for bad in ["*", "*.*.io", "a*b.io", "", "*.", "a/b", "a?b", "u@a:1"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_in_a_config_has_its_own_port() {
        let variables = [("service", "shop"), ("namespace", "prod")];
        let of =
            |text: &str| Pattern::of_address(text, &variables).map(|p| p.authority.to_string());
        assert_eq!(
            of("http://prometheus:9090/x").as_deref(),
            Some("prometheus:9090")
        );
        assert_eq!(of("http://prometheus").as_deref(), Some("prometheus:80"));
        assert_eq!(of("prometheus:9090").as_deref(), Some("prometheus:9090"));
        assert_eq!(of("*.io:443"), None);
        assert_eq!(
            of("http://{service}.{namespace}.svc:8080/{version}?x={y}").as_deref(),
            Some("shop.prod.svc:8080")
        );
        assert_eq!(of("http://{other}.svc/"), None);
    }
}
