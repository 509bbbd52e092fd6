//! Making a plan from the world: plugins are asked what they are, the cluster what is there, the
//! strategy what it wants. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};

use phasegate_core::approval;
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::failure::Failure;
use phasegate_core::plan::{Pin, Plan, Router, Use, Workload};
use phasegate_core::planning::{self, Inputs};
use phasegate_core::spec::objects;
use phasegate_core::spec::policy::Policy;
use phasegate_core::spec::release::{self, Loaded, Release};
use phasegate_core::spec::tighten::{self, Effective};
use phasegate_core::strategy::{Action, Placement, Slot, Step};
use phasegate_core::workload::{Baseline, Colours, Target};
use phasegate_core::yaml::escape;

use crate::perform::{STRATEGY_TIMEOUT, World};
use crate::ports::{Call, Capability, ConfigAsked, Description, Located, Plugins, TemplateAsked};

/// The name under which plugins are called while there is no run yet.
const NO_RUN: &str = "plan";

/// Who starts a run that nobody has started; no account has this name.
const NOBODY: &str = "";

/// The plugins of a release as they describe themselves, by the name that the release gives them.
pub type Described = BTreeMap<String, (Pin, Description)>;

/// The target that a workload of a release names, before anybody has looked which of its Deployments serves.
#[must_use]
pub fn target_of(loaded: &Loaded, workload: &release::Workload, cluster: &str) -> Target {
    Target {
        cluster: cluster.to_owned(),
        namespace: loaded.namespace.clone(),
        workload: workload.deployment.clone(),
        deployment: workload.deployment.clone(),
        container: workload.container.clone(),
        service: workload.service.clone(),
        config_maps: workload.config_maps.clone(),
        secrets: workload.secrets.clone(),
        beside: None,
    }
}

/// The plugins that a release uses, by name.
#[must_use]
pub fn plugins_of(release: &Release) -> BTreeSet<String> {
    let strategies = release
        .phases
        .iter()
        .filter_map(|phase| phase.strategy())
        .map(|strategy| &strategy.plugin);
    let gates = release.gates.values().map(|gate| &gate.plugin);
    let notifiers = release
        .notifications
        .iter()
        .map(|notification| &notification.plugin);
    let workloads = release.workloads();
    let routers = workloads
        .iter()
        .filter_map(|(_, workload)| workload.router.as_ref())
        .map(|router| &router.plugin);
    let actions = release.acts().into_iter().map(|(_, act)| &act.plugin);
    strategies
        .chain(actions)
        .chain(gates)
        .chain(notifiers)
        .chain(routers)
        .cloned()
        .collect()
}

