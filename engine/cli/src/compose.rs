//! The composition root: where the parts of an engine are put together.
//!
//! There are three worlds, and all are reached through the same adapters:
//!
//! * [`World::kubernetes`]: a Kubernetes cluster, by a context of the kubeconfig or from a pod of it;
//! * [`World::simulated_process`]: a simulated cluster that runs as a process of its own and speaks
//!   HTTP, in real or scaled time;
//! * [`World::in_process`]: a simulated cluster within this process, in virtual time.
//!
//! [`Simulation`] makes the latter of a scenario. A world and the plugins of a release make an [`Engine`]: [`World::engine`]. Everything that
//! starts an engine, the commands, the rehearsal, the tests and the benchmark, goes through here.
//!
//! ```text
//! let world = World::simulated_process("http://127.0.0.1:8001").await?;
//! let components = plugins::of_release(&loaded, folder)?;
//! let parts = world.engine(HostConfig::default(), credentials, components, journal)?;
//! parts.engine.drive(run, &options, nudges, &mut observer).await?;
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::failure::Failure;
use phasegate_core::spec::policy::PluginLimits;
use phasegate_core::time::Span;
use phasegate_host::{Host, HostConfig, HostPorts, Limits, PluginSet};
use phasegate_rehearsal::network::Network;
use phasegate_rehearsal::scenario::Scenario;
use phasegate_rehearsal::server::{ClusterService, SharedCluster, VirtualClock};
use phasegate_rehearsal::web::Web;
use phasegate_runtime::engine::Engine;
use phasegate_runtime::perform;
use phasegate_runtime::planner;
use phasegate_runtime::plugin_ports::{
    CompiledCache, CredentialError, CredentialHeader, Credentials, Grants, LogLine, LogSink, Secret,
};
use phasegate_runtime::ports::{
    Clock, Component, Http, HttpError, HttpRequest, HttpResponse, Journal, LEASE_DURATION,
    ObjectError, ObjectRef, Objects, Seen, Writer,
};
use phasegate_world::clock::{ScaledClock, SystemClock};
use phasegate_world::connect;
use phasegate_world::credentials::LocalCredentials;
use phasegate_world::http::{LiveHttp, RemoteHttp};
use phasegate_world::kubernetes::{KubeCluster, Options as ClusterOptions, REQUEST_TIMEOUT};
use serde_json::Value;

/// A world that an engine can work in.
#[derive(Clone)]
pub struct World {
    /// The cluster: it holds the target, the leases and what plugins see of it.
    pub cluster: KubeCluster,
    /// Where the plugins' requests go.
    pub http: Arc<dyn Http>,
    /// Time, which is simulated where the cluster is.
    pub clock: Arc<dyn Clock>,
    /// Where the plugins' log lines go.
    pub log: Arc<dyn LogSink>,
    /// How many times faster than the clock on the wall the world's time goes; 1 in virtual time.
    pub scale: f64,
    /// Whether people's rights differ there, so that they are looked at before a run begins.
    pub guarded: bool,
    /// Whether what is left to chance follows from a seed there, values of Secrets too: in virtual time.
    pub seeded: bool,
}

/// A simulated cluster within this process, with the network around it, at the beginning of a scenario.
#[derive(Clone)]
pub struct Simulation {
    /// The cluster, for whoever looks at it from the outside.
    pub cluster: SharedCluster,
    /// The network, likewise.
    pub network: Network,
    /// The world that they are to an engine.
    pub world: World,
}

impl Simulation {
    /// Begins a scenario in virtual time. To be called in a tokio runtime whose time is paused.
    ///
    /// # Errors
    /// Where the cluster refuses an object of the scenario.
    pub fn begin(scenario: &Scenario, seed: u64) -> Result<Self, Diagnostic> {
        let clock = VirtualClock::starting_at(scenario.start());
        let cluster = SharedCluster::new(scenario.cluster(seed)?, Arc::new(clock.clone()));
        let network = Network::new(cluster.clone(), Web::new(scenario));
        let client = connect::client_from_service(ClusterService::new(cluster.clone()), "default");
        let world = World::in_process(client, Arc::new(network.clone()), Arc::new(clock));
        Ok(Self {
            cluster,
            network,
            world,
        })
    }
}

/// An engine, and the parts of it that some callers need by themselves.
#[derive(Clone)]
pub struct Parts {
    /// The engine.
    pub engine: Engine,
    /// The release's plugins.
    pub plugins: Arc<PluginSet>,
    /// The cluster.
    pub cluster: KubeCluster,
}

