//! The framing of xerial's `SnappyOutputStream`: a header of 16 bytes, then blocks with their length (big-endian). A header
//! may stand again where a block is expected, since streams may be appended to one another.

use snap::raw::{Decoder, decompress_len};

use super::MAX_BLOCK_BYTES;
use super::blocks::Framing;

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Behind the magic stand a version and the least version that reads it.
const HEADER_BYTES: usize = 16;
const COMPATIBLE_VERSION: u32 = 1;

#[derive(Debug, Default)]
pub struct Snappy {
    has_begun: bool,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|it| u32::from_be_bytes(std::array::from_fn(|i| it[i])))
}

impl Snappy {
    fn header(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err("no stream of snappy begins here".to_owned());
        }
        let Some(least) = number(bytes, 12) else { return Ok(None) };
        if least > COMPATIBLE_VERSION {
            return Err(format!("a stream of snappy of version {least}"));
        }
        self.has_begun = true;
        Ok(Some(HEADER_BYTES))
    }
}

impl Framing for Snappy {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, String> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if !self.has_begun || bytes[0] == MAGIC[0] {
            return self.header(bytes);
        }
        let Some(len) = number(bytes, 0) else { return Ok(None) };
        let len = len as usize;
        if len > MAX_BLOCK_BYTES {
            return Err(format!("a block of snappy of {len} bytes"));
        }
        let Some(block) = bytes.get(4..4 + len) else { return Ok(None) };
        let damaged = |e: snap::Error| format!("a damaged block of snappy: {e}");
        let unpacked = decompress_len(block).map_err(damaged)?;
        if unpacked > MAX_BLOCK_BYTES {
            return Err(format!("a block of snappy of {unpacked} bytes"));
        }
        out.resize(unpacked, 0);
        let written = Decoder::new().decompress(block, out).map_err(damaged)?;
        out.truncate(written);
        Ok(Some(4 + len))
    }
}
