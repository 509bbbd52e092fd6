//! What a plugin says of itself, checked.

use phasegate_runtime::ports::{Capability, Description, Offer};

use crate::bindings::exports::phasegate::meta::meta as wit;
use crate::fault::cut;
use crate::json;
use crate::kind::Kind;

/// Most offers of one plugin.
const MAX_OFFERS: usize = 50;
/// Most capabilities that one plugin asks for.
const MAX_ASKS: usize = 100;
/// Most verbs of one of them.
const MAX_VERBS: usize = 10;
/// Longest name of a plugin, a version or an offer, in bytes.
const MAX_NAME: usize = 100;

/// The description, or what is wrong with it.
pub(crate) fn description(
    description: wit::Description,
    kinds: &[Kind],
    json_bytes: usize,
) -> Result<Description, String> {
    let wit::Description {
        name,
        version,
        summary,
        offers,
        asks,
        extra: _,
    } = description;
    plain("the plugin's name", &name)?;
    plain("the plugin's version", &version)?;
    if offers.len() > MAX_OFFERS || asks.len() > MAX_ASKS {
        return Err(format!(
            "it has more than {MAX_OFFERS} offers or asks for more than {MAX_ASKS} capabilities"
        ));
    }
    let mut checked: Vec<Offer> = Vec::with_capacity(offers.len());
    for offer in offers {
        let offer = self::offer(offer, kinds, json_bytes)?;
        let twice = |other: &Offer| other.kind == offer.kind && other.name == offer.name;
        if checked.iter().any(twice) {
            return Err(format!("it offers {} `{}` twice", offer.kind, offer.name));
        }
        checked.push(offer);
    }
    if let Some(idle) = kinds
        .iter()
        .find(|kind| !checked.iter().any(|offer| offer.kind == kind.name()))
    {
        return Err(format!(
            "it exports {} and offers no {idle}",
            idle.interface()
        ));
    }
    Ok(Description {
        name,
        version,
        summary: cut(summary),
        offers: checked,
        asks: asks.into_iter().filter_map(capability).collect(),
    })
}

fn offer(offer: wit::Offer, kinds: &[Kind], json_bytes: usize) -> Result<Offer, String> {
    plain("an offer's name", &offer.name)?;
    let kind = Kind::named(&offer.kind).ok_or_else(|| {
        format!(
            "it offers `{}`, which is no kind of plugin",
            cut(offer.kind)
        )
    })?;
    if !kinds.contains(&kind) {
        return Err(format!(
            "it offers {kind} `{}` and does not export {}",
            offer.name,
            kind.interface()
        ));
    }
    let config_schema = json::parse(&offer.config_schema, json_bytes)
        .map_err(|e| format!("the config schema of {kind} `{}` is {e}", offer.name))?;
    Ok(Offer {
        kind: kind.name().into(),
        name: offer.name,
        summary: cut(offer.summary),
        config_schema,
    })
}

/// The capability; none for one of a later contract, which this engine can't grant.
fn capability(capability: wit::Capability) -> Option<Capability> {
    match capability {
        wit::Capability::Http(authority) => Some(Capability::Http {
            authority: cut(authority),
        }),
        wit::Capability::HttpFromConfig(pointer) => Some(Capability::HttpFromConfig {
            pointer: cut(pointer),
        }),
        wit::Capability::Kubernetes(objects) => Some(Capability::Kubernetes {
            group: cut(objects.group),
            kind: cut(objects.kind),
            verbs: objects.verbs.into_iter().take(MAX_VERBS).map(cut).collect(),
        }),
        wit::Capability::Run(program) => Some(Capability::Run {
            program: cut(program),
        }),
        wit::Capability::Artifacts => Some(Capability::Artifacts),
        wit::Capability::Other(_) => None,
    }
}

fn plain(what: &str, name: &str) -> Result<(), String> {
    let ok = !name.is_empty()
        && name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b));
    if ok {
        return Ok(());
    }
    let shown = crate::fault::cut_to(name.escape_debug().to_string(), MAX_NAME);
    Err(format!(
        "{what} `{shown}` is not made of letters, digits, `-`, `_`, `.` and `+`, at most {MAX_NAME} of them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(offers: &[(&str, &str, &str)]) -> Result<Description, String> {
        let offers = offers
            .iter()
            .map(|(kind, name, schema)| wit::Offer {
                kind: (*kind).into(),
                name: (*name).into(),
                summary: String::new(),
                config_schema: (*schema).into(),
            })
            .collect();
        let described = wit::Description {
            name: "p".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            offers,
            asks: vec![
                wit::Capability::Artifacts,
                wit::Capability::Other(wit::OtherCapability {
                    name: "later".into(),
                    params: "{}".into(),
                }),
            ],
            extra: "{}".into(),
        };
        description(described, &[Kind::Gate], 1000)
    }

    #[test]
    fn a_description_is_checked_against_what_the_plugin_is() {
        let read = offered(&[("gate", "a", "{}"), ("gate", "b", "true")]).unwrap();
        assert_eq!(read.offers.len(), 2);
        assert_eq!(read.asks, [Capability::Artifacts]);
        for (offers, says) in [
            (&[("gate", "a", "{}"), ("gate", "a", "{}")][..], "twice"),
            (
                &[("gate", "a", "{}"), ("strategy", "a", "{}")],
                "does not export",
            ),
            (&[("gat", "a", "{}")], "no kind of plugin"),
            (&[("gate", "a", "{")], "is not JSON"),
            (&[("gate", "", "{}")], "is not made of"),
            (&[("gate", "a\u{1b}[2J", "{}")], "is not made of"),
            (&[], "offers no gate"),
        ] {
            let fault = offered(offers).unwrap_err();
            assert!(fault.contains(says), "{fault}");
            assert!(!fault.contains('\u{1b}'));
        }
    }
}
