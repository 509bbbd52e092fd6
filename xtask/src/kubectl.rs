//! `kubectl`, which a suite runs against the simulated cluster. The tests find it in `<target>/tools`.

use std::fs;

use crate::debian::{self, Package};
use crate::workspace::Workspace;

/// Debian's is of 2021: a suite that holds with it and with the machine's own holds with those between.
const KUBECTL: Package = Package {
    name: "kubectl",
    package: "kubernetes-client",
    suite: "bookworm",
    version: "1.20.5",
    programs: &["kubectl"],
};

/// Makes the program available to the tests.
pub(crate) fn ensure(workspace: &Workspace) -> anyhow::Result<()> {
    let found = KUBECTL.find(workspace)?;
    let tools = workspace.tools();
    fs::create_dir_all(&tools)?;
    debian::point(&tools.join("kubectl"), &found.join("kubectl"))
}
