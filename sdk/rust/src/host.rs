//! The one place where the SDK leaves the plugin: to the engine in a component, to a scripted
//! [`Fake`](crate::testing::Fake) in a test.

#[cfg(target_arch = "wasm32")]
pub(crate) use engine::*;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use fake::*;

#[cfg(target_arch = "wasm32")]
mod engine {
    pub(crate) use crate::bindings::imports::phasegate::host::artifacts::{
        read as artifact_read, stat as artifact_stat, write as artifact_write,
    };
    pub(crate) use crate::bindings::imports::phasegate::host::http::send;
    pub(crate) use crate::bindings::imports::phasegate::host::kubernetes::{
        apply, find, get, patch, remove,
    };
    pub(crate) use crate::bindings::imports::phasegate::host::log::write as log;
    pub(crate) use crate::bindings::imports::phasegate::host::runner::{
        cancel as runner_cancel, run as runner_run,
    };

    const NS_PER_MS: u64 = 1_000_000;
    const MS_PER_S: u64 = 1000;

    /// Milliseconds since the Unix epoch.
    pub(crate) fn wall_ms() -> u64 {
        let now = crate::bindings::imports::wasi::clocks::wall_clock::now();
        let ms = u64::from(now.nanoseconds) / NS_PER_MS;
        now.seconds.saturating_mul(MS_PER_S).saturating_add(ms)
    }

    /// Nanoseconds of a clock that only goes forward.
    pub(crate) fn monotonic_ns() -> u64 {
        crate::bindings::imports::wasi::clocks::monotonic_clock::now()
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod fake {
    use crate::bindings::imports::phasegate::host::artifacts::Artifact;
    use crate::bindings::imports::phasegate::host::http::{HttpError, Request, Response};
    use crate::bindings::imports::phasegate::host::kubernetes::{KubernetesError, ObjectRef};
    use crate::bindings::imports::phasegate::host::log::Level;
    use crate::bindings::imports::phasegate::host::runner::{Command, Output, RunnerError};
    use crate::bindings::imports::phasegate::types::common::Pair;
    use crate::testing::world;

    pub(crate) fn log(level: Level, message: &str, fields: &[Pair]) {
        world(|world| world.on_log(level, message, fields));
    }

    pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
        world(|world| world.on_http(request))
    }

    pub(crate) fn get(object: &ObjectRef) -> Result<String, KubernetesError> {
        world(|world| world.cluster.get(object))
    }

    pub(crate) fn find(
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        label_selector: Option<&str>,
    ) -> Result<Vec<String>, KubernetesError> {
        world(|world| {
            world
                .cluster
                .find(api_version, kind, namespace, label_selector)
        })
    }

    pub(crate) fn apply(object: &str) -> Result<String, KubernetesError> {
        world(|world| world.cluster.apply(object))
    }

    pub(crate) fn patch(object: &ObjectRef, merge: &str) -> Result<String, KubernetesError> {
        world(|world| world.cluster.patch(object, merge))
    }

    pub(crate) fn remove(object: &ObjectRef) -> Result<(), KubernetesError> {
        world(|world| world.cluster.remove(object))
    }

    pub(crate) fn runner_run(command: &Command) -> Result<Output, RunnerError> {
        world(|world| world.on_run(command))
    }

    pub(crate) fn runner_cancel(name: &str) -> Result<(), RunnerError> {
        world(|world| world.on_cancel(name))
    }

    pub(crate) fn artifact_stat(name: &str) -> Option<Artifact> {
        world(|world| world.on_stat(name))
    }

    pub(crate) fn artifact_read(name: &str, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        world(|world| world.on_read(name, offset, length))
    }

    pub(crate) fn artifact_write(name: &str, content: &[u8]) -> Result<Artifact, String> {
        world(|world| world.on_write(name, content))
    }

    pub(crate) fn wall_ms() -> u64 {
        world(|world| world.wall_ms())
    }

    pub(crate) fn monotonic_ns() -> u64 {
        world(|world| world.monotonic_ns())
    }
}
