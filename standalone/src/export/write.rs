//! The events of one application, from a server into a file, in constant memory.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, ensure};
use eventlog::Codec;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::run::Run;
use crate::client::Client;

const READ_BYTES: usize = 256 << 10;
/// Times that a stream may be cut without any event in between.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
const LEVEL: i32 = 3;

/// What was written, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub lines: u64,
    /// With line breaks.
    pub bytes: u64,
    /// XXH3 of 64 bits, in hexadecimal digits.
    pub xxh3: String,
}

/// A file's end, plain or compressed.
pub enum Encoder<W: Write> {
    Plain(W),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> Encoder<W> {
    fn new(codec: Codec, out: W) -> anyhow::Result<Self> {
        Ok(match codec {
            Codec::Plain => Self::Plain(out),
            Codec::Zstd => Self::Zstd(Box::new(zstd::stream::write::Encoder::new(out, LEVEL)?)),
            other => anyhow::bail!("{other:?} is only read, not written"),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
        }
    }

    fn end(self) -> io::Result<Ended<W>> {
        match self {
            Self::Plain(out) => Ok(Ended(out)),
            Self::Zstd(out) => Ok(Ended(out.finish()?)),
        }
    }
}

/// All of it is written, and nothing is finished yet.
pub struct Ended<W>(W);

impl<W> Ended<W> {
    pub fn into_inner(self) -> W {
        self.0
    }
}

fn path(run: &Run, application: usize, skip: u64) -> String {
    format!("/v1/runs/{}/events?format=eventlog&application={application}&skip={skip}", run.id)
}

/// Writes an application's events, one a line. A stream that is cut goes on where it was.
pub fn stream<W: Write>(
    client: &Client,
    run: &Run,
    application: usize,
    codec: Codec,
    out: W,
) -> anyhow::Result<(Ended<W>, Written)> {
    let (mut encoder, mut hasher, mut written) = (Encoder::new(codec, out)?, Xxh3::new(), Written::default());
    let mut attempts = 0;
    loop {
        let before = written.lines;
        let mut write = |lines: &[u8]| {
            hasher.update(lines);
            written.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
            written.bytes += lines.len() as u64;
            encoder.write(lines).context("cannot write")
        };
        match once(client, &path(run, application, before), &mut write)? {
            None => break,
            Some(cut) => {
                attempts = if written.lines > before { 0 } else { attempts + 1 };
                ensure!(attempts < ATTEMPTS, "the events do not come to their end: {cut}");
                std::thread::sleep(PAUSE);
            }
        }
    }
    written.xxh3 = format!("{:016x}", hasher.digest());
    Ok((encoder.end().context("cannot write")?, written))
}

/// Hands out whole lines only; gives what has cut the stream, if anything.
fn once(
    client: &Client,
    path: &str,
    write: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Option<String>> {
    let mut reader = match client.get(path) {
        Ok(answer) => answer.into_reader(),
        Err(error) if error.is_retryable() => return Ok(Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let (mut buffer, mut partial) = (vec![0; READ_BYTES], Vec::new());
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) if partial.is_empty() => return Ok(None),
            Ok(0) => return Ok(Some("it ended in the middle of an event".to_owned())),
            Ok(count) => count,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let bytes = &buffer[..count];
        let Some(end) = memchr::memrchr(b'\n', bytes) else {
            partial.extend_from_slice(bytes);
            continue;
        };
        if !partial.is_empty() {
            write(&partial)?;
            partial.clear();
        }
        write(&bytes[..=end])?;
        partial.extend_from_slice(&bytes[end + 1..]);
    }
}

/// What Spark would call the files of a run's applications, without the codec: different from one another.
pub fn names(client: &Client, run: &Run) -> anyhow::Result<Vec<String>> {
    let mut taken = BTreeSet::new();
    let mut names = Vec::new();
    for application in 1..=run.applications {
        let answer = client.get(&format!("{}&limit=1", path(run, application, 0)))?;
        let name = answer.header("content-disposition").and_then(file_name);
        let mut name = name.context("the server names no file that may be written")?;
        while !taken.insert(name.clone()) {
            name.push_str(&format!("_{application}"));
        }
        names.push(name);
    }
    Ok(names)
}

/// Servers send letters, digits, `-` and `_`; nothing else becomes the name of a file here.
fn file_name(disposition: &str) -> Option<String> {
    let name = disposition.split_once("filename=\"")?.1.split_once('"')?.0;
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!name.is_empty() && name.len() <= 255 && name.bytes().all(is_safe)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_names_of_a_server_become_files() {
        let name = |name: &str| file_name(&format!("attachment; filename=\"{name}\""));
        assert_eq!(name("app-1_2").as_deref(), Some("app-1_2"));
        for bad in ["", "..", "../x", "/etc/passwd", "a.b", "a b", "ü", "a\\b", &"x".repeat(256)] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert_eq!(file_name("attachment"), None);
    }
}
