//! The policy's grants as what one plugin may do.

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::spec::policy::{PluginGrant, Right};
use phasegate_runtime::ports::{Capability, Component};

/// What is granted to this plugin, by its name or its source, and by its bytes where a grant names them.
///
/// # Errors
/// Where everything that is granted to a plugin of that name or source is for other bytes: that plugin
/// isn't the one that somebody looked at.
pub(crate) fn to(
    grants: &[PluginGrant],
    component: &Component,
) -> Result<Vec<Capability>, Failure> {
    let named = grants
        .iter()
        .filter(|grant| grant.names(&component.name, &component.source))
        .collect::<Vec<_>>();
    let fitting = named.iter().filter(|grant| grant.fits(&component.digest));
    let granted = fitting.clone().flat_map(|grant| &grant.may);
    if let Some(other) = named.first().filter(|_| fitting.count() == 0) {
        return Err(Failure::new(
            Kind::Incompatible,
            codes::PLUGIN_DIGEST_DIFFERS,
            format!(
                "the policy grants rights to plugin `{}` with the digest {}, and it has {}; if the change is meant, put that into the policy",
                component.name,
                other.digest.as_deref().unwrap_or_default(),
                component.digest
            ),
        ));
    }
    Ok(granted.filter_map(capability).collect())
}

fn capability(right: &Right) -> Option<Capability> {
    Some(match right {
        Right::Http(authority) => Capability::Http {
            authority: authority.clone(),
        },
        Right::HttpFromConfig(pointer) => Capability::HttpFromConfig {
            pointer: pointer.clone(),
        },
        Right::Kubernetes(objects) => Capability::Kubernetes {
            group: objects.group.clone(),
            kind: objects.kind.clone(),
            verbs: objects
                .verbs
                .iter()
                .map(|verb| verb.as_str().to_owned())
                .collect(),
        },
        Right::Run(program) => Capability::Run {
            program: program.clone(),
        },
        Right::Artifacts(granted) => return granted.then_some(Capability::Artifacts),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn component(digest: &str) -> Component {
        Component {
            name: "mine".to_owned(),
            source: "path:./mine.wasm".to_owned(),
            digest: digest.to_owned(),
            bytes: (&b""[..]).into(),
        }
    }

    fn grants(grants: serde_json::Value) -> Vec<PluginGrant> {
        serde_json::from_value(grants).unwrap()
    }

    fn http(authority: &str) -> Capability {
        Capability::Http {
            authority: authority.to_owned(),
        }
    }

    #[test]
    fn rights_go_by_name_or_source_and_by_the_bytes_that_are_named() {
        let mine = component("sha256:a");
        let granted = grants(json!([
            {"plugin": "mine", "may": [{"http": "one:443"}, {"artifacts": false}]},
            {"source": "path:./mine.wasm", "digest": "sha256:a", "may": [{"http": "two:443"}]},
            {"plugin": "mine", "digest": "sha256:b", "may": [{"http": "three:443"}]},
            {"plugin": "other", "may": [{"http": "four:443"}]},
        ]));
        assert_eq!(
            to(&granted, &mine),
            Ok(vec![http("one:443"), http("two:443")])
        );
        assert_eq!(to(&granted[3..], &mine), Ok(Vec::new()));
    }

    #[test]
    fn other_bytes_than_those_that_rights_were_granted_to_are_refused() {
        let granted = grants(json!([
            {"plugin": "mine", "digest": "sha256:a", "may": [{"httpFromConfig": "/url"}]},
        ]));
        let refusal = to(&granted, &component("sha256:b")).unwrap_err();
        assert_eq!(refusal.code, codes::PLUGIN_DIGEST_DIFFERS);
        assert!(refusal.message.contains("sha256:a"), "{refusal}");
        assert!(refusal.message.contains("sha256:b"), "{refusal}");
    }

    #[test]
    fn objects_are_granted_by_kind_and_verb() {
        let granted = grants(json!([{"plugin": "mine", "may": [
            {"kubernetes": {"kind": "Pod", "verbs": ["get", "find"]}},
        ]}]));
        let pods = Capability::Kubernetes {
            group: String::new(),
            kind: "Pod".to_owned(),
            verbs: vec!["get".to_owned(), "find".to_owned()],
        };
        assert_eq!(to(&granted, &component("sha256:a")), Ok(vec![pods]));
    }
}