impl World {
    /// The world of a simulated cluster that listens at `url`, for example `http://127.0.0.1:8001`.
    ///
    /// # Errors
    /// Where it doesn't answer, or isn't of this machine.
    pub async fn simulated_process(url: &str) -> Result<Self, Diagnostic> {
        let gone = |error: &dyn std::error::Error| {
            Diagnostic::new(
                codes::CLUSTER_UNREACHABLE,
                format!("the simulated cluster at {url} can't be reached"),
            )
            .caused_by(error)
            .hint("`phasegate doctor` says whether it still runs")
        };
        let clock = ScaledClock::read(url).await.map_err(|e| gone(&e))?;
        let scale = clock.scale().max(1.0);
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let client = connect::client_for_loopback(url).map_err(|e| gone(&e))?;
        let http = RemoteHttp::new(url, Arc::clone(&clock)).map_err(|e| gone(&e))?;
        let options = ClusterOptions {
            request_timeout: scaled(REQUEST_TIMEOUT, scale),
            lease: scaled(LEASE_DURATION, scale),
            ..ClusterOptions::default()
        };
        Ok(Self {
            cluster: KubeCluster::new(client, Arc::clone(&clock), options),
            http: Arc::new(http),
            clock,
            log: Arc::new(Discarded),
            scale,
            guarded: false,
            seeded: false,
        })
    }

    /// The world of the cluster of a context; [`connect::IN_CLUSTER`] is the one of this pod.
    ///
    /// # Errors
    /// Where it can't be reached; says what is in the way.
    pub async fn kubernetes(context: &str) -> Result<Self, Diagnostic> {
        let connected = connect::connect(context).await?;
        Ok(Self::live(connected.client, Arc::new(SystemClock)))
    }

    /// The world of a Kubernetes cluster, by this clock.
    #[must_use]
    pub fn live(client: kube::Client, clock: Arc<dyn Clock>) -> Self {
        let options = ClusterOptions {
            watches: true,
            ..ClusterOptions::default()
        };
        Self {
            cluster: KubeCluster::new(client, Arc::clone(&clock), options),
            http: Arc::new(LiveHttp::new(Arc::clone(&clock))),
            clock,
            log: Arc::new(Discarded),
            scale: 1.0,
            guarded: true,
            seeded: false,
        }
    }

    /// The world of a simulated cluster within this process. Its clock is to be the one that the
    /// cluster goes by.
    #[must_use]
    pub fn in_process(client: kube::Client, http: Arc<dyn Http>, clock: Arc<dyn Clock>) -> Self {
        Self {
            cluster: KubeCluster::new(client, Arc::clone(&clock), ClusterOptions::default()),
            http,
            clock,
            log: Arc::new(Discarded),
            scale: 1.0,
            guarded: false,
            seeded: true,
        }
    }

    /// As much of the world's time as goes by in this much real time.
    #[must_use]
    pub fn stretched(&self, real: Span) -> Span {
        scaled(real, self.scale)
    }

    /// An engine in this world, with these plugins and this journal.
    ///
    /// # Errors
    /// Where this machine can't run compiled WebAssembly.
    pub fn engine(
        &self,
        config: HostConfig,
        credentials: Arc<dyn Credentials>,
        components: Vec<Component>,
        journal: Arc<dyn Journal>,
    ) -> Result<Parts, Diagnostic> {
        let seed = self.seeded.then_some(config.seed);
        let cluster = self.cluster.clone();
        let cluster = cluster.with_values(Arc::clone(&credentials), seed);
        let ports = HostPorts {
            http: Arc::clone(&self.http),
            objects: Arc::new(cluster.clone()),
            clock: Arc::clone(&self.clock),
            log: Arc::clone(&self.log),
            credentials,
        };
        let host = Host::new(config, ports).map_err(|f| about_host(&f))?;
        let plugins = Arc::new(host.load(components, Grants::default()));
        let world = perform::World {
            cluster: Arc::new(cluster.clone()),
            plugins: Arc::clone(&plugins) as _,
            clock: Arc::clone(&self.clock),
        };
        let engine = Engine {
            world,
            journal,
            leases: Arc::new(cluster.clone()),
        };
        Ok(Parts {
            engine,
            plugins,
            cluster,
        })
    }
}

impl Parts {
    /// Loads all plugins now, so that none is compiled while a gate waits for it.
    ///
    /// # Errors
    /// What is wrong with each that can't be loaded.
    pub async fn prepare(&self) -> Result<(), Diagnostics> {
        prepare(&self.plugins).await
    }
}

/// Loads all plugins of a set.
///
/// # Errors
/// What is wrong with each that can't be loaded.
pub async fn prepare(plugins: &PluginSet) -> Result<(), Diagnostics> {
    let mut faults = Diagnostics::new();
    for (name, failure) in plugins.prepare().await {
        faults.push(planner::diagnostic(&failure, &format!("plugin `{name}`")));
    }
    faults.into_result(())
}

