//! Names and values that look like secrets, so that none is shown, kept or handed on by mistake.

/// Names of fields and headers that hold secrets, without `-` and `_`, in lower case.
const NAMES: [&str; 22] = [
    "authorization",
    "proxyauthorization",
    "cookie",
    "xapikey",
    "apikey",
    "xauthtoken",
    "token",
    "accesstoken",
    "authtoken",
    "bearertoken",
    "apitoken",
    "refreshtoken",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "clientsecret",
    "secretkey",
    "signingkey",
    "privatekey",
    "bearer",
    "basicauth",
];

/// How tokens of well-known services, schemes and keys begin.
const PREFIXES: [&str; 14] = [
    "bearer ",
    "basic ",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "sntrys_",
    "akia",
    "eyjhbg",
    "-----begin private key",
    "-----begin rsa private key",
];

/// Whether a field or header of this name holds a secret.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    // No such name is longer; longer ones need not be folded.
    if name.len() > 64 {
        return false;
    }
    let folded: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect();
    NAMES.contains(&folded.as_str())
}

/// What kind of secret a value is, if it looks like one.
#[must_use]
pub fn secret_value(text: &str) -> Option<&'static str> {
    let start: String = text
        .trim_start()
        .chars()
        .take(32)
        .flat_map(char::to_lowercase)
        .collect();
    if PREFIXES
        .iter()
        .any(|prefix| start.starts_with(prefix) && text.trim().len() > prefix.len())
    {
        return Some("a token or key");
    }
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':')
        .filter(|(_, password)| !password.is_empty())
        .map(|_| "a URL with a password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised_by_name_and_by_form() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "api_key",
            "clientSecret",
            "password",
        ] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["query", "secretName", "credential", "tokens", "url"] {
            assert!(!looks_secret(name), "{name}");
        }
        for value in [
            "Bearer abc",
            "ghp_0123",
            "https://u:p@host/x",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            assert!(secret_value(value).is_some(), "{value}");
        }
        for value in [
            "bearer",
            "https://host/a:b@c",
            "https://user@host",
            "sum(rate(x[5m]))",
            "",
        ] {
            assert!(secret_value(value).is_none(), "{value}");
        }
    }
}
