//! One message of the envelope: an event, a heartbeat, or rejected.

use std::ops::Range;

use bytes::Bytes;

use super::{Error, Limits, Reason, Rejected};
use crate::json::{Scanner, Shape};
use crate::redact::Redacted;
use crate::{GeneratedAt, Identity, Redaction, Sequence, spark};

/// The messages read so far. Their sequences are indices until the envelope's counters are known.
#[derive(Debug, Default)]
pub struct Drafts {
    /// The contents of all events, one behind the other.
    pub arena: Vec<u8>,
    pub events: Vec<Draft>,
    pub heartbeats: usize,
    pub last_heartbeat: Option<GeneratedAt>,
    pub rejected: Vec<Rejected>,
    pub count: usize,
    /// Values that were replaced, and how many bytes longer the messages are for it.
    pub redacted: usize,
    pub grown: usize,
    /// Whether identities are made from the contents: not if the listener counts exactly.
    pub needs_occurrence: bool,
}

#[derive(Debug)]
pub struct Draft {
    pub index: usize,
    pub generated_at: GeneratedAt,
    pub content: Range<usize>,
    /// Set if [`Drafts::needs_occurrence`] was.
    pub occurrence: Option<Identity>,
}

pub(crate) struct Fault {
    pub reason: Reason,
    pub member: &'static str,
    pub what: String,
}

impl Fault {
    pub fn new(reason: Reason, member: &'static str, what: impl Into<String>) -> Self {
        Self { reason, member, what: what.into() }
    }

    pub fn wrong_type(member: &'static str, wanted: &str, found: Shape) -> Self {
        Self::new(Reason::WrongType, member, format!("must be {wanted}, not {}", found.name()))
    }
}

enum MessageType {
    SparkEvent,
    Heartbeat,
    Other(String),
}

/// The members of one message; the first fault decides.
#[derive(Default)]
struct Members {
    content: Option<Range<usize>>,
    generated_at: Option<GeneratedAt>,
    message_type: Option<MessageType>,
    seen: [bool; 3],
    fault: Option<Fault>,
}

pub fn read(
    scanner: &mut Scanner,
    index: usize,
    limits: Limits,
    redaction: &Redaction,
    drafts: &mut Drafts,
) -> Result<(), Error> {
    drafts.count = index + 1;
    let shape = scanner.shape()?;
    let (start, arena_start) = (scanner.at(), drafts.arena.len());
    let mut members = Members::default();
    if shape == Shape::Object {
        scanner.object(|scanner, name| members.member(scanner, name, &mut drafts.arena))?;
    } else {
        scanner.skip()?;
        members.fault = Some(Fault::new(Reason::NotAnObject, "", format!("must be an object, not {}", shape.name())));
    }
    if let Some(MessageType::Heartbeat) = members.message_type {
        drafts.arena.truncate(arena_start);
        drafts.heartbeats += 1;
        drafts.last_heartbeat = members.generated_at.or(drafts.last_heartbeat);
        return Ok(());
    }
    let generated_at = members.generated_at;
    let event = members.into_event(&drafts.arena, limits);
    let event = event.and_then(|(at, content)| Ok((at, drafts.redact(content, limits, redaction)?)));
    match event {
        Ok((generated_at, (content, occurrence))) => {
            drafts.events.push(Draft { index, generated_at, content, occurrence });
        }
        Err(fault) => {
            drafts.arena.truncate(arena_start);
            let message = scanner.since(start);
            let rejected = reject(fault, index, generated_at, message, limits);
            let redacted = match rejected.truncated_from {
                None => redaction.message(message),
                Some(_) => redaction.scrub(&rejected.raw),
            };
            let raw = redacted.map(|it| drafts.count_redacted(it, rejected.raw.len()));
            drafts.rejected.push(match raw {
                Some(raw) => Rejected { raw: raw.into(), ..rejected },
                None => rejected,
            });
        }
    }
    Ok(())
}

impl Drafts {
    /// Replaces the secrets of an event that is the last thing in the arena; gives its new place and its occurrence.
    fn redact(
        &mut self,
        content: Range<usize>,
        limits: Limits,
        redaction: &Redaction,
    ) -> Result<(Range<usize>, Option<Identity>), Fault> {
        let event = &self.arena[content.clone()];
        let redacted = redaction.event(event);
        let occurrence = self.needs_occurrence.then(|| redaction.occurrence(event, redacted.as_ref()));
        let Some(redacted) = redacted else { return Ok((content, occurrence)) };
        check_size(redacted.text.len(), limits)?;
        let text = self.count_redacted(redacted, content.len());
        self.arena.truncate(content.start);
        self.arena.extend_from_slice(&text);
        Ok((content.start..self.arena.len(), occurrence))
    }