/// What is wrong with a release as far as its plugins can tell: offers that are not there, and configs
/// that don't fit.
///
/// # Errors
/// Every fault, at its place in the file.
pub async fn validate(plugins: &dyn Plugins, loaded: &Loaded) -> Result<Described, Diagnostics> {
    let mut faults = Diagnostics::new();
    let mut described = Described::new();
    for name in plugins_of(&loaded.release) {
        match plugins.describe(&name).await {
            Ok(description) => {
                described.insert(name, description);
            }
            Err(failure) => faults.push(diagnostic(&failure, &format!("plugin `{name}`"))),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    for (kind, pointer, plugin, offer, config) in used(&loaded.release) {
        let found = match resolve(&described, kind, plugin, offer) {
            Ok(found) => found,
            Err(fault) => {
                faults.push(fault.at(loaded.document.place(&pointer)));
                continue;
            }
        };
        let offer = Use {
            plugin: plugin.to_owned(),
            offer: found,
            config: config.clone(),
        };
        match plugins.validate(kind, &offer).await {
            Ok(problems) => {
                for problem in problems {
                    let place = loaded
                        .document
                        .place(&format!("{pointer}/config{}", problem.pointer));
                    let message =
                        format!("the config of `{plugin}` is not right: {}", problem.message);
                    faults.push(
                        Diagnostic::new(codes::PLUGIN_MISCONFIGURED, message)
                            .at(place)
                            .hint(format!(
                                "`phasegate plugin inspect {plugin}` shows the schema"
                            )),
                    );
                }
            }
            Err(failure) => faults.push(
                diagnostic(&failure, &format!("plugin `{plugin}`"))
                    .at(loaded.document.place(&pointer)),
            ),
        }
    }
    for (pointer, act) in loaded.release.acts() {
        if let Some(fault) = not_taken(&described, act) {
            let field = match &act.manifests {
                Some(_) => "manifests".to_owned(),
                None => format!("config/{}", objects::OBJECTS),
            };
            let place = loaded.document.place(&format!("{pointer}/{field}"));
            faults.push(fault.at(place));
        }
    }
    faults.sort_by_place();
    faults.into_result(described)
}

/// The first of an action's objects that its plugin doesn't ask to apply, and would be refused; objects that no manifests
/// describe, which nothing has checked.
fn not_taken(described: &Described, act: &release::Act) -> Option<Diagnostic> {
    let (_, description) = described.get(&act.plugin)?;
    let taken = description.asks.iter().filter_map(Capability::applied);
    let taken: Vec<(&str, &str)> = taken.collect();
    if act.manifests.is_none() {
        let unchecked = !taken.is_empty() && act.config.get(objects::OBJECTS).is_some();
        return unchecked.then(|| {
            Diagnostic::new(
                codes::MANIFEST_NOT_APPLIED,
                "objects come from `manifests`, by which they are checked",
            )
            .expected("`manifests` beside `config`")
            .found(format!("`{}` in `config`", objects::OBJECTS))
        });
    }
    let objects = objects::of(&act.config).iter().map(objects::kind_of);
    let mut others = objects.filter(|kind| !taken.contains(kind));
    let (group, kind) = others.next()?;
    let message = format!("the plugin `{}` doesn't apply a {kind}", act.plugin);
    let known: Vec<&str> = taken.iter().map(|(_, kind)| *kind).collect();
    let known = match known.as_slice() {
        [] => "an action that applies manifests".to_owned(),
        known => known.join(", "),
    };
    let fault = Diagnostic::new(codes::MANIFEST_NOT_APPLIED, message).expected(known);
    Some(match group {
        "" => fault.found(kind),
        group => fault.found(format!("{kind} of {group}")),
    })
}

type Used<'a> = (
    &'static str,
    String,
    &'a str,
    Option<&'a str>,
    &'a serde_json::Value,
);

/// Every use of a plugin: kind, JSON pointer in the file, plugin, offer, config.
fn used(release: &Release) -> Vec<Used<'_>> {
    let mut uses: Vec<Used<'_>> = Vec::new();
    for (name, gate) in &release.gates {
        uses.push((
            "gate",
            format!("/gates/{}", escape(name)),
            &gate.plugin,
            gate.offer.as_deref(),
            &gate.config,
        ));
    }
    for (index, phase) in release.phases.iter().enumerate() {
        if let Some(strategy) = phase.strategy() {
            uses.push((
                "strategy",
                format!("/phases/{index}/strategy"),
                &strategy.plugin,
                strategy.offer.as_deref(),
                &strategy.config,
            ));
        }
    }
    for (pointer, act) in release.acts() {
        uses.push((
            "action",
            pointer,
            &act.plugin,
            act.offer.as_deref(),
            &act.config,
        ));
    }
    for (pointer, workload) in release.workloads() {
        if let Some(router) = &workload.router {
            uses.push((
                "router",
                format!("{pointer}/router"),
                &router.plugin,
                router.offer.as_deref(),
                &router.config,
            ));
        }
    }
    for (index, notification) in release.notifications.iter().enumerate() {
        uses.push((
            "notifier",
            format!("/notifications/{index}"),
            &notification.plugin,
            notification.offer.as_deref(),
            &notification.config,
        ));
    }
    uses
}

/// Finds an offer of a kind: the one that is named, or the only one there is.
fn resolve(
    described: &Described,
    kind: &str,
    plugin: &str,
    offer: Option<&str>,
) -> Result<String, Diagnostic> {
    let Some((_, description)) = described.get(plugin) else {
        return Err(Diagnostic::new(
            codes::PLUGIN_NOT_FOUND,
            format!("there is no plugin `{plugin}`"),
        ));
    };
    let names = description
        .offers
        .iter()
        .filter(|o| o.kind == kind)
        .map(|o| o.name.clone())
        .collect::<Vec<_>>();
    let fault = |message: String| {
        Diagnostic::new(codes::PLUGIN_OFFER_UNKNOWN, message)
            .expected(format!("one of: {}", names.join(", ")))
    };
    match (offer, names.as_slice()) {
        (_, []) => Err(Diagnostic::new(
            codes::PLUGIN_OFFER_UNKNOWN,
            format!("the plugin `{plugin}` offers no {kind}"),
        )
        .found(
            description
                .offers
                .iter()
                .map(|o| format!("{} `{}`", o.kind, o.name))
                .collect::<Vec<_>>()
                .join(", "),
        )),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(fault(format!(
            "the plugin `{plugin}` offers several of kind {kind}; say which with `offer`"
        ))),
        (Some(asked), names) if names.iter().any(|name| name == asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(fault(format!(
            "the plugin `{plugin}` offers no {kind} `{asked}`"
        ))),
    }
}

/// A failure of the outside world as a diagnostic.
#[must_use]
pub fn diagnostic(failure: &Failure, about: &str) -> Diagnostic {
    let told = failure.message.clone();
    // What a plugin's failure begins with is its name already.
    let message = if told.starts_with(about) {
        told
    } else {
        format!("{about}: {told}")
    };
    let mut diagnostic = Diagnostic::new(failure.code, message);
    if let Some(problem) = failure.problems.first() {
        diagnostic = diagnostic.found(format!("at `{}`: {}", problem.pointer, problem.message));
    }
    diagnostic
}

/// A plan, and what was held against what to make it.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// The release under the policy.
    pub effective: Effective,
}

