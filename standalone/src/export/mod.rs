//! `emberlog export`: a run as the event-log files that Spark would have written.

mod archive;
mod run;
mod write;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use event::RunName;
use eventlog::Place;

use crate::client::{self, Client};
pub use archive::{Options as ArchiveOptions, run as archive};
use run::Run;
use write::{names, stream};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// Plain text
    None,
    /// Zstandard, which the Spark History Server reads
    Zstd,
}

impl From<Codec> for eventlog::Codec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::Plain,
            Codec::Zstd => Self::Zstd,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Name of the job
    pub job: String,
    /// Id of the run
    pub run: String,
    /// A file for a run of one application; a folder, or s3://BUCKET/PREFIX, for files that are named as Spark names
    /// them [default: standard output for one application, else the working folder]
    #[arg(long, value_name = "FILE|DIR|s3://BUCKET/PREFIX")]
    pub to: Option<String>,
    /// What to compress with
    #[arg(long, value_enum, default_value = "none")]
    pub codec: Codec,
    #[command(flatten)]
    pub server: client::Flags,
}

/// Where files go.
enum To {
    Output,
    File(Place),
    Folder(Place),
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let client = Client::new(&options.server)?;
    let run = Run::get(&client, &RunName::new(&options.job, &options.run)?)?;
    let codec = options.codec.into();
    match to(options.to.as_deref(), run.applications)? {
        To::Output => {
            let out = stream(&client, &run, 1, codec, std::io::stdout().lock())?.0;
            out.into_inner().flush()?;
        }
        To::File(place) => {
            let (sink, written) = stream(&client, &run, 1, codec, place.create()?)?;
            sink.into_inner().finish().map_err(|e| place.io(e))?;
            eprintln!("{place}: {} events", written.lines);
        }
        To::Folder(folder) => {
            folder.create_dir()?;
            for (name, application) in names(&client, &run)?.into_iter().zip(1..) {
                let place = folder.child(&format!("{name}{}", codec.suffix()))?;
                let (sink, written) = stream(&client, &run, application, codec, place.create()?)?;
                sink.into_inner().finish().map_err(|e| place.io(e))?;
                eprintln!("{place}: {} events", written.lines);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn to(to: Option<&str>, applications: usize) -> anyhow::Result<To> {
    let Some(text) = to else {
        return Ok(if applications == 1 { To::Output } else { To::Folder(Place::Path(".".into())) });
    };
    let place = Place::parse(text)?;
    if !place.is_path() || text.ends_with('/') || Path::new(text).is_dir() {
        return Ok(To::Folder(place));
    }
    ensure!(
        applications == 1,
        "the run has {applications} applications, each with a file of its own: name a folder, such as --to {text}/"
    );
    Ok(To::File(place))
}
