//! `phasegate:host/runner`. This version runs no tools for plugins: every request is denied.

use crate::bindings::phasegate::host::runner as wit;
use crate::kind::Service;
use crate::state::State;

impl wit::Host for State {
    async fn run(
        &mut self,
        command: wit::Command,
    ) -> wasmtime::Result<Result<wit::Output, wit::RunnerError>> {
        self.meter.host_call()?;
        let refusal = self.rights.contract(Service::Runner).err().unwrap_or_else(|| {
            let program = crate::fault::cut_to(command.program, 100);
            format!("running `{program}` is not possible in this version: the engine has no runner for plugins")
        });
        Ok(Err(wit::RunnerError::Denied(self.deny(refusal))))
    }

    async fn cancel(&mut self, name: String) -> wasmtime::Result<Result<(), wit::RunnerError>> {
        self.meter.host_call()?;
        let name = crate::fault::cut_to(name, 100);
        Ok(Err(wit::RunnerError::NotFound(format!(
            "nothing runs under `{name}`"
        ))))
    }
}