/// Makes the plan of a release that `who` starts.
///
/// # Errors
/// All faults that were found; the world is as it was.
pub async fn prepare(
    world: &World,
    loaded: &Loaded,
    policy: &Policy,
    cluster: &str,
    who: &str,
) -> Result<Prepared, Diagnostics> {
    let prepared = plan(world, loaded, policy, cluster, who).await?;
    approval::can_be_given(prepared.plan.requirements(), who)?;
    if let Some(fault) = planning::changes_nothing(&prepared.plan)
        && is_free(world, &prepared.plan).await?
    {
        return Err(fault.into());
    }
    Ok(prepared)
}

/// Whether no run holds a target of the plan. What serves there while one does isn't what will be served; a run that
/// a target is only kept for has written nothing.
async fn is_free(world: &World, plan: &Plan) -> Result<bool, Diagnostics> {
    for workload in &plan.workloads {
        let claimed = world.cluster.claimed(&workload.target).await;
        let about = format!("the target {}", workload.target);
        let claim = claimed.map_err(|f| diagnostic(&f, &about))?;
        if claim.is_some_and(|claim| claim.handed_over_by.is_none()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the plan for somebody who looks at it. Whoever looks need not be who starts the run, so that the only
/// person who can approve it may read it first.
///
/// # Errors
/// As [`prepare`].
pub async fn preview(
    world: &World,
    loaded: &Loaded,
    policy: &Policy,
    cluster: &str,
    who: &str,
) -> Result<Prepared, Diagnostics> {
    let prepared = plan(world, loaded, policy, cluster, who).await?;
    approval::can_be_given(prepared.plan.requirements(), NOBODY)?;
    Ok(prepared)
}

async fn plan(
    world: &World,
    loaded: &Loaded,
    policy: &Policy,
    cluster: &str,
    who: &str,
) -> Result<Prepared, Diagnostics> {
    let effective = tighten::tighten(loaded, policy)?;
    let described = validate(&*world.plugins, loaded).await?;
    let asking = Asking {
        world,
        loaded,
        described: &described,
        who,
    };
    let mut workloads = Vec::new();
    for (_, workload) in loaded.release.workloads() {
        let target = target_of(loaded, workload, cluster);
        workloads.push(asking.locate(workload, target).await?);
    }
    let mut planned = BTreeMap::new();
    for phase in &loaded.release.phases {
        let Some(strategy) = phase.strategy() else {
            continue;
        };
        let mut all = Vec::new();
        for (workload, located) in &mut workloads {
            let steps = asking.strategy(&phase.name, strategy, workload).await?;
            let beside = |step: &Step| {
                matches!(
                    step.action,
                    Action::Deploy {
                        placement: Placement::Beside,
                        ..
                    }
                )
            };
            if steps.iter().any(beside)
                && let Err(failure) = &located.beside
            {
                let about = format!("no candidate can run beside {}", workload.target);
                return Err(diagnostic(failure, &about).into());
            }
            all.push(steps);
        }
        planned.insert(phase.name.clone(), all);
    }
    let inputs = Inputs {
        loaded,
        workloads: workloads
            .into_iter()
            .map(|(workload, _)| workload)
            .collect(),
        pins: described
            .iter()
            .map(|(name, (pin, _))| (name.clone(), pin.clone()))
            .collect(),
        resolve: &|kind, plugin, offer| resolve(&described, kind, plugin, offer),
        planned,
        policy,
        effective: &effective,
    };
    let plan = planning::assemble(&inputs)?;
    Ok(Prepared { plan, effective })
}

/// What it takes to ask the world about a workload.
struct Asking<'a> {
    world: &'a World,
    loaded: &'a Loaded,
    described: &'a Described,
    who: &'a str,
}

impl Asking<'_> {
    /// Finds a workload, what is there, and what its router can do.
    async fn locate(
        &self,
        release: &release::Workload,
        mut target: Target,
    ) -> Result<(Workload, Located), Diagnostics> {
        let about = |failure: &Failure, target: &Target| -> Diagnostics {
            diagnostic(failure, &format!("the target {target}")).into()
        };
        let cluster = &self.world.cluster;
        let colours = release.colours.as_ref().map(|colours| Colours {
            label: colours.label.clone(),
            values: colours.values.clone(),
        });
        let located = cluster
            .locate(&target, colours.as_ref(), release.router.is_some())
            .await
            .map_err(|failure| about(&failure, &target))?;
        target.deployment.clone_from(&located.deployment);
        target.beside = located.beside.as_ref().ok().cloned();
        let baseline = cluster
            .baseline(&target)
            .await
            .map_err(|failure| about(&failure, &target))?;
        let mut workload = Workload {
            name: release.called().to_owned(),
            image: release.image_for(&self.loaded.version),
            target,
            baseline,
            router: None,
            configs: Vec::new(),
        };
        if release.manifests.is_some() {
            let asked = self.template_asked(release, &workload.image)?;
            workload.configs = cluster
                .template(&workload.target, &asked)
                .await
                .map_err(|failure| about(&failure, &workload.target))?;
        }
        let asked = self.configs_asked(release)?;
        let versions = cluster.versions(&workload.target, &asked).await;
        let versions = versions.map_err(|failure| about(&failure, &workload.target))?;
        workload.configs.extend(versions);
        if let Some(router) = &release.router {
            let offer = self.offer(
                "router",
                &router.plugin,
                router.offer.as_deref(),
                &router.config,
            )?;
            let call = self.call("router", &workload);
            let features = self
                .world
                .plugins
                .supports(&offer, &call)
                .await
                .map_err(|failure| {
                    diagnostic(&failure, &format!("the router of {}", workload.name))
                })?;
            workload.router = Some(Router { offer, features });
        }
        Ok((workload, located))
    }

    /// The pod template that the release's manifests have for the workload.
    fn template_asked<'r>(
        &'r self,
        release: &release::Workload,
        image: &'r str,
    ) -> Result<TemplateAsked<'r>, Diagnostics> {
        let manifest = self.loaded.manifests.get(&release.deployment);
        let manifest = manifest.ok_or_else(|| {
            let message = format!("the manifests of {} were not read", release.deployment);
            Diagnostic::new(codes::FILE_UNREADABLE, message)
        })?;
        Ok(TemplateAsked {
            template: &manifest.template,
            image,
            others: &manifest.others,
        })
    }

    /// What is versioned with the workload, with the content that the release brings along.
    fn configs_asked<'r>(
        &'r self,
        release: &'r release::Workload,
    ) -> Result<Vec<ConfigAsked<'r>>, Diagnostics> {
        let mut asked = Vec::new();
        for config in &release.configs {
            let Some((kind, of)) = config.named() else {
                continue;
            };
            let data = match &config.from {
                None => None,
                Some(from) => Some(self.loaded.contents.get(from).ok_or_else(|| {
                    let message = format!(
                        "the content `{from}` of {} {of} was not read",
                        kind.as_str()
                    );
                    Diagnostic::new(codes::FILE_UNREADABLE, message)
                })?),
            };
            asked.push(ConfigAsked {
                kind,
                of,
                data,
                rotate: (!config.rotate.is_empty()).then_some(&config.rotate),
                afresh: config.base == Some(release::Base::Source),
            });
        }
        Ok(asked)
    }

    async fn strategy(
        &self,
        phase: &str,
        strategy: &release::Strategy,
        workload: &Workload,
    ) -> Result<Vec<Step>, Diagnostics> {
        let offer = self.offer(
            "strategy",
            &strategy.plugin,
            strategy.offer.as_deref(),
            &strategy.config,
        )?;
        let features = workload.router.as_ref().map(|router| router.features);
        let situation = planning::situation(
            &workload.target,
            &workload.baseline,
            features,
            &strategy.gates,
            &strategy.actions,
        );
        let call = self.call(phase, workload);
        let steps = self.world.plugins.plan(&offer, &call, &situation).await;
        steps.map_err(|failure| {
            diagnostic(&failure, &format!("the strategy of phase `{phase}`")).into()
        })
    }

    fn offer(
        &self,
        kind: &str,
        plugin: &str,
        offer: Option<&str>,
        config: &serde_json::Value,
    ) -> Result<Use, Diagnostic> {
        Ok(Use {
            plugin: plugin.to_owned(),
            offer: resolve(self.described, kind, plugin, offer)?,
            config: config.clone(),
        })
    }

    fn call(&self, what: &str, workload: &Workload) -> Call {
        let subject = planning::subject(self.loaded, &workload.baseline.version);
        Call {
            run: NO_RUN.to_owned(),
            name: subject.name,
            version: subject.version,
            previous_version: Some(subject.previous_version),
            environment: subject.environment,
            change: subject.change.to_string(),
            started_by: self.who.to_owned(),
            key: format!("{NO_RUN}/{what}"),
            target: workload.target.clone(),
            slot: Slot::Stable,
            image: workload.image.clone(),
            epoch: 0,
            deadline: self
                .world
                .clock
                .now()
                .plus(self.world.clock.budget(STRATEGY_TIMEOUT)),
            attempt: 1,
        }
    }
}

