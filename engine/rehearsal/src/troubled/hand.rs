//! What carries trouble out, at every port.

use std::sync::Arc;

use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{self, Failure};
use phasegate_core::time::Span;
use phasegate_runtime::ports::{Call, ChangeError, Clock};

use super::leases::WatchedLeases;
use crate::misfortune::Fate;
use crate::trouble::{Kind, Mischief, Trouble};

/// How long somebody waits for an answer that is lost.
const LOST: Span = Span::from_secs(10);
/// How long a plugin that is pending asks to be left alone.
const PENDING: Span = Span::from_secs(5);

/// What carries trouble out.
#[derive(Clone)]
pub(super) struct Hand {
    pub(super) trouble: Arc<Trouble>,
    pub(super) fate: Arc<Fate>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) leases: Arc<WatchedLeases>,
}

fn refused(kind: Kind, how: Mischief) -> Failure {
    let (class, code) = match how {
        Mischief::Conflict => (failure::Kind::Conflict, codes::CONFLICT),
        Mischief::Denied => (failure::Kind::Denied, codes::CLUSTER_REFUSED),
        Mischief::Trap => (failure::Kind::Trap, codes::PLUGIN_TRAPPED),
        Mischief::Pending => (failure::Kind::Pending, codes::PLUGIN_FAILED),
        Mischief::Hang | Mischief::AnswerLost | Mischief::RequestLost => {
            (failure::Kind::Timeout, codes::PLUGIN_TIMED_OUT)
        }
        _ => (failure::Kind::Retryable, codes::CLUSTER_UNREACHABLE),
    };
    let failure = Failure::new(
        class,
        code,
        format!("{} {}, as is rehearsed", kind.as_str(), how.as_str()),
    );
    failure.again_after((how == Mischief::Pending).then_some(PENDING))
}

impl Hand {
    async fn wait(&self, span: Span) {
        let clock = &self.clock;
        clock.sleep_until(clock.now().plus(span)).await;
    }

    pub(super) fn strikes(&self, kind: Kind, subject: Option<&str>) -> Option<Mischief> {
        self.trouble.call(kind, subject, self.clock.now())
    }

    pub(super) async fn die(&self) {
        self.trouble.kill();
        self.fate.die();
        std::future::pending::<()>().await;
    }

    /// A read, or a question to a plugin.
    pub(super) async fn read<T>(
        &self,
        kind: Kind,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let struck = self.strikes(kind, None);
        self.answered(kind, struck, answer).await
    }

    async fn answered<T>(
        &self,
        kind: Kind,
        struck: Option<Mischief>,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match struck {
            None => answer.await,
            Some(Mischief::StaleEpoch) => {
                self.leases.take_over().await;
                answer.await
            }
            Some(Mischief::Death) => {
                let answer = answer.await;
                self.die().await;
                answer
            }
            Some(how @ Mischief::AnswerLost) => {
                // What was done stays done.
                drop(answer.await);
                self.wait(LOST).await;
                Err(refused(kind, how))
            }
            Some(how @ (Mischief::RequestLost | Mischief::Hang)) => {
                self.wait(LOST).await;
                Err(refused(kind, how))
            }
            Some(how) => Err(refused(kind, how)),
        }
    }

    /// A plugin that hangs is given up by whoever waits for it, and at the latest after its time.
    pub(super) async fn plugin<T>(
        &self,
        kind: Kind,
        call: &Call,
        struck: Option<Mischief>,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if struck == Some(Mischief::Hang) {
            self.clock.sleep_until(call.deadline.plus(LOST)).await;
        }
        self.answered(kind, struck, answer).await
    }

    pub(super) async fn called<T>(
        &self,
        kind: Kind,
        call: &Call,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let struck = self.strikes(kind, None);
        self.plugin(kind, call, struck, answer).await
    }

    /// A write to the cluster.
    pub(super) async fn write(
        &self,
        kind: Kind,
        answer: impl Future<Output = Result<(), ChangeError>>,
    ) -> Result<(), ChangeError> {
        match self.strikes(kind, None) {
            None => answer.await,
            Some(Mischief::StaleEpoch) => {
                self.leases.take_over().await;
                answer.await
            }
            Some(Mischief::Death) => {
                let answer = answer.await;
                self.die().await;
                answer
            }
            Some(Mischief::AnswerLost) => {
                drop(answer.await);
                self.wait(LOST).await;
                Err(ChangeError::Unknown("the answer is lost".to_owned()))
            }
            Some(Mischief::RequestLost) => {
                self.wait(LOST).await;
                Err(ChangeError::Unknown("the request is lost".to_owned()))
            }
            Some(how) => Err(refused(kind, how).into()),
        }
    }
}
