//! Opening what a former process, or a power cut, left behind.

use std::io;

use super::frames::{Found, SegmentFile, unreadable};
use super::log::{Segment, View};
use super::segment::{SegmentHeader, base_of, file_name};
use super::storage::Storage;
use super::writer::{Active, NEW_SUFFIX, create_segment};
use crate::Error;

#[derive(Debug)]
pub struct Recovered {
    pub view: View,
    pub active: Active,
    /// Bytes of a torn tail that were cut off.
    pub torn: u64,
}

pub fn recover(storage: &dyn Storage) -> Result<Recovered, Error> {
    let names = storage.list().map_err(|e| unlistable(&e))?;
    for unfinished in names.iter().filter(|it| it.ends_with(NEW_SUFFIX)) {
        storage.remove(unfinished).map_err(|e| Error::Unavailable(format!("{unfinished}: {e}")))?;
    }
    let mut segments = Vec::new();
    let mut last = None;
    for base in bases(names) {
        let opened = SegmentFile::open(storage, base)?;
        let bytes = opened.file.len().map_err(|e| unreadable(base, &e))?;
        segments.push(Segment { base, bytes, created_at: opened.header.created_at });
        last = Some(opened);
    }
    let Some(mut last) = last else { return begin(storage) };
    let (len, end) = whole_frames(&last, SegmentHeader::LEN as u64, last.header.base)?;
    let torn = cut(&mut last, len)?;
    if let Some(segment) = segments.last_mut() {
        segment.bytes = len;
    }
    let active = Active { header: last.header, file: last.file, len };
    Ok(Recovered { view: View { segments, end }, active, torn })
}

/// Where the whole frames that begin at `at` with `offset` end, in bytes and offsets. What follows is the tail that a
/// crash tore, or, in a journal that is being written, not yet there.
pub fn whole_frames(segment: &SegmentFile, mut at: u64, mut offset: u64) -> Result<(u64, u64), Error> {
    loop {
        match segment.frame_at(at)? {
            Found::Frame(header) if header.base == offset => {
                at += header.frame_len();
                offset = header.end();
            }
            Found::Frame(header) => {
                let why = format!("a frame of offset {} where {offset} was to follow", header.base);
                return Err(segment.damaged(at, &why));
            }
            Found::End => return Ok((at, offset)),
            Found::Broken => match segment.frame_behind(at)? {
                Some(behind) => {
                    return Err(segment.damaged(at, &format!("no frame, but there is one at byte {behind}")));
                }
                None => return Ok((at, offset)),
            },
        }
    }
}

/// Cuts the file back to `len` bytes, durably; says how many bytes that took.
fn cut(segment: &mut SegmentFile, len: u64) -> Result<u64, Error> {
    let base = segment.header.base;
    let torn = segment.file.len().map_err(|e| unreadable(base, &e))? - len;
    if torn > 0 {
        let truncated = segment.file.truncate(len).and_then(|()| segment.file.sync());
        truncated.map_err(|e| unreadable(base, &e))?;
        tracing::warn!(segment = %file_name(base), at = len, bytes = torn, "cut off a torn tail: it was never acknowledged");
    }
    Ok(torn)
}

/// The offsets that the segments among these file names begin with, in order.
pub fn bases(names: Vec<String>) -> Vec<u64> {
    let mut bases: Vec<u64> = names.iter().filter_map(|it| base_of(it)).collect();
    bases.sort_unstable();
    bases
}

pub fn unlistable(e: &io::Error) -> Error {
    Error::Unavailable(format!("its directory cannot be listed: {e}"))
}

fn begin(storage: &dyn Storage) -> Result<Recovered, Error> {
    let active = create_segment(storage, 0)?;
    let first = Segment { base: 0, bytes: SegmentHeader::LEN as u64, created_at: active.header.created_at };
    Ok(Recovered { view: View { segments: vec![first], end: 0 }, active, torn: 0 })
}
