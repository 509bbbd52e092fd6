//! What a machine needs before anything here can be built and tested.

use anyhow::bail;

use crate::cluster;
use crate::exec;
use crate::programs;
use crate::wasm_std::{self, Source, WasmStd};
use crate::workspace::Workspace;

/// Makes this machine able to build and test; does nothing where all is there.
pub(crate) fn run(workspace: &Workspace, source: Source) -> anyhow::Result<WasmStd> {
    let found = ensure(workspace, source)?;
    programs::ensure(workspace)?;
    cluster::prepare(workspace)?;
    exec::say("this machine is set up");
    Ok(found)
}

/// What is needed to build, for the tasks that begin with it.
pub(crate) fn ensure(workspace: &Workspace, source: Source) -> anyhow::Result<WasmStd> {
    if !exec::is_installed("cc") {
        bail!(
            "there is no C compiler, which SQLite is built with; on Debian: \
             `apt-get install gcc libc6-dev`"
        );
    }
    wasm_std::ensure(workspace, source)
}
