//! Whether a write of the engine took away what serves, or sent traffic where too little was ready.
//!
//! What is needed is measured by what was ready when the run began: a Service needs as many ready pods
//! behind it as then, a backend of a route as many as its share of them. A write is judged by what served
//! right before and right after it, whatever the engine may have believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phasegate_core::event::{Command, Event, Record};
use phasegate_core::time::Timestamp;
use serde_json::Value;

use super::{Evidence, changes};
use crate::cluster::{Kind, LoggedRequest, Move, Picture, Shares, route_name};

/// Judges the engine's writes. Empty: each left what serves as strong as it must be.
pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    judge_writes(
        evidence.scene,
        evidence.service,
        evidence.moves,
        evidence.requests,
        evidence.records,
    )
}

fn judge_writes(
    scene: &Picture,
    service: Option<&str>,
    moves: &[Move],
    requests: &[LoggedRequest],
    records: &[Record],
) -> Vec<String> {
    if declares_outage(records) {
        return Vec::new();
    }
    let until = overridden(records);
    let engine: BTreeMap<u64, &LoggedRequest> = changes(requests)
        .map(|request| (request.seq, request))
        .collect();
    let mut needs = Needs::of(scene, service);
    let mut faults = Vec::new();
    for step in moves {
        match engine.get(&step.seq) {
            None => needs.adopt(step),
            Some(_) if until.is_some_and(|until| step.at >= until) => {}
            Some(request) => faults.extend(needs.judge(step).into_iter().map(|fault| {
                format!(
                    "{} {} at {}: {fault}",
                    request.method, request.path, request.at
                )
            })),
        }
    }
    faults
}

/// Whether a step of the plan declares that nothing serves.
fn declares_outage(records: &[Record]) -> bool {
    records.iter().any(|record| match &record.event {
        Event::Planned { plan, .. } => plan.steps().any(|(_, step)| step.outage),
        _ => false,
    })
}

/// When people took the responsibility for what is there.
fn overridden(records: &[Record]) -> Option<Timestamp> {
    let taken = records.iter().find(|record| {
        matches!(
            &record.event,
            Event::Commanded {
                command: Command::Skip { .. } | Command::HandOver { .. },
                ..
            }
        )
    });
    taken.map(|record| record.at)
}

/// How many ready pods are needed.
#[derive(Debug, Default)]
struct Needs {
    /// Behind the workload's Service, where no route leads to it.
    service: Option<(String, u32)>,
    /// Behind all backends of a route together.
    routes: BTreeMap<String, u32>,
}

impl Needs {
    fn of(scene: &Picture, service: Option<&str>) -> Self {
        let behind = |service: &str| scene.services.get(service).map_or(0, |s| s.strength());
        let leads = |route: &&String| {
            let shares = scene.wanted.get(*route).into_iter().flatten();
            service.is_none_or(|service| {
                let mut shares = shares.map(|shares| &shares.weights);
                shares.any(|weights| weights.contains_key(service))
            })
        };
        let routes: BTreeMap<String, u32> = scene
            .wanted
            .keys()
            .filter(leads)
            .map(|route| {
                let backends = scene.backends(route);
                (
                    route.clone(),
                    backends.iter().map(|name| behind(name)).sum(),
                )
            })
            .collect();
        let service = service
            .filter(|_| routes.is_empty())
            .map(|name| (name.to_owned(), behind(name)));
        Self { service, routes }
    }

    /// Somebody else took pods away: the engine can't be held to what it doesn't own.
    fn adopt(&mut self, step: &Move) {
        let Some((deployment, left)) = taken(step) else {
            return;
        };
        let scene = &step.scene_before;
        let concerned = |service: &str| {
            let reach = scene.services.get(service);
            reach.is_some_and(|reach| reach.chosen.contains_key(&deployment))
        };
        if let Some((name, needed)) = &mut self.service
            && concerned(name)
        {
            *needed = left.min(*needed);
        }
        for (route, needed) in &mut self.routes {
            if scene.backends(route).into_iter().any(concerned) {
                *needed = left.min(*needed);
            }
        }
    }

    fn judge(&self, step: &Move) -> Vec<String> {
        let mut faults = match step.kind {
            Kind::Service => self.of_service(step),
            Kind::HttpRoute | Kind::Ingress | Kind::VirtualService => self.of_routes(step),
            _ => Vec::new(),
        };
        if let Some((deployment, left)) = taken(step) {
            faults.extend(self.of_pods(&step.scene_before, &deployment, left));
        }
        faults
    }

    /// How many ready pods each Service needs as things are.
    fn demands(&self, scene: &Picture) -> BTreeMap<String, u32> {
        let mut demands = BTreeMap::new();
        if let Some((name, needed)) = &self.service {
            demands.insert(name.clone(), *needed);
        }
        for (route, whole) in &self.routes {
            for shares in [&scene.wanted, &scene.live]
                .into_iter()
                .filter_map(|routes| routes.get(route))
                .flatten()
            {
                for service in shares.weights.keys() {
                    let needed = share_of(shares, service, *whole);
                    let known: &mut u32 = demands.entry(service.clone()).or_default();
                    *known = needed.max(*known);
                }
            }
        }
        demands
    }

