//! Prometheus, against which the gate of that name is tested. The tests find its programs in
//! `<target>/tools`.

use std::fs;

use crate::debian::{self, Package};
use crate::workspace::Workspace;

/// The server, and the tool that writes its blocks.
const PROMETHEUS: Package = Package {
    name: "prometheus",
    package: "prometheus",
    suite: "bookworm",
    version: "2.42.0",
    programs: &["prometheus", "promtool"],
};

/// Makes the programs available to the tests.
pub(crate) fn ensure(workspace: &Workspace) -> anyhow::Result<()> {
    let found = PROMETHEUS.find(workspace)?;
    let tools = workspace.tools();
    fs::create_dir_all(&tools)?;
    for program in PROMETHEUS.programs {
        debian::point(&tools.join(program), &found.join(program))?;
    }
    Ok(())
}
