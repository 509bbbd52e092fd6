//! Waiting for a journal that is elsewhere, as in a cluster whose API server is away: people are told what is waited for.

use std::pin::pin;
use std::task::Poll;

use phasegate_core::time::Span;

use super::{Engine, Lack, Observer};

/// How long a journal may take before it is said that it is waited for. An API server that is started anew is back by then.
const UNSAID: Span = Span::from_secs(10);
/// How often it is looked after that whether the journal says why.
const LOOK: Span = Span::from_secs(1);

/// Who is told that a run is held up.
pub(super) struct Held<'a> {
    pub(super) observer: &'a mut dyn Observer,
    /// Whether they have been told.
    pub(super) told: bool,
}

impl Held<'_> {
    /// Waits for the journal's answer, and says once why it doesn't come.
    pub(super) async fn patiently<T>(
        &mut self,
        engine: &Engine,
        answer: impl Future<Output = T>,
    ) -> T {
        let mut answer = pin!(answer);
        // Most journals answer at once.
        if let Poll::Ready(answer) = futures::poll!(&mut answer) {
            return answer;
        }
        let clock = &*engine.world.clock;
        let mut look = clock.now().plus(UNSAID);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = clock.sleep_until(look), if !self.told => {
                    look = clock.now().plus(LOOK);
                    if let Some(failure) = engine.journal.trouble() {
                        self.told = true;
                        self.observer.held_up(Lack::Journal, &failure);
                    }
                }
            }
        }
    }
}