    fn of_service(&self, step: &Move) -> Vec<String> {
        let needed = self.demands(&step.scene_before);
        let Some(needed) = needed.get(&step.name).copied().filter(|needed| *needed > 0) else {
            return Vec::new();
        };
        let selector = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .and_then(|object| object.pointer("/spec/selector").cloned())
        };
        let ready = step
            .scene_after
            .services
            .get(&step.name)
            .map_or(0, |reach| reach.strength());
        if step.after.is_none() {
            vec!["the service is gone, and traffic comes in at it".to_owned()]
        } else if selector(&step.before) != selector(&step.after) && ready < needed {
            vec![format!(
                "its traffic goes to {ready} ready pods, and {needed} are needed"
            )]
        } else {
            Vec::new()
        }
    }

    /// Every route is looked at, since an Ingress may share the traffic of another one.
    fn of_routes(&self, step: &Move) -> Vec<String> {
        let gone = step
            .after
            .is_none()
            .then(|| route_name(step.kind, &step.name));
        let routes = self.routes.iter().filter(|(_, whole)| **whole > 0);
        let judged = routes.flat_map(|(route, whole)| {
            if gone.as_ref() == Some(route) {
                return vec!["the route is gone, and traffic comes in at it".to_owned()];
            }
            raised(step, route, *whole)
        });
        judged.collect()
    }

    /// A Deployment is left with so many pods at most.
    fn of_pods(&self, scene: &Picture, deployment: &str, left: u32) -> Vec<String> {
        let mut faults = Vec::new();
        for (service, needed) in self.demands(scene) {
            let Some(reach) = scene.services.get(&service).filter(|_| needed > 0) else {
                continue;
            };
            let count =
                |of: &BTreeMap<String, u32>| of.get(deployment).copied().unwrap_or_default();
            let lost = count(&reach.ready).saturating_sub(left);
            let rest = reach.strength() - lost;
            if lost > 0 && rest < needed {
                faults.push(format!(
                    "leaves {rest} ready pods behind service {service}, and {needed} are needed"
                ));
            }
            let routed = count(&reach.routed);
            if count(&reach.chosen) == 0 && routed > left {
                faults.push(format!(
                    "takes pods of {deployment} away, and {routed} of them still get traffic of service {service}"
                ));
            }
        }
        faults
    }
}

/// The shares of a route that a write raises, and for which too little is ready.
fn raised(step: &Move, route: &str, whole: u32) -> Vec<String> {
    let of = |scene: &Picture| scene.wanted.get(route).cloned().unwrap_or_default();
    let (before, after) = (of(&step.scene_before), of(&step.scene_after));
    let mut faults = Vec::new();
    let services: BTreeSet<&String> = after.iter().flat_map(|s| s.weights.keys()).collect();
    for service in services {
        let needed = |rules: &[Shares]| {
            let needed = rules.iter().map(|rule| share_of(rule, service, whole));
            needed.max().unwrap_or_default()
        };
        let share = |rules: &[Shares]| {
            let shares = rules.iter().map(|rule| share_of(rule, service, u32::MAX));
            shares.max().unwrap_or_default()
        };
        let ready = step
            .scene_after
            .services
            .get(service)
            .map_or(0, |reach| reach.strength());
        if share(&after) > share(&before) && ready < needed(&after) {
            faults.push(format!(
                "its share for service {service} is raised, which has {ready} ready pods and needs {}",
                needed(&after)
            ));
        }
    }
    faults
}

/// The pods that a service's share of so many is, rounded up; one at least for requests that carry something special.
fn share_of(shares: &Shares, service: &str, whole: u32) -> u32 {
    let total: u64 = shares.weights.values().sum();
    let weight = shares.weights.get(service).copied().unwrap_or_default();
    if weight == 0 || total == 0 {
        return 0;
    }
    if shares.marked {
        return 1;
    }
    let exact = u128::from(whole) * u128::from(weight);
    u32::try_from(exact.div_ceil(u128::from(total))).unwrap_or(u32::MAX)
}

/// The Deployment from which a write takes pods, and how many it is sure to leave.
fn taken(step: &Move) -> Option<(String, u32)> {
    let before = &step.scene_before.deployments;
    match step.kind {
        Kind::Deployment => {
            let known = before.get(&step.name)?;
            let Some(now) = step.scene_after.deployments.get(&step.name) else {
                return Some((step.name.clone(), 0));
            };
            let template = |object: &Option<Arc<Value>>| {
                object
                    .as_ref()
                    .and_then(|object| object.pointer("/spec/template").cloned())
            };
            if now.all_at_once && template(&step.before) != template(&step.after) {
                return Some((step.name.clone(), 0));
            }
            (now.replicas < known.replicas).then(|| (step.name.clone(), now.replicas))
        }
        Kind::HorizontalPodAutoscaler => {
            let hpa = step.after.as_ref()?;
            let target = hpa.pointer("/spec/scaleTargetRef/name")?.as_str()?;
            let bound =
                |hpa: &Value| u32::try_from(hpa.pointer("/spec/maxReplicas")?.as_u64()?).ok();
            let most = bound(hpa)?;
            let known = before.get(target)?;
            let earlier = step.before.as_ref().and_then(|hpa| bound(hpa));
            let lowered = earlier.is_none_or(|earlier| most < earlier);
            (lowered && most < known.replicas).then(|| (target.to_owned(), most))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