/// Plugins without a world: they can describe themselves and look at configs, and nothing else.
///
/// # Errors
/// Where this machine can't run compiled WebAssembly.
pub fn offline(config: HostConfig, components: Vec<Component>) -> Result<PluginSet, Diagnostic> {
    let ports = HostPorts {
        http: Arc::new(Nowhere),
        objects: Arc::new(Nowhere),
        clock: Arc::new(SystemClock),
        log: Arc::new(Discarded),
        credentials: Arc::new(LocalCredentials::default()),
    };
    let host = Host::new(config, ports).map_err(|f| about_host(&f))?;
    Ok(host.load(components, Grants::default()))
}

fn about_host(failure: &Failure) -> Diagnostic {
    planner::diagnostic(failure, "the host of plugins")
}

/// How plugins are run where an engine works for people: with the policy's limits, and a compiled
/// cache where there is one.
#[must_use]
pub fn host_config(
    limits: &PluginLimits,
    cache: Option<Arc<dyn CompiledCache>>,
    seed: u64,
) -> HostConfig {
    HostConfig {
        limits: narrowed(limits),
        grants: limits.grants.clone(),
        cache,
        seed,
        ..HostConfig::default()
    }
}

/// The engine's own limits, as far as the policy doesn't set others.
pub(crate) fn narrowed(policy: &PluginLimits) -> Limits {
    let mut limits = Limits::default();
    if let Some(mib) = policy.memory_mib {
        let mib = usize::try_from(mib).unwrap_or(usize::MAX);
        limits.memory_bytes = mib.saturating_mul(1 << 20);
    }
    limits.wall = policy.timeout.unwrap_or(limits.wall);
    limits.compute = policy.compute.unwrap_or(limits.compute);
    limits.host_calls = policy.host_calls.unwrap_or(limits.host_calls);
    limits
}

/// A limit in real time as one in time that goes `scale` times as fast.
fn scaled(span: Span, scale: f64) -> Span {
    let millis = span.to_std().mul_f64(scale).as_millis();
    Span::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Where log lines go that nobody reads.
pub struct Discarded;

impl LogSink for Discarded {
    fn write(&self, _: LogLine) {}
}

/// Credentials of a simulated world: each is there, and none is anybody's.
pub struct Invented;

#[async_trait]
impl Credentials for Invented {
    async fn header(&self, name: &str, _: &str) -> Result<CredentialHeader, CredentialError> {
        Ok(CredentialHeader {
            name: "authorization".to_owned(),
            value: Secret::new(format!("Bearer simulated-{name}")),
            secret: Secret::new(format!("simulated-{name}")),
        })
    }

    async fn value(&self, name: &str, _: &str, _: &str) -> Result<Secret, CredentialError> {
        Ok(Secret::new(format!("simulated-{name}")))
    }
}

/// A world in which there is nothing: neither hosts nor objects.
struct Nowhere;

#[async_trait]
impl Http for Nowhere {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        Err(HttpError::Denied("no release is under way".to_owned()))
    }
}

impl Nowhere {
    fn denied<T>() -> Result<T, ObjectError> {
        Err(ObjectError::Denied("no release is under way".to_owned()))
    }
}

#[async_trait]
impl Objects for Nowhere {
    async fn get(&self, _: &ObjectRef) -> Result<Value, ObjectError> {
        Self::denied()
    }

    async fn find(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<Value>, ObjectError> {
        Self::denied()
    }

    async fn apply(&self, _: &Writer, _: &Value) -> Result<Value, ObjectError> {
        Self::denied()
    }

    async fn patch(&self, _: &Writer, _: &ObjectRef, _: &Value) -> Result<Value, ObjectError> {
        Self::denied()
    }

    async fn remove(&self, _: &Writer, _: &ObjectRef, _: Option<&Seen>) -> Result<(), ObjectError> {
        Self::denied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_narrows_what_a_call_may_use() {
        let policy = PluginLimits {
            memory_mib: Some(16),
            timeout: Some(Span::from_secs(3)),
            compute: None,
            host_calls: Some(7),
            ..PluginLimits::default()
        };
        let limits = narrowed(&policy);
        assert_eq!(limits.memory_bytes, 16 << 20);
        assert_eq!((limits.wall, limits.host_calls), (Span::from_secs(3), 7));
        assert_eq!(limits.compute, Limits::default().compute);
    }

    #[test]
    fn a_limit_grows_with_the_speed_of_time() {
        assert_eq!(scaled(Span::from_secs(30), 60.0), Span::from_mins(30));
    }
}
