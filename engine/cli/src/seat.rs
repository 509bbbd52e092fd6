//! `--state kubernetes:CONTEXT/NAMESPACE`: a journal that is kept in a cluster instead of a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_runtime::ports::Clock;
use phasegate_store::SegmentJournal;
use phasegate_world::clock::SystemClock;
use phasegate_world::{connect, entropy};

use crate::compose::World;
use crate::exit::{Fault, internal};

/// What a state begins with that is no directory.
const PREFIX: &str = "kubernetes:";
/// The variable by which a Job's pod knows what it is called: an engine that is started again in the same pod need not
/// wait for the one before, which is dead.
pub const POD: &str = "PHASEGATE_POD";
/// Longest name of a namespace.
const MAX_NAMESPACE: usize = 63;

/// Where in which cluster a journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The context of the kubeconfig, or the one of this pod's cluster.
    pub context: String,
    /// The namespace.
    pub namespace: String,
}

impl Seat {
    /// The seat that `--state` names; none for a directory.
    ///
    /// # Errors
    /// Where it is meant to be one and isn't.
    pub fn of(state: &Path) -> Result<Option<Self>, Diagnostic> {
        let Some(rest) = state.to_str().and_then(|text| text.strip_prefix(PREFIX)) else {
            return Ok(None);
        };
        // A context may have slashes in its name; a namespace has none.
        let parts = rest.rsplit_once('/');
        let found = parts.filter(|(context, namespace)| {
            !context.is_empty() && *context != connect::SIMULATED && is_namespace(namespace)
        });
        match found {
            Some((context, namespace)) => Ok(Some(Self {
                context: context.to_owned(),
                namespace: namespace.to_owned(),
            })),
            None => Err(Diagnostic::new(
                codes::STATE_MISPLACED,
                "`--state` doesn't say where in a cluster the journal is",
            )
            .expected(format!("{PREFIX}CONTEXT/NAMESPACE, or a directory"))
            .found(format!("`{}`", state.display()))
            .hint(format!(
                "name a context of the kubeconfig, or `{}` in a pod",
                connect::IN_CLUSTER
            ))),
        }
    }

    /// How `--state` names it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("{PREFIX}{}/{}", self.context, self.namespace))
    }

    /// Opens the journal.
    ///
    /// # Errors
    /// Where the cluster can't be reached; says what is in the way.
    pub async fn open(&self) -> Result<SegmentJournal, Fault> {
        let process = entropy::engine_id()
            .map_err(|e| internal("this engine can't be given a name").caused_by(&e))?;
        self.open_as(process).await
    }

    /// Opens the journal for the engine of a Job's pod: one that is started again there is known to come after the
    /// one before it. Whatever else is started in the pod must not call itself so.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_in_pod(&self) -> Result<SegmentJournal, Fault> {
        match std::env::var(POD).ok().filter(|pod| !pod.is_empty()) {
            Some(pod) => self.open_as(pod).await,
            None => self.open().await,
        }
    }

    async fn open_as(&self, process: String) -> Result<SegmentJournal, Fault> {
        let world = World::kubernetes(&self.context).await?;
        let shelf = Arc::new(world.cluster.shelf(&self.namespace));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(SegmentJournal::new(shelf, clock, process))
    }

    /// Refuses targets of another cluster: whoever resumes a run reaches its cluster by the journal's.
    ///
    /// # Errors
    /// Where the target is in another cluster.
    pub fn same_cluster(&self, cluster: &str) -> Result<(), Diagnostic> {
        if cluster == self.context {
            return Ok(());
        }
        Err(Diagnostic::new(
            codes::STATE_MISPLACED,
            "a journal in a cluster is of runs in this cluster only",
        )
        .expected(format!("a target in `{}`, by that name", self.context))
        .found(format!("a target in `{cluster}`"))
        .hint("give a directory with --state, or the seat in the target's cluster"))
    }
}

fn is_namespace(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= MAX_NAMESPACE
        && bytes.first().copied().is_some_and(plain)
        && bytes.last().copied().is_some_and(plain)
        && bytes.iter().all(|&b| plain(b) || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_directory_or_a_place_in_a_cluster() {
        let seat = |text: &str| Seat::of(Path::new(text));
        assert_eq!(seat("./.phasegate"), Ok(None));
        let found = seat("kubernetes:arn:aws:eks/prod/shop").unwrap().unwrap();
        assert_eq!(found.context, "arn:aws:eks/prod");
        assert_eq!(found.namespace, "shop");
        assert_eq!(
            seat("kubernetes:arn:aws:eks/prod/shop"),
            Seat::of(&found.path())
        );
        for bad in [
            "kubernetes:",
            "kubernetes:prod",
            "kubernetes:/shop",
            "kubernetes:prod/",
            "kubernetes:prod/Shop",
            "kubernetes:simulated/shop",
        ] {
            let fault = seat(bad).unwrap_err().to_string();
            assert!(fault.contains("PG0509"), "{bad}: {fault}");
        }
    }
}
