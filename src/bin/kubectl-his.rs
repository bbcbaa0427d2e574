//! Plugin for kubectl: see [`his_operator::plugin`].

use std::process::ExitCode;

fn main() -> ExitCode {
    his_operator::plugin::main()
}
