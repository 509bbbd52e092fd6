//! Phases, steps and the approvals before them.

use crate::diagnostic::codes;
use crate::spec::check::Checker;
use crate::spec::objects::OBJECTS;
use crate::spec::release::{Act, Body, Phase, Release, Soak, Step, StepAction, Strategy};
use crate::time::Span;

/// Checks all phases of a release.
pub(super) fn check(c: &mut Checker<'_>, release: &Release, builtin: &[&str]) {
    let phases = &release.phases;
    c.not_empty("/phases", "`phases`", phases.is_empty());
    c.distinct(
        "phases",
        phases
            .iter()
            .enumerate()
            .map(|(i, p)| (p.name.as_str(), format!("/phases/{i}/name"))),
    );
    for (index, phase) in phases.iter().enumerate() {
        let pointer = format!("/phases/{index}");
        c.label(&format!("{pointer}/name"), "phase", &phase.name);
        if let Some(timeout) = phase.timeout {
            c.duration(
                &format!("{pointer}/timeout"),
                "the phase's timeout",
                timeout,
            );
        }
        match &phase.body {
            Body::Strategy(strategy) => self::strategy(
                c,
                release,
                builtin,
                &format!("{pointer}/strategy"),
                strategy,
            ),
            Body::Steps(steps) => {
                self::steps(c, release, builtin, &format!("{pointer}/steps"), steps);
            }
        }
    }
    one_strategy(c, phases);
    point_of_no_return(c, phases);
    step_ids(c, phases);
    attestations(c, phases);
    approvals(c, release);
}

fn one_strategy(c: &mut Checker<'_>, phases: &[Phase]) {
    let with: Vec<usize> = phases
        .iter()
        .enumerate()
        .filter(|(_, p)| p.strategy().is_some())
        .map(|(i, _)| i)
        .collect();
    match with.as_slice() {
        [] => c.fault(
            codes::NO_STRATEGY,
            "/phases",
            |f| {
                f.expected("one phase with `strategy`")
                    .found("none")
                    .hint("add for example `- {name: deploy, strategy: {plugin: rolling}}`")
            },
            "no phase has a strategy",
        ),
        [_] => {}
        [_, extra @ ..] => {
            for index in extra {
                c.fault(
                    codes::NO_STRATEGY,
                    &format!("/phases/{index}/strategy"),
                    |f| {
                        f.expected("one phase with `strategy`")
                            .found(format!("{}", with.len()))
                    },
                    "more than one phase has a strategy",
                );
            }
        }
    }
}

/// There is one, and not before the new version serves: staying forward would mean to stay with the old one.
fn point_of_no_return(c: &mut Checker<'_>, phases: &[Phase]) {
    let mut points: Vec<(usize, String)> = Vec::new();
    for (index, phase) in phases.iter().enumerate() {
        if let Body::Steps(steps) = &phase.body {
            let marked = steps.iter().enumerate();
            let marked = marked.filter(|(_, step)| step.point_of_no_return);
            points.extend(marked.map(|(step, _)| {
                let pointer = format!("/phases/{index}/steps/{step}/pointOfNoReturn");
                (index, pointer)
            }));
        }
        if phase.point_of_no_return {
            points.push((index, format!("/phases/{index}/pointOfNoReturn")));
        }
    }
    let released = phases.iter().position(|phase| phase.strategy().is_some());
    for (index, pointer) in &points {
        if let Some(strategy) = released.and_then(|at| phases.get(at).filter(|_| *index < at)) {
            c.fault(
                codes::CONTRADICTION,
                pointer,
                |f| {
                    f.expected(format!("the phase `{}` or a later one", strategy.name))
                        .hint("what can't be undone has to wait until only the new version serves")
                },
                "the point of no return comes before the new version serves",
            );
        }
    }
    for (_, pointer) in points.iter().skip(1) {
        c.fault(
            codes::CONTRADICTION,
            pointer,
            |f| {
                f.expected("one, the earliest")
                    .found(points.len().to_string())
            },
            "a release has one point of no return",
        );
    }
}

