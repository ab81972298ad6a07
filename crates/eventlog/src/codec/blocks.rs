//! Streams that are made of blocks, each of which says how long it is.

use super::Damage;

/// One kind of blocks.
pub trait Framing {
    /// Decodes the block at the start of `bytes` and appends it to `out`; returns its length, or none if `bytes` do not
    /// hold all of it. An error says what is wrong.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, String>;
}

#[derive(Debug)]
pub struct Blocks<F> {
    framing: F,
    /// The beginning of a block; never more than one.
    pending: Vec<u8>,
    /// Where `pending` begins in the file.
    offset: u64,
    decoded: Vec<u8>,
}

impl<F: Framing> Blocks<F> {
    pub fn new(framing: F) -> Self {
        Self { framing, pending: Vec::new(), offset: 0, decoded: Vec::new() }
    }

    pub fn push<E: From<Damage>>(
        &mut self,
        bytes: &[u8],
        out: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        let damage = |offset, what| Damage { offset, what };
        loop {
            self.decoded.clear();
            let taken = self.framing.take(&self.pending[at..], &mut self.decoded);
            let Some(length) = taken.map_err(|what| damage(self.offset, what))? else { break };
            at += length;
            self.offset += length as u64;
            if !self.decoded.is_empty() {
                out(&self.decoded)?;
            }
        }
        self.pending.drain(..at);
        Ok(())
    }

    pub fn is_whole(&self) -> bool {
        self.pending.is_empty()
    }
}
