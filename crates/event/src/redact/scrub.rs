//! Takes secrets out of any text: cut JSON, JSON inside texts, what is no JSON at all. It errs on the side of losing
//! too much: where the pattern matches outside of quotes, nothing tells key from value, and the rest is dropped.

use std::borrow::Cow;
use std::ops::Range;

use super::{Edits, Pattern, REPLACEMENT, Redacted, spaces};
use crate::json::Scanner;

/// Texts inside texts that are looked into. Deeper ones are replaced if they match.
const MAX_NESTED: usize = 8;

pub fn scrub(pattern: &Pattern, text: &[u8]) -> Option<Redacted> {
    scrub_at(pattern, text, 0)
}

fn scrub_at(pattern: &Pattern, text: &[u8], depth: usize) -> Option<Redacted> {
    let mut edits = Edits::default();
    let mut at = 0;
    let mut was_secret = false;
    loop {
        let quote = memchr::memchr(b'"', &text[at..]).map_or(text.len(), |quote| at + quote);
        let bare = &text[at..quote];
        if let Some(found) = pattern.regex.find(bare) {
            edits.rest(at + found.start(), text);
            break;
        }
        if quote == text.len() {
            break;
        }
        let end = end_of_text(text, quote);
        let quoted = unescaped(&text[quote..end]);
        let is_match = pattern.is_match(&quoted);
        // The element behind a secret one: the value of a pair, or of `--password`.
        let is_behind = was_secret && bare.trim_ascii() == b",";
        was_secret = false;
        at = end;
        let inner = match quoted.contains(&b'"') && depth < MAX_NESTED {
            true => scrub_at(pattern, &quoted, depth + 1),
            false => None,
        };
        if let Some(colon) = colon_behind(text, end) {
            if inner.is_some() {
                // No key, but what a quote that is missing or too much has made one.
                edits.rest(quote, text);
                break;
            }
            if is_match {
                let value = value_behind(text, colon);
                at = value.end;
                edits.secret_unless_replaced(text, value);
            }
            continue;
        }
        was_secret = is_match;
        match inner {
            Some(inner) if !is_behind => {
                edits.nested(quote..end, inner);
                if !is_delimited(text, end) {
                    edits.rest(end, text);
                    break;
                }
            }
            _ if is_match || is_behind => {
                at = if is_delimited(text, end) { end } else { text.len() };
                edits.secret_unless_replaced(text, quote..at);
            }
            _ => {}
        }
    }
    edits.apply(text)
}

impl Edits {
    fn rest(&mut self, from: usize, text: &[u8]) {
        self.values += 1;
        self.changes.push((from..text.len(), Cow::Borrowed(REPLACEMENT.as_bytes())));
    }

    fn secret_unless_replaced(&mut self, text: &[u8], value: Range<usize>) {
        if &text[value.clone()] != super::REPLACEMENT_TEXT {
            self.secret(value);
        }
    }
}

/// Behind the closing quote, or the end if there is none.
fn end_of_text(text: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at.min(text.len())..]) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// What a quoted text says, as far as it can be read.
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(quoted.len());
    if Scanner::new(quoted).text(&mut out).is_ok() {
        return out;
    }
    out.clear();
    let mut rest = quoted[1..].iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => match rest.next() {
                Some(b'n') => out.push(b'\n'),
                Some(b'r') => out.push(b'\r'),
                Some(b't') => out.push(b'\t'),
                Some(b'u') => unicode(&mut rest, &mut out),
                other => out.extend(other),
            },
            _ => out.push(byte),
        }
    }
    if quoted.len() > 1 && quoted.ends_with(b"\"") && out.ends_with(b"\"") {
        out.pop();
    }
    out
}

fn unicode(rest: &mut (impl Iterator<Item = u8> + Clone), out: &mut Vec<u8>) {
    let digits: Vec<u8> = rest.clone().take(4).collect();
    let code = std::str::from_utf8(&digits).ok().and_then(|it| u32::from_str_radix(it, 16).ok());
    match code.and_then(char::from_u32) {
        Some(character) if digits.len() == 4 => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest.by_ref().take(4).for_each(drop);
        }
        _ => out.extend_from_slice(b"\\u"),
    }
}

/// Where the value begins if a colon comes next.
fn colon_behind(text: &[u8], at: usize) -> Option<usize> {
    let colon = at + spaces(&text[at..]);
    (text.get(colon) == Some(&b':')).then_some(colon + 1)
}

/// The value behind a colon; all of the rest if its end cannot be found, or is not where JSON has it.
fn value_behind(text: &[u8], colon: usize) -> Range<usize> {
    let mut scanner = Scanner::starting_at(text, colon);
    match super::properties::skipped(&mut scanner) {
        Ok(value) if is_delimited(text, value.end) => value,
        _ => colon + spaces(&text[colon..])..text.len(),
    }
}

/// Whether a value can end here.
fn is_delimited(text: &[u8], end: usize) -> bool {
    matches!(text.get(end + spaces(&text[end..])), None | Some(b',' | b']' | b'}'))
}
