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
    if begins_like_a_token(text) {
        return Some("a token or key");
    }
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':')
        .filter(|(_, password)| !password.is_empty())
        .map(|_| "a URL with a password")
}

fn begins_like_a_token(text: &str) -> bool {
    let start: String = text
        .trim_start()
        .chars()
        .take(32)
        .flat_map(char::to_lowercase)
        .collect();
    let long = |prefix: &&str| start.starts_with(*prefix) && text.trim().len() > prefix.len();
    PREFIXES.iter().any(long)
}

/// What stands where something was hidden.
const HIDDEN: &str = "(hidden)";

/// A text of somebody else's with everything hidden that looks like a secret: what follows a name that
/// holds one, tokens and keys, and URLs with a password.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut hide = false;
    while !rest.is_empty() {
        let (word, tail) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        let gap = tail.find(|c: char| !c.is_whitespace());
        let (gap, next) = tail.split_at(gap.unwrap_or(tail.len()));
        let scheme = ["bearer", "basic"]
            .iter()
            .any(|s| word.eq_ignore_ascii_case(s));
        if word.starts_with("-----") && begins_like_a_token(rest) {
            out.push_str(HIDDEN);
            return out;
        }
        if scheme && (hide || begins_like_a_token(rest)) {
            out.push_str(word);
            hide = true;
        } else if hide && !word.is_empty() {
            out.push_str(HIDDEN);
            hide = false;
        } else {
            hide = redact_word(word, &mut out);
        }
        out.push_str(gap);
        rest = next;
    }
    out
}

/// Says whether the next word is the secret that this one names.
fn redact_word(word: &str, out: &mut String) -> bool {
    if secret_value(word).is_some() {
        out.push_str(HIDDEN);
        return false;
    }
    let named = |at: usize| {
        let (name, value) = word.split_at(at);
        let name = name.trim_matches(|c: char| !c.is_alphanumeric());
        // What a colon in a JSON text separates may stand after a list of other members.
        let last = name.rsplit(['"', ',', '{', '&', '?', ';']).next();
        looks_secret(last.unwrap_or(name)).then_some(value.len() > 1)
    };
    let found = word
        .char_indices()
        .filter(|(_, c)| matches!(c, '=' | ':'))
        .find_map(|(at, _)| Some((at, named(at)?)));
    let Some((at, follows)) = found else {
        out.push_str(word);
        return false;
    };
    let (name, _) = word.split_at(at.saturating_add(1));
    out.push_str(name);
    if follows {
        out.push_str(HIDDEN);
    }
    !follows
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

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_the_rest_is_left() {
        for (text, shown) in [
            ("asked  http://host/x: 200", "asked  http://host/x: 200"),
            ("got Bearer abc.def back", "got Bearer (hidden) back"),
            (
                "Authorization: Bearer abc now",
                "Authorization: Bearer (hidden) now",
            ),
            ("password=hunter2, retrying", "password=(hidden) retrying"),
            ("the token: abc", "the token: (hidden)"),
            (
                r#"{"user":"ada","api_key":"abc"}"#,
                r#"{"user":"ada","api_key":(hidden)"#,
            ),
            ("GET https://u:p@host/x", "GET (hidden)"),
            ("a ghp_0123\nb", "a (hidden)\nb"),
            ("key -----BEGIN PRIVATE KEY-----\nMIIE", "key (hidden)"),
            ("bearer", "bearer"),
            ("", ""),
            (" é ", " é "),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
