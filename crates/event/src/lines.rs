//! Decodes bodies of one event or sample a line: those of `/v1/ingest`, and what the Delight agent packs.
//!
//! A line that cannot be stored is rejected and keeps its place in the count. Secrets are replaced as on `/collect`.

use std::ops::Range;

use bytes::Bytes;

use crate::collect::finish::HEADER_BYTES;
use crate::collect::message::{Fault, check_content, check_size};
use crate::collect::{Error, Event, Limits, MAX_MESSAGES, MAX_REDACTION_BYTES, MAX_REJECTED, Payload, Rejected};
use crate::redact::Redacted;
use crate::{GeneratedAt, Header, Identity, Kind, Redaction, RunName, Sequence, sample};

pub(crate) struct Plan<'a> {
    pub run: RunName,
    /// What the headers of all lines share.
    pub template: Header,
    /// Of the first line.
    pub first: Sequence,
    /// Lines of nothing but space are no lines. Else they are bad ones.
    pub skips_blank: bool,
    pub limits: Limits,
    pub redaction: &'a Redaction,
}

/// Where the bytes of a line are that is stored.
enum Place {
    Text(Range<usize>),
    Arena(Range<usize>),
}

struct Draft {
    generated_at: Option<GeneratedAt>,
    sequence: Option<Sequence>,
    identity: Identity,
    place: Place,
}

/// The lines read so far.
struct Lines<'a> {
    text: &'a Bytes,
    plan: Plan<'a>,
    /// Redacted lines, then the headers.
    arena: Vec<u8>,
    drafts: Vec<Draft>,
    rejected: Vec<Rejected>,
    redacted: usize,
    grown: usize,
}

/// How many lines a text has.
pub(crate) fn count(text: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', text).count();
    ends + usize::from(text.last().is_some_and(|last| *last != b'\n'))
}

/// `text` is held by the payload: its values are slices of it.
pub(crate) fn decode(text: &Bytes, plan: Plan) -> Result<Payload, Error> {
    let (skips_blank, first) = (plan.skips_blank, plan.first.0);
    let mut lines = Lines { text, plan, arena: vec![], drafts: vec![], rejected: vec![], redacted: 0, grown: 0 };
    let mut place = 0;
    for (number, line) in split(text).enumerate() {
        if skips_blank && text[line.clone()].trim_ascii().is_empty() {
            continue;
        }
        if place == MAX_MESSAGES {
            return Err(Error::TooManyMessages);
        }
        let sequence = i64::try_from(place).ok().and_then(|place| first.checked_add(place));
        lines.take(number + 1, Sequence(sequence.ok_or(Error::FirstSequence)?), line)?;
        place += 1;
    }
    Ok(lines.finish())
}

/// The places of all lines, without their ends.
fn split(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text).chain((!text.ends_with(b"\n")).then_some(text.len()));
    ends.filter(|_| !text.is_empty()).map(move |end| std::mem::replace(&mut start, end + 1)..end)
}

impl Lines<'_> {
    fn take(&mut self, number: usize, sequence: Sequence, mut line: Range<usize>) -> Result<(), Error> {
        if self.plan.skips_blank && self.text[line.clone()].ends_with(b"\r") {
            line.end -= 1;
        }
        let draft = match self.plan.template.kind {
            Kind::Sample => self.sample(line.clone()),
            _ => self.event(sequence, line.clone()),
        };
        match draft {
            Ok(draft) => self.drafts.push(draft),
            Err(fault) => self.reject(&fault, number, sequence, &self.text.slice(line)),
        }
        if self.grown > MAX_REDACTION_BYTES {
            return Err(Error::TooMuchRedacted);
        }
        if self.rejected.len() > MAX_REJECTED {
            return Err(Error::TooManyRejected { first: self.rejected[0].detail.clone() });
        }
        Ok(())
    }

    fn event(&mut self, sequence: Sequence, at: Range<usize>) -> Result<Draft, Fault> {
        let Plan { limits, redaction, .. } = self.plan;
        let line = &self.text[at.clone()];
        check_content(line, limits)?;
        let redacted = redaction.event(line);
        let identity = redaction.occurrence(line, redacted.as_ref());
        let place = self.place(at, redacted)?;
        Ok(Draft { generated_at: self.plan.template.generated_at, sequence: Some(sequence), identity, place })
    }

    /// Redacted first: it is no event, so that what replaces a secret need not leave it JSON.
    fn sample(&mut self, at: Range<usize>) -> Result<Draft, Fault> {
        let Plan { limits, redaction, .. } = self.plan;
        check_size(at.len(), limits)?;
        let redacted = redaction.scrub(&self.text[at.clone()]);
        let sample = redacted.as_ref().map_or(&self.text[at.clone()], |it| &it.text);
        let generated_at = Some(sample::time(sample)?);
        let identity = Identity::of_content(sample);
        let place = self.place(at, redacted)?;
        Ok(Draft { generated_at, sequence: None, identity, place })
    }

    fn place(&mut self, at: Range<usize>, redacted: Option<Redacted>) -> Result<Place, Fault> {
        let Some(redacted) = redacted else { return Ok(Place::Text(at)) };
        check_size(redacted.text.len(), self.plan.limits)?;
        self.count_redacted(&redacted, at.len());
        let start = self.arena.len();
        self.arena.extend_from_slice(&redacted.text);
        Ok(Place::Arena(start..self.arena.len()))
    }

    fn reject(&mut self, fault: &Fault, number: usize, sequence: Sequence, line: &Bytes) {
        let Plan { limits, redaction, .. } = self.plan;
        let is_whole = line.len() <= limits.rejected_bytes;
        let kept = if is_whole { &line[..] } else { &line[..limits.truncated_bytes.min(line.len())] };
        let redacted = if is_whole { redaction.line(kept) } else { redaction.scrub(kept) };
        let raw = match redacted {
            Some(redacted) => {
                self.count_redacted(&redacted, kept.len());
                redacted.text.into()
            }
            None => Bytes::copy_from_slice(kept),
        };
        self.rejected.push(Rejected {
            reason: fault.reason,
            detail: format!("line {number}: {}", fault.what),
            generated_at: self.plan.template.generated_at,
            sequence,
            raw,
            truncated_from: (!is_whole).then_some(line.len()),
        });
    }

    fn count_redacted(&mut self, redacted: &Redacted, before: usize) {
        self.redacted += redacted.values;
        self.grown += redacted.text.len().saturating_sub(before);
    }

    fn finish(mut self) -> Payload {
        self.arena.reserve(self.drafts.len() * HEADER_BYTES);
        let template = self.plan.template;
        let mut slices = Vec::with_capacity(self.drafts.len());
        for Draft { generated_at, sequence, identity, place } in self.drafts {
            let start = self.arena.len();
            Header { generated_at, sequence, identity: Some(identity), ..template }.write(&mut self.arena);
            slices.push((start..self.arena.len(), place));
        }
        let arena = Bytes::from(self.arena);
        let event = |(header, place)| Event {
            header: arena.slice(header),
            value: match place {
                Place::Text(range) => self.text.slice(range),
                Place::Arena(range) => arena.slice(range),
            },
        };
        Payload {
            run: self.plan.run,
            protocol: template.protocol,
            instance_id: None,
            kind: template.kind,
            events: slices.into_iter().map(event).collect(),
            heartbeats: 0,
            heartbeat: None,
            rejected: self.rejected,
            redacted: self.redacted,
            bytes: arena.len() + self.text.len(),
        }
    }
}
