//! Frames as they lie in a segment file: finding them, and telling a torn tail from damage.

use std::io;

use super::segment::{FRAME_MAGIC, FrameHeader, SegmentHeader, checksum, file_name};
use super::storage::{File, Storage};
use crate::Error;

/// An open segment file.
#[derive(Debug)]
pub struct SegmentFile {
    pub header: SegmentHeader,
    pub file: Box<dyn File>,
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub enum Found {
    Frame(FrameHeader),
    /// The end of the file.
    End,
    /// Bytes that are no frame, or not a whole one.
    Broken,
}

impl SegmentFile {
    pub fn open(storage: &dyn Storage, base: u64) -> Result<Self, Error> {
        let name = file_name(base);
        let file = storage.open(&name).map_err(|e| unreadable(base, &e))?;
        let mut bytes = [0; SegmentHeader::LEN];
        let filled = file.read_at(&mut bytes, 0).map_err(|e| unreadable(base, &e))?;
        let header =
            SegmentHeader::parse(&bytes[..filled]).map_err(|why| Error::Damaged(format!("{name} at byte 0: {why}")))?;
        if header.base != base {
            let why = format!("its header says that it begins at offset {}", header.base);
            return Err(Error::Damaged(format!("{name} at byte 16: {why}")));
        }
        Ok(Self { header, file })
    }

    /// The header of the frame at `at`, if the file holds the whole frame.
    pub fn header_at(&self, at: u64) -> Result<Found, Error> {
        self.find(at).map_err(|e| unreadable(self.header.base, &e))
    }

    /// The packed records of a frame, if they are unharmed.
    pub fn packed_at(&self, at: u64, header: &FrameHeader) -> Result<Option<Vec<u8>>, Error> {
        let mut packed = vec![0; header.packed_len as usize];
        let read = self.file.read_at(&mut packed, at + FrameHeader::LEN as u64);
        let filled = read.map_err(|e| unreadable(self.header.base, &e))?;
        let whole = filled == packed.len() && checksum(self.header.salt, &packed) == header.crc;
        Ok(whole.then_some(packed))
    }

    /// Like `header_at`, with the records checked too.
    pub fn frame_at(&self, at: u64) -> Result<Found, Error> {
        match self.header_at(at)? {
            Found::Frame(header) if self.packed_at(at, &header)?.is_none() => Ok(Found::Broken),
            found => Ok(found),
        }
    }

    /// The place of a frame's header anywhere behind `at`. A frame is written only after the one before it is durable:
    /// if there is one behind broken bytes, these are damage, and not the tail that a crash tore.
    pub fn frame_behind(&self, at: u64) -> Result<Option<u64>, Error> {
        self.search(at + 1).map_err(|e| unreadable(self.header.base, &e))
    }

    pub fn damaged(&self, at: u64, why: &str) -> Error {
        Error::Damaged(format!("{} at byte {at}: {why}", file_name(self.header.base)))
    }

    fn find(&self, at: u64) -> io::Result<Found> {
        let len = self.file.len()?;
        if at == len {
            return Ok(Found::End);
        }
        let mut bytes = [0; FrameHeader::LEN];
        let filled = self.file.read_at(&mut bytes, at)?;
        let header = FrameHeader::parse(&bytes[..filled], self.header.salt);
        Ok(header.filter(|it| at + it.frame_len() <= len).map_or(Found::Broken, Found::Frame))
    }

    fn search(&self, from: u64) -> io::Result<Option<u64>> {
        const WINDOW: usize = 1 << 20;
        let mut window = vec![0; WINDOW];
        let mut at = from;
        loop {
            let filled = self.file.read_at(&mut window, at)?;
            for found in memchr::memmem::find_iter(&window[..filled], &FRAME_MAGIC) {
                let mut bytes = [0; FrameHeader::LEN];
                let read = self.file.read_at(&mut bytes, at + found as u64)?;
                if FrameHeader::parse(&bytes[..read], self.header.salt).is_some() {
                    return Ok(Some(at + found as u64));
                }
            }
            if filled < WINDOW {
                return Ok(None);
            }
            // A header may stand across the edge of two windows.
            at += (WINDOW - FRAME_MAGIC.len() + 1) as u64;
        }
    }
}

pub fn unreadable(base: u64, e: &io::Error) -> Error {
    Error::Unavailable(format!("{}: {e}", file_name(base)))
}
