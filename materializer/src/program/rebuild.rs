//! The command `rebuild`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Args;
use journal::Subscriber;
use service::{output, units};
use store::generation::Generations;

use super::progress::Line;
use crate::rebuild::{self, Phase, Progress, Source};

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Options {
    /// Go on although the journal no longer holds all that the store does
    #[arg(long)]
    pub accept_loss: bool,
    /// Give up what an interrupted rebuild has made
    #[arg(long)]
    pub restart: bool,
    /// Remove the old store once the new one is served
    #[arg(long)]
    pub drop_old: bool,
    /// How long to wait until a running server has taken the new store over
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = units::duration)]
    pub patience: Duration,
}

/// Makes a new generation of the store in `store`, and waits until it is served.
pub fn rebuild(
    store: &Path,
    subscriber: &mut dyn Subscriber,
    source: Source,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let chosen = rebuild::Options {
        source,
        accept_loss: options.accept_loss,
        restart: options.restart,
        store: store::Options::default(),
    };
    let generations = Generations::open(store)?;
    let old = generations.current()?;
    let mut line = Line::new(std::io::stderr().is_terminal());
    let mut report = Report::new();
    // A signal ends the process; a rebuild goes on where it was.
    let stop = AtomicBool::new(false);
    let generation = rebuild::make(store, subscriber, &chosen, &stop, &mut |progress| {
        line.show(|| report.text(progress));
    })?;
    line.clear();
    output::line(format_args!("generation {generation} is ready; waiting until it is served"));
    if !rebuild::adopt(store, generation, &chosen.store, options.patience)? {
        output::line("the running server has not taken it over yet; it will when it is caught up");
        return Ok(ExitCode::FAILURE);
    }
    output::line(format_args!("generation {generation} is served"));
    match old.filter(|old| *old != generation) {
        Some(old) if options.drop_old => {
            generations.drop_generation(old)?;
            output::line(format_args!("generation {old} is removed"));
        }
        Some(old) => output::line(format_args!(
            "generation {old} is kept in {}; remove it when content",
            generations.path(old).display()
        )),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Rate and time left, from the first report of a phase on.
struct Report {
    since: Option<(Phase, Instant, u64)>,
}

impl Report {
    fn new() -> Self {
        Self { since: None }
    }

    fn text(&mut self, now: Progress) -> String {
        let (phase, since, first) = match self.since {
            Some(since) if since.0 == now.phase => since,
            _ => *self.since.insert((now.phase, Instant::now(), now.done)),
        };
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss)] // A figure for a person.
        let rate = (now.done - first.min(now.done)) as f64 / seconds;
        #[allow(clippy::cast_precision_loss)]
        let left = if rate > 0.0 { (now.total - now.done.min(now.total)) as f64 / rate } else { f64::INFINITY };
        match phase {
            Phase::Copying => format!(
                "copying {} of {} MB, {:.0} MB/s, {left:.0} s left",
                now.done / 1_000_000,
                now.total / 1_000_000,
                rate / 1e6
            ),
            Phase::Replaying => {
                format!("replaying {} of {} records, {rate:.0}/s, {left:.0} s left", now.done, now.total)
            }
        }
    }
}
