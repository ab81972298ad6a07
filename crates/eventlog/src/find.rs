//! Which logs a path holds.

use std::time::SystemTime;

use crate::name::{Part, rolling_dir, single};
use crate::{Codec, Entry, Error, Place, Result};

/// The log of one application: files whose lines follow one another.
#[derive(Debug, Clone)]
pub struct Log {
    /// Where it is, for people.
    pub place: String,
    /// App ID and attempt as they are in its name.
    pub app: String,
    pub files: Vec<LogFile>,
    /// By its name, the application has not ended.
    pub in_progress: bool,
    /// The History Server has taken events out: the lines are not those that the application wrote.
    pub compacted: bool,
    pub modified: Option<SystemTime>,
}

#[derive(Debug, Clone)]
pub struct LogFile {
    pub place: Place,
    pub codec: Codec,
    pub size: u64,
    /// Of a rolling log, what its name says.
    pub number: u64,
    /// It holds what the History Server has left of all files up to its number.
    pub compact: bool,
}

#[derive(Debug, Default)]
pub struct Found {
    /// A log that cannot be read is an error among those that can.
    pub logs: Vec<Result<Log>>,
    /// What is no event log by its name.
    pub others: u64,
}

impl Log {
    /// Bytes as they are stored.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|it| it.size).sum()
    }
}

/// Finds the logs at `place`: one file, the directory of one rolling log, or a directory of logs.
pub fn find(place: &Place) -> Result<Found> {
    let Some(entry) = place.stat()? else {
        return Err(Error::Place(format!("{place}: there is nothing")));
    };
    let mut found = Found::default();
    if !entry.is_dir {
        // Whatever it is called, it was asked for.
        let log = one_file(place.clone(), &entry).unwrap_or_else(|| Err(Error::Place(not_alone(place))));
        found.logs.push(log);
        return Ok(found);
    }
    let entries = place.list()?;
    let parts = || entries.iter().filter_map(|it| Part::parse(&it.name));
    let name = place.name().unwrap_or_default();
    if rolling_dir(&name).is_some() || parts().any(|it| matches!(it, Part::Events { .. })) {
        found.logs.push(read_rolling(place, &entries));
        return Ok(found);
    }
    for entry in entries {
        let child = place.child(&entry.name)?;
        match (entry.is_dir, rolling_dir(&entry.name)) {
            (true, Some(_)) => found.logs.push(child.list().and_then(|entries| read_rolling(&child, &entries))),
            (false, _) if single(&entry.name).is_some_and(|it| it.codec.is_ok()) => {
                found.logs.extend(one_file(child, &entry));
            }
            _ => found.others += 1,
        }
    }
    Ok(found)
}

fn not_alone(place: &Place) -> String {
    format!("{place}: a part of a log, or hidden; name the directory of the log")
}

fn one_file(place: Place, entry: &Entry) -> Option<Result<Log>> {
    let name = single(&entry.name)?;
    let codec = match name.codec {
        Ok(codec) => codec,
        Err(codec) => return Some(Err(Error::UnknownCodec { file: place.to_string(), codec })),
    };
    Some(Ok(Log {
        place: place.to_string(),
        app: name.app,
        files: vec![LogFile { place, codec, size: entry.size, number: 0, compact: false }],
        in_progress: name.in_progress,
        compacted: false,
        modified: entry.modified,
    }))
}

