//! Takes secrets out of what agents send, before anything of it is kept.
//!
//! Spark redacts its own event log, but not what listeners get. The same is done here with the same pattern: a property
//! whose key or value matches has its value replaced. [`properties`] does it in events, byte-exact elsewhere;
//! [`scrub`] in what is no event, where losing too much is better than keeping a secret.

mod properties;
mod scrub;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::bytes::Regex;

use crate::json::{Scanner, Shape};
use crate::{Identity, spark};

/// The default of `spark.redaction.regex` in Spark 4.3. That of 3.5 lacks `credential`.
pub const DEFAULT_PATTERN: &str = "(?i)secret|password|token|access[.]?key|credential";
/// What Spark puts in the place of a secret.
pub const REPLACEMENT: &str = "*********(redacted)";
/// The same as a JSON text.
const REPLACEMENT_TEXT: &[u8] = b"\"*********(redacted)\"";

/// Decides what an identity is made of, so that the configured pattern may change without an event changing its
/// identity: part of the record format, never to be changed, whatever becomes of [`DEFAULT_PATTERN`].
static IDENTITY: LazyLock<Pattern> = LazyLock::new(|| {
    "(?i)secret|password|token|access[.]?key|credential"
        .parse()
        .unwrap_or_else(|e| unreachable!("the pattern is one: {e}"))
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("not a regular expression: {0}")]
    Syntax(String),
    #[error("it matches the empty text, and so would every value")]
    MatchesAll,
}

/// A regular expression that is looked for in keys and values.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
    /// Nothing in it looks at what is around a match: what matches a part of a text then matches in all of it.
    is_local: bool,
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(pattern: &str) -> Result<Self, InvalidPattern> {
        let regex = Regex::new(pattern);
        let regex = regex.map_err(|e| InvalidPattern::Syntax(e.to_string()))?;
        if regex.is_match(b"") {
            return Err(InvalidPattern::MatchesAll);
        }
        // Anchors and word boundaries need one of these characters; others that have them are only slower.
        let is_local = !pattern.contains(['^', '$', '\\']);
        Ok(Self { regex, is_local })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.regex.as_str())
    }
}

impl Pattern {
    fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

/// How many values of an event are redacted, by whomever. Read from the event, so that every replay finds the same.
pub fn count(event: &[u8]) -> u64 {
    if properties::Kind::of(event).is_none() {
        return 0;
    }
    memchr::memmem::find_iter(event, REPLACEMENT_TEXT).count() as u64
}

/// What a text became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    pub text: Vec<u8>,
    /// How many values were replaced.
    pub values: usize,
}

/// What is taken out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Redaction(Option<Pattern>);

impl Default for Redaction {
    fn default() -> Self {
        Self(Some(IDENTITY.clone()))
    }
}

impl From<Pattern> for Redaction {
    fn from(pattern: Pattern) -> Self {
        Self(Some(pattern))
    }
}

impl Redaction {
    /// Everything is kept as it came.
    pub fn off() -> Self {
        Self(None)
    }

    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// An event that [`spark::validate`] has passed; none if it stays as it is.
    pub fn event(&self, event: &[u8]) -> Option<Redacted> {
        event_by(self.0.as_ref()?, event)
    }

    /// The identity of an event of which [`Self::event`] made `redacted`. It does not depend on the pattern: a retry
    /// finds its first copy although the collector was told another one in between.
    pub fn occurrence(&self, event: &[u8], redacted: Option<&Redacted>) -> Identity {
        let is_same = self.0.as_ref().is_some_and(|it| it.regex.as_str() == IDENTITY.regex.as_str());
        if is_same {
            return Identity::of_occurrence(redacted.map_or(event, |it| &it.text));
        }
        let redacted = event_by(&IDENTITY, event);
        Identity::of_occurrence(redacted.as_ref().map_or(event, |it| &it.text))
    }

    /// A message of a payload that cannot be stored, as it stood there: whole and JSON. An event inside, however it
    /// is wrapped, is treated as one, so that it can be sent again.
    pub fn message(&self, message: &[u8]) -> Option<Redacted> {
        let pattern = self.0.as_ref()?;
        message_by(pattern, message).unwrap_or_else(|_| scrub::scrub(pattern, message))
    }

