//! The chunks of ning's compress-lzf: `ZV`, a type, a length, and for compressed ones the length decompressed (big-endian,
//! 16 bits each, so that no chunk has more than 64 KiB).

use super::blocks::Framing;

const MAGIC: &[u8; 2] = b"ZV";
const RAW: u8 = 0;
const COMPRESSED: u8 = 1;

#[derive(Debug)]
pub struct Lzf;

impl Framing for Lzf {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, String> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err("no chunk of lzf begins here".to_owned());
        }
        let number =
            |at: usize| bytes.get(at..at + 2).map(|it| usize::from(u16::from_be_bytes(std::array::from_fn(|i| it[i]))));
        let (Some(kind), Some(len)) = (bytes.get(2), number(3)) else { return Ok(None) };
        match *kind {
            RAW => {
                let Some(chunk) = bytes.get(5..5 + len) else { return Ok(None) };
                out.extend_from_slice(chunk);
                Ok(Some(5 + len))
            }
            COMPRESSED => {
                let (Some(unpacked), Some(chunk)) = (number(5), bytes.get(7..7 + len)) else { return Ok(None) };
                decompress(chunk, unpacked, out).ok_or("a damaged chunk of lzf")?;
                Ok(Some(7 + len))
            }
            kind => Err(format!("a chunk of lzf of the unknown type {kind}")),
        }
    }
}

/// LibLZF: a control byte under 32 is followed by so many literals and one; else its upper three bits are a length, its
/// lower five and the next byte a distance back. None unless exactly `len` bytes come out.
fn decompress(mut chunk: &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
    while let Some((control, rest)) = chunk.split_first() {
        chunk = rest;
        let control = usize::from(*control);
        if control < 32 {
            let (literals, rest) = chunk.split_at_checked(control + 1)?;
            out.extend_from_slice(literals);
            chunk = rest;
        } else {
            let mut copied = control >> 5;
            if copied == 7 {
                let (more, rest) = chunk.split_first()?;
                copied += usize::from(*more);
                chunk = rest;
            }
            let (low, rest) = chunk.split_first()?;
            chunk = rest;
            let back = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
            let start = out.len().checked_sub(back)?;
            // What is copied may overlap what it is copied to.
            for at in start..start + copied + 2 {
                out.push(*out.get(at)?);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(())
}
