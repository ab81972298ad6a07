//! The framing of lz4-java's `LZ4BlockOutputStream`, which is not that of the LZ4 project: magic, token, compressed length,
//! decompressed length, checksum (little-endian), then the block. An empty block ends a stream; another may follow.

use xxhash_rust::xxh32::xxh32;

use super::MAX_BLOCK_BYTES;
use super::blocks::Framing;

const MAGIC: &[u8; 8] = b"LZ4Block";
const HEADER_BYTES: usize = MAGIC.len() + 1 + 3 * 4;
const METHOD_RAW: u8 = 0x10;
const METHOD_LZ4: u8 = 0x20;
const SEED: u32 = 0x9747_b28c;
/// lz4-java hands the hash out as a `Checksum`, less its upper four bits.
const CHECKSUM_MASK: u32 = 0x0fff_ffff;

#[derive(Debug)]
pub struct Lz4;

impl Framing for Lz4 {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, String> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err("no block of lz4 begins here".to_owned());
        }
        let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let (packed_len, len, checksum) = (number(9) as usize, number(13) as usize, number(17));
        if packed_len > MAX_BLOCK_BYTES || len > MAX_BLOCK_BYTES {
            return Err(format!("a block of lz4 of {} bytes", packed_len.max(len)));
        }
        let end = HEADER_BYTES + packed_len;
        let Some(packed) = bytes.get(HEADER_BYTES..end) else { return Ok(None) };
        match header[8] & 0xf0 {
            METHOD_RAW if packed_len == len => out.extend_from_slice(packed),
            METHOD_LZ4 => {
                out.resize(len, 0);
                let written = lz4_flex::block::decompress_into(packed, out);
                if written.map_err(|e| format!("a damaged block of lz4: {e}"))? != len {
                    return Err("a block of lz4 that is shorter than it says".to_owned());
                }
            }
            _ => return Err("a block of lz4 of an unknown kind".to_owned()),
        }
        if len > 0 && xxh32(out, SEED) & CHECKSUM_MASK != checksum {
            return Err("a block of lz4 whose checksum is wrong".to_owned());
        }
        Ok(Some(end))
    }
}
