//! The envelope's members, and the messages inside it.

use super::message::{self, Drafts};
use super::{Error, Limits, MAX_MESSAGES, MAX_REDACTION_BYTES, MAX_REJECTED};
use crate::Redaction;
use crate::json::{Scanner, Shape};

/// What the envelope says. Sequences and names are settled at its end, since its members come in any order.
#[derive(Debug, Default)]
pub struct Envelope {
    pub job: Option<String>,
    pub run: Option<String>,
    pub instance_id: Option<String>,
    pub message_counter: Option<i64>,
    pub drafts: Drafts,
}

/// Members that were met already: names, since a value may be `null`.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<&'static str>);

impl Seen {
    pub fn meet(&mut self, member: &'static str) -> Result<(), Error> {
        if self.0.contains(&member) {
            return Err(Error::Duplicate(member));
        }
        self.0.push(member);
        Ok(())
    }
}

/// Stands before the object that a body has to be.
pub(crate) fn object(body: &[u8]) -> Result<Scanner<'_>, Error> {
    let mut scanner = Scanner::new(body);
    let shape = scanner.shape()?;
    if shape != Shape::Object {
        // A body that is no JSON at all is told so, and not only that it is no object.
        scanner.skip()?;
        scanner.end()?;
        return Err(Error::NotAnObject(shape.name()));
    }
    Ok(scanner)
}

pub fn read(body: &[u8], limits: Limits, redaction: &Redaction) -> Result<Envelope, Error> {
    let mut scanner = object(body)?;
    let mut envelope = Envelope::default();
    // Unescaped, contents are shorter than in the body; what the body has around them, the headers need.
    envelope.drafts.arena.reserve_exact(body.len());
    let mut seen = Seen::default();
    scanner.object(|scanner, name| envelope.member(scanner, name, &mut seen, (limits, redaction)))?;
    scanner.end()?;
    if !seen.0.contains(&"messages") {
        return Err(Error::Missing("messages"));
    }
    Ok(envelope)
}

impl Envelope {
    fn member(
        &mut self,
        scanner: &mut Scanner,
        name: &[u8],
        seen: &mut Seen,
        rules: (Limits, &Redaction),
    ) -> Result<(), Error> {
        match name {
            b"job_name" => {
                seen.meet("job_name")?;
                self.job = Some(text(scanner, "job_name")?);
            }
            b"run_id" => {
                seen.meet("run_id")?;
                self.run = Some(text(scanner, "run_id")?);
            }
            b"instance_id" => {
                seen.meet("instance_id")?;
                self.instance_id = or_null(scanner, |scanner| text(scanner, "instance_id"))?;
            }
            b"counters" => {
                seen.meet("counters")?;
                self.message_counter = or_null(scanner, counters)?.flatten();
            }
            b"messages" => {
                seen.meet("messages")?;
                self.messages(scanner, rules)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    }

    fn messages(&mut self, scanner: &mut Scanner, (limits, redaction): (Limits, &Redaction)) -> Result<(), Error> {
        expect(scanner, Shape::Array, "messages", "an array")?;
        let drafts = &mut self.drafts;
        drafts.needs_occurrence = self.instance_id.is_none();
        scanner.array(|scanner, index| {
            if index == MAX_MESSAGES {
                return Err(Error::TooManyMessages);
            }
            message::read(scanner, index, limits, redaction, drafts)?;
            if drafts.grown > MAX_REDACTION_BYTES {
                return Err(Error::TooMuchRedacted);
            }
            if drafts.rejected.len() > MAX_REJECTED {
                return Err(Error::TooManyRejected { first: drafts.rejected[0].detail.clone() });
            }
            Ok(())
        })
    }
}

fn counters(scanner: &mut Scanner) -> Result<Option<i64>, Error> {
    counter(scanner, b"message_counter", "counters.message_counter")
}

/// One member of `counters`; `path` names it in errors.
pub(crate) fn counter(scanner: &mut Scanner, member: &[u8], path: &'static str) -> Result<Option<i64>, Error> {
    expect(scanner, Shape::Object, "counters", "an object")?;
    let mut counter = None;
    let mut seen = Seen::default();
    scanner.object(|scanner, name| {
        if name != member {
            return Ok(scanner.skip()?);
        }
        seen.meet(path)?;
        counter = or_null(scanner, |scanner| {
            expect(scanner, Shape::Number, path, "an integer")?;
            let number = scanner.number()?;
            number.parse::<i64>().map_err(|_| Error::WrongType {
                member: path,
                wanted: "an integer of 64 bits",
                found: message::shortened(number),
            })
        })?;
        Ok::<_, Error>(())
    })?;
    Ok(counter)
}

pub(crate) fn text(scanner: &mut Scanner, member: &'static str) -> Result<String, Error> {
    expect(scanner, Shape::Text, member, "a text")?;
    let mut text = Vec::new();
    let whole = scanner.text(&mut text)?;
    String::from_utf8(text).ok().filter(|_| whole).ok_or(Error::NotUnicode(member))
}

pub(crate) fn or_null<T>(
    scanner: &mut Scanner,
    read: impl FnOnce(&mut Scanner) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    if scanner.shape()? == Shape::Null {
        scanner.skip()?;
        return Ok(None);
    }
    read(scanner).map(Some)
}

pub(crate) fn expect(
    scanner: &mut Scanner,
    shape: Shape,
    member: &'static str,
    wanted: &'static str,
) -> Result<(), Error> {
    let found = scanner.shape()?;
    if found != shape {
        return Err(Error::WrongType { member, wanted, found: found.name().to_owned() });
    }
    Ok(())
}
