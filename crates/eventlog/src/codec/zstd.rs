//! Ordinary zstd: frames one behind the other. Spark flushes inside a frame, so that an unfinished one gives what was flushed.

use std::fmt;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Damage;

const OUT_BYTES: usize = 128 << 10;
/// Frames that need more memory than 128 MiB are not Spark's: its own need 8 MiB at most.
const MAX_WINDOW_LOG: u32 = 27;

pub struct Frames {
    zstd: Decoder<'static>,
    out: Vec<u8>,
    offset: u64,
    /// Inside of a frame.
    is_open: bool,
}

impl Frames {
    pub fn new() -> std::io::Result<Self> {
        let mut zstd = Decoder::new()?;
        zstd.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
        Ok(Self { zstd, out: vec![0; OUT_BYTES], offset: 0, is_open: false })
    }

    pub fn push<E: From<Damage>>(
        &mut self,
        bytes: &[u8],
        out: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = InBuffer::around(bytes);
        loop {
            let before = input.pos();
            let mut output = OutBuffer::around(&mut self.out[..]);
            let hint = self.zstd.run(&mut input, &mut output);
            let hint = hint.map_err(|e| Damage { offset: self.offset, what: format!("no zstd: {e}") })?;
            let (read, written) = (input.pos() - before, output.pos());
            self.offset += read as u64;
            // Between two frames nothing is read and nothing is expected.
            self.is_open = hint != 0 && (self.is_open || read > 0);
            if written > 0 {
                out(&self.out[..written])?;
            }
            if input.pos() == bytes.len() && written < OUT_BYTES {
                return Ok(());
            }
        }
    }

    pub fn is_whole(&self) -> bool {
        !self.is_open
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("offset", &self.offset).field("is_open", &self.is_open).finish_non_exhaustive()
    }
}
