//! Sequences, identities and header texts, once the whole envelope has been read.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::envelope::Envelope;
use super::message::Draft;
use super::{Error, Event, MAX_INSTANCE_ID_BYTES, Payload};
use crate::{GeneratedAt, Header, Identity, Instance, Kind, Protocol, ReceivedAt, RunName, Sequence};

/// More than the text of any header needs.
pub(crate) const HEADER_BYTES: usize = 128;

impl Envelope {
    pub fn finish(mut self, received_at: ReceivedAt) -> Result<Payload, Error> {
        let job = self.job.take().ok_or(Error::Missing("job_name"))?;
        let run = self.run.take().ok_or(Error::Missing("run_id"))?;
        let run = RunName::new(&job, &run)?;
        let instance_id = self.instance_id.take();
        if instance_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_INSTANCE_ID_BYTES) {
            return Err(Error::InstanceId);
        }
        if instance_id.is_some() && self.message_counter.is_none() {
            return Err(Error::Missing("counters.message_counter, which an instance_id needs,"));
        }
        let first = self.first_sequence()?;
        let mut headers = Headers {
            arena: self.drafts.arena,
            template: Header {
                kind: Kind::Event,
                protocol: if instance_id.is_some() { Protocol::Instance } else { Protocol::Collect },
                generated_at: None,
                sequence: None,
                identity: None,
                received_at,
                instance: instance_id.as_deref().map(Instance::of),
            },
        };
        headers.arena.reserve((self.drafts.events.len() + 1) * HEADER_BYTES);
        let mut copies = Copies::default();
        let mut texts = Vec::with_capacity(self.drafts.events.len());
        for draft in &self.drafts.events {
            let sequence = Sequence(first + as_i64(draft.index));
            let identity = match &instance_id {
                Some(id) => Identity::of_instance(id, sequence),
                None => copies.identity(draft, &headers.arena),
            };
            texts.push(headers.event(draft.generated_at, sequence, identity));
        }
        let heartbeat = (self.drafts.heartbeats > 0).then(|| headers.heartbeat(self.drafts.last_heartbeat));
        for rejected in &mut self.drafts.rejected {
            rejected.sequence.0 += first;
        }
        let protocol = headers.template.protocol;
        let arena = Bytes::from(headers.arena);
        let slices = self.drafts.events.into_iter().zip(texts);
        Ok(Payload {
            run,
            protocol,
            instance_id,
            kind: Kind::Event,
            events: slices
                .map(|(draft, text)| Event { header: arena.slice(text), value: arena.slice(draft.content) })
                .collect(),
            heartbeats: self.drafts.heartbeats,
            heartbeat: heartbeat.map(|text| arena.slice(text)),
            rejected: self.drafts.rejected,
            redacted: self.drafts.redacted,
            bytes: arena.len(),
        })
    }

    /// The sequence of the first message. Its sum with any index is an i64.
    fn first_sequence(&self) -> Result<i64, Error> {
        let Some(counter) = self.message_counter else { return Ok(0) };
        let count = as_i64(self.drafts.count);
        counter.checked_sub(count).ok_or_else(|| Error::WrongType {
            member: "counters.message_counter",
            wanted: "at least the number of messages above the least integer of 64 bits",
            found: counter.to_string(),
        })
    }
}

/// Counts equal occurrences inside one payload. An agent never repeats itself inside a payload by accident, but it may
/// regroup its messages before it sends them again: so only those of one `generated_at` are counted together.
#[derive(Default)]
struct Copies(HashMap<(GeneratedAt, Identity), u32>);

impl Copies {
    fn identity(&mut self, draft: &Draft, arena: &[u8]) -> Identity {
        let occurrence = draft.occurrence.unwrap_or_else(|| Identity::of_occurrence(&arena[draft.content.clone()]));
        let count = self.0.entry((draft.generated_at, occurrence)).or_insert(0);
        let identity = occurrence.of_copy(*count);
        *count = count.saturating_add(1);
        identity
    }
}

/// Writes header texts behind the contents.
struct Headers {
    arena: Vec<u8>,
    template: Header,
}

impl Headers {
    fn event(&mut self, generated_at: GeneratedAt, sequence: Sequence, identity: Identity) -> Range<usize> {
        self.write(&Header {
            generated_at: Some(generated_at),
            sequence: Some(sequence),
            identity: Some(identity),
            ..self.template
        })
    }

    fn heartbeat(&mut self, generated_at: Option<GeneratedAt>) -> Range<usize> {
        self.write(&Header { kind: Kind::Heartbeat, generated_at, ..self.template })
    }

    fn write(&mut self, header: &Header) -> Range<usize> {
        let start = self.arena.len();
        header.write(&mut self.arena);
        start..self.arena.len()
    }
}

fn as_i64(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
