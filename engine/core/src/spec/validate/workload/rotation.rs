//! Keys of Secrets that get new values.

use crate::config::{ConfigKind, MAX_RANDOM, MAX_ROTATED, MIN_RANDOM, is_key};
use crate::diagnostic::codes;
use crate::spec::check::Checker;
use crate::spec::release::{Config, Release, Rotate};
use crate::yaml::escape;

/// Checks what is to be rotated of what is versioned.
pub(super) fn check(c: &mut Checker<'_>, release: &Release, pointer: &str, config: &Config) {
    let Some((kind, secret)) = config.named() else {
        return;
    };
    let rotated = !config.rotate.is_empty();
    for (field, given) in [("rotate", rotated), ("base", config.base.is_some())] {
        if given && kind != ConfigKind::Secret {
            c.fault(
                codes::CONTRADICTION,
                &format!("{pointer}/{field}"),
                |f| {
                    f.expected(format!("no `{field}`"))
                        .found("one of a ConfigMap")
                },
                "only keys of a Secret are rotated",
            );
        }
    }
    let at = format!("{pointer}/rotate");
    c.at_most_entries(&at, "keys to rotate", config.rotate.len(), MAX_ROTATED);
    for (key, rotate) in &config.rotate {
        let at = format!("{at}/{}", escape(key));
        if !is_key(key) {
            c.fault(
                codes::INVALID_VALUE,
                &at,
                |f| {
                    f.expected("letters, digits, `-`, `_` and `.`")
                        .found(format!("`{key}`"))
                },
                "this can't be a key of a Secret",
            );
        }
        value(c, release, &at, &format!("{secret}/{key}"), rotate);
    }
}

/// Where a new value comes from, and whether it may become that.
fn value(c: &mut Checker<'_>, release: &Release, at: &str, place: &str, rotate: &Rotate) {
    if rotate.value().is_none() {
        let (code, found) = match rotate.credential {
            Some(_) => (codes::CONTRADICTION, "both"),
            None => (codes::MISSING_FIELD, "none"),
        };
        c.fault(
            code,
            at,
            |f| f.expected("`credential` or `random`").found(found),
            "a new value comes from one place",
        );
    }
    if let Some(random) = rotate.random
        && !(MIN_RANDOM..=MAX_RANDOM).contains(&random.length)
    {
        c.number(
            &format!("{at}/random/length"),
            "this is no length of a random value".to_owned(),
            &format!("{MIN_RANDOM} to {MAX_RANDOM} characters"),
            &random.length.to_string(),
        );
    }
    let Some(name) = &rotate.credential else {
        return;
    };
    let pointer = format!("{at}/credential");
    let Some(credential) = release.credentials.get(name) else {
        let known = release.credentials.keys().map(String::as_str);
        c.refers(&pointer, "credential", name, known);
        return;
    };
    if !credential.secrets.iter().any(|meant| meant == place) {
        let found = crate::diagnostic::listed(credential.secrets.iter().map(String::as_str));
        c.fault(
            codes::CREDENTIAL_FOR_NO_SECRET,
            &pointer,
            |f| {
                f.expected(format!("`{place}` under its `secrets`"))
                    .found(found)
                    .hint(format!("write `secrets: [{place}]` beside its source, if it is meant to be put there"))
            },
            format!("the credential `{name}` may not become the value of {place}"),
        );
    }
}
