//! Who sees to a run while its trouble is explored: starts an engine again that left, and mends what lasts.

use phasegate_core::plan::Plan;
use phasegate_core::time::Span;

use super::{Player, Teller, lock};
use crate::scenario::acts::{Act, Deed};
use crate::story::Source;
use crate::trouble::Trouble;

/// How long it takes until somebody drives a run again that its engine left.
pub(super) const RESUMED: Span = Span::from_secs(10);
/// How often in a row an engine may leave a run before somebody sees to what lasts, and how often at all.
const LEAVES: (u32, u32) = (3, 6);

/// How long it takes until somebody decides about what looks like the work of others. Nobody at all is what a scenario
/// can show; here it would be a day of the same questions.
pub(super) const DECIDED: Span = Span::from_mins(10);

/// An operator aborts.
pub(super) fn abort(reason: &str) -> Act {
    by_operator(Deed::Abort(Some(reason.to_owned())))
}

/// What an operator does in an exploration.
fn by_operator(deed: Deed) -> Act {
    Act {
        at: None,
        when: None,
        after: Span::ZERO,
        by: "operator".to_owned(),
        deed,
    }
}

impl Player<'_> {
    pub(super) fn teller(&self) -> Teller {
        let acts = &self.stage.scenario.acts;
        let answered = acts.iter().any(|act| matches!(act.deed, Deed::Continue(_)));
        Teller {
            desk: self.desk.clone(),
            news: self.news.clone(),
            trouble: self.stage.trouble.clone(),
            decides: self.trouble().is_some() && !answered,
        }
    }

    /// The trouble of this rehearsal, if any is planned.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        let trouble = self.stage.trouble.as_deref();
        trouble.filter(|trouble| trouble.planned())
    }

    /// The engine left. Where trouble is explored somebody starts another one, and before long sees to what lasts.
    pub(super) async fn returns(&self, left: &mut u32) -> bool {
        let (patience, most) = LEAVES;
        let Some(trouble) = self.trouble().filter(|_| *left < most) else {
            return false;
        };
        *left = left.saturating_add(1);
        if *left >= patience && trouble.lift() {
            self.tell(Source::Stage, "somebody sees to what lasts");
        }
        self.sleep_until(self.now().plus(RESUMED)).await;
        true
    }

    /// The way back is stuck: where trouble is explored, a person sees to its cause and says retry.
    pub(super) async fn rescued(&self, plan: &Plan) -> bool {
        let stuck = lock(&self.desk)
            .run
            .as_ref()
            .is_some_and(|run| run.stuck_now().is_some());
        let Some(trouble) = self.trouble().filter(|_| stuck) else {
            return false;
        };
        trouble.stuck();
        if !trouble.retry() {
            return false;
        }
        self.tell(Source::Stage, "somebody sees to what lasts");
        self.act(plan, &by_operator(Deed::Retry), None).await
    }
}
