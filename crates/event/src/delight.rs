//! Decodes the requests of the Delight agent, 1.0.3: `POST /collector/{bulk,heartbeat,ack,metrics}`.
//!
//! An envelope is a JSON object with `dmAppId`; that of `bulk` and `metrics` has `data` too: base64 of gzip of lines, each
//! ended by `\n`. Inflating is the caller's, who knows how much memory there is: [`read`], then [`Envelope::events`] or
//! [`Envelope::samples`] of what `data` inflates to.
//!
//! The sequence of line i is `messageCounter - lines + i`, or i without a counter. Every line has its place, a blank one
//! too: that is how the agent counts. Its retries carry the same lines again, some with other bytes, and newer ones behind.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::collect::envelope::{Seen, counter, expect, object, or_null, text};
use crate::collect::message::shortened;
use crate::collect::{Error, Limits, MAX_MESSAGES, Payload};
use crate::json::{Scanner, Shape};
use crate::lines::{self, Plan};
use crate::{Header, Kind, Protocol, ReceivedAt, Redaction, RunName, Sequence, name};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The job of applications whose names have nothing that the agent leaves in them.
const UNNAMED: &str = "unnamed";

/// What a request brings, by the last segment of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Bulk,
    Metrics,
    Heartbeat,
    /// The application has ended, as the agent says after its last `bulk`.
    Ack,
}

/// A request's envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub run: RunName,
    message_counter: Option<i64>,
    /// Gzip; empty for the routes that bring no lines.
    pub data: Vec<u8>,
}

/// The run of a `dmAppId`: its id is the `dmAppId`; its job the same without the `-` and UUID behind it that the agent
/// adds to an application's name, so that every night's run is one of the same job.
pub fn run_of(app_id: &str) -> Result<RunName, name::Error> {
    let job = without_uuid(app_id);
    let is_blank = job.bytes().all(|byte| byte == b'-');
    RunName::new(if is_blank { UNNAMED } else { job }, app_id)
}

fn without_uuid(app_id: &str) -> &str {
    const LENGTH: usize = 1 + 36;
    let Some((name, suffix)) = app_id.len().checked_sub(LENGTH).and_then(|at| app_id.split_at_checked(at)) else {
        return app_id;
    };
    let fits = |(place, byte): (usize, u8)| match place {
        0 | 9 | 14 | 19 | 24 => byte == b'-',
        // The version, and the variant.
        15 => byte == b'4',
        20 => matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
        _ => byte.is_ascii_hexdigit(),
    };
    if suffix.bytes().enumerate().all(fits) { name } else { app_id }
}

/// Reads the decompressed body of one request.
pub fn read(body: &[u8], route: Route) -> Result<Envelope, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty);
    }
    let mut scanner = object(body)?;
    let (mut app_id, mut message_counter, mut data) = (None, None, None);
    let has_lines = matches!(route, Route::Bulk | Route::Metrics);
    let mut seen = Seen::default();
    scanner.object(|scanner, name| {
        match name {
            b"dmAppId" => {
                seen.meet("dmAppId")?;
                app_id = Some(text(scanner, "dmAppId")?);
            }
            b"counters" if route == Route::Bulk => {
                seen.meet("counters")?;
                message_counter =
                    or_null(scanner, |it| counter(it, b"messageCounter", "counters.messageCounter"))?.flatten();
            }
            b"data" if has_lines => {
                seen.meet("data")?;
                data = Some(decoded(scanner)?);
            }
            _ => scanner.skip()?,
        }
        Ok::<_, Error>(())
    })?;
    scanner.end()?;
    let app_id = app_id.ok_or(Error::Missing("dmAppId"))?;
    let run = run_of(&app_id).map_err(Error::AppId)?;
    if has_lines && data.is_none() {
        return Err(Error::Missing("data"));
    }
    Ok(Envelope { run, message_counter, data: data.unwrap_or_default() })
}

fn decoded(scanner: &mut Scanner) -> Result<Vec<u8>, Error> {
    expect(scanner, Shape::Text, "data", "a text")?;
    let mut text = Vec::new();
    scanner.text(&mut text)?;
    BASE64.decode(text).map_err(|error| Error::NotBase64(error.to_string()))
}

/// What the agent makes of lines: the text of `data`.
pub fn pack(lines: &[u8]) -> String {
    let mut gzip = flate2::read::GzEncoder::new(lines, flate2::Compression::default());
    let mut packed = Vec::new();
    // Reading from memory does not fail.
    let _ = std::io::Read::read_to_end(&mut gzip, &mut packed);
    BASE64.encode(packed)
}

impl Envelope {
    /// The events of a `bulk` whose `data` inflates to `lines`.
    pub fn events(
        self,
        lines: &Bytes,
        received_at: ReceivedAt,
        limits: Limits,
        redaction: &Redaction,
    ) -> Result<Payload, Error> {
        let count = lines::count(lines);
        if count > MAX_MESSAGES {
            return Err(Error::TooManyMessages);
        }
        let first = match self.message_counter {
            Some(counter) => i64::try_from(count).ok().and_then(|count| counter.checked_sub(count)),
            None => Some(0),
        };
        let first = first.ok_or_else(|| Error::WrongType {
            member: "counters.messageCounter",
            wanted: "at least the number of lines above the least integer of 64 bits",
            found: shortened(&self.message_counter.unwrap_or_default().to_string()),
        })?;
        self.lines(Kind::Event, Sequence(first), lines, received_at, (limits, redaction))
    }

    /// The samples of a `metrics` whose `data` inflates to `lines`.
    pub fn samples(
        self,
        lines: &Bytes,
        received_at: ReceivedAt,
        limits: Limits,
        redaction: &Redaction,
    ) -> Result<Payload, Error> {
        self.lines(Kind::Sample, Sequence(0), lines, received_at, (limits, redaction))
    }

    fn lines(
        self,
        kind: Kind,
        first: Sequence,
        lines: &Bytes,
        received_at: ReceivedAt,
        (limits, redaction): (Limits, &Redaction),
    ) -> Result<Payload, Error> {
        let template = header(kind, received_at);
        lines::decode(lines, Plan { run: self.run, template, first, skips_blank: false, limits, redaction })
    }

    /// A `heartbeat` or an `ack`.
    pub fn sign_of_life(self, route: Route, received_at: ReceivedAt) -> Payload {
        let kind = if route == Route::Ack { Kind::Ack } else { Kind::Heartbeat };
        let mut text = Vec::new();
        header(kind, received_at).write(&mut text);
        Payload {
            run: self.run,
            protocol: Protocol::Delight,
            instance_id: None,
            kind: Kind::Event,
            events: vec![],
            heartbeats: 1,
            bytes: text.len(),
            heartbeat: Some(text.into()),
            rejected: vec![],
            redacted: 0,
        }
    }
}

fn header(kind: Kind, received_at: ReceivedAt) -> Header {
    Header {
        kind,
        protocol: Protocol::Delight,
        generated_at: None,
        sequence: None,
        identity: None,
        received_at,
        instance: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