fn strategy(
    c: &mut Checker<'_>,
    release: &Release,
    builtin: &[&str],
    pointer: &str,
    strategy: &Strategy,
) {
    super::plugin(
        c,
        release,
        builtin,
        &format!("{pointer}/plugin"),
        &strategy.plugin,
    );
    super::config(c, release, &format!("{pointer}/config"), &strategy.config);
    gates(c, release, &format!("{pointer}/gates"), &strategy.gates);
    let known = || release.actions.keys().map(String::as_str);
    let actions = format!("{pointer}/actions");
    named(c, &actions, "action", &strategy.actions, known);
}

fn steps(c: &mut Checker<'_>, release: &Release, builtin: &[&str], pointer: &str, steps: &[Step]) {
    c.not_empty(pointer, "`steps`", steps.is_empty());
    c.bounded(pointer, "steps", steps.len());
    for (index, step) in steps.iter().enumerate() {
        let at = format!("{pointer}/{index}");
        if let Some(id) = &step.id {
            c.label(&format!("{at}/id"), "step", id);
        }
        match &step.action {
            StepAction::Check(names) => {
                c.not_empty(&format!("{at}/check"), "`check`", names.is_empty());
                gates(c, release, &format!("{at}/check"), names);
            }
            StepAction::Soak(soak) => self::soak(c, release, &format!("{at}/soak"), soak),
            StepAction::Approve(approve) => {
                roles(
                    c,
                    &format!("{at}/approve"),
                    &approve.roles,
                    approve.count,
                    approve.expires,
                );
            }
            StepAction::Attest(attest) => {
                c.label(&format!("{at}/attest/name"), "attestation", &attest.name)
            }
            StepAction::Act(act) => self::act(c, release, builtin, &format!("{at}/act"), act),
            StepAction::Notify(notify) => {
                let known = release.notifications.iter().map(|n| n.name.as_str());
                c.refers(
                    &format!("{at}/notify/notification"),
                    "notification",
                    &notify.notification,
                    known,
                );
            }
        }
    }
}

/// Checks an action, wherever it stands.
pub(super) fn act(c: &mut Checker<'_>, release: &Release, builtin: &[&str], at: &str, act: &Act) {
    super::plugin(c, release, builtin, &format!("{at}/plugin"), &act.plugin);
    super::config(c, release, &format!("{at}/config"), &act.config);
    c.duration(&format!("{at}/timeout"), "the timeout", act.timeout);
    act_manifests(c, at, act);
}

/// Manifests of an action, which fill a field of its config.
fn act_manifests(c: &mut Checker<'_>, pointer: &str, act: &Act) {
    let Some(manifests) = &act.manifests else {
        return;
    };
    super::workload::manifests_source(c, &format!("{pointer}/manifests"), manifests);
    if act.config.get(OBJECTS).is_some() {
        c.fault(
            codes::CONTRADICTION,
            &format!("{pointer}/config/{OBJECTS}"),
            |f| f.expected("no such field beside `manifests`").found("both"),
            "`objects` is what the manifests describe",
        );
    }
}

fn gates(c: &mut Checker<'_>, release: &Release, pointer: &str, names: &[String]) {
    let known = || release.gates.keys().map(String::as_str);
    named(c, pointer, "gate", names, known);
}

/// A list of names of things of the release, each once.
fn named<'n, I: Iterator<Item = &'n str>>(
    c: &mut Checker<'_>,
    pointer: &str,
    what: &str,
    names: &[String],
    known: impl Fn() -> I,
) {
    for (index, name) in names.iter().enumerate() {
        c.refers(&format!("{pointer}/{index}"), what, name, known());
    }
    c.distinct(
        &format!("{what}s of this list"),
        names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), format!("{pointer}/{i}"))),
    );
}

