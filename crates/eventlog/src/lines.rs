//! Lines out of decoded bytes that come in pieces.

/// The longest line. Spark itself reads none that are longer.
pub const MAX_LINE_BYTES: usize = 256 << 20;

/// Splits at `\n` alone: Spark's texts hold other line separators.
#[derive(Debug)]
pub struct Lines {
    partial: Vec<u8>,
    limit: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::with_limit(MAX_LINE_BYTES)
    }
}

/// A line is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    pub fn with_limit(limit: usize) -> Self {
        Self { partial: Vec::new(), limit }
    }

    /// Hands out each whole line, without its `\n`.
    pub fn push<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut line: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.partial.len() + end > self.limit {
                return Err(TooLong.into());
            }
            if self.partial.is_empty() {
                line(&bytes[..end])?;
            } else {
                self.partial.extend_from_slice(&bytes[..end]);
                line(&self.partial)?;
                // A large line is rare: its memory is given back.
                self.partial = Vec::new();
            }
            bytes = &bytes[end + 1..];
        }
        if self.partial.len() + bytes.len() > self.limit {
            return Err(TooLong.into());
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes behind the last `\n`.
    pub fn rest(&self) -> &[u8] {
        &self.partial
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_does_not_end_takes_no_more_memory_than_its_limit() {
        let push = |pieces: &[&str]| {
            let mut lines = Lines::with_limit(8);
            let result = pieces.iter().try_for_each(|it| lines.push(it.as_bytes(), |_| Ok::<_, TooLong>(())));
            assert!(lines.rest().len() <= 8);
            result
        };
        assert_eq!(push(&["12345678\n", "1234", "5678", "\n"]), Ok(()));
        assert_eq!([push(&["123456789\n"]), push(&["1234", "56789"]), push(&["1234", "56789\n"])], [Err(TooLong); 3]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_come(text in "[a\\n\u{2028}]{0,60}", step in 1usize..9) {
            let (mut lines, mut out) = (Lines::default(), String::new());
            for piece in text.as_bytes().chunks(step) {
                lines.push(piece, |line| {
                    out.push_str(std::str::from_utf8(line).unwrap());
                    out.push('\n');
                    Ok::<_, TooLong>(())
                }).unwrap();
            }
            out.push_str(std::str::from_utf8(lines.rest()).unwrap());
            prop_assert_eq!(out, text);
        }
    }
}
