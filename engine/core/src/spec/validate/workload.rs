//! What is deployed.

use crate::config::{ConfigKind, MAX_CONFIGS, MAX_NAME, MAX_TEMPLATE_NAME, original};
use crate::diagnostic::codes;
use crate::spec::Change;
use crate::spec::check::Checker;
use crate::spec::name;
use crate::spec::release::{MAX_WAVE, Manifests, Release, VERSION_PLACEHOLDER, Workload};

/// Checks everything that a release deploys.
pub(super) fn check(c: &mut Checker<'_>, release: &Release, builtin: &[&str]) {
    let found = match (&release.workload, release.workloads.is_empty()) {
        (None, true) => Some("none"),
        (Some(_), false) => Some("both"),
        _ => None,
    };
    if let Some(found) = found {
        let code = if found == "none" {
            codes::MISSING_FIELD
        } else {
            codes::CONTRADICTION
        };
        c.fault(
            code,
            "",
            |f| f.expected("`workload` or `workloads`").found(found),
            "a release deploys one workload, or several",
        );
    }
    let all = release.workloads();
    for (pointer, workload) in &all {
        one(c, release, builtin, pointer, workload);
    }
    c.distinct(
        "workloads",
        all.iter()
            .map(|(pointer, workload)| (workload.called(), pointer.clone())),
    );
    c.distinct(
        "Deployments",
        all.iter()
            .map(|(pointer, w)| (w.deployment.as_str(), format!("{pointer}/deployment"))),
    );
}

fn one(
    c: &mut Checker<'_>,
    release: &Release,
    builtin: &[&str],
    pointer: &str,
    workload: &Workload,
) {
    let at = |field: &str| format!("{pointer}/{field}");
    if let Some(name) = &workload.name {
        c.label(&at("name"), "workload", name);
    }
    if !(1..=MAX_WAVE).contains(&workload.wave) {
        c.fault(
            codes::INVALID_VALUE,
            &at("wave"),
            |f| {
                f.expected(format!("a whole number from 1 to {MAX_WAVE}"))
                    .found(workload.wave.to_string())
            },
            "there is no such wave",
        );
    }
    c.subdomain(&at("deployment"), "Deployment", &workload.deployment);
    c.label(&at("container"), "container", &workload.container);
    if let Some(service) = &workload.service {
        c.label(&at("service"), "Service", service);
    }
    for (list, what, names) in [
        ("configMaps", "ConfigMap", &workload.config_maps),
        ("secrets", "Secret", &workload.secrets),
    ] {
        c.bounded(&at(list), what, names.len());
        for (index, name) in names.iter().enumerate() {
            c.subdomain(&format!("{pointer}/{list}/{index}"), what, name);
        }
    }
    if let Some(router) = &workload.router {
        let pointer = at("router");
        super::plugin(
            c,
            release,
            builtin,
            &format!("{pointer}/plugin"),
            &router.plugin,
        );
        super::config(c, release, &format!("{pointer}/config"), &router.config);
    }
    configs(c, &at("configs"), workload);
    manifests(c, &at("manifests"), workload);
    beside(c, pointer, workload);
    image(c, release, &at("image"), workload);
}

/// What is versioned with the workload.
fn configs(c: &mut Checker<'_>, pointer: &str, workload: &Workload) {
    let configs = &workload.configs;
    if configs.len() > MAX_CONFIGS {
        c.fault(
            codes::TOO_MANY,
            pointer,
            |f| {
                f.expected(format!("at most {MAX_CONFIGS}"))
                    .found(configs.len().to_string())
            },
            "too many ConfigMaps and Secrets are versioned",
        );
    }
    for (index, config) in configs.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        let Some((kind, name)) = config.named() else {
            let both = config.config_map.is_some();
            let code = match both {
                true => codes::CONTRADICTION,
                false => codes::MISSING_FIELD,
            };
            c.fault(
                code,
                &pointer,
                |f| {
                    f.expected("`configMap` or `secret`")
                        .found(if both { "both" } else { "none" })
                },
                "one ConfigMap or one Secret is versioned by each of `configs`",
            );
            continue;
        };
        let field = match kind {
            ConfigKind::Secret => "secret",
            _ => "configMap",
        };
        let at = format!("{pointer}/{field}");
        c.subdomain(&at, kind.as_str(), name);
        if name.len() > MAX_NAME {
            c.fault(
                codes::INVALID_VALUE,
                &at,
                |f| {
                    f.expected(format!("at most {MAX_NAME} characters"))
                        .found(name.len().to_string())
                },
                "the name leaves no room for a copy's",
            );
        }
        if original(name) != name {
            c.fault(
                codes::INVALID_VALUE,
                &at,
                |f| {
                    f.expected(format!("`{}`", original(name)))
                        .found(format!("`{name}`"))
                },
                "this is the name of a copy, which no release may version",
            );
        }
        if config.from.is_some() && kind == ConfigKind::Secret {
            c.fault(
                codes::CONTRADICTION,
                &format!("{pointer}/from"),
                |f| f.expected("no `from`").found("one of a Secret"),
                "a Secret's content is no file's beside a release: whoever keeps it puts it into the cluster",
            );
        }
    }
    // A ConfigMap and a Secret may have one name.
    c.distinct(
        "ConfigMaps",
        configs.iter().enumerate().filter_map(|(index, config)| {
            let name = config.config_map.as_deref()?;
            Some((name, format!("{pointer}/{index}/configMap")))
        }),
    );
    c.distinct(
        "Secrets",
        configs.iter().enumerate().filter_map(|(index, config)| {
            let name = config.secret.as_deref()?;
            Some((name, format!("{pointer}/{index}/secret")))
        }),
    );
}

