//! Decodes a payload of `POST /collect`, the documented protocol, as a whole before anything of it is used.
//!
//! | what is wrong | outcome |
//! | --- | --- |
//! | not JSON, not an object, something after it, a nesting that nobody reads over 64 levels | payload refused |
//! | `job_name`, `run_id`: missing, twice, not a text, not Unicode, empty, over 4,096 bytes | payload refused |
//! | `messages`: missing, twice, not an array, over 1,000,000, over 10,000 of them bad | payload refused |
//! | `counters`: twice, not an object; `message_counter`: twice, not an integer of 64 bits | payload refused |
//! | `instance_id`: twice, not a text, empty, over 256 bytes, without a `message_counter` | payload refused |
//! | a message: not an object; one of its three members missing, twice or of a wrong type | message rejected |
//! | `generated_at`: not written as an integer of 64 bits; negative and absurd ones are accepted | message rejected |
//! | `message_type`: neither `spark-event` nor `heartbeat` | message rejected |
//! | `content`: not Unicode, larger than the limit, not an event that fits on one line | message rejected |
//!
//! Secrets are replaced in events before they are looked at further, and in rejected messages ([`crate::redact`]).
//!
//! `null` is the same as absent for `counters`, `message_counter` and `instance_id`, and of a wrong type elsewhere.
//! A heartbeat needs no more than its `message_type`. Members that are not named here are ignored.
//!
//! A rejected message has its place in the count all the same. The sequence of message i is
//! `message_counter - len(messages) + i`, or i without counters.

pub(crate) mod envelope;
pub(crate) mod finish;
pub(crate) mod message;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::{GeneratedAt, Kind, Protocol, ReceivedAt, Redaction, RunName, Sequence, json, name};

pub const MAX_MESSAGES: usize = 1_000_000;
/// More bad messages than this are not the exception that dead letters are for.
pub const MAX_REJECTED: usize = 10_000;
pub const MAX_INSTANCE_ID_BYTES: usize = 256;
/// By how much redaction may make a payload longer: a million secrets that are shorter than what replaces them are no
/// application's, and would take memory that nobody accounts for.
pub const MAX_REDACTION_BYTES: usize = 16 << 20;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest content stored as an event.
    pub event_bytes: usize,
    /// The largest raw text kept of a rejected message, and what is kept of a larger one.
    pub rejected_bytes: usize,
    pub truncated_bytes: usize,
}

/// A decoded payload. Headers and values are slices of one piece of memory.
#[derive(Debug)]
pub struct Payload {
    pub run: RunName,
    pub protocol: Protocol,
    pub instance_id: Option<String>,
    /// What `events` are: events, or samples.
    pub kind: Kind,
    pub events: Vec<Event>,
    /// Heartbeats, and other signs of life.
    pub heartbeats: usize,
    /// The header of the one record that says that the run is alive, if there was a heartbeat.
    pub heartbeat: Option<Bytes>,
    pub rejected: Vec<Rejected>,
    /// Values that were replaced, in events and rejected messages.
    pub redacted: usize,
    /// Memory of headers and values.
    pub bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The text of a [`crate::Header`].
    pub header: Bytes,
    pub value: Bytes,
}

/// A message that cannot be stored as an event, in a payload that can be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub reason: Reason,
    /// What is wrong, with the place in the payload.
    pub detail: String,
    pub generated_at: Option<GeneratedAt>,
    pub sequence: Sequence,
    /// The message as it stood in the payload, redacted.
    pub raw: Bytes,
    /// The length of the message, if `raw` is only its beginning.
    pub truncated_from: Option<usize>,
}

/// Why a message was rejected: a fixed set, for labels and for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    NotAnObject,
    MissingMember,
    DuplicateMember,
    WrongType,
    OutOfRange,
    UnknownMessageType,
    NotUnicode,
    NotJson,
    NoEvent,
    LineBreak,
    TooLarge,
}

