//! One call: a fresh instance, its limits, and what became of it.

use futures::future::BoxFuture;
use phasegate_core::failure::Failure;
use phasegate_core::time::Timestamp;
use wasmtime::component::{Instance, InstancePre, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use crate::bindings::phasegate::types::common;
use crate::convert;
use crate::fault;
use crate::host::Host;
use crate::meter::Stop;
use crate::state::State;

/// What a plugin's function returned, or why it couldn't.
pub(crate) type Returned<R> = wasmtime::Result<Result<R, common::Failure>>;

/// A function that isn't as the contract has it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mismatch(String);

impl Mismatch {
    /// For errors of looking a function up.
    pub(crate) fn of(error: wasmtime::Error) -> wasmtime::Error {
        Self(fault::chain(&error)).into()
    }
}

/// Calls a plugin on a fresh instance. Whatever it does ends here: in a result, or in a failure.
///
/// Computing is bounded in real time by epochs, everything together by `until` in the world's time.
pub(crate) async fn perform<R, F>(
    host: &Host,
    pre: &InstancePre<State>,
    state: State,
    until: Timestamp,
    enter: F,
) -> Result<R, Failure>
where
    R: Send,
    F: for<'a> FnOnce(&'a mut Store<State>, &'a Instance) -> BoxFuture<'a, Returned<R>> + Send,
{
    let Some(_ticking) = host.workshop.tools().ticker.start() else {
        return Err(fault::internal(
            "no thread could be started, and without one nothing would interrupt a plugin",
        ));
    };
    let mut store = store(host, state);
    let returned = {
        let work = async {
            let instance = pre.instantiate_async(&mut store).await?;
            enter(&mut store, &instance).await
        };
        tokio::select! {
            biased;
            returned = work => Some(returned),
            () = host.ports.clock.sleep_until(until) => None,
        }
    };
    let state = store.data();
    let plugin = &*state.scope.plugin;
    match returned {
        Some(Ok(Ok(result))) => Ok(result),
        Some(Ok(Err(failure))) => Err(convert::failure(plugin, failure, state.denial())),
        Some(Err(error)) => Err(stopped(&error, state)),
        None => Err(fault::timed_out(plugin, "it did not answer in time")),
    }
}

fn store(host: &Host, state: State) -> Store<State> {
    let limits = state.limits;
    let mut store = Store::new(host.engine(), state);
    store.limiter(|state| &mut state.meter);
    store.set_hostcall_fuel(limits.passed_bytes);
    let yields = host.yields;
    store.epoch_deadline_callback(move |mut context| {
        context.data_mut().meter.tick()?;
        Ok(if yields {
            UpdateDeadline::Yield(1)
        } else {
            UpdateDeadline::Continue(1)
        })
    });
    store.set_epoch_deadline(1);
    store
}

/// The failure that an error of wasmtime's means.
fn stopped(error: &wasmtime::Error, state: &State) -> Failure {
    let plugin = &*state.scope.plugin;
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Compute(_) => fault::timed_out(plugin, &stop.to_string()),
            Stop::HostCalls(_) | Stop::Received(_) | Stop::Sent(_) => {
                fault::permanent(plugin, &stop.to_string())
            }
        };
    }
    if let Some(mismatch) = error.downcast_ref::<Mismatch>() {
        return fault::interface(plugin, &mismatch.to_string());
    }
    if let Some(exhausted) = state.meter.exhausted() {
        return fault::out_of_memory(plugin, exhausted);
    }
    let text = fault::chain(error);
    // These two come from wasmtime as words.
    if text.contains("resource limit exceeded") {
        return fault::out_of_memory(plugin, &text);
    }
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        let most = state.limits.passed_bytes;
        return fault::permanent(plugin, &format!("it passed more than {most} bytes at once"));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        let most = state.limits.handles;
        return fault::permanent(plugin, &format!("it holds more than {most} handles"));
    }
    let said = said(state);
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        return fault::trapped(plugin, &format!("it exited with code {code}{said}"));
    }
    if let Some(denial) = state.denial() {
        return fault::denied(plugin, &format!("{denial}; it then trapped{said}"));
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => fault::trapped(plugin, &format!("{trap}{said}")),
        None => fault::trapped(plugin, &format!("{text}{said}")),
    }
}

/// What the plugin left behind about its end: on standard error, or as its last error in the log.
fn said(state: &State) -> String {
    let stderr = state.stderr.text();
    match &state.last_error {
        _ if !stderr.is_empty() => format!("; it wrote: {stderr}"),
        Some(line) => format!("; it logged: {line}"),
        None => String::new(),
    }
}
