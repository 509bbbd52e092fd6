//! What a release must be besides well-formed. Every fault is reported, not only the first.

use crate::diagnostic::{Diagnostics, codes, listed};
use crate::spec::check::{Checker, MAX_DURATION};
use crate::spec::name;
use crate::spec::release::{Credential, Overrides, PluginSource, Release, SecretSource, Target};
use crate::time::{LONGEST, Span};
use crate::yaml::{Document, escape};

mod config;
mod gate;
mod phases;
mod workload;

use config::config;

/// How many times faster than the clock a simulation may pass.
const MAX_SCALE: f64 = 100_000.0;
/// Slowest time.
const MIN_SCALE: f64 = 0.001;
/// Most times that a step of the way back is tried again by itself.
pub(super) const MAX_RETRIES: u32 = 100;
/// How far ahead a task may be due.
const MAX_DUE: Span = LONGEST;

/// Checks a release to which the overrides were applied.
pub(super) fn release(
    release: &Release,
    document: &Document,
    overrides: &Overrides,
    builtin: &[&str],
) -> Diagnostics {
    let mut check = Checker::new(document);
    let c = &mut check;
    c.label("/metadata/name", "release", &release.metadata.name);
    sizes(c, release);
    version(c, release, overrides);
    environments(c, release, overrides);
    workload::check(c, release, builtin);
    sources(c, release);
    gates(c, release, builtin);
    actions(c, release, builtin);
    phases::check(c, release, builtin);
    notifications(c, release, builtin);
    ends(c, release);
    check.faults
}

/// A plugin is one of the release's own or one that ships with the engine.
fn plugin(c: &mut Checker<'_>, release: &Release, builtin: &[&str], pointer: &str, name: &str) {
    let known = release
        .plugins
        .keys()
        .map(String::as_str)
        .chain(builtin.iter().copied());
    c.refers(pointer, "plugin", name, known);
}

fn sizes(c: &mut Checker<'_>, release: &Release) {
    for (pointer, what, length) in [
        ("/environments", "environments", release.environments.len()),
        ("/metadata/labels", "labels", release.metadata.labels.len()),
        ("/plugins", "plugins", release.plugins.len()),
        ("/credentials", "credentials", release.credentials.len()),
        ("/gates", "gates", release.gates.len()),
        ("/actions", "actions", release.actions.len()),
        ("/phases", "phases", release.phases.len()),
        ("/approvals", "approvals", release.approvals.len()),
        (
            "/notifications",
            "notifications",
            release.notifications.len(),
        ),
        ("/due", "due tasks", release.due.len()),
        ("/workloads", "workloads", release.workloads.len()),
    ] {
        c.bounded(pointer, what, length);
    }
}

fn version(c: &mut Checker<'_>, release: &Release, overrides: &Overrides) {
    let source = if overrides.version.is_some() {
        "`--version`"
    } else {
        "`version`"
    };
    match &release.version {
        None => c.fault(
            codes::MISSING_FIELD,
            "",
            |f| {
                f.expected("a field `version`, or `--version`")
                    .hint("give the version in the file, or with `--version`")
            },
            "the release has no version",
        ),
        Some(text) if !name::is_tag(text) => c.fault(
            codes::INVALID_VALUE,
            "/version",
            |f| {
                f.expected("letters, digits, `.`, `_` and `-`, at most 128, as the tag of an image")
                    .found(format!("`{text}`"))
            },
            format!("{source} can't be a version"),
        ),
        Some(_) => {}
    }
}

fn environments(c: &mut Checker<'_>, release: &Release, overrides: &Overrides) {
    for (name, environment) in &release.environments {
        let pointer = format!("/environments/{}", escape(name));
        c.label(&pointer, "environment", name);
        if let Some(target) = &environment.target {
            self::target(c, &format!("{pointer}/target"), target);
        }
        if let Some(namespace) = &environment.namespace {
            c.label(&format!("{pointer}/namespace"), "namespace", namespace);
        }
    }
    if let Some(target) = &release.target {
        self::target(c, "/target", target);
    }
    if let Some(namespace) = &release.namespace {
        c.label("/namespace", "namespace", namespace);
    }
    chosen_environment(c, release, overrides);
}

