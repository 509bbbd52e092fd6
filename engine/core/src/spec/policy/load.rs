//! From the bytes of a policy file to a policy that was checked.

use super::{Policy, Window};
use crate::diagnostic::{Diagnostics, codes};
use crate::spec::check::Checker;
use crate::spec::release::check_kind;
use crate::time::Span;
use crate::yaml::{self, Document, escape};

/// Most people or environments of one list.
const MAX_LIST: usize = 500;
/// Most memory that a plugin may be given, in MiB.
const MAX_MEMORY_MIB: u32 = 4096;
/// Most requests that one call may be given.
const MAX_HOST_CALLS: u32 = 10_000;

/// A policy that was checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file.
    pub policy: Policy,
    /// Where everything in it stands.
    pub document: Document,
}

/// Reads and checks a policy.
///
/// # Errors
///
/// Every fault of the file, in its order.
pub fn load(file: &str, bytes: &[u8]) -> Result<Loaded, Diagnostics> {
    let document = yaml::read(file, bytes)?;
    check_kind(&document, "Policy")?;
    let yaml::Parsed {
        value: policy,
        document,
    } = yaml::fit::<Policy>(document)?;
    let mut check = Checker::new(&document);
    all(&mut check, &policy);
    let mut faults = check.faults;
    faults.sort_by_place();
    faults.into_result(Loaded { policy, document })
}

fn all(c: &mut Checker<'_>, policy: &Policy) {
    for (pointer, what, length) in [
        ("/roles", "roles", policy.roles.len()),
        ("/approvals", "approvals", policy.approvals.len()),
        ("/attestations", "attestations", policy.attestations.len()),
        ("/windows", "windows", policy.windows.len()),
        ("/freezes", "freezes", policy.freezes.len()),
    ] {
        c.bounded(pointer, what, length);
    }
    c.at_most_entries("/holidays", "holidays", policy.holidays.len(), MAX_LIST);
    for (role, people) in &policy.roles {
        let pointer = format!("/roles/{}", escape(role));
        c.label(&pointer, "role", role);
        c.at_most_entries(&pointer, "people", people.len(), MAX_LIST);
        c.distinct(
            "people of one role",
            people
                .iter()
                .enumerate()
                .map(|(i, p)| (p.as_str(), format!("{pointer}/{i}"))),
        );
    }
    approvals(c, policy);
    c.distinct(
        "attestations",
        policy
            .attestations
            .iter()
            .enumerate()
            .map(|(i, a)| (a.name.as_str(), format!("/attestations/{i}/name"))),
    );
    for (index, attestation) in policy.attestations.iter().enumerate() {
        c.label(
            &format!("/attestations/{index}/name"),
            "attestation",
            &attestation.name,
        );
    }
    calendar(c, policy);
    limits(c, policy);
    grants(c, policy);
}

