//! The one header of a journal record: `docs/record-format.md` is its specification.

use std::fmt;
use std::io::Write;

use crate::{EventKey, GeneratedAt, Identity, ReceivedAt, Sequence};

/// The header's name in Kafka.
pub const NAME: &str = "emberlog";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event of the run.
    Event,
    /// A sign of life, never served.
    Heartbeat,
    /// A sign of life, never served.
    Ack,
    /// Deletes runs; replay drops them too. [`crate::Deletion`] says which.
    Delete,
    /// Figures of a driver's or an executor's memory and the like: kept with the run, no event of it.
    Sample,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `/collect`, from agents whose counters cannot be trusted.
    Collect,
    /// `/collect` with an `instance_id`: sequences are exact.
    Instance,
    /// The Delight agent's `/collector/*`.
    Delight,
    /// Lines posted to `/v1/ingest`. `generated_at` is the attempt then, absent for the attempt 0.
    Ingest,
    /// An administrator's request.
    Admin,
}

impl Kind {
    const ALL: [(Self, &str); 5] = [
        (Self::Event, "event"),
        (Self::Heartbeat, "heartbeat"),
        (Self::Ack, "ack"),
        (Self::Delete, "delete"),
        (Self::Sample, "sample"),
    ];
}

impl Protocol {
    const ALL: [(Self, &str); 5] = [
        (Self::Collect, "collect"),
        (Self::Instance, "instance"),
        (Self::Delight, "delight"),
        (Self::Ingest, "ingest"),
        (Self::Admin, "admin"),
    ];
}

macro_rules! text_of {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Self::ALL.iter().find(|(it, _)| it == self).map_or("", |(_, text)| text))
            }
        }
    };
}
text_of!(Kind);
text_of!(Protocol);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record header of version 1: {0}")]
pub struct Invalid(&'static str);

/// `1 KIND PROTOCOL GENERATED_AT SEQUENCE IDENTITY RECEIVED_AT INSTANCE`, ASCII, one space between, `-` for what is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub protocol: Protocol,
    pub generated_at: Option<GeneratedAt>,
    pub sequence: Option<Sequence>,
    pub identity: Option<Identity>,
    pub received_at: ReceivedAt,
    /// Whose sequence it is, when one run may have several exact ones (two attempts of one application).
    pub instance: Option<Instance>,
}

/// A short hash of a listener's `instance_id`: tells the few instances of one run apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Instance(pub u32);

impl Instance {
    pub fn of(instance_id: &str) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(instance_id.as_bytes()).to_be_bytes();
        Self(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }

    /// An attempt of `/v1/ingest` counts for itself, as a listener does.
    pub fn of_attempt(attempt: u32) -> Self {
        Self::of(&attempt.to_string())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Header {
    pub fn write(&self, out: &mut Vec<u8>) {
        fn field<T: fmt::Display>(out: &mut Vec<u8>, value: Option<T>) {
            let result = match value {
                Some(value) => write!(out, " {value}"),
                None => out.write_all(b" -"),
            };
            debug_assert!(result.is_ok(), "writing to memory does not fail");
        }
        out.push(b'1');
        field(out, Some(self.kind));
        field(out, Some(self.protocol));
        field(out, self.generated_at);
        field(out, self.sequence);
        field(out, self.identity);
        field(out, Some(self.received_at));
        field(out, self.instance);
    }

    /// Fields behind the last one known are left alone, so that a later writer may add some.
    pub fn parse(header: &[u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(header).map_err(|_| Invalid("not ASCII"))?;
        let mut fields = text.split(' ');
        let mut next = |what| fields.next().ok_or(Invalid(what));
        if next("empty")? != "1" {
            return Err(Invalid("another version"));
        }
        let kind = named(&Kind::ALL, next("no kind")?).ok_or(Invalid("unknown kind"))?;
        let protocol = named(&Protocol::ALL, next("no protocol")?).ok_or(Invalid("unknown protocol"))?;
        let generated_at = optional(next("no generated_at")?, |t| t.parse().ok().map(GeneratedAt))
            .ok_or(Invalid("bad generated_at"))?;
        let sequence =
            optional(next("no sequence")?, |t| t.parse().ok().map(Sequence)).ok_or(Invalid("bad sequence"))?;
        let identity = optional(next("no identity")?, |t| hex(t, 16).map(Identity)).ok_or(Invalid("bad identity"))?;
        let received_at = ReceivedAt(next("no received_at")?.parse().map_err(|_| Invalid("bad received_at"))?);
        let instance = optional(next("no instance")?, |t| hex(t, 8)).ok_or(Invalid("bad instance"))?;
        let instance = instance.and_then(|it| u32::try_from(it).ok()).map(Instance);
        let header = Self { kind, protocol, generated_at, sequence, identity, received_at, instance };
        if kind == Kind::Event && header.event_key().is_none() {
            return Err(Invalid("an event needs a sequence, an identity and, on /collect, generated_at"));
        }
        if kind == Kind::Sample && header.sample_key().is_none() {
            return Err(Invalid("a sample needs its time and an identity"));
        }
        Ok(header)
    }

    /// The event's place in its run, if the header is that of an event.
    pub fn event_key(&self) -> Option<EventKey> {
        let order = match self.protocol {
            Protocol::Collect | Protocol::Instance => self.generated_at?.0,
            Protocol::Ingest => self.generated_at.map_or(0, |attempt| attempt.0),
            Protocol::Delight => 0,
            Protocol::Admin => return None,
        };
        Some(EventKey { order, sequence: self.sequence?, identity: self.identity? })
    }

    /// The place of a sample among those of its run, if the header is that of one: its time, then its identity.
    pub fn sample_key(&self) -> Option<EventKey> {
        Some(EventKey { order: self.generated_at?.0, sequence: Sequence(0), identity: self.identity? })
    }
}

fn named<T: Copy>(all: &[(T, &str)], text: &str) -> Option<T> {
    all.iter().find(|(_, name)| *name == text).map(|(it, _)| *it)
}

fn optional<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { parse(text).map(Some) }
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(header: &Header) -> String {
        let mut out = Vec::new();
        header.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headers_match_the_published_vectors() {
        let event = Header {
            kind: Kind::Event,
            protocol: Protocol::Collect,
            generated_at: Some(GeneratedAt(1_795_229_683_257)),
            sequence: Some(Sequence(-2)),
            identity: Some(Identity(0x00c0_ffee)),
            received_at: ReceivedAt(1_795_229_683_500),
            instance: None,
        };
        let counted = Header {
            protocol: Protocol::Instance,
            instance: Some(Instance::of("6ab6a1c4-33a5-4a33-8d0f-4b4c0fbb8f0f")),
            ..event
        };
        assert_eq!(text(&counted), "1 event instance 1795229683257 -2 0000000000c0ffee 1795229683500 c8db626e");
        assert_eq!(text(&event), "1 event collect 1795229683257 -2 0000000000c0ffee 1795229683500 -");
        let ack = Header {
            kind: Kind::Ack,
            protocol: Protocol::Delight,
            generated_at: None,
            sequence: None,
            identity: None,
            ..event
        };
        let attempt = Header {
            protocol: Protocol::Ingest,
            generated_at: Some(GeneratedAt(2)),
            sequence: Some(Sequence(0)),
            instance: Some(Instance::of_attempt(2)),
            ..event
        };
        assert_eq!(text(&attempt), "1 event ingest 2 0 0000000000c0ffee 1795229683500 fb95a732");
        assert_eq!(attempt.event_key().map(|key| key.order), Some(2));
        let sample = Header { kind: Kind::Sample, protocol: Protocol::Delight, sequence: None, ..event };
        assert_eq!(text(&sample), "1 sample delight 1795229683257 - 0000000000c0ffee 1795229683500 -");
        assert_eq!(text(&ack), "1 ack delight - - - 1795229683500 -");
        assert_eq!(Header::parse(b"1 ack delight - - - 1795229683500 - later additions"), Ok(ack));
    }

    #[test]
    fn what_is_no_header_is_refused_with_its_reason() {
        for bad in [
            "",
            "2 event collect 1 1 0000000000000001 1",
            "1 event",
            "1 what collect 1 1 0000000000000001 1",
            "1 event collect x 1 0000000000000001 1",
            "1 event collect 1 1 1 1",
            "1 event collect - 1 0000000000000001 1",
            "1 event delight - - 0000000000000001 1",
            "1 event collect 1 1 0000000000000001",
            "1 event admin 1 1 0000000000000001 1 -",
            "1 sample delight - - 0000000000000001 1 -",
            "1 sample delight 1 - - 1 -",
        ] {
            assert!(Header::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn headers_round_trip(
            kind in prop::sample::select(Kind::ALL.map(|k| k.0).to_vec()),
            protocol in prop::sample::select(Protocol::ALL.map(|p| p.0).to_vec()),
            generated_at: i64, sequence: i64, identity: u64, received_at: i64, instance: Option<u32>,
        ) {
            // Administrators send no events.
            prop_assume!(kind != Kind::Event || protocol != Protocol::Admin);
            let header = Header { kind, protocol, generated_at: Some(GeneratedAt(generated_at)), sequence: Some(Sequence(sequence)),
                identity: Some(Identity(identity)), received_at: ReceivedAt(received_at), instance: instance.map(Instance) };
            prop_assert_eq!(Header::parse(text(&header).as_bytes()), Ok(header));
        }
    }
}
