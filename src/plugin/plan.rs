//! `kubectl his plan`: the same as `his-operator render`, as a table unless asked otherwise.

use clap::Args;

use super::output::{Ended, Ending, Said};
use crate::{
    ports::{Clock, SystemClock},
    render::{self, Format},
};

/// What to plan.
#[derive(Args, Clone, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    render: render::Arguments,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

impl Arguments {
    pub(super) fn run(&self) -> Ended {
        plan(&self.render, self.output)
    }
}

pub(super) fn plan(arguments: &render::Arguments, format: Format) -> Ended {
    let mut standard_input = std::io::stdin().lock();
    match arguments.run(format, &mut standard_input, SystemClock.now()) {
        Ok(report) => Ok(Said { text: report.text, warnings: report.warnings, ..Said::default() }),
        Err(error) => Err(refused(&error)),
    }
}

/// How a command ends whose files cannot be read, or are refused.
pub(super) fn refused(error: &render::Error) -> Ending {
    if error.is_refusal() { Ending::Refused(error.to_string()) } else { Ending::Usage(error.to_string()) }
}
