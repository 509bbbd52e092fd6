//! `phasegate:host/artifacts`. This version keeps no files for plugins: there are none, and none can be written.

use crate::bindings::phasegate::host::artifacts as wit;
use crate::kind::Service;
use crate::state::State;

const NONE_KEPT: &str =
    "artifacts are not available in this version: the engine keeps no files for plugins";

impl wit::Host for State {
    async fn stat(&mut self, _name: String) -> wasmtime::Result<Option<wit::Artifact>> {
        self.meter.host_call()?;
        Ok(None)
    }

    async fn read(
        &mut self,
        _name: String,
        _offset: u64,
        _length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.refuse_artifacts().map(Err)
    }

    async fn write(
        &mut self,
        _name: String,
        _content: Vec<u8>,
    ) -> wasmtime::Result<Result<wit::Artifact, String>> {
        self.refuse_artifacts().map(Err)
    }
}

impl State {
    fn refuse_artifacts(&mut self) -> wasmtime::Result<String> {
        self.meter.host_call()?;
        let refusal = self.rights.contract(Service::Artifacts).err();
        Ok(self.deny(refusal.unwrap_or_else(|| NONE_KEPT.into())))
    }
}
