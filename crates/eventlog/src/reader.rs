//! The lines of a log, in chunks.

use std::io::Read;

use crate::codec::{Damage, Decoder};
use crate::lines::{Lines, TooLong};
use crate::{Error, Log, LogFile, Result};

const READ_BYTES: usize = 256 << 10;

/// Whole lines, one behind the other, each ended by `\n`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The number of the first line, from 0. Lines without any text have none.
    pub first: u64,
    pub count: u64,
    pub bytes: Vec<u8>,
}

/// How a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Whole,
    /// In the middle of a line or of a compressed block; what is whole was handed out.
    Cut,
}

/// Numbers lines, passes over those that are not wanted, and collects the others.
#[derive(Debug)]
pub struct LogReader {
    lines: Lines,
    next: u64,
    skip: u64,
    chunk: Chunk,
    chunk_bytes: usize,
}

/// What can be wrong inside of a file, which does not know its name.
enum Fault<E> {
    Damage(Damage),
    TooLong,
    Other(E),
}

impl<E> From<Damage> for Fault<E> {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl<E> From<TooLong> for Fault<E> {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl LogReader {
    /// Passes over the first `skip` lines; chunks have some `chunk_bytes`, or one line.
    pub fn new(skip: u64, chunk_bytes: usize) -> Self {
        Self { lines: Lines::default(), next: 0, skip, chunk: Chunk::default(), chunk_bytes }
    }

    /// Lines so far, those that were passed over included.
    pub fn lines(&self) -> u64 {
        self.next
    }

    /// Reads a log from its beginning to its end. `emit` is given chunks, `read` the bytes that each read took.
    pub fn read<E: From<Error>>(
        mut self,
        log: &Log,
        read: &mut dyn FnMut(u64),
        emit: &mut dyn FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(End, u64), E> {
        let mut end = End::Whole;
        for (at, file) in log.files.iter().enumerate() {
            let mut decoder = Decoder::new(file.codec).map_err(|e| file.place.io(e))?;
            let mut source = file.place.open()?;
            let mut buffer = vec![0; READ_BYTES];
            let mut offset = 0;
            loop {
                let count = source.read(&mut buffer).map_err(|e| file.place.io(e))?;
                if count == 0 {
                    break;
                }
                offset += count as u64;
                self.push(log, file, &mut decoder, &buffer[..count], emit)?;
                read(count as u64);
            }
            end = self.end_of_file(file, &decoder, offset, log.in_progress && at + 1 == log.files.len(), emit)?;
        }
        self.flush(emit)?;
        Ok((end, self.next))
    }

    /// Takes bytes of a file.
    pub fn push<E: From<Error>>(
        &mut self,
        log: &Log,
        file: &LogFile,
        decoder: &mut Decoder,
        bytes: &[u8],
        emit: &mut dyn FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { lines, next, skip, chunk, chunk_bytes } = self;
        let result = decoder.push(bytes, |decoded| {
            lines.push(decoded, |line| {
                if line.is_empty() {
                    return Ok(());
                }
                if *next >= *skip {
                    add(chunk, *next, line, *chunk_bytes);
                }
                *next += 1;
                // A line alone is one that may be refused, and a request of which nothing can be taken is an error.
                if chunk.bytes.len() >= *chunk_bytes && (chunk.count > 1 || chunk.bytes.len() >= 16 * *chunk_bytes) {
                    emit(std::mem::take(chunk)).map_err(Fault::Other)?;
                }
                Ok::<_, Fault<E>>(())
            })
        });
        let name = || file.place.to_string();
        result.map_err(|fault| match fault {
            Fault::Damage(Damage { offset, what }) => Error::Damaged { file: name(), offset, what }.into(),
            Fault::TooLong => Error::LineTooLong { log: log.place.clone(), line: self.next }.into(),
            Fault::Other(error) => error,
        })
    }

    /// Hands out what has been collected.
    pub fn flush<E>(&mut self, emit: &mut dyn FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        if self.chunk.count == 0 { Ok(()) } else { emit(std::mem::take(&mut self.chunk)) }
    }

    /// To be called behind the last byte of a file: lines do not go from one to the next.
    pub fn end_of_file<E: From<Error>>(
        &mut self,
        file: &LogFile,
        decoder: &Decoder,
        offset: u64,
        may_be_cut: bool,
        emit: &mut dyn FnMut(Chunk) -> Result<(), E>,
    ) -> Result<End, E> {
        if decoder.is_whole() && self.lines.rest().is_empty() {
            return Ok(End::Whole);
        }
        let rest = std::mem::take(&mut self.lines);
        let is_event = || std::str::from_utf8(rest.rest()).is_ok_and(|it| event::spark::validate(it).is_ok());
        if may_be_cut {
            return Ok(End::Cut);
        }
        if decoder.is_whole() && is_event() {
            // Only its line break is missing.
            if self.next >= self.skip {
                add(&mut self.chunk, self.next, rest.rest(), self.chunk_bytes);
            }
            self.next += 1;
            return Ok(End::Whole);
        }
        // What is whole is good, and what is missing may still come.
        self.flush(emit)?;
        let what = "it ends in the middle of a line or of a compressed block".to_owned();
        Err(Error::Damaged { file: file.place.to_string(), offset, what }.into())
    }
}

fn add(chunk: &mut Chunk, number: u64, line: &[u8], chunk_bytes: usize) {
    if chunk.count == 0 {
        chunk.first = number;
        chunk.bytes.reserve(chunk_bytes.max(line.len() + 1));
    }
    chunk.bytes.extend_from_slice(line);
    chunk.bytes.push(b'\n');
    chunk.count += 1;
}
