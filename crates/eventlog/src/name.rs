//! How Spark names its files. `<app>` is the App ID and, behind `_`, the attempt if there is one; Spark keeps dots out of it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `<app>[.<codec>][.inprogress]` | the log of one application |
//! | `eventlog_v2_<app>/events_<n>_<app>[.<codec>][.compact]` | a part of one; `n` from 1, compared as a number |
//! | `eventlog_v2_<app>/appstatus_<app>[.inprogress]` | empty; whether the application has ended |

use crate::codec::Codec;

const ROLLING_PREFIX: &str = "eventlog_v2_";
const EVENTS_PREFIX: &str = "events_";
const STATUS_PREFIX: &str = "appstatus_";
const IN_PROGRESS: &str = ".inprogress";
const COMPACT: &str = ".compact";

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// App ID and attempt as Spark has them in names: not as they are.
    pub app: String,
    /// The extension if it is none of Spark's.
    pub codec: Result<Codec, String>,
    pub in_progress: bool,
}

/// The log of one application in one file. None for what Spark would not list.
pub fn single(name: &str) -> Option<Name> {
    let (name, in_progress) = strip(name, IN_PROGRESS);
    let (app, codec) = extension(name);
    let is_app =
        !app.is_empty() && !app.starts_with('.') && !app.starts_with(EVENTS_PREFIX) && !app.starts_with(STATUS_PREFIX);
    is_app.then(|| Name { app: app.to_owned(), codec, in_progress })
}

/// The application whose rolling log a directory is.
pub fn rolling_dir(name: &str) -> Option<&str> {
    name.strip_prefix(ROLLING_PREFIX).filter(|app| !app.is_empty())
}

/// A file in the directory of a rolling log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Events { number: u64, codec: Result<Codec, String>, compact: bool },
    Status { in_progress: bool },
}

impl Part {
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix(STATUS_PREFIX) {
            return Some(Self::Status { in_progress: rest.ends_with(IN_PROGRESS) });
        }
        let (rest, compact) = strip(name.strip_prefix(EVENTS_PREFIX)?, COMPACT);
        let (number, app) = rest.split_once('_')?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_number)?;
        let (_, codec) = extension(app);
        Some(Self::Events { number, codec, compact })
    }
}

fn strip<'a>(name: &'a str, suffix: &str) -> (&'a str, bool) {
    name.strip_suffix(suffix).map_or((name, false), |name| (name, true))
}

fn extension(name: &str) -> (&str, Result<Codec, String>) {
    match name.rsplit_once('.') {
        None => (name, Ok(Codec::Plain)),
        Some((app, extension)) => (app, Codec::of_extension(extension).ok_or_else(|| extension.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_spark_writes_them() {
        let name = |app: &str, codec: Result<Codec, &str>, in_progress| {
            Some(Name { app: app.to_owned(), codec: codec.map_err(str::to_owned), in_progress })
        };
        assert_eq!(single("local-1795229683257"), name("local-1795229683257", Ok(Codec::Plain), false));
        assert_eq!(single("app-1_2.lz4.inprogress"), name("app-1_2", Ok(Codec::Lz4), true));
        assert_eq!(single("app-1.zstd"), name("app-1", Ok(Codec::Zstd), false));
        assert_eq!(single("app-1.tar.gz"), name("app-1.tar", Err("gz"), false));
        for other in [".app-1.crc", "", ".inprogress", "events_1_app", "appstatus_app"] {
            assert_eq!(single(other), None, "{other}");
        }
        assert_eq!(rolling_dir("eventlog_v2_app-1_2"), Some("app-1_2"));
        assert_eq!(rolling_dir("eventlog_v2_"), None);
        let events = |number, codec: Result<Codec, &str>, compact| {
            Some(Part::Events { number, codec: codec.map_err(str::to_owned), compact })
        };
        assert_eq!(Part::parse("events_10_app-1_2.zstd"), events(10, Ok(Codec::Zstd), false));
        assert_eq!(Part::parse("events_3_app-1.zstd.compact"), events(3, Ok(Codec::Zstd), true));
        assert_eq!(Part::parse("events_3_app-1.compact"), events(3, Ok(Codec::Plain), true));
        assert_eq!(Part::parse("events_3_app-1.gz"), events(3, Err("gz"), false));
        assert_eq!(Part::parse("appstatus_app-1.inprogress"), Some(Part::Status { in_progress: true }));
        for other in ["events_x_app", "events_-1_app", "events_+1_app", "events_1", "events__app", "other"] {
            assert_eq!(Part::parse(other), None, "{other}");
        }
    }
}