/// How a workload of a plan differs from the facts that it was made of, in words. Empty where it doesn't.
#[must_use]
pub fn drift(workload: &Workload, now: &Baseline) -> Vec<String> {
    let before = &workload.baseline;
    let mut differences = Vec::new();
    let mut differ = |what: &str, then: String, now: String| {
        if then != now {
            differences.push(format!("{what} was {then}, is {now}"));
        }
    };
    differ("the Deployment's uid", before.uid.clone(), now.uid.clone());
    differ(
        "the image",
        before.settings.image.clone(),
        now.settings.image.clone(),
    );
    differ(
        "the number of replicas",
        before.settings.replicas.to_string(),
        now.settings.replicas.to_string(),
    );
    differ(
        "the rollout setting",
        format!("{:?}", before.settings.rollout),
        format!("{:?}", now.settings.rollout),
    );
    differ(
        "the pod template",
        before.template_digest.clone(),
        now.template_digest.clone(),
    );
    differences
}

#[cfg(test)]
mod tests {
    use phasegate_core::diagnostic::codes;
    use phasegate_core::failure::Kind;

    use super::*;

    #[test]
    fn a_kind_that_a_plugin_does_not_apply_is_a_fault_before_anything_runs() {
        let act = |kind: &str| release::Act {
            plugin: "mine".to_owned(),
            offer: None,
            config: serde_json::json!({"objects": [
                {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}},
                {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"}},
            ]}),
            manifests: Some(release::Manifests {
                path: Some("a".to_owned()),
                kustomize: None,
                helm: None,
            }),
            timeout: phasegate_core::time::Span::from_mins(1),
        };
        let ask = |group: &str, kind: &str, verb: &str| Capability::Kubernetes {
            group: group.to_owned(),
            kind: kind.to_owned(),
            verbs: vec![verb.to_owned()],
        };
        let description = Description {
            name: "mine".to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            offers: Vec::new(),
            asks: vec![
                ask("", "Service", "apply"),
                ask("apps", "DaemonSet", "apply"),
                ask("apps", "Deployment", "get"),
            ],
        };
        let pin = Pin {
            source: "path:mine.wasm".to_owned(),
            version: "1".to_owned(),
            digest: "sha256:0".to_owned(),
        };
        let described = Described::from([("mine".to_owned(), (pin, description))]);
        assert_eq!(not_taken(&described, &act("DaemonSet")), None);
        let fault = not_taken(&described, &act("Deployment")).unwrap();
        assert_eq!(fault.code(), codes::MANIFEST_NOT_APPLIED);
        assert_eq!(fault.expected_text(), Some("Service, DaemonSet"));
        assert_eq!(fault.found_text(), Some("Deployment of apps"));
        // Without manifests nothing has checked them.
        let mut unchecked = act("DaemonSet");
        unchecked.manifests = None;
        let fault = not_taken(&described, &unchecked).unwrap();
        assert_eq!(fault.code(), codes::MANIFEST_NOT_APPLIED);
        assert_eq!(fault.found_text(), Some("`objects` in `config`"));
        unchecked.config = serde_json::json!({"name": "a"});
        assert_eq!(not_taken(&described, &unchecked), None);
    }

    #[test]
    fn a_plugin_is_named_once() {
        let said = |text: &str| {
            let failure = Failure::new(Kind::Incompatible, codes::INTERFACE_MISMATCH, text);
            diagnostic(&failure, "plugin `comp`").message().to_owned()
        };
        assert_eq!(
            said("plugin `comp` does not fit"),
            "plugin `comp` does not fit"
        );
        assert_eq!(said("it does not fit"), "plugin `comp`: it does not fit");
    }
}
