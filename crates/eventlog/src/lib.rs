//! The event-log files of Apache Spark: where they lie, how they are named, and the lines in them, whatever they are
//! compressed with. Written against Spark 3.5 and 4.3 (`EventLogFileWriters`, `EventLogFileReaders`, `CompressionCodec`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod codec;
mod find;
mod head;
mod lines;
mod name;
mod place;
mod reader;

pub use codec::{Codec, Decoder};
pub use find::{Found, Log, LogFile, find, read_rolling};
pub use head::{Application, Head};
pub use lines::{Lines, MAX_LINE_BYTES};
pub use name::{Name, Part, rolling_dir, single};
pub use place::{Entry, Place, Sink};
pub use reader::{Chunk, End, LogReader};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{place}: {source}")]
    Io { place: String, source: std::io::Error },
    #[error("{place}: {source}")]
    Object { place: String, source: object_store::Error },
    #[error("{0}")]
    Place(String),
    /// `offset` counts the bytes of the file as it is stored: where the block begins, or with zstd where it was noticed.
    #[error("{file}, at byte {offset}: {what}")]
    Damaged { file: String, offset: u64, what: String },
    #[error("{log}: {what}")]
    Incomplete { log: String, what: String },
    #[error("{log}: line {line} is longer than {MAX_LINE_BYTES} bytes, which no Spark writes")]
    LineTooLong { log: String, line: u64 },
    #[error("{file}: compressed with {codec:?}, which is not known; Spark knows zstd, lz4, snappy and lzf")]
    UnknownCodec { file: String, codec: String },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
