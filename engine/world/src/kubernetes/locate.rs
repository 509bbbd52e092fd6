//! Which Deployment serves, and where a candidate can be brought up beside it.

use phasegate_core::diagnostic::{codes, listed};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::workload::{Beside, Colours, Target};
use phasegate_runtime::ports::Located;
use serde_json::Value;

use super::labels::{CANDIDATE, Colour, Facts, Labels, SLOT, chooses, in_words, within};
use super::path::Resource;
use super::{KubeCluster, autoscaler, deployment, items, manifest, slot, text};

/// What was found of a workload.
struct Sides {
    /// The target with the Deployment that serves.
    stable: Target,
    stable_found: Value,
    /// The target with the candidate's Deployment.
    candidate: Target,
    /// What is in the candidate's place.
    kept: Option<Value>,
    /// The live colour and the candidate's, where colours are used.
    colours: Option<(Option<String>, String)>,
}

impl KubeCluster {
    pub(super) async fn read_places(
        &self,
        target: &Target,
        colours: Option<&Colours>,
        routed: bool,
    ) -> Result<Located, Failure> {
        let service = match &target.service {
            Some(name) => Some(self.selector(target, name).await?),
            None => None,
        };
        let sides = match colours {
            Some(colours) => {
                let service = service.as_ref().ok_or_else(|| colourless(target))?;
                self.by_colour(target, colours, service).await?
            }
            None => self.by_name(target, service.as_ref()).await?,
        };
        let beside = self
            .place(&sides, service, colours.map(|c| c.label.as_str()), routed)
            .await;
        Ok(Located {
            deployment: sides.stable.deployment,
            beside,
        })
    }

    /// What a Service selects.
    async fn selector(&self, target: &Target, name: &str) -> Result<Labels, Failure> {
        let found = self
            .find_one(&Resource::services(), &target.namespace, name)
            .await?;
        let found = found.ok_or_else(|| {
            not_found(format!(
                "there is no Service `{name}` in namespace `{}`, which the release names",
                target.namespace
            ))
        })?;
        Ok(deployment::labels_at(&found, "/spec/selector"))
    }

    async fn there(&self, target: &Target) -> Result<Option<Value>, Failure> {
        let (deployments, namespace) = (Resource::deployments(), &target.namespace);
        Ok(self
            .find_one(&deployments, namespace, &target.deployment)
            .await?)
    }

    /// Without colours two names take turns: the workload's, and that with an ending.
    async fn by_name(&self, target: &Target, service: Option<&Labels>) -> Result<Sides, Failure> {
        let base = named(target, target.workload.clone());
        let other = named(target, within(&target.workload, CANDIDATE));
        let (base_found, other_found) = (self.there(&base).await?, self.there(&other).await?);
        let serves = |found: &Value| {
            service.is_some_and(|selector| chooses(selector, &deployment::pod_labels(found)))
        };
        let (sides, kept) = match (base_found, other_found) {
            (Some(base_found), Some(other_found)) => {
                let swapped = serves(&other_found)
                    && (!serves(&base_found)
                        || deployment::wanted(&base_found) == 0
                            && deployment::wanted(&other_found) > 0);
                if swapped {
                    ((other, other_found, base), Some(base_found))
                } else {
                    ((base, base_found, other), Some(other_found))
                }
            }
            (Some(found), None) => ((base, found, other), None),
            (None, Some(found)) if serves(&found) => ((other, found, base), None),
            (None, other_found) => {
                return Err(nothing_serves(target, &other, other_found, service));
            }
        };
        let (stable, stable_found, candidate) = sides;
        Ok(Sides {
            stable,
            stable_found,
            candidate,
            kept,
            colours: None,
        })
    }

    /// With colours the Service's selector says which one serves. A Deployment without a colour is adopted.
    async fn by_colour(
        &self,
        target: &Target,
        colours: &Colours,
        service: &Labels,
    ) -> Result<Sides, Failure> {
        let painted = |colour: &str| named(target, within(&target.workload, &format!("-{colour}")));
        let [first, second] = &colours.values;
        let selected = service.get(&colours.label);
        if let Some(live) = selected.filter(|selected| colours.values.contains(selected)) {
            let other = if live == first { second } else { first };
            let stable = painted(live);
            if let Some(stable_found) = self.there(&stable).await? {
                let candidate = painted(other);
                return Ok(Sides {
                    kept: self.there(&candidate).await?,
                    stable,
                    stable_found,
                    candidate,
                    colours: Some((Some(live.clone()), other.clone())),
                });
            }
        }
        let plain = named(target, target.workload.clone());
        let uncoloured = self.there(&plain).await?;
        let uncoloured =
            uncoloured.filter(|found| chooses(service, &deployment::pod_labels(found)));
        let Some(stable_found) = uncoloured else {
            let wanted = [&painted(first), &painted(second), &plain];
            return Err(no_colour_serves(target, colours, service, wanted));
        };
        let pods = deployment::pod_labels(&stable_found);
        let own = pods.get(&colours.label);
        let colour = if own == Some(first) { second } else { first };
        let candidate = painted(colour);
        Ok(Sides {
            kept: self.there(&candidate).await?,
            stable: plain,
            stable_found,
            candidate,
            colours: Some((None, colour.clone())),
        })
    }

