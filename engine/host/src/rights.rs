//! What a call may do: what its kind's contract allows, the plugin asks for *and* the operator grants.

use std::sync::Arc;

use phasegate_runtime::ports::{Call, Capability};
use serde_json::Value;

use crate::authority::{Authority, Pattern};
use crate::kind::{Kind, Service};

/// A plugin's asks and grants, the same for all its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entitlement {
    pub(crate) asks: Arc<[Capability]>,
    /// None where what is asked for counts as granted: plugins that come with the engine.
    pub(crate) grants: Option<Arc<[Capability]>>,
    /// The digest of its bytes, which a grant is best bound to.
    pub(crate) digest: Arc<str>,
}

/// The rights of one call.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    plugin: Arc<str>,
    kind: Option<Kind>,
    namespace: String,
    entitlement: Entitlement,
    /// Authorities that the config names where the plugin asks for them, with the pointer.
    from_config: Vec<(String, Pattern)>,
}

impl Rights {
    /// The rights of a call without a kind: none.
    pub(crate) fn none(plugin: Arc<str>) -> Self {
        Self {
            plugin,
            kind: None,
            namespace: String::new(),
            entitlement: Entitlement::default(),
            from_config: Vec::new(),
        }
    }

    /// The rights of a call of this kind with this config.
    pub(crate) fn of_call(
        plugin: Arc<str>,
        kind: Kind,
        call: &Call,
        entitlement: Entitlement,
        config: &Value,
    ) -> Self {
        let namespace = call.target.namespace.as_str();
        let from_config = if kind.may(Service::Http) {
            let asks = entitlement.asks.iter();
            asks.filter_map(|ask| match ask {
                Capability::HttpFromConfig { pointer } => {
                    Some((pointer, config.pointer(pointer)?.as_str()?))
                }
                _ => None,
            })
            .flat_map(|(pointer, text)| {
                let meant = addresses(text, call).into_iter();
                meant.map(|pattern| (pointer.clone(), pattern))
            })
            .collect()
        } else {
            Vec::new()
        };
        Self {
            plugin,
            kind: Some(kind),
            namespace: namespace.to_owned(),
            entitlement,
            from_config,
        }
    }

    /// Whether the call is one of an action.
    pub(crate) fn is_action(&self) -> bool {
        self.kind == Some(Kind::Action)
    }

    /// Whether a request to this authority is allowed; else what to tell the plugin and the operator.
    pub(crate) fn http(&self, to: &Authority) -> Result<(), String> {
        self.contract(Service::Http)?;
        let asked = self
            .entitlement
            .asks
            .iter()
            .find(|ask| self.covers(ask, to));
        let Some(asked) = asked else {
            return Err(format!(
                "plugin `{}` does not ask for requests to {to}; its `describe` must, and then {}",
                self.plugin,
                self.grant_line(&Capability::Http {
                    authority: to.to_string()
                })
            ));
        };
        let granted = match &self.entitlement.grants {
            None => true,
            Some(grants) => grants.iter().any(|grant| self.covers(grant, to)),
        };
        if granted {
            return Ok(());
        }
        Err(format!(
            "requests to {to} are not granted to plugin `{}`; {}",
            self.plugin,
            self.grant_line(asked)
        ))
    }

    fn covers(&self, capability: &Capability, to: &Authority) -> bool {
        match capability {
            Capability::Http { authority } => {
                Pattern::parse(authority).is_some_and(|pattern| pattern.matches(to))
            }
            Capability::HttpFromConfig { pointer } => self
                .from_config
                .iter()
                .any(|(at, pattern)| at == pointer && pattern.matches(to)),
            _ => false,
        }
    }

