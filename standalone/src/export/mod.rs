//! `emberlog export`: a run as the event-log files that Spark would have written.

mod archive;
mod run;
mod write;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use event::RunName;
use eventlog::Place;
use service::output::{self, Output};

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
    /// What to compress with [default: what the name that --to gives to a file ends with, else none]
    #[arg(long, value_enum)]
    pub codec: Option<Codec>,
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
    let to = to(options.to.as_deref(), run.applications)?;
    let codec = match &to {
        To::File(place) => codec_of(&place.name().unwrap_or_default(), options.codec)?,
        To::Output | To::Folder(_) => options.codec.unwrap_or(Codec::None),
    };
    let codec = codec.into();
    match to {
        To::Output => {
            let out = stream(&client, &run, 1, codec, Output::lock())?.0;
            out.into_inner().flush()?;
        }
        To::File(place) => {
            let (sink, written) = stream(&client, &run, 1, codec, place.create()?)?;
            sink.into_inner().finish().map_err(|e| place.io(e))?;
            eprintln!("{place}: {}", output::count(written.lines, "event", "events"));
        }
        To::Folder(folder) => {
            folder.create_dir()?;
            for (name, application) in names(&client, &run)?.into_iter().zip(1..) {
                let place = folder.child(&format!("{name}{}", codec.suffix()))?;
                let (sink, written) = stream(&client, &run, application, codec, place.create()?)?;
                sink.into_inner().finish().map_err(|e| place.io(e))?;
                eprintln!("{place}: {}", output::count(written.lines, "event", "events"));
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

/// A History Server knows what a file is compressed with by its name: the two must not differ.
fn codec_of(name: &str, wanted: Option<Codec>) -> anyhow::Result<Codec> {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match (extension, wanted) {
        ("zstd", None | Some(Codec::Zstd)) => Ok(Codec::Zstd),
        ("zstd", Some(Codec::None)) => bail!("{name} would not be what it is called: leave --codec none or .zstd away"),
        ("lz4" | "snappy" | "lzf" | "zst" | "gz" | "bz2" | "xz", _) => bail!(
            "{name}: logs are written plain or with Zstandard, which Spark calls .zstd: name a file without .{extension}, or one that ends with .zstd"
        ),
        (_, Some(Codec::Zstd)) => {
            bail!("{name}: a Spark History Server reads Zstandard only from a file that ends with .zstd")
        }
        _ => Ok(Codec::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says() {
        assert_eq!(codec_of("run.zstd", None).unwrap(), Codec::Zstd);
        assert_eq!(codec_of("run.zstd", Some(Codec::Zstd)).unwrap(), Codec::Zstd);
        for plain in ["run", "run.1", "run.json", ".zstd."] {
            assert_eq!(codec_of(plain, None).unwrap(), Codec::None, "{plain}");
        }
        for (name, codec) in [("a.zstd", Some(Codec::None)), ("a", Some(Codec::Zstd)), ("a.lz4", None), ("a.gz", None)]
        {
            let error = codec_of(name, codec).unwrap_err().to_string();
            assert!(error.contains(".zstd"), "{error}");
        }
    }
}
