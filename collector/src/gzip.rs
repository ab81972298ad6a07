//! Inflates gzip (RFC 1952) strictly and within bounds: every member, nothing behind the last one, checksums and
//! lengths right. Readers that stop at the first member acknowledge what they never saw.

use bytesize::ByteSize;
use flate2::{Decompress, FlushDecompress, Status};

use crate::budget::Exhausted;

pub const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Deflate makes at most 1,032 bytes of one; JSON seldom more than 64.
const USUAL_RATIO: usize = 64;
const LEAST_STEP: usize = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it does not begin with the bytes 1f 8b")]
    NotGzip,
    #[error("it is cut off")]
    Truncated,
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    #[error("its compressed data are damaged: {0}")]
    Damaged(String),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its length is not the one it says")]
    Length,
    #[error("{bytes} bytes follow it that are not gzip")]
    Trailing { bytes: usize },
    #[error("decompressed, it has more than {} ({limit} bytes)", ByteSize(*limit as u64))]
    TooLarge { limit: usize },
    #[error("there is no memory for it now")]
    Exhausted,
}

impl From<Exhausted> for Error {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Exhausted
    }
}

/// Decompresses all members. `charge` is called before memory is taken, with how much.
pub(crate) fn decompress(
    gzip: &[u8],
    limit: usize,
    charge: impl FnMut(usize) -> Result<(), Exhausted>,
) -> Result<Vec<u8>, Error> {
    if !gzip.starts_with(&MAGIC) {
        return Err(if MAGIC.starts_with(gzip) { Error::Truncated } else { Error::NotGzip });
    }
    let mut out = Output { bytes: Vec::new(), limit, charge };
    out.reserve(promised_length(gzip))?;
    let mut inflater = Decompress::new(false);
    let mut rest = gzip;
    while !rest.is_empty() {
        if !rest.starts_with(&MAGIC) {
            return Err(Error::Trailing { bytes: rest.len() });
        }
        let data = after_header(rest)?;
        inflater.reset(false);
        let start = out.bytes.len();
        let after = inflate(&mut inflater, data, &mut out)?;
        rest = check_trailer(after, &out.bytes[start..])?;
    }
    Ok(out.bytes)
}

/// What can be decompressed of damaged or overlong gzip, up to `limit` bytes.
pub(crate) fn beginning(gzip: &[u8], limit: usize) -> Vec<u8> {
    let Ok(data) = after_header(gzip) else { return vec![] };
    let mut out = Vec::with_capacity(limit);
    // Whatever came before an error is in the vector.
    let _ = Decompress::new(false).decompress_vec(data, &mut out, FlushDecompress::None);
    out
}

/// As [`decompress`] with no budget: for tests and fuzzing.
pub fn decompress_all(gzip: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    decompress(gzip, limit, |_| Ok(()))
}

struct Output<F> {
    bytes: Vec<u8>,
    limit: usize,
    charge: F,
}

impl<F: FnMut(usize) -> Result<(), Exhausted>> Output<F> {
    /// One byte more than the limit, which tells what fits exactly from what does not.
    fn reserve(&mut self, capacity: usize) -> Result<(), Error> {
        let capacity = capacity.min(self.limit.saturating_add(1));
        let more = capacity.saturating_sub(self.bytes.capacity());
        (self.charge)(more)?;
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), Error> {
        if self.bytes.len() > self.limit {
            return Err(Error::TooLarge { limit: self.limit });
        }
        if self.bytes.len() == self.bytes.capacity() {
            self.reserve((self.bytes.capacity() * 2).max(LEAST_STEP))?;
        }
        Ok(())
    }
}

/// The last member's own word for its length, as far as it is likely.
fn promised_length(gzip: &[u8]) -> usize {
    let Some(length) = gzip.last_chunk::<4>() else { return 0 };
    // One byte more, or the vector would have to grow just to see the end.
    let promised = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).saturating_add(1);
    promised.min(gzip.len().saturating_mul(USUAL_RATIO))
}

/// Inflates one member into `out`; what is left of `data` begins with its trailer.
fn inflate<'a, F: FnMut(usize) -> Result<(), Exhausted>>(
    inflater: &mut Decompress,
    data: &'a [u8],
    out: &mut Output<F>,
) -> Result<&'a [u8], Error> {
    let mut rest = data;
    loop {
        out.make_room()?;
        let (taken, given) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress_vec(rest, &mut out.bytes, FlushDecompress::None)
            .map_err(|e| Error::Damaged(e.to_string()))?;
        let (taken, given) = (inflater.total_in() - taken, inflater.total_out() - given);
        rest = &rest[usize::try_from(taken).unwrap_or(rest.len()).min(rest.len())..];
        match status {
            Status::StreamEnd => break,
            Status::Ok | Status::BufError if taken > 0 || given > 0 => {}
            Status::Ok | Status::BufError => return Err(Error::Truncated),
        }
    }
    if out.bytes.len() > out.limit {
        return Err(Error::TooLarge { limit: out.limit });
    }
    Ok(rest)
}

fn check_trailer<'a>(after: &'a [u8], content: &[u8]) -> Result<&'a [u8], Error> {
    let (trailer, rest) = after.split_first_chunk::<8>().ok_or(Error::Truncated)?;
    let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
    if crc32fast::hash(content) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Error::Checksum);
    }
    // The format's length is modulo 2^32.
    if content.len() as u32 != u32::from_le_bytes([l0, l1, l2, l3]) {
        return Err(Error::Length);
    }
    Ok(rest)
}

/// What follows the header of the member that `member` begins with.
fn after_header(member: &[u8]) -> Result<&[u8], Error> {
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let (fixed, mut rest) = member.split_first_chunk::<10>().ok_or(Error::Truncated)?;
    let (method, flags) = (fixed[2], fixed[3]);
    if method != 8 {
        return Err(Error::Header("a method other than deflate"));
    }
    if flags & 0xe0 != 0 {
        return Err(Error::Header("flags that are reserved"));
    }
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(Error::Truncated)?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..).ok_or(Error::Truncated)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|b| *b == 0).ok_or(Error::Truncated)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & CRC != 0 {
        let header = &member[..member.len() - rest.len()];
        let (sum, after) = rest.split_first_chunk::<2>().ok_or(Error::Truncated)?;
        if crc32fast::hash(header) & 0xffff != u32::from(u16::from_le_bytes(*sum)) {
            return Err(Error::Header("its checksum is wrong"));
        }
        rest = after;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests;