fn soak(c: &mut Checker<'_>, release: &Release, pointer: &str, soak: &Soak) {
    let duration = format!("{pointer}/for");
    c.duration(&duration, "a soak", soak.duration);
    gates(c, release, &format!("{pointer}/gates"), &soak.gates);
    if let Some(every) = soak.every {
        c.duration(&format!("{pointer}/every"), "`every`", every);
        if every > soak.duration {
            c.fault(
                codes::IMPOSSIBLE_NUMBER,
                &duration,
                |f| {
                    f.expected(format!("at least `every`, {every}"))
                        .found(soak.duration.to_string())
                },
                "the soak is shorter than its interval",
            );
        }
    }
    for name in &soak.gates {
        let Some(gate) = release.gates.get(name) else {
            continue;
        };
        let first = gate.policy.initial_delay.plus(gate.policy.interval);
        if first > soak.duration {
            c.fault(
                codes::IMPOSSIBLE_NUMBER,
                &duration,
                |f| {
                    f.expected(format!(
                        "at least {first}: initial delay and interval of `{name}`"
                    ))
                    .found(soak.duration.to_string())
                },
                format!("the soak ends before the gate `{name}` can be asked twice"),
            );
        }
        if let Some(sustained) = gate.policy.sustained.filter(|s| *s > soak.duration) {
            c.fault(
                codes::IMPOSSIBLE_NUMBER,
                &duration,
                |f| {
                    f.expected(format!("at least {sustained}: `sustained` of `{name}`"))
                        .found(soak.duration.to_string())
                },
                format!("the soak ends before a breach of `{name}` can count"),
            );
        }
    }
    if let Some(minimum) = release
        .minimum_soak
        .filter(|minimum| *minimum > soak.duration)
    {
        c.fault(
            codes::IMPOSSIBLE_NUMBER,
            &duration,
            |f| {
                f.expected(format!("at least `minimumSoak`, {minimum}"))
                    .found(soak.duration.to_string())
            },
            "the soak is shorter than the release's own minimum",
        );
    }
}

fn step_ids(c: &mut Checker<'_>, phases: &[Phase]) {
    let mut ids: Vec<(String, String)> = Vec::new();
    for (phase_index, phase) in phases.iter().enumerate() {
        for (index, (id, _)) in phase.steps().into_iter().enumerate() {
            ids.push((id, format!("/phases/{phase_index}/steps/{index}/id")));
        }
    }
    c.distinct(
        "steps",
        ids.iter()
            .map(|(id, pointer)| (id.as_str(), pointer.clone())),
    );
}

fn attestations(c: &mut Checker<'_>, phases: &[Phase]) {
    let mut names: Vec<(&str, String)> = Vec::new();
    for (phase_index, phase) in phases.iter().enumerate() {
        for (index, (_, action)) in phase.steps().into_iter().enumerate() {
            if let StepAction::Attest(attest) = action {
                names.push((
                    attest.name.as_str(),
                    format!("/phases/{phase_index}/steps/{index}/attest/name"),
                ));
            }
        }
    }
    c.distinct("attestations", names);
}

fn approvals(c: &mut Checker<'_>, release: &Release) {
    for (index, approval) in release.approvals.iter().enumerate() {
        let pointer = format!("/approvals/{index}");
        c.refers(
            &format!("{pointer}/before"),
            "phase",
            &approval.before,
            release.phases.iter().map(|p| p.name.as_str()),
        );
        roles(
            c,
            &pointer,
            &approval.roles,
            approval.count,
            approval.expires,
        );
    }
}

fn roles(c: &mut Checker<'_>, pointer: &str, roles: &[String], count: u32, expires: Option<Span>) {
    c.not_empty(&format!("{pointer}/roles"), "`roles`", roles.is_empty());
    c.bounded(&format!("{pointer}/roles"), "roles", roles.len());
    c.people(&format!("{pointer}/count"), count);
    if let Some(expires) = expires {
        c.duration(&format!("{pointer}/expires"), "`expires`", expires);
    }
}