fn grants(c: &mut Checker<'_>, policy: &Policy) {
    let grants = &policy.plugins.grants;
    c.bounded("/plugins/grants", "grants", grants.len());
    for (index, grant) in grants.iter().enumerate() {
        let pointer = format!("/plugins/grants/{index}");
        if grant.plugin.is_some() == grant.source.is_some() {
            c.fault(
                codes::CONTRADICTION,
                &pointer,
                |f| f.expected("either `plugin` or `source`"),
                "a grant is to one plugin",
            );
        }
        let digest = grant.digest.as_deref();
        if digest.is_some_and(|digest| !is_digest(digest)) {
            c.fault(
                codes::INVALID_VALUE,
                &format!("{pointer}/digest"),
                |f| f.expected("`sha256:` and 64 hexadecimal digits in lower case"),
                "that is no digest",
            );
        }
        let may = format!("{pointer}/may");
        c.not_empty(&may, "`may`", grant.may.is_empty());
        c.bounded(&may, "rights of one plugin", grant.may.len());
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn approvals(c: &mut Checker<'_>, policy: &Policy) {
    for (index, rule) in policy.approvals.iter().enumerate() {
        let at = |field: &str| format!("/approvals/{index}/{field}");
        c.not_empty(&at("roles"), "`roles`", rule.roles.is_empty());
        for (i, role) in rule.roles.iter().enumerate() {
            c.refers_as(
                codes::UNKNOWN_ROLE,
                &at(&format!("roles/{i}")),
                "role",
                role,
                policy.roles.keys().map(String::as_str),
            );
        }
        c.people(&at("count"), rule.count);
        c.duration(&at("expires"), "`expires`", rule.expires);
        c.enough_people(
            &format!("/approvals/{index}"),
            policy,
            &rule.roles,
            rule.count,
        );
    }
}

fn calendar(c: &mut Checker<'_>, policy: &Policy) {
    for (index, window) in policy.windows.iter().enumerate() {
        self::window(c, &format!("/windows/{index}"), window);
    }
    for (index, freeze) in policy.freezes.iter().enumerate() {
        if freeze.from >= freeze.to {
            c.fault(
                codes::WINDOW_INVALID,
                &format!("/freezes/{index}/to"),
                |f| {
                    f.expected(format!("a time after {}", freeze.from))
                        .found(freeze.to.to_string())
                },
                "the freeze ends before it begins",
            );
        }
    }
    if policy.windows.is_empty() && !policy.holidays.is_empty() {
        c.fault(
            codes::WINDOW_INVALID,
            "/holidays",
            |f| f.hint("add a window with the zone that the days are meant in, for example every day from \"00:00\" to \"24:00\""),
            "holidays close windows, and the policy has none",
        );
    }
    if policy.deny_day_before_holiday && policy.holidays.is_empty() {
        c.fault(
            codes::WINDOW_INVALID,
            "/denyDayBeforeHoliday",
            |f| f.hint("list the days under `holidays`"),
            "`denyDayBeforeHoliday` has no holidays to go by",
        );
    }
}

fn window(c: &mut Checker<'_>, pointer: &str, window: &Window) {
    if jiff::tz::TimeZone::get(&window.zone).is_err() {
        c.fault(
            codes::WINDOW_INVALID,
            &format!("{pointer}/zone"),
            |f| {
                f.expected("a time zone by its IANA name, for example `America/New_York`")
                    .found(format!("`{}`", window.zone))
            },
            "there is no such time zone",
        );
    }
    c.not_empty(&format!("{pointer}/days"), "`days`", window.days.is_empty());
    if window.from >= window.to {
        c.fault(
            codes::WINDOW_INVALID,
            &format!("{pointer}/to"),
            |f| f.expected(format!("a time after {}", window.from)).found(window.to.to_string()).hint("a window over midnight is written as two: up to \"24:00\", and from \"00:00\""),
            "the window closes before it opens",
        );
    }
}

fn limits(c: &mut Checker<'_>, policy: &Policy) {
    let plugins = &policy.plugins;
    for (field, limit, most) in [
        ("memoryMiB", plugins.memory_mib, MAX_MEMORY_MIB),
        ("hostCalls", plugins.host_calls, MAX_HOST_CALLS),
    ] {
        if let Some(limit) = limit.filter(|limit| *limit == 0 || *limit > most) {
            c.number(
                &format!("/plugins/{field}"),
                format!("`{field}` can't be this"),
                &format!("1 to {most}"),
                &limit.to_string(),
            );
        }
    }
    let spans: [(&str, &str, Option<Span>); 6] = [
        ("/plugins/timeout", "a plugin's timeout", plugins.timeout),
        (
            "/plugins/compute",
            "a plugin's time to compute",
            plugins.compute,
        ),
        (
            "/gates/minimumSoak",
            "the minimum soak",
            policy.gates.minimum_soak,
        ),
        (
            "/gates/maxInterval",
            "the longest interval",
            policy.gates.max_interval,
        ),
        (
            "/gates/maxSustained",
            "the longest `sustained`",
            policy.gates.max_sustained,
        ),
        (
            "/rollback/maxTarget",
            "the rollback's longest target",
            policy.rollback.max_target,
        ),
    ];
    for (pointer, what, span) in spans {
        if let Some(span) = span {
            c.duration(pointer, what, span);
        }
    }
}
