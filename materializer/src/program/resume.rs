//! The command `resume`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use service::{output, units};

use crate::{Order, Resumed};

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Options {
    /// Accept that records are missing, or that the journal is another one: runs that had not finished are marked, and
    /// what the journal holds is read from its start
    #[arg(long)]
    pub accept_gap: bool,
    /// How long to wait until the materializer goes on
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    pub patience: Duration,
}

/// Leads the materializer of the store in `dir` out of its halt.
pub fn resume(dir: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let order = Order { accept_gap: options.accept_gap };
    Ok(match crate::resume(dir, order, options.patience)? {
        Resumed::NotHalted => {
            output::line("the materializer has not halted; there is nothing to do");
            ExitCode::SUCCESS
        }
        Resumed::Done(halt) => {
            output::line(format_args!("the materializer goes on; it had halted ({}): {}", halt.state, halt.message));
            ExitCode::SUCCESS
        }
        Resumed::Left(halt) => {
            output::line(format_args!(
                "no materializer runs on {}; the next one will go on ({}): {}",
                dir.display(),
                halt.state,
                halt.message
            ));
            ExitCode::SUCCESS
        }
        Resumed::NeedsAcceptance(halt) => {
            eprintln!("the materializer has halted ({}): {}", halt.state, halt.message);
            eprintln!(
                "records may be missing: say --accept-gap to go on without them; runs that had not finished are marked"
            );
            ExitCode::FAILURE
        }
        Resumed::HaltedAgain(halt) => {
            eprintln!("the materializer has halted again ({}): {}", halt.state, halt.message);
            ExitCode::FAILURE
        }
        Resumed::Pending(halt) => {
            eprintln!("the materializer has not gone on yet ({}): {}; its log says why", halt.state, halt.message);
            ExitCode::FAILURE
        }
    })
}
