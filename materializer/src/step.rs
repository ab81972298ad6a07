//! What one journal record asks for.

use event::{Deletion, EventKey, Header, Kind};
use journal::{Entry, Record};

/// A record that cannot be applied. It goes to the dead letters with its place and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    pub partition: u32,
    pub offset: u64,
    pub reason: String,
    pub record: Record,
}

/// What a record asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Event(Header, EventKey),
    Sample(Header, EventKey),
    SignOfLife(Header),
}

/// Whether a record deletes runs: such a one is applied alone.
pub fn is_deletion(record: &Record) -> bool {
    Deletion::is_announced_by(&record.header)
}

/// What a record deletes.
pub fn deletion(record: &Record) -> Result<(Header, Deletion), String> {
    let header = Header::parse(&record.header).map_err(|e| e.to_string())?;
    Ok((header, Deletion::from_key(&record.key).map_err(|e| e.to_string())?))
}

impl Step {
    /// Reads a record's header. The value is trusted to have been validated by a collector; what any producer could
    /// break for the reader of a whole run, one event a line, is checked again.
    pub fn of(record: &Record) -> Result<Self, String> {
        let header = Header::parse(&record.header).map_err(|e| e.to_string())?;
        match (header.kind, header.event_key()) {
            (Kind::Heartbeat | Kind::Ack, _) => Ok(Self::SignOfLife(header)),
            (Kind::Event, Some(key)) if is_line(&record.value) => Ok(Self::Event(header, key)),
            (Kind::Event, _) => Err("the value is not one line that holds a JSON object".into()),
            (Kind::Sample, _) => match header.sample_key() {
                Some(key) if is_line(&record.value) => Ok(Self::Sample(header, key)),
                _ => Err("the value is not one line that holds a JSON object".into()),
            },
            (Kind::Delete, _) => Err("a deletion is no step of one run".into()),
        }
    }
}

impl Poison {
    pub fn new(entry: Entry, reason: impl Into<String>) -> Self {
        Self { partition: entry.partition, offset: entry.offset, reason: reason.into(), record: entry.record }
    }
}

fn is_line(value: &[u8]) -> bool {
    let text = value.trim_ascii();
    text.starts_with(b"{") && text.ends_with(b"}") && memchr::memchr2(b'\n', b'\r', value).is_none()
}
