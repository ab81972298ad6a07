//! Reads JSON (RFC 8259) from memory, member by member, without building a tree.
//!
//! For envelopes that strangers send: positions for error messages and raw slices, numbers as their text, a limit
//! of depth, and texts unescaped straight to where they stay. What a text holds besides JSON's grammar (UTF-8,
//! surrogates) is left to the caller to judge, so that one bad text need not spoil all others.

use std::borrow::Cow;

/// Levels of arrays and objects that a value that nobody reads may have.
pub const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("not JSON: {what} at byte {at}")]
    Syntax { at: usize, what: &'static str },
    #[error("nested deeper than {MAX_DEPTH} levels at byte {at}")]
    TooDeep { at: usize },
}

/// The type of the next value, in the words of error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Number,
    Object,
    Array,
    Bool,
    Null,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Bool => "a boolean",
            Self::Null => "null",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// Stands at a position once given by [`Self::at`] of a scanner of the same text.
    pub fn starting_at(json: &'a [u8], at: usize) -> Self {
        Self { json, at }
    }

    /// The bytes from `start`, a position once given by [`Self::at`], to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.json[start..self.at]
    }

    pub fn at(&self) -> usize {
        self.at
    }

    /// The type of the value that comes next.
    pub fn shape(&mut self) -> Result<Shape, Error> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(Shape::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Shape::Number),
            Some(b'{') => Ok(Shape::Object),
            Some(b'[') => Ok(Shape::Array),
            Some(b't' | b'f') => Ok(Shape::Bool),
            Some(b'n') => Ok(Shape::Null),
            Some(_) => self.fail("a value is missing"),
            None => self.fail("the text ends too early"),
        }
    }

    /// Nothing but space may follow.
    pub fn end(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.at < self.json.len() { self.fail("something follows the value") } else { Ok(()) }
    }

    /// Calls `each` with the name of every member, standing before its value, which `each` must read.
    pub fn object<E: From<Error>>(&mut self, mut each: impl FnMut(&mut Self, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.take(b'{', "an object is missing")?;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_space();
            let name = self.name()?;
            self.skip_space();
            self.take(b':', "a colon is missing")?;
            each(self, &name)?;
            if self.comma_or(b'}')? {
                return Ok(());
            }
        }
    }

    /// Calls `each` with the index of every element, standing before it; `each` must read it.
    pub fn array<E: From<Error>>(&mut self, mut each: impl FnMut(&mut Self, usize) -> Result<(), E>) -> Result<(), E> {
        self.take(b'[', "an array is missing")?;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        for index in 0.. {
            each(self, index)?;
            if self.comma_or(b']')? {
                break;
            }
        }
        Ok(())
    }

    /// Appends the unescaped text to `out`. An escaped surrogate without its other half becomes U+FFFD, and the
    /// answer is false; whether the rest is UTF-8 is not looked at.
    pub fn text(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        self.take(b'"', "a text is missing")?;
        let mut whole = true;
        loop {
            self.copy_plain_run(out);
            match self.next() {
                Some(b'"') => return Ok(whole),
                Some(b'\\') => match self.next() {
                    Some(escaped @ (b'"' | b'\\' | b'/')) => out.push(escaped),
                    Some(b'n') => out.push(b'\n'),
                    Some(b't') => out.push(b'\t'),
                    Some(b'r') => out.push(b'\r'),
                    Some(b'b') => out.push(0x08),
                    Some(b'f') => out.push(0x0c),
                    Some(b'u') => whole &= self.unicode(out)?,
                    _ => return self.fail_before("an escape that JSON does not know"),
                },
                Some(_) => return self.fail_before("a control character inside a text"),
                None => return self.fail("a text does not end"),
            }
        }
    }

    /// The number's text.
    pub fn number(&mut self) -> Result<&'a str, Error> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.next() {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return self.fail_before("a number without digits"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("a fraction without digits")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits("an exponent without digits")?;
        }
        Ok(std::str::from_utf8(&self.json[start..self.at]).unwrap_or_default())
    }

    /// Reads past a value that nobody wants.
    pub fn skip(&mut self) -> Result<(), Error> {
        self.skip_at(0)
    }

    /// Reads past a value of any depth that is known to be JSON: only its end is looked for.
    pub fn skip_known(&mut self) -> Result<(), Error> {
        let mut open = 0_usize;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => self.skip_text()?,
                Some(b'{' | b'[') => {
                    open += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if open > 0 => {
                    open -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if open > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                    while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') = self.peek() {
                        self.at += 1;
                    }
                }
                Some(_) => return self.fail("a value is missing"),
                None => return self.fail("the text ends too early"),
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    fn skip_at(&mut self, depth: usize) -> Result<(), Error> {
        let shape = self.shape()?;
        if depth == MAX_DEPTH && matches!(shape, Shape::Object | Shape::Array) {
            return Err(Error::TooDeep { at: self.at });
        }
        match shape {
            Shape::Text => self.skip_text(),
            Shape::Number => self.number().map(|_| ()),
            Shape::Object => self.object(|it, _| it.skip_at(depth + 1)),
            Shape::Array => self.array(|it, _| it.skip_at(depth + 1)),
            Shape::Bool if self.peek() == Some(b't') => self.literal(b"true"),
            Shape::Bool => self.literal(b"false"),
            Shape::Null => self.literal(b"null"),
        }
    }

    fn skip_text(&mut self) -> Result<(), Error> {
        self.take(b'"', "a text is missing")?;
        loop {
            self.plain_run();
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'n' | b't' | b'r' | b'b' | b'f') => {}
                    Some(b'u') => self.hex4().map(|_| ())?,
                    _ => return self.fail_before("an escape that JSON does not know"),
                },
                Some(_) => return self.fail_before("a control character inside a text"),
                None => return self.fail("a text does not end"),
            }
        }
    }

    fn name(&mut self) -> Result<Cow<'a, [u8]>, Error> {
        let start = self.at + 1;
        let mut ahead = self.clone();
        ahead.take(b'"', "a member's name is missing")?;
        let run = ahead.plain_run();
        if ahead.next() == Some(b'"') {
            self.at = start + run.len() + 1;
            return Ok(Cow::Borrowed(run));
        }
        let mut name = Vec::new();
        self.text(&mut name)?;
        Ok(Cow::Owned(name))
    }

    /// What follows `\u`, and the second half of a pair.
    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        let first = self.hex4()?;
        let mut code = u32::from(first);
        if (0xd800..0xdc00).contains(&first) && self.json[self.at..].starts_with(b"\\u") {
            let mut ahead = self.clone();
            ahead.at += 2;
            let second = ahead.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                code = 0x10000 + ((u32::from(first) - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                self.at = ahead.at;
            }
        }
        let character = char::from_u32(code);
        let mut buffer = [0; 4];
        out.extend_from_slice(character.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer).as_bytes());
        Ok(character.is_some())
    }

    fn hex4(&mut self) -> Result<u16, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit.and_then(|d| u16::try_from(d).ok()) else {
                return self.fail_before("\\u without four hexadecimal digits");
            };
            code = code << 4 | digit;
        }
        Ok(code)
    }

    /// Goes to the next quote, backslash or control character.
    #[inline]
    fn plain_run(&mut self) -> &'a [u8] {
        let rest = &self.json[self.at..];
        let length = plain_length(rest);
        self.at += length;
        &rest[..length]
    }

    /// Copies up to the next quote, backslash or control character. Events have one every ten bytes or so: copying
    /// whole words and taking back what was too much is faster than finding the end first.
    #[inline]
    fn copy_plain_run(&mut self, out: &mut Vec<u8>) {
        while let Some(word) = self.json[self.at..].first_chunk::<8>() {
            let marks = marks(*word);
            out.extend_from_slice(word);
            if marks != 0 {
                let length = marks.trailing_zeros() as usize / 8;
                out.truncate(out.len() - (8 - length));
                self.at += length;
                return;
            }
            self.at += 8;
        }
        let run = self.plain_run();
        out.extend_from_slice(run);
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Error> {
        if !self.json[self.at..].starts_with(word) {
            return self.fail("a word that JSON does not know");
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self, missing: &'static str) -> Result<(), Error> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail(missing);
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    /// Whether the closing bracket came instead of a comma.
    fn comma_or(&mut self, close: u8) -> Result<bool, Error> {
        self.skip_space();
        match self.next() {
            Some(b',') => Ok(false),
            Some(byte) if byte == close => Ok(true),
            Some(_) => self.fail_before("a comma or a closing bracket is missing"),
            None => self.fail("the text ends too early"),
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, missing: &'static str) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return self.fail(missing);
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(Error::Syntax { at: self.at, what })
    }

    fn fail_before<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(Error::Syntax { at: self.at.saturating_sub(1), what })
    }
}

/// The length of the part before the first quote, backslash or control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let marks = marks(*word);
        if marks != 0 {
            return i * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
    words.len() * 8 + tail
}

/// The high bit of each byte that is a quote, a backslash or a control character (Mycroft's test): exact up to the
/// first of them, and zero if there is none.
#[inline]
fn marks(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(word);
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    ((word.wrapping_sub(ONES * 0x20) & !word)
        | (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash))
        & (ONES << 7)
}

#[cfg(test)]
mod tests;