/// Where the pod template comes from, if the release brings it along.
fn manifests(c: &mut Checker<'_>, pointer: &str, workload: &Workload) {
    let Some(manifests) = &workload.manifests else {
        return;
    };
    manifests_source(c, pointer, manifests);
    if workload.colours.is_some() {
        c.fault(
            codes::CONTRADICTION,
            pointer,
            |f| f.expected("no `colours`").found("both"),
            "a manifest is of one Deployment, and colours are two",
        );
    }
    if workload.deployment.len() > MAX_TEMPLATE_NAME {
        c.fault(
            codes::INVALID_VALUE,
            pointer,
            |f| {
                f.expected(format!(
                    "a Deployment's name of at most {MAX_TEMPLATE_NAME} characters"
                ))
            },
            "the name leaves no room for a copy's",
        );
    }
}

/// Where manifests come from.
pub(super) fn manifests_source(c: &mut Checker<'_>, pointer: &str, manifests: &Manifests) {
    let given = [
        ("path", manifests.path.is_some()),
        ("kustomize", manifests.kustomize.is_some()),
        ("helm", manifests.helm.is_some()),
    ];
    let given: Vec<&str> = given
        .into_iter()
        .filter_map(|(field, given)| given.then_some(field))
        .collect();
    if given.len() != 1 {
        let code = match given.is_empty() {
            true => codes::MISSING_FIELD,
            false => codes::CONTRADICTION,
        };
        c.fault(
            code,
            pointer,
            |f| {
                f.expected("one of `path`, `kustomize` and `helm`")
                    .found(crate::diagnostic::listed(given))
            },
            "manifests come from one place",
        );
    }
    let Some(helm) = &manifests.helm else {
        return;
    };
    c.bounded(
        &format!("{pointer}/helm/values"),
        "file of values",
        helm.values.len(),
    );
    if let Some(release) = &helm.release {
        c.subdomain(
            &format!("{pointer}/helm/release"),
            "release of Helm",
            release,
        );
    }
}

/// Colours and routers need a Service: the one says which colour serves, the others share its traffic.
fn beside(c: &mut Checker<'_>, pointer: &str, workload: &Workload) {
    let needs = [
        ("colours", workload.colours.is_some()),
        ("router", workload.router.is_some()),
    ];
    for (field, given) in needs {
        if given && workload.service.is_none() {
            c.fault(
                codes::MISSING_FIELD,
                &format!("{pointer}/{field}"),
                |f| f.expected("a field `service` beside it").found("none"),
                format!("`{field}` is given for a workload without a Service"),
            );
        }
    }
    if let Some(colours) = &workload.colours {
        let [first, second] = &colours.values;
        for (index, value) in colours.values.iter().enumerate() {
            c.label(
                &format!("{pointer}/colours/values/{index}"),
                "colour",
                value,
            );
        }
        if first == second {
            c.fault(
                codes::CONTRADICTION,
                &format!("{pointer}/colours/values"),
                |f| f.expected("two colours").found(format!("`{first}` twice")),
                "the colours are the same",
            );
        }
    }
}

/// The image must follow from the version: by the placeholder, or because a digest fixes it.
fn image(c: &mut Checker<'_>, release: &Release, pointer: &str, workload: &Workload) {
    let image = workload.image.as_str();
    let (reference, digest) = match image.split_once('@') {
        Some((reference, digest)) => (reference, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        if !name::is_digest(digest) {
            c.fault(
                codes::INVALID_VALUE,
                pointer,
                |f| {
                    f.expected("`sha256:` and 64 hexadecimal digits after `@`")
                        .found(format!("`{digest}`"))
                },
                "the image's digest can't be one",
            );
        }
        return;
    }
    let last = reference.rsplit('/').next().unwrap_or(reference);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let rest = reference.replace(VERSION_PLACEHOLDER, "");
    let fault = match tag {
        _ if rest.contains(['{', '}']) => Some("the image has a placeholder that is not known"),
        None | Some("") => Some("the image has no tag"),
        Some("latest") => Some("the tag `latest` names another image every time"),
        // A change of configuration alone keeps the image that serves.
        Some(_)
            if !image.contains(VERSION_PLACEHOLDER) && release.change != Change::Configuration =>
        {
            Some("the image does not follow from the version")
        }
        Some(_) if reference.chars().any(char::is_whitespace) => {
            Some("the image has a blank in it")
        }
        Some(_) => None,
    };
    if let Some(message) = fault {
        c.fault(
            codes::IMAGE_WITHOUT_VERSION,
            pointer,
            |f| {
                f.expected("an image that ends in `:{version}`, or one with a digest")
                    .found(format!("`{image}`"))
            },
            message,
        );
    }
}
