//! Programs of others that suites of the engine run, and find in `<target>/tools`.

use std::fs;

use crate::debian::{self, Package};
use crate::workspace::Workspace;

const ALL: [Package; 2] = [
    // Runs against the simulated cluster. Debian's is of 2021: a suite that holds with it and with the machine's own
    // holds with those between.
    Package {
        name: "kubectl",
        package: "kubernetes-client",
        suite: "bookworm",
        version: "1.20.5",
        programs: &["kubectl"],
    },
    // The server that the gate of this name asks, and the tool that writes its blocks.
    Package {
        name: "prometheus",
        package: "prometheus",
        suite: "bookworm",
        version: "2.42.0",
        programs: &["prometheus", "promtool"],
    },
];

/// Makes them available to the tests.
pub(crate) fn ensure(workspace: &Workspace) -> anyhow::Result<()> {
    let tools = workspace.tools();
    for package in ALL {
        let found = package.find(workspace)?;
        fs::create_dir_all(&tools)?;
        for program in package.programs {
            debian::point(&tools.join(program), &found.join(program))?;
        }
    }
    Ok(())
}
