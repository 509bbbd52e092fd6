//! What names may look like: as Kubernetes, image registries and environments have it.

/// The longest DNS label.
const MAX_LABEL: usize = 63;
/// The longest DNS subdomain.
const MAX_SUBDOMAIN: usize = 253;
/// The longest tag of an image.
const MAX_TAG: usize = 128;

/// Lower-case letters, digits and hyphens, with a letter or digit at both ends.
pub(super) fn is_label(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= MAX_LABEL
        && edge(name.bytes().next())
        && edge(name.bytes().next_back())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Labels separated by dots.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(is_label)
}

/// What can stand as the tag of an image, and so as a version.
pub(super) fn is_tag(text: &str) -> bool {
    text.len() <= MAX_TAG
        && !text.starts_with(['.', '-'])
        && !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `host`, `host:port` or `*.host:port`, without a scheme or a path.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = host.strip_prefix("*.").unwrap_or(host);
    let host_fits = !host.is_empty()
        && host.len() <= MAX_SUBDOMAIN
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    let v6_fits = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok());
    (host_fits || v6_fits) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0))
}

/// The token of RFC 9110 that a header's name is.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_kubernetes_takes() {
        for good in ["a", "hello-2", "0x", &"a".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(is_subdomain("a.b-c.d") && !is_subdomain("a..b") && !is_subdomain(""));
        assert!(is_tag("v1.2.3-rc_1") && !is_tag("1.0+build") && !is_tag("") && !is_tag(".1"));
        assert!(is_variable("TOKEN_2") && !is_variable("2TOKEN") && !is_variable("A-B"));
    }

    #[test]
    fn authorities_have_no_scheme_and_no_path() {
        for good in [
            "a.example",
            "a.example:443",
            "*.sentry.io:443",
            "127.0.0.1:9090",
            "[::1]:80",
        ] {
            assert!(is_authority(good), "{good}");
        }
        for bad in [
            "",
            "https://a.example",
            "a.example/x",
            "a.example:0",
            "a.example:99999",
            "a:b@c",
            "*",
            ":80",
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
