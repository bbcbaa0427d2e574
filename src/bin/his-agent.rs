//! Runs in pods of hospitals: see [`his_operator::agent`].

use std::process::ExitCode;

fn main() -> ExitCode {
    his_operator::agent::main()
}