fn chosen_environment(c: &mut Checker<'_>, release: &Release, overrides: &Overrides) {
    let environment = super::release::environment_of(release);
    let known = || release.environments.keys().map(String::as_str);
    let source = if overrides.environment.is_some() {
        "`--environment` names an environment that the release does not define"
    } else {
        "`environment` names one that the release does not define"
    };
    if release.environments.is_empty() {
        let what = match overrides.environment {
            Some(_) => "environment, as `--environment` gives it",
            None => "environment",
        };
        if release.environment.is_some() {
            c.label("/environment", what, &environment);
        }
    } else if !release.environments.contains_key(&environment) {
        let meant = crate::diagnostic::nearest(&environment, known()).map(str::to_owned);
        let message = if release.environment.is_some() {
            source
        } else {
            "the release has several environments and names none"
        };
        c.fault(
            codes::UNKNOWN_ENVIRONMENT,
            "/environment",
            |f| {
                let f = f
                    .expected(listed(known()))
                    .found(if release.environment.is_some() {
                        format!("`{environment}`")
                    } else {
                        "none".to_owned()
                    });
                match meant {
                    Some(meant) => f.hint(format!("did you mean `{meant}`?")),
                    None => f.hint("give one with `--environment`, or set `environment`"),
                }
            },
            message,
        );
        return;
    }
    let own = release
        .environments
        .get(&environment)
        .and_then(|e| e.target.as_ref());
    if own.or(release.target.as_ref()).is_none() {
        c.fault(
            codes::MISSING_TARGET,
            "",
            |f| {
                f.expected("`target`, or a target of that environment")
                    .hint("for a first try: `target: {simulated: {}}`")
            },
            format!("nothing says where to deploy in `{environment}`"),
        );
    }
}

fn target(c: &mut Checker<'_>, pointer: &str, target: &Target) {
    match target {
        Target::Simulated(simulated) => {
            if let Some(scale) = simulated.scale
                && !(MIN_SCALE..=MAX_SCALE).contains(&scale)
            {
                c.number(
                    &format!("{pointer}/simulated/scale"),
                    "time can't pass like this".to_owned(),
                    &format!("at least {MIN_SCALE}, at most {MAX_SCALE}"),
                    &scale.to_string(),
                );
            }
        }
        Target::Kubernetes(kubernetes) => {
            if let Some(namespace) = &kubernetes.namespace {
                c.label(
                    &format!("{pointer}/kubernetes/namespace"),
                    "namespace",
                    namespace,
                );
            }
        }
    }
}

fn sources(c: &mut Checker<'_>, release: &Release) {
    for (name, source) in &release.plugins {
        let pointer = format!("/plugins/{}", escape(name));
        c.label(&pointer, "plugin", name);
        if let PluginSource::Path {
            digest: Some(digest),
            ..
        } = source
            && !name::is_digest(digest)
        {
            c.fault(
                codes::INVALID_VALUE,
                &format!("{pointer}/digest"),
                |f| {
                    f.expected("`sha256:` and 64 hexadecimal digits")
                        .found(format!("`{digest}`"))
                },
                "this can't be a digest",
            );
        }
    }
    for (name, credential) in &release.credentials {
        let pointer = format!("/credentials/{}", escape(name));
        c.label(&pointer, "credential", name);
        self::credential(c, &pointer, credential);
    }
}

fn credential(c: &mut Checker<'_>, pointer: &str, credential: &Credential) {
    if let SecretSource::Env(variable) = &credential.source
        && !name::is_variable(variable)
    {
        // Not shown: it may be the secret itself, written in the wrong place.
        c.fault(
            codes::INVALID_VALUE,
            &format!("{pointer}/env"),
            |f| {
                f.expected("letters, digits and `_`")
                    .hint("give the variable's name here, never the secret itself")
            },
            "this can't be the name of an environment variable",
        );
    }
    c.not_empty(
        &format!("{pointer}/hosts"),
        "`hosts`",
        credential.hosts.is_empty() && credential.secrets.is_empty(),
    );
    for (index, secret) in credential.secrets.iter().enumerate() {
        let fits = secret
            .split_once('/')
            .is_some_and(|(name, key)| name::is_subdomain(name) && crate::config::is_key(key));
        if !fits {
            c.fault(
                codes::INVALID_VALUE,
                &format!("{pointer}/secrets/{index}"),
                |f| {
                    f.expected("a Secret's name, `/` and a key of it: `db/password`")
                        .found(format!("`{secret}`"))
                },
                "this can't be a key of a Secret",
            );
        }
    }
    c.bounded(
        &format!("{pointer}/secrets"),
        "keys of Secrets",
        credential.secrets.len(),
    );
    c.bounded(&format!("{pointer}/hosts"), "hosts", credential.hosts.len());
    for (index, host) in credential.hosts.iter().enumerate() {
        if !name::is_authority(host) {
            c.fault(codes::INVALID_VALUE, &format!("{pointer}/hosts/{index}"), |f| f.expected("a host and perhaps a port, without scheme and path: `prometheus.example:443`").found(format!("`{host}`")), "this can't be a host");
        }
    }
    let header_fits = credential.header_parts().is_some_and(|(name, value)| {
        name::is_header_name(name)
            && value.matches("{secret}").count() == 1
            && value.ends_with("{secret}")
            && !value.contains(['\r', '\n'])
    });
    if !header_fits {
        c.fault(codes::INVALID_VALUE, &format!("{pointer}/header"), |f| f.expected("a header's name, a colon and a value that ends with `{secret}`: `Authorization: Bearer {secret}`"), "this header can't carry the secret");
    }
}

