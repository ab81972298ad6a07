//! Lines out of decoded bytes that come in pieces.

/// The longest line. Spark itself reads none that are longer.
pub const MAX_LINE_BYTES: usize = 256 << 20;

/// Splits at `\n` alone: Spark's texts hold other line separators.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

/// A line is longer than [`MAX_LINE_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Hands out each whole line, without its `\n`.
    pub fn push<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut line: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.partial.len() + end > MAX_LINE_BYTES {
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
        if self.partial.len() + bytes.len() > MAX_LINE_BYTES {
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