    /// Where a candidate can be brought up, or why it can't.
    async fn place(
        &self,
        sides: &Sides,
        service: Option<Labels>,
        label: Option<&str>,
        routed: bool,
    ) -> Result<Beside, Failure> {
        let labels = sides.labels(service.as_ref(), label, routed)?;
        if labels.contains_key(SLOT) {
            let all = self.autoscalers(&sides.stable).await?;
            if let Some(found) = autoscaler::of(&all, &sides.stable.deployment) {
                return Err(sides.no_place(&format!(
                    "the HorizontalPodAutoscaler `{}` would count the candidate's pods as its own, since every label of the Deployment's selector is in the Service's too; give the Deployment's selector a label of its own, such as `track: stable`",
                    text(found, "/metadata/name")
                )));
            }
        }
        let preview = sides.stable.service.as_deref();
        let preview = preview.map(|name| within(name, CANDIDATE));
        let mut candidate_selector = service
            .clone()
            .unwrap_or_else(|| deployment::selector_labels(&sides.stable_found));
        candidate_selector.extend(labels.clone());
        let (live, colour) = match &sides.colours {
            Some((live, colour)) => (live.clone(), Some(colour.clone())),
            None => (None, None),
        };
        let beside = Beside {
            deployment: sides.candidate.deployment.clone(),
            service: preview,
            live,
            colour,
            labels,
            stable_selector: service.unwrap_or_default(),
            candidate_selector,
        };
        sides.must_be_free(&beside)?;
        if let Some(name) = &beside.service {
            self.no_other_service(sides, name).await?;
        }
        Ok(beside)
    }

    /// Refuses where the name of the candidate's Service is taken.
    async fn no_other_service(&self, sides: &Sides, name: &str) -> Result<(), Failure> {
        let namespace = &sides.stable.namespace;
        let found = self
            .find_one(&Resource::services(), namespace, name)
            .await?;
        match found {
            Some(found) if deployment::marks(&found).run.is_none() => Err(sides.no_place(&format!(
                "there is a Service `{name}` in namespace `{namespace}` that no run made, where the candidate's is to be; delete it or give it another name"
            ))),
            _ => Ok(()),
        }
    }
}

impl Sides {
    /// The labels by which the candidate's pods will be told from stable's.
    fn labels(
        &self,
        service: Option<&Labels>,
        label: Option<&str>,
        routed: bool,
    ) -> Result<Labels, Failure> {
        let stable = deployment::selector_labels(&self.stable_found);
        let pods = deployment::pod_labels(&self.stable_found);
        if let Some(service) = service
            && !chooses(service, &pods)
        {
            return Err(self.no_place(&format!(
                "the Service `{}` selects {}, which its pods ({}) don't have",
                self.stable.service.as_deref().unwrap_or_default(),
                in_words(service),
                in_words(&pods)
            )));
        }
        let colour = match (&self.colours, label) {
            (Some((live, candidate)), Some(label)) => Some(Colour {
                label,
                live: live.as_deref(),
                candidate,
            }),
            _ => None,
        };
        if colour.is_some() && !routed {
            return Err(self.no_place(
                "the Service selects one colour, so that it can't reach the other without a `router` for the workload",
            ));
        }
        let kept = self.kept.as_ref().map(deployment::selector_labels);
        let facts = Facts {
            workload: &self.stable.workload,
            stable: &stable,
            service,
            kept: kept.as_ref(),
            colour,
        };
        let labels = if routed {
            facts.outside().map_err(|why| self.no_place(why))?
        } else {
            facts.inside()
        };
        let bound = items(&self.stable_found, "/spec/selector/matchExpressions")
            .map(|expression| text(expression, "/key"))
            .find(|key| labels.contains_key(*key));
        match bound {
            Some(key) => Err(self.no_place(&format!(
                "its selector has an expression about `{key}`, which the candidate's pods need another value of; use `matchLabels`"
            ))),
            None => Ok(labels),
        }
    }

    /// Refuses a place that somebody runs, or where what is kept selects other pods: that can't be changed.
    fn must_be_free(&self, beside: &Beside) -> Result<(), Failure> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        slot::must_be_idle(kept, &self.candidate)?;
        let wanted = manifest::selector(&self.stable_found, beside);
        if kept.pointer("/spec/selector") == Some(&wanted) {
            return Ok(());
        }
        Err(slot::selects_otherwise(kept, &self.candidate, &wanted))
    }

    fn no_place(&self, why: &str) -> Failure {
        Failure::new(
            Kind::Permanent,
            codes::NO_PLACE_BESIDE,
            format!("Deployment `{}`: {why}", self.stable.deployment),
        )
    }
}

fn named(target: &Target, deployment: String) -> Target {
    Target {
        deployment,
        ..target.clone()
    }
}

fn not_found(message: String) -> Failure {
    Failure::new(Kind::Permanent, codes::WORKLOAD_NOT_FOUND, message)
}

fn colourless(target: &Target) -> Failure {
    not_found(format!(
        "which colour of `{target}` serves can't be told: expected a Service whose selector says it, found that the release names none"
    ))
}

fn nothing_serves(
    target: &Target,
    other: &Target,
    found: Option<Value>,
    service: Option<&Labels>,
) -> Failure {
    let beside = match (found, service) {
        (Some(_), Some(service)) => format!(
            "; there is `{}`, whose pods the Service does not select ({})",
            other.deployment,
            in_words(service)
        ),
        (Some(_), None) => format!("; there is `{}`", other.deployment),
        (None, _) => String::new(),
    };
    not_found(format!(
        "there is no Deployment `{}` in namespace `{}` of cluster `{}`{beside}",
        target.workload, target.namespace, target.cluster
    ))
}

fn no_colour_serves(
    target: &Target,
    colours: &Colours,
    service: &Labels,
    looked_for: [&Target; 3],
) -> Failure {
    let names = looked_for.map(|target| target.deployment.as_str());
    let [first, second] = &colours.values;
    not_found(format!(
        "no Deployment of `{target}` serves: looked for {} in namespace `{}`, and the Service selects {}; its selector must have `{}: {first}` or `{}: {second}` and the Deployment of that colour be there",
        listed(names),
        target.namespace,
        in_words(service),
        colours.label,
        colours.label
    ))
}