fn gates(c: &mut Checker<'_>, release: &Release, builtin: &[&str]) {
    for (name, gate) in &release.gates {
        let pointer = format!("/gates/{}", escape(name));
        c.label(&pointer, "gate", name);
        plugin(
            c,
            release,
            builtin,
            &format!("{pointer}/plugin"),
            &gate.plugin,
        );
        config(c, release, &format!("{pointer}/config"), &gate.config);
        gate::policy(c, &format!("{pointer}/policy"), &gate.policy);
    }
}

fn actions(c: &mut Checker<'_>, release: &Release, builtin: &[&str]) {
    for (name, act) in &release.actions {
        let pointer = format!("/actions/{}", escape(name));
        c.label(&pointer, "action", name);
        phases::act(c, release, builtin, &pointer, act);
    }
}

fn notifications(c: &mut Checker<'_>, release: &Release, builtin: &[&str]) {
    let all = &release.notifications;
    c.distinct(
        "notifications",
        all.iter()
            .enumerate()
            .map(|(i, n)| (n.name.as_str(), format!("/notifications/{i}/name"))),
    );
    for (index, notification) in all.iter().enumerate() {
        let at = |field: &str| format!("/notifications/{index}/{field}");
        c.label(&at("name"), "notification", &notification.name);
        plugin(c, release, builtin, &at("plugin"), &notification.plugin);
        config(c, release, &at("config"), &notification.config);
        c.distinct(
            "events",
            notification
                .on
                .iter()
                .enumerate()
                .map(|(i, event)| (event.as_str(), format!("/notifications/{index}/on/{i}"))),
        );
        let Some(fallback) = &notification.fallback else {
            continue;
        };
        c.refers(
            &at("fallback"),
            "notification",
            fallback,
            all.iter().map(|n| n.name.as_str()),
        );
        if !notification.critical {
            c.fault(
                codes::CONTRADICTION,
                &at("fallback"),
                |f| f.hint("add `critical: true`, or remove `fallback`"),
                "a fallback is used for critical notifications only",
            );
        }
        if falls_back_to_itself(release, &notification.name) {
            c.fault(
                codes::CONTRADICTION,
                &at("fallback"),
                |f| f.found(format!("`{fallback}`")),
                format!("the fallbacks of `{}` lead back to it", notification.name),
            );
        }
    }
}

fn falls_back_to_itself(release: &Release, start: &str) -> bool {
    let next = |name: &str| {
        release
            .notifications
            .iter()
            .find(|n| n.name == name)
            .and_then(|n| n.fallback.as_deref())
    };
    // One more step than there are notifications visits them all.
    std::iter::successors(next(start), |name| next(name))
        .take(release.notifications.len())
        .any(|name| name == start)
}

fn ends(c: &mut Checker<'_>, release: &Release) {
    let rollback = &release.rollback;
    c.duration("/rollback/target", "the rollback's target", rollback.target);
    c.duration(
        "/rollback/stepTimeout",
        "the rollback's step timeout",
        rollback.step_timeout,
    );
    c.duration("/rollback/keep", "how long copies are kept", rollback.keep);
    if rollback.retries > MAX_RETRIES {
        c.number(
            "/rollback/retries",
            "too many retries".to_owned(),
            &format!("at most {MAX_RETRIES}"),
            &rollback.retries.to_string(),
        );
    }
    c.duration(
        "/peopleTimeout",
        "the time that people have",
        release.people_timeout,
    );
    if let Some(minimum) = release.minimum_soak {
        c.duration("/minimumSoak", "the minimum soak", minimum);
    }
    for (index, due) in release.due.iter().enumerate() {
        if due.after > MAX_DUE {
            c.number(
                &format!("/due/{index}/after"),
                "the task is due too late".to_owned(),
                &format!("at most {MAX_DUE}"),
                &due.after.to_string(),
            );
        }
        if due.task.trim().is_empty() {
            c.fault(
                codes::INVALID_VALUE,
                &format!("/due/{index}/task"),
                |f| f.expected("what is to be done"),
                "the task says nothing",
            );
        }
    }
    debug_assert!(MAX_DUE > MAX_DURATION);
}