    fn count_redacted(&mut self, redacted: Redacted, before: usize) -> Vec<u8> {
        self.redacted += redacted.values;
        self.grown += redacted.text.len().saturating_sub(before);
        redacted.text
    }
}

impl Members {
    fn member(&mut self, scanner: &mut Scanner, name: &[u8], arena: &mut Vec<u8>) -> Result<(), Error> {
        let (slot, member) = match name {
            b"content" => (0, "content"),
            b"generated_at" => (1, "generated_at"),
            b"message_type" => (2, "message_type"),
            _ => return Ok(scanner.skip()?),
        };
        if std::mem::replace(&mut self.seen[slot], true) {
            self.fail(Fault::new(Reason::DuplicateMember, member, "appears twice"));
            return Ok(scanner.skip()?);
        }
        let found = scanner.shape()?;
        match (slot, found) {
            (0, Shape::Text) => {
                let start = arena.len();
                if scanner.text(arena)? {
                    self.content = Some(start..arena.len());
                } else {
                    self.fail(Fault::new(Reason::NotUnicode, member, "holds half a surrogate pair"));
                }
            }
            (1, Shape::Number) => {
                let number = scanner.number()?;
                match number.parse() {
                    Ok(millis) => self.generated_at = Some(GeneratedAt(millis)),
                    Err(_) => self.fail(not_an_integer(member, number)),
                }
            }
            (2, Shape::Text) => {
                let mut text = Vec::new();
                scanner.text(&mut text)?;
                self.message_type = Some(match &text[..] {
                    b"spark-event" => MessageType::SparkEvent,
                    b"heartbeat" => MessageType::Heartbeat,
                    other => MessageType::Other(shortened(&String::from_utf8_lossy(other))),
                });
            }
            _ => {
                scanner.skip()?;
                self.fail(Fault::wrong_type(member, if slot == 1 { "an integer" } else { "a text" }, found));
            }
        }
        Ok(())
    }

    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn into_event(self, arena: &[u8], limits: Limits) -> Result<(GeneratedAt, Range<usize>), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let missing = |member| Fault::new(Reason::MissingMember, member, "is missing");
        match self.message_type.ok_or_else(|| missing("message_type"))? {
            MessageType::Other(other) => {
                let what = format!("must be \"spark-event\" or \"heartbeat\", not {other:?}");
                return Err(Fault::new(Reason::UnknownMessageType, "message_type", what));
            }
            MessageType::SparkEvent | MessageType::Heartbeat => {}
        }
        let generated_at = self.generated_at.ok_or_else(|| missing("generated_at"))?;
        let content = self.content.ok_or_else(|| missing("content"))?;
        check_content(&arena[content.clone()], limits)?;
        Ok((generated_at, content))
    }
}

pub(crate) fn not_an_integer(member: &'static str, number: &str) -> Fault {
    let is_integer = number.bytes().all(|b| b == b'-' || b.is_ascii_digit());
    let reason = if is_integer { Reason::OutOfRange } else { Reason::WrongType };
    Fault::new(reason, member, format!("must be an integer of 64 bits, not {}", shortened(number)))
}

pub(crate) fn check_content(content: &[u8], limits: Limits) -> Result<(), Fault> {
    let fault = |reason, what| Fault::new(reason, "content", what);
    check_size(content.len(), limits)?;
    let text = std::str::from_utf8(content).map_err(|_| fault(Reason::NotUnicode, "is not UTF-8".to_owned()))?;
    spark::validate(text).map_err(|invalid| {
        let reason = match invalid {
            spark::Invalid::NotJson(_) => Reason::NotJson,
            spark::Invalid::NoEvent => Reason::NoEvent,
            spark::Invalid::LineBreak => Reason::LineBreak,
        };
        fault(reason, invalid.to_string())
    })
}

pub(crate) fn check_size(bytes: usize, limits: Limits) -> Result<(), Fault> {
    if bytes <= limits.event_bytes {
        return Ok(());
    }
    let what = format!("has {bytes} bytes; the limit is {}", limits.event_bytes);
    Err(Fault::new(Reason::TooLarge, "content", what))
}

fn reject(fault: Fault, index: usize, generated_at: Option<GeneratedAt>, message: &[u8], limits: Limits) -> Rejected {
    let dot = if fault.member.is_empty() { "" } else { "." };
    let is_whole = message.len() <= limits.rejected_bytes;
    let kept = if is_whole { message } else { &message[..limits.truncated_bytes.min(message.len())] };
    Rejected {
        reason: fault.reason,
        detail: format!("messages[{index}]{dot}{}: {}", fault.member, fault.what),
        generated_at,
        sequence: Sequence(i64::try_from(index).unwrap_or(i64::MAX)),
        raw: Bytes::copy_from_slice(kept),
        truncated_from: (!is_whole).then_some(message.len()),
    }
}

/// For error messages: what a stranger sent, at most 40 characters of it.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
