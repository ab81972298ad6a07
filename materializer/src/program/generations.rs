//! The command `generations`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use service::output;
use store::generation::Generations;

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Options {
    /// Remove all that are neither served nor being made
    #[arg(long)]
    pub drop_old: bool,
    /// Print one JSON object a generation
    #[arg(long)]
    pub json: bool,
}

/// Lists the generations of the store in `dir`, or removes those that rebuilds have left.
pub fn generations(dir: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let generations = Generations::open(dir)?;
    for number in generations.all()? {
        let (served, next) = (generations.current()?, generations.next()?);
        let state = match next {
            _ if served == Some(number) => "served",
            Some(next) if next.generation == number => "being made",
            _ if options.drop_old => {
                generations.drop_generation(number)?;
                "removed"
            }
            _ => "old",
        };
        let path = generations.path(number);
        let bytes = if state == "removed" { 0 } else { bytes_in(&path)? };
        if options.json {
            output::line(serde_json::json!({ "generation": number, "state": state, "bytes": bytes, "path": path }));
        } else {
            output::line(format_args!("{number}  {state:10}  {bytes:>14} bytes  {}", path.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a store that is served removes meanwhile counts as nothing.
fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += match entry?.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            metadata => metadata?.len(),
        };
    }
    Ok(bytes)
}
