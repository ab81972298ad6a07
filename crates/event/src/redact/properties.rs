//! Finds the secrets among an event's properties.
//!
//! | event | what is looked at |
//! | --- | --- |
//! | `SparkListenerEnvironmentUpdate` | all sections but `Classpath Entries`, which Spark leaves alone too |
//! | `SparkListenerJobStart`, `StageSubmitted`, `StageCompleted` | `Properties` |
//! | `SparkListenerExecutorAdded` | `Attributes` and `Log Urls` of `Executor Info` |
//! | `SparkListenerApplicationStart` | `Driver Attributes`, `Driver Logs` |
//!
//! An event that does not begin as Spark writes it is looked at for all of these. Stricter than Spark, which leaves
//! alone what an application adds to a job's properties, and the last two lines.
//!
//! Sections are objects, as Spark writes them, or arrays of pairs, as its REST API does. A value that is no text is
//! replaced as a whole if its key or any text in it matches; `null` never is.

use std::ops::Range;

use super::{Pattern, REPLACEMENT_TEXT};
use crate::json::{Error, Scanner, Shape};
use crate::spark;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Environment,
    Job,
    Other,
    /// The event's name is not where Spark puts it.
    Unknown,
}

impl Kind {
    /// None for events that hold no properties.
    pub fn of(event: &[u8]) -> Option<Self> {
        match spark::quick_name(event) {
            None => Some(Self::Unknown),
            Some("SparkListenerEnvironmentUpdate") => Some(Self::Environment),
            Some("SparkListenerJobStart" | "SparkListenerStageSubmitted" | "SparkListenerStageCompleted") => {
                Some(Self::Job)
            }
            Some("SparkListenerExecutorAdded" | "SparkListenerApplicationStart") => Some(Self::Other),
            Some(_) => None,
        }
    }
}

/// The values to replace, in their order.
pub fn secrets(pattern: &Pattern, event: &[u8]) -> Result<Vec<Range<usize>>, Error> {
    let Some(kind) = Kind::of(event) else { return Ok(vec![]) };
    let mut sections = Sections { pattern, event, clean_until: 0, buffer: vec![], found: vec![] };
    // Names in escapes, which Spark never writes, are found by reading everything.
    if kind == Kind::Job && memchr::memmem::find(event, b"\\u").is_none() {
        sections.job()?;
    } else {
        sections.all(kind)?;
    }
    Ok(sections.found)
}

fn is_section(kind: Kind, name: &[u8]) -> bool {
    match name {
        b"Event" | b"Classpath Entries" => false,
        b"Properties" | b"Driver Attributes" | b"Driver Logs" => true,
        b"JVM Information"
        | b"Spark Properties"
        | b"Hadoop Properties"
        | b"System Properties"
        | b"Metrics Properties" => true,
        _ => kind == Kind::Environment,
    }
}

struct Sections<'a> {
    pattern: &'a Pattern,
    event: &'a [u8],
    /// No match begins between where it was last looked for and here.
    clean_until: usize,
    buffer: Vec<u8>,
    found: Vec<Range<usize>>,
}

