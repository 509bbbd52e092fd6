//! `phasegate plugin`: what plugins offer and ask for.

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::plan::Pin;
use phasegate_core::spec::policy::PluginLimits;
use phasegate_core::spec::release::PluginSource;
use phasegate_runtime::planner;
use phasegate_runtime::ports::{Capability, Component, Description, Plugins};
use serde::Serialize;

use super::release::host;
use crate::args::{Plugin, PluginCommand};
use crate::builtin;
use crate::compose;
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::plugins;

/// A plugin, for programs.
#[derive(Serialize)]
struct Shown {
    pin: Pin,
    #[serde(flatten)]
    description: Description,
}

/// Lists or inspects plugins.
pub(super) async fn plugin(args: &Plugin, console: &Console) -> Outcome {
    match &args.command {
        PluginCommand::List => list(console).await,
        PluginCommand::Inspect { plugin } => inspect(plugin, console).await,
    }
}

async fn described(components: Vec<Component>) -> Result<Vec<Shown>, Fault> {
    let names: Vec<String> = components.iter().map(|c| c.name.clone()).collect();
    let set = compose::offline(host(&PluginLimits::default()), components)?;
    compose::prepare(&set).await?;
    let mut shown = Vec::new();
    for name in names {
        let (pin, description) = set
            .describe(&name)
            .await
            .map_err(|f| planner::diagnostic(&f, &format!("plugin `{name}`")))?;
        shown.push(Shown { pin, description });
    }
    Ok(shown)
}

async fn list(console: &Console) -> Outcome {
    let mut components = Vec::new();
    for name in builtin::NAMES {
        components.push(plugins::shipped(name)?);
    }
    let all = described(components).await?;
    console.either(&all, || {
        all.iter()
            .map(|shown| {
                let offers: Vec<String> = shown
                    .description
                    .offers
                    .iter()
                    .map(|offer| format!("{} {}", offer.kind, offer.name))
                    .collect();
                format!(
                    "{:<10} {:<8} {:<28} {}",
                    shown.description.name,
                    shown.description.version,
                    offers.join(", "),
                    shown.description.summary
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    Ok(Exit::Succeeded)
}

async fn inspect(named: &str, console: &Console) -> Outcome {
    let component = find(named)?;
    let all = described(vec![component]).await?;
    for shown in &all {
        console.either(shown, || text(shown))?;
    }
    Ok(Exit::Succeeded)
}

/// A built-in plugin by its name, or else a file.
fn find(named: &str) -> Result<Component, Diagnostic> {
    let is_file = named.contains(['/', '.']) || Path::new(named).is_file();
    if builtin::NAMES.contains(&named) || !is_file {
        return plugins::shipped(named);
    }
    if named.is_empty() {
        return Err(Diagnostic::new(
            codes::PLUGIN_NOT_FOUND,
            "no plugin is named",
        ));
    }
    let source = PluginSource::Path {
        path: named.to_owned(),
        digest: None,
    };
    let name = Path::new(named).file_stem().unwrap_or_default();
    plugins::registry(Path::new("")).resolve(&name.to_string_lossy(), &source)
}

fn text(shown: &Shown) -> String {
    let Shown { pin, description } = shown;
    let mut lines = vec![
        format!("{} {}", description.name, description.version),
        format!("  {}", description.summary),
        format!("  source  {}", pin.source),
        format!("  digest  {}", pin.digest),
    ];
    for offer in &description.offers {
        lines.push(String::new());
        lines.push(format!("{} {}: {}", offer.kind, offer.name, offer.summary));
        let schema = serde_json::to_string_pretty(&offer.config_schema).unwrap_or_default();
        lines.push("  config".to_owned());
        lines.extend(schema.lines().map(|line| format!("    {line}")));
    }
    lines.push(String::new());
    if description.asks.is_empty() {
        lines.push("asks for nothing".to_owned());
    }
    for ask in &description.asks {
        lines.push(format!("asks for {}", capability(ask)));
    }
    lines.join("\n")
}

fn capability(capability: &Capability) -> String {
    match capability {
        Capability::Http { authority } => format!("requests to {authority}"),
        Capability::HttpFromConfig { pointer } => {
            format!("requests to the host in its config at {pointer}")
        }
        Capability::Kubernetes { group, kind, verbs } => {
            let group = if group.is_empty() { "core" } else { group };
            format!("{} of {kind} ({group})", verbs.join(", "))
        }
        Capability::Run { program } => format!("running {program}"),
        Capability::Artifacts => "files of the run".to_owned(),
    }
}