    /// Whether a function of `phasegate:host/kubernetes` is allowed on this kind of object.
    pub(crate) fn objects(
        &self,
        verb: &str,
        group: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<(), String> {
        self.contract(Service::Kubernetes)?;
        // A request is made for a kind in lower case, however it is written.
        if group.is_empty() && kind.eq_ignore_ascii_case("Secret") {
            return Err(
                "Secrets are never shown to a plugin; name a credential in the request instead"
                    .into(),
            );
        }
        if namespace != Some(self.namespace.as_str()) {
            return Err(format!(
                "plugin `{}` may {verb} objects of the release's namespace `{}` only, not of {}",
                self.plugin,
                self.namespace,
                namespace.map_or("the cluster as a whole".into(), |name| format!("`{name}`"))
            ));
        }
        let covers = |capability: &Capability| {
            matches!(capability, Capability::Kubernetes { group: g, kind: k, verbs }
                if g == group && k == kind && verbs.iter().any(|v| v == verb))
        };
        let wanted = Capability::Kubernetes {
            group: group.into(),
            kind: kind.into(),
            verbs: vec![verb.into()],
        };
        if !self.entitlement.asks.iter().any(covers) {
            return Err(format!(
                "plugin `{}` does not ask to {verb} {kind}; its `describe` must, and then {}",
                self.plugin,
                self.grant_line(&wanted)
            ));
        }
        match &self.entitlement.grants {
            Some(grants) if !grants.iter().any(covers) => Err(format!(
                "plugin `{}` is not granted to {verb} {kind}; {}",
                self.plugin,
                self.grant_line(&wanted)
            )),
            _ => Ok(()),
        }
    }

    /// Whether the contract of the call's kind has the service at all.
    pub(crate) fn contract(&self, service: Service) -> Result<(), String> {
        let what = service.interfaces();
        match self.kind {
            None => Err(format!(
                "{what} is not available while a plugin describes itself or validates a config"
            )),
            Some(kind) if !kind.may(service) => Err(format!("{what} is not available to a {kind}")),
            Some(_) => Ok(()),
        }
    }

    /// The line of the policy that would grant it.
    fn grant_line(&self, capability: &Capability) -> String {
        // JSON is YAML too, and quotes whatever needs it.
        let quoted = |text: &str| Value::from(text).to_string();
        let right = match capability {
            Capability::Http { authority } => format!("http: {}", quoted(authority)),
            Capability::HttpFromConfig { pointer } => {
                format!("httpFromConfig: {}", quoted(pointer))
            }
            Capability::Kubernetes { group, kind, verbs } => format!(
                "kubernetes: {{group: {}, kind: {}, verbs: [{}]}}",
                quoted(group),
                quoted(kind),
                verbs.join(", ")
            ),
            Capability::Run { program } => format!("run: {}", quoted(program)),
            Capability::Artifacts => "artifacts: true".into(),
        };
        format!(
            "to grant it, add to the policy under plugins.grants: `- {{plugin: {}, digest: {}, may: [{{{right}}}]}}`",
            quoted(&self.plugin),
            quoted(&self.entitlement.digest)
        )
    }
}

/// What an address in a config can stand for in this call. A config may name its host by what the release
/// says and by what the engine made for it, never by what the plugin says.
fn addresses(text: &str, call: &Call) -> Vec<Pattern> {
    let service = call.target.service.as_deref().unwrap_or_default();
    let beside = call.target.beside.as_ref();
    let own = beside.and_then(|beside| beside.service.as_deref());
    // Where there is no candidate yet, or no longer, the workload's own Service stands for its.
    let candidates = [Some(service), own].into_iter().flatten();
    let meant = candidates.filter_map(|candidate| {
        let variables = [
            ("namespace", call.target.namespace.as_str()),
            ("service", service),
            ("candidateService", candidate),
            ("version", call.version.as_str()),
        ];
        Pattern::of_address(text, &variables)
    });
    meant.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rights(asks: Vec<Capability>, grants: Option<Vec<Capability>>, kind: Kind) -> Rights {
        let entitlement = Entitlement {
            asks: asks.into(),
            grants: grants.map(Into::into),
            digest: "sha256:0".into(),
        };
        let config = json!({"url": "http://shop.default.svc:8080/health"});
        Rights::of_call("probe".into(), kind, &call(), entitlement, &config)
    }

    fn call() -> Call {
        Call {
            epoch: 1,
            slot: phasegate_core::strategy::Slot::Stable,
            run: String::new(),
            name: String::new(),
            version: "1.0.0".into(),
            previous_version: None,
            environment: String::new(),
            change: String::new(),
            started_by: String::new(),
            key: String::new(),
            target: phasegate_core::workload::Target {
                cluster: String::new(),
                namespace: "shop".into(),
                deployment: String::new(),
                container: String::new(),
                service: None,
                config_maps: Vec::new(),
                secrets: Vec::new(),
                workload: "shop".into(),
                beside: None,
            },
            image: String::new(),
            deadline: phasegate_core::time::Timestamp::ZERO,
            attempt: 1,
        }
    }

    fn http(authority: &str) -> Capability {
        Capability::Http {
            authority: authority.into(),
        }
    }

    fn pods(verbs: &[&str]) -> Capability {
        Capability::Kubernetes {
            group: String::new(),
            kind: "Pod".into(),
            verbs: verbs.iter().map(|&v| v.into()).collect(),
        }
    }

    fn to(url: &str) -> Authority {
        Authority::of_url(url).unwrap().0
    }

    #[test]
    fn a_right_is_what_is_asked_and_granted() {
        let sentry = to("https://eu.sentry.io/api");
        let asked = vec![http("*.sentry.io:443")];
        let denied = |rights: Rights| rights.http(&sentry).unwrap_err();
        assert!(
            rights(asked.clone(), None, Kind::Gate)
                .http(&sentry)
                .is_ok()
        );
        assert!(
            rights(
                asked.clone(),
                Some(vec![http("eu.sentry.io:443")]),
                Kind::Gate
            )
            .http(&sentry)
            .is_ok()
        );
        let ungranted = denied(rights(asked.clone(), Some(vec![]), Kind::Gate));
        assert!(
            ungranted.contains(
                r#"plugins.grants: `- {plugin: "probe", digest: "sha256:0", may: [{http: "*.sentry.io:443"}]}`"#
            ),
            "{ungranted}"
        );
        assert!(denied(rights(vec![], Some(asked.clone()), Kind::Gate)).contains("does not ask"));
        assert!(
            denied(rights(asked, None, Kind::Strategy)).contains("not available to a strategy")
        );
    }

    #[test]
    fn the_host_in_the_config_can_be_asked_for() {
        let ask = Capability::HttpFromConfig {
            pointer: "/url".into(),
        };
        let rights = rights(vec![ask], None, Kind::Gate);
        assert!(
            rights
                .http(&to("http://shop.default.svc:8080/other"))
                .is_ok()
        );
        assert!(rights.http(&to("http://shop.default.svc:8081/")).is_err());
        assert!(rights.http(&to("http://default.svc:8080/")).is_err());
    }

    #[test]
    fn the_candidates_own_service_can_be_asked_for_while_there_is_one_and_afterwards() {
        let entitlement = || Entitlement {
            asks: vec![Capability::HttpFromConfig {
                pointer: "/url".into(),
            }]
            .into(),
            grants: None,
            digest: "sha256:0".into(),
        };
        let config = json!({"url": "http://{candidateService}.{namespace}.svc/health"});
        let mut call = call();
        call.target.service = Some("shop".into());
        let own = to("http://shop-candidate.shop.svc/health");
        let of_the_workload = to("http://shop.shop.svc/health");
        let rights =
            |call: &Call| Rights::of_call("probe".into(), Kind::Gate, call, entitlement(), &config);
        assert!(rights(&call).http(&of_the_workload).is_ok());
        assert!(rights(&call).http(&own).is_err());
        call.target.beside = Some(phasegate_core::workload::Beside {
            deployment: "shop-candidate".into(),
            service: Some("shop-candidate".into()),
            live: None,
            colour: None,
            labels: std::collections::BTreeMap::new(),
            stable_selector: std::collections::BTreeMap::new(),
            candidate_selector: std::collections::BTreeMap::new(),
        });
        assert!(rights(&call).http(&own).is_ok());
        assert!(rights(&call).http(&of_the_workload).is_ok());
        assert!(
            rights(&call)
                .http(&to("http://other.shop.svc/health"))
                .is_err()
        );
    }

    #[test]
    fn objects_are_those_of_the_namespace_and_verbs_those_asked_for() {
        let rights = rights(vec![pods(&["get", "find"])], None, Kind::Gate);
        assert!(rights.objects("find", "", "Pod", Some("shop")).is_ok());
        assert!(rights.objects("patch", "", "Pod", Some("shop")).is_err());
        assert!(rights.objects("find", "", "Service", Some("shop")).is_err());
        assert!(rights.objects("find", "apps", "Pod", Some("shop")).is_err());
        assert!(rights.objects("find", "", "Pod", Some("other")).is_err());
        assert!(rights.objects("find", "", "Pod", None).is_err());
    }

    #[test]
    fn secrets_are_out_of_reach_whatever_is_granted() {
        for kind in ["Secret", "secret", "SECRET"] {
            let secrets = Capability::Kubernetes {
                group: String::new(),
                kind: kind.into(),
                verbs: vec!["get".into()],
            };
            let rights = rights(vec![secrets], None, Kind::Gate);
            let refusal = rights.objects("get", "", kind, Some("shop")).unwrap_err();
            assert!(refusal.contains("credential"), "{kind}: {refusal}");
        }
    }

    #[test]
    fn describing_oneself_needs_no_rights() {
        let refusal = Rights::none("x".into()).http(&to("http://a/")).unwrap_err();
        assert!(refusal.contains("describes itself"), "{refusal}");
    }
}