/// The log that is a directory of parts.
pub fn read_rolling(place: &Place, entries: &[Entry]) -> Result<Log> {
    let name = place.name().unwrap_or_default();
    let mut log = Log {
        place: place.to_string(),
        app: rolling_dir(&name).unwrap_or(&name).to_owned(),
        files: Vec::new(),
        in_progress: false,
        compacted: false,
        modified: entries.iter().filter_map(|it| it.modified).max(),
    };
    let mut parts = Vec::new();
    for entry in entries.iter().filter(|it| !it.is_dir) {
        match Part::parse(&entry.name) {
            Some(Part::Status { in_progress }) => log.in_progress |= in_progress,
            Some(Part::Events { number, codec, compact }) => {
                let file = place.child(&entry.name)?;
                let codec = codec.map_err(|codec| Error::UnknownCodec { file: file.to_string(), codec })?;
                parts.push((number, compact, LogFile { place: file, codec, size: entry.size, number, compact }));
            }
            None => {}
        }
    }
    parts.sort_by_key(|(number, compact, _)| (*number, *compact));
    // A compacted file holds what remained of all before it.
    if let Some(last) = parts.iter().rposition(|(_, compact, _)| *compact) {
        parts.drain(..last);
        log.compacted = true;
    }
    let first = if log.compacted { parts.first().map_or(1, |it| it.0) } else { 1 };
    for (expected, (number, ..)) in (first..).zip(&parts) {
        if *number != expected {
            let what = format!("events_{expected}_... is missing, and events_{number}_... is there");
            return Err(Error::Incomplete { log: log.place, what });
        }
    }
    log.files = parts.into_iter().map(|(_, _, file)| file).collect();
    if log.files.is_empty() {
        return Err(Error::Incomplete { log: log.place, what: "it holds no file events_<n>_...".to_owned() });
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(dir: &std::path::Path, names: &[&str]) {
        for name in names {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    fn names(log: &Log) -> Vec<String> {
        log.files.iter().map(|it| it.place.name().unwrap()).collect()
    }

    #[test]
    fn a_directory_of_logs_is_read_as_the_history_server_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &["app-1", "app-2_1.lz4.inprogress", ".app-1.crc", "notes.txt", "sub/app-3", "eventlog_v2_app-5/nothing"],
        );
        let rolling: Vec<String> =
            [2, 10, 1].iter().map(|it| format!("eventlog_v2_app-4_2/events_{it}_app-4_2.zstd")).collect();
        write(dir.path(), &rolling.iter().map(String::as_str).collect::<Vec<_>>());
        let place = Place::Path(dir.path().to_owned());
        let found = find(&place).unwrap();
        assert_eq!(found.others, 3);
        let texts: Vec<String> = found
            .logs
            .iter()
            .map(|log| match log {
                Ok(log) => format!("{} {} {:?}", log.app, log.in_progress, log.files[0].codec),
                Err(error) => error.to_string().rsplit(": ").next().unwrap().to_owned(),
            })
            .collect();
        assert_eq!(
            texts,
            [
                "app-1 false Plain",
                "app-2_1 true Lz4",
                "events_3_... is missing, and events_10_... is there",
                "it holds no file events_<n>_..."
            ]
        );
        assert!(find(&place.child("nowhere").unwrap()).unwrap_err().to_string().contains("there is nothing"));
    }

    #[test]
    fn parts_are_in_the_order_of_their_numbers_from_the_last_compaction_on() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<String> = (1..=11).map(|it| format!("eventlog_v2_a/events_{it}_a")).collect();
        write(dir.path(), &all.iter().map(String::as_str).collect::<Vec<_>>());
        write(dir.path(), &["eventlog_v2_a/appstatus_a.inprogress", "eventlog_v2_a/.events_1_a.crc"]);
        let place = Place::Path(dir.path().join("eventlog_v2_a"));
        let log = find(&place).unwrap().logs.remove(0).unwrap();
        assert_eq!((log.app.as_str(), log.in_progress, log.compacted), ("a", true, false));
        assert_eq!(names(&log)[8..], ["events_9_a", "events_10_a", "events_11_a"]);
        write(dir.path(), &["eventlog_v2_a/events_3_a.compact", "eventlog_v2_a/events_9_a.compact"]);
        let log = find(&place).unwrap().logs.remove(0).unwrap();
        assert!(log.compacted);
        assert_eq!(names(&log), ["events_9_a.compact", "events_10_a", "events_11_a"]);
    }

    #[test]
    fn no_name_leads_out_of_its_folder() {
        let place = Place::Path("/tmp/x".into());
        for name in ["..", ".", "", "a/b", "/etc/passwd", "..\\x", "a\0b"] {
            assert!(place.child(name).is_err(), "{name:?}");
        }
        assert_eq!(place.child("ü ..").unwrap().to_string(), "/tmp/x/ü ..");
    }
}