    /// A line that cannot be stored: as a message that is not wrapped in anything.
    pub fn line(&self, line: &[u8]) -> Option<Redacted> {
        content(self.0.as_ref()?, line)
    }

    /// Anything else: the beginning of a body, or what is no JSON.
    pub fn scrub(&self, text: &[u8]) -> Option<Redacted> {
        scrub::scrub(self.0.as_ref()?, text)
    }
}

fn event_by(pattern: &Pattern, event: &[u8]) -> Option<Redacted> {
    match properties::secrets(pattern, event) {
        Ok(secrets) => replace(event, secrets.into_iter().map(|it| (it, Cow::Borrowed(REPLACEMENT_TEXT))).collect()),
        // The scanner knows the same grammar as those that checked the event: this is for safety.
        Err(_) => scrub::scrub(pattern, event),
    }
}

fn message_by(pattern: &Pattern, message: &[u8]) -> Result<Option<Redacted>, crate::json::Error> {
    let mut scanner = Scanner::new(message);
    let mut edits = Edits::default();
    if scanner.shape()? == Shape::Object {
        scanner.object(|scanner, _| edits.value(pattern, scanner))?;
    } else {
        edits.value(pattern, &mut scanner)?;
    }
    Ok(edits.apply(message))
}

/// Changes to texts that hold texts.
#[derive(Default)]
struct Edits {
    changes: Vec<(Range<usize>, Cow<'static, [u8]>)>,
    values: usize,
}

impl Edits {
    fn value(&mut self, pattern: &Pattern, scanner: &mut Scanner) -> Result<(), crate::json::Error> {
        let shape = scanner.shape()?;
        let start = scanner.at();
        if shape == Shape::Text {
            let mut text = Vec::new();
            scanner.text(&mut text)?;
            if let Some(redacted) = content(pattern, &text) {
                self.nested(start..scanner.at(), redacted);
            }
        } else {
            scanner.skip_known()?;
            if let Some(redacted) = content(pattern, scanner.since(start)) {
                self.values += redacted.values;
                self.changes.push((start..scanner.at(), redacted.text.into()));
            }
        }
        Ok(())
    }

    /// A text at `range` that holds something that was redacted.
    fn nested(&mut self, range: Range<usize>, redacted: Redacted) {
        self.values += redacted.values;
        self.changes.push((range, quoted(&redacted.text).into()));
    }

    fn secret(&mut self, range: Range<usize>) {
        self.values += 1;
        self.changes.push((range, Cow::Borrowed(REPLACEMENT_TEXT)));
    }

    fn apply(self, text: &[u8]) -> Option<Redacted> {
        let values = self.values;
        replace(text, self.changes).map(|redacted| Redacted { values, ..redacted })
    }
}

/// What should be an event. A line break between its tokens keeps it from being stored, but not from being read.
fn content(pattern: &Pattern, text: &[u8]) -> Option<Redacted> {
    let is_event = |text: &str| spark::validate(&text.replace(['\n', '\r'], " ")).is_ok();
    if std::str::from_utf8(text).is_ok_and(is_event) { event_by(pattern, text) } else { scrub::scrub(pattern, text) }
}

fn replace(text: &[u8], changes: Vec<(Range<usize>, Cow<'static, [u8]>)>) -> Option<Redacted> {
    if changes.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + changes.iter().map(|(_, new)| new.len()).sum::<usize>());
    let (mut at, values) = (0, changes.len());
    for (range, new) in changes {
        out.extend_from_slice(&text[at..range.start]);
        out.extend_from_slice(&new);
        at = range.end;
    }
    out.extend_from_slice(&text[at..]);
    Some(Redacted { text: out, values })
}

fn spaces(text: &[u8]) -> usize {
    text.iter().take_while(|it| it.is_ascii_whitespace()).count()
}

/// A JSON text of bytes that need not be UTF-8.
fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 2);
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
    out
}