impl Sections<'_> {
    /// Finds `Properties` without reading what is before it, stages for the most part. What looks like that member's
    /// name is one, at whatever depth: a quote that closed a text could not have a letter behind it.
    fn job(&mut self) -> Result<(), Error> {
        const NAME: &[u8] = b"\"Properties\"";
        let mut at = 0;
        while let Some(name) = memchr::memmem::find(&self.event[at..], NAME) {
            let name = at + name;
            at = name + NAME.len();
            let colon = at + super::spaces(&self.event[at..]);
            if self.event[name - 1] == b'\\' || self.event.get(colon) != Some(&b':') {
                continue;
            }
            let mut scanner = Scanner::starting_at(self.event, colon + 1);
            self.section(&mut scanner)?;
            at = scanner.at();
        }
        Ok(())
    }

    fn all(&mut self, kind: Kind) -> Result<(), Error> {
        let mut scanner = Scanner::new(self.event);
        scanner.shape()?;
        scanner.object(|scanner, name| {
            if name == b"Executor Info" && scanner.shape()? == Shape::Object {
                return scanner.object(|scanner, name| match name {
                    b"Attributes" | b"Log Urls" => self.section(scanner),
                    _ => scanner.skip_known(),
                });
            }
            if is_section(kind, name) { self.section(scanner) } else { scanner.skip_known() }
        })
    }

    fn section(&mut self, scanner: &mut Scanner) -> Result<(), Error> {
        match scanner.shape()? {
            Shape::Object => self.object(scanner),
            Shape::Array => self.array(scanner),
            _ => {
                let value = skipped(scanner)?;
                if self.matches(&value)? {
                    self.add(value);
                }
                Ok(())
            }
        }
    }

    fn object(&mut self, scanner: &mut Scanner) -> Result<(), Error> {
        let mut from = scanner.at();
        scanner.object(|scanner, key| {
            let value = skipped(scanner)?;
            let member = std::mem::replace(&mut from, value.end)..value.end;
            if !self.is_clean(member) && (self.pattern.is_match(key) || self.matches(&value)?) {
                self.add(value);
            }
            Ok(())
        })
    }

    fn array(&mut self, scanner: &mut Scanner) -> Result<(), Error> {
        scanner.array(|scanner, _| {
            let entry = skipped(scanner)?;
            if self.is_clean(entry.clone()) {
                return Ok(());
            }
            match self.pair(&entry)? {
                Some([key, value]) if self.matches(&key)? || self.matches(&value)? => self.add(value),
                None if self.matches(&entry)? => self.add(entry),
                _ => {}
            }
            Ok(())
        })
    }

    /// The two elements of an array of two that begins with a text.
    fn pair(&self, entry: &Range<usize>) -> Result<Option<[Range<usize>; 2]>, Error> {
        let mut scanner = Scanner::starting_at(self.event, entry.start);
        if scanner.shape()? != Shape::Array {
            return Ok(None);
        }
        let mut elements = vec![];
        scanner.array(|scanner, index| {
            let element = skipped(scanner)?;
            if index < 3 {
                elements.push(element);
            }
            Ok::<_, Error>(())
        })?;
        Ok(match &elements[..] {
            [key, value] if self.event[key.start] == b'"' => Some([key.clone(), value.clone()]),
            _ => None,
        })
    }

    /// What Spark itself or an earlier collector has replaced stays as it is.
    fn add(&mut self, value: Range<usize>) {
        let text = &self.event[value.clone()];
        if text != REPLACEMENT_TEXT && text != b"null" {
            self.found.push(value);
        }
    }

    /// Certain that nothing in the range matches, without unescaping it.
    fn is_clean(&mut self, range: Range<usize>) -> bool {
        if !self.pattern.is_local || memchr::memchr(b'\\', &self.event[range.clone()]).is_some() {
            return false;
        }
        if self.clean_until <= range.start {
            let next = self.pattern.regex.find_at(self.event, range.start);
            self.clean_until = next.map_or(self.event.len(), |it| it.start());
        }
        self.clean_until >= range.end
    }

    /// Whether a value, or any text inside it, matches.
    fn matches(&mut self, value: &Range<usize>) -> Result<bool, Error> {
        let text = &self.event[value.clone()];
        let mut rest = value.start;
        let mut is_text = false;
        while let Some(quote) = memchr::memchr(b'"', &self.event[rest..value.end]) {
            is_text = true;
            let mut scanner = Scanner::starting_at(self.event, rest + quote);
            self.buffer.clear();
            scanner.text(&mut self.buffer)?;
            if self.pattern.is_match(&self.buffer) {
                return Ok(true);
            }
            rest = scanner.at();
        }
        Ok(!is_text && self.pattern.is_match(text))
    }
}

pub fn skipped(scanner: &mut Scanner) -> Result<Range<usize>, Error> {
    scanner.shape()?;
    let start = scanner.at();
    scanner.skip_known()?;
    Ok(start..scanner.at())
}