impl Reason {
    pub const ALL: [Self; 11] = [
        Self::NotAnObject,
        Self::MissingMember,
        Self::DuplicateMember,
        Self::WrongType,
        Self::OutOfRange,
        Self::UnknownMessageType,
        Self::NotUnicode,
        Self::NotJson,
        Self::NoEvent,
        Self::LineBreak,
        Self::TooLarge,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::MissingMember => "missing_member",
            Self::DuplicateMember => "duplicate_member",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::UnknownMessageType => "unknown_message_type",
            Self::NotUnicode => "not_unicode",
            Self::NotJson => "not_json",
            Self::NoEvent => "no_event",
            Self::LineBreak => "line_break",
            Self::TooLarge => "too_large",
        }
    }
}

/// Why a payload is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the body is empty")]
    Empty,
    #[error("the body is {0}")]
    Json(#[from] json::Error),
    #[error("the body must be a JSON object, not {0}")]
    NotAnObject(&'static str),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} appears twice")]
    Duplicate(&'static str),
    #[error("{member}: must be {wanted}, not {found}")]
    WrongType { member: &'static str, wanted: &'static str, found: String },
    #[error("{0}: is not Unicode text")]
    NotUnicode(&'static str),
    #[error("{0}")]
    Name(#[from] name::Error),
    #[error("instance_id: must have 1 to {MAX_INSTANCE_ID_BYTES} bytes")]
    InstanceId,
    #[error("messages: more than {MAX_MESSAGES}")]
    TooManyMessages,
    #[error("messages: more than {MAX_REJECTED} of them are bad, the first one because {first}")]
    TooManyRejected { first: String },
    #[error("none of its lines can be stored; {first}")]
    NoGoodLine { first: String },
    #[error("first_sequence: must be 0 or more, and small enough that each line has a sequence of 63 bits")]
    FirstSequence,
    #[error("data: is not base64: {0}")]
    NotBase64(String),
    #[error("dmAppId: {0}")]
    AppId(name::Error),
    #[error("redacted, it is more than {MAX_REDACTION_BYTES} bytes longer")]
    TooMuchRedacted,
}

impl Error {
    /// A fixed set, for labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Json(json::Error::Syntax { .. }) => "not_json",
            Self::Json(json::Error::TooDeep { .. }) => "too_deep",
            Self::NotAnObject(_) | Self::WrongType { .. } => "wrong_type",
            Self::Missing(_) => "missing_member",
            Self::Duplicate(_) => "duplicate_member",
            Self::NotUnicode(_) => "not_unicode",
            Self::Name(_) | Self::InstanceId => "bad_name",
            Self::TooManyMessages => "too_many_messages",
            Self::TooManyRejected { .. } => "too_many_rejected",
            Self::NoGoodLine { .. } => "no_good_line",
            Self::FirstSequence => "first_sequence",
            Self::NotBase64(_) => "not_base64",
            Self::AppId(_) => "bad_name",
            Self::TooMuchRedacted => "too_much_redacted",
        }
    }
}

/// The JSON text of the message that an event came in.
pub fn message_of(content: &[u8], generated_at: Option<GeneratedAt>) -> Vec<u8> {
    let content = String::from_utf8_lossy(content);
    let message = serde_json::json!({"content": content, "generated_at": generated_at, "message_type": "spark-event"});
    message.to_string().into_bytes()
}

/// Decodes the decompressed body of one request, and keeps every byte as it came.
pub fn decode(body: &[u8], received_at: ReceivedAt, limits: Limits) -> Result<Payload, Error> {
    decode_redacted(body, received_at, limits, &Redaction::off())
}

/// The same without its secrets.
pub fn decode_redacted(
    body: &[u8],
    received_at: ReceivedAt,
    limits: Limits,
    redaction: &Redaction,
) -> Result<Payload, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty);
    }
    envelope::read(body, limits, redaction)?.finish(received_at)
}
