//! The `phasegate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    phasegate_cli::main(std::env::args_os()).into()
}
