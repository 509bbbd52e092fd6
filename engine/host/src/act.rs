//! Calls of actions. Each is one function of the contract on a fresh instance.

use phasegate_core::effect::{Acted, Deed, Done, Preparation, Progress};
use phasegate_core::failure::Failure;
use phasegate_core::plan::Use;
use phasegate_core::time::Span;
use phasegate_runtime::ports::Call;
use serde_json::{Value, json};

use crate::bindings::exports::phasegate::action::action as wit;
use crate::call::{self, Mismatch};
use crate::fault::cut;
use crate::kind::Kind;
use crate::set::{PluginSet, Start, exported};
use crate::{convert, fault, json};

/// When an action that is still under way is asked again what became of it.
const ASK_AGAIN: Span = Span::from_secs(5);

/// Calls one function of an action with the call and what else it takes.
macro_rules! acted {
    ($set:expr, $action:expr, $call:expr, $function:ident $(, $argument:expr)*) => {{
        let plugin = $set.plugin(&$action.plugin).await?;
        let indices = exported!(plugin, action, Kind::Action)?;
        let Start { state, until, call } = $set.start(plugin, Kind::Action, $action, $call)?;
        call::perform(&$set.host, &plugin.pre, state, until, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, instance).map_err(Mismatch::of)?;
                guest.$function(store, &call $(, &$argument)*).await
            })
        })
        .await
    }};
}

impl PluginSet {
    pub(crate) async fn action_does(
        &self,
        action: &Use,
        call: &Call,
        deed: &Deed,
    ) -> Result<Done, Failure> {
        match deed {
            Deed::Prepare => {
                let found: wit::Preparation = acted!(self, action, call, call_prepare)?;
                let token = self.said(action, "its token", &found.token)?;
                let preparation = Preparation {
                    summary: cut(found.summary),
                    token,
                    reversible: found.reversible,
                };
                Ok(Done::Prepared { preparation })
            }
            Deed::Run { token } => {
                let token = token.to_string();
                let outcome: wit::Outcome = acted!(self, action, call, call_run, token)?;
                // It has taken place: what can't be read of it is no reason to say otherwise.
                let outputs = self.said(action, "what it put out", &outcome.outputs);
                let acted = Acted {
                    summary: cut(outcome.summary),
                    outputs: outputs.unwrap_or_else(|failure| json!({"unread": failure.message})),
                    links: convert::links_in(outcome.links),
                };
                Ok(Done::Acted { acted })
            }
            Deed::Undo { token } => {
                let token = token.to_string();
                acted!(self, action, call, call_undo, token)?;
                Ok(Done::Undone)
            }
            Deed::Cancel { token } => {
                let token = token.to_string();
                acted!(self, action, call, call_cancel, token)?;
                Ok(Done::Cancelled)
            }
        }
    }

    pub(crate) async fn action_progress(
        &self,
        action: &Use,
        call: &Call,
        token: &Value,
    ) -> Result<Progress, Failure> {
        let token = token.to_string();
        Ok(match acted!(self, action, call, call_probe, token)? {
            wit::Progress::NotDone => Progress::NotDone,
            wit::Progress::Running => Progress::Running { after: ASK_AGAIN },
            wit::Progress::Done => Progress::Done(Done::Acted {
                acted: Acted {
                    summary: "found done, its answer was lost".to_owned(),
                    outputs: json!({}),
                    links: Vec::new(),
                },
            }),
            wit::Progress::Unknown => Progress::Unknown {
                message: format!("plugin `{}` can't tell", action.plugin),
            },
        })
    }

    /// JSON that an action returned.
    fn said(&self, action: &Use, what: &str, text: &str) -> Result<Value, Failure> {
        json::parse(text, self.host.limits.json_bytes)
            .map_err(|detail| fault::permanent(&action.plugin, &format!("{what} is {detail}")))
    }
}
