//! The records of one group commit as bytes: what repeats stands together, then zstd.
//!
//! Unpacked: the keys in runs (count, length, bytes), the lengths of the headers, those of the values, the headers, the
//! values. Numbers are LEB128.

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use crate::Record;

/// Events as Spark 3.5 writes them, the most frequent last. It makes the small frames of a trickle compress: without it
/// an event alone takes 580 bytes. Part of the format: another dictionary needs another version.
static DICTIONARY: &[u8] = include_bytes!("spark-events-1.dict");

/// Spark's events come out smaller at level 1 than at 3 (32 bytes to 36; with SQL metrics 64 to 72), and sooner.
const LEVEL: i32 = 1;

/// What a frame adds to the bytes of a record at most: two lengths, and a run of its own for its key.
const RECORD_OVERHEAD: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("zstd: {0}")]
    Zstd(#[from] std::io::Error),
    #[error("the lengths in it do not fit its records")]
    Lengths,
}

/// Bytes that a record takes in a frame at most, before compression.
pub fn unpacked_size(record: &Record) -> usize {
    record.size() + RECORD_OVERHEAD
}

/// Packs frames; keeps its buffers.
pub struct Packer {
    zstd: Compressor<'static>,
    unpacked: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    pub fn new() -> Result<Self, Error> {
        let zstd = Compressor::with_dictionary(LEVEL, DICTIONARY)?;
        Ok(Self { zstd, unpacked: Vec::new(), packed: Vec::new() })
    }

    /// The packed records, and how many bytes they were.
    pub fn pack(&mut self, records: &[Record]) -> Result<(&[u8], usize), Error> {
        self.unpacked.clear();
        write_records(records, &mut self.unpacked);
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.unpacked.len()));
        self.zstd.compress_to_buffer(&self.unpacked, &mut self.packed)?;
        Ok((&self.packed, self.unpacked.len()))
    }
}

/// Unpacks frames. The records share one buffer.
pub struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub fn new() -> Result<Self, Error> {
        Ok(Self(Decompressor::with_dictionary(DICTIONARY)?))
    }

    pub fn unpack(&mut self, packed: &[u8], unpacked_len: usize, count: usize) -> Result<Vec<Record>, Error> {
        let mut unpacked = Vec::with_capacity(unpacked_len);
        self.0.decompress_to_buffer(packed, &mut unpacked)?;
        if unpacked.len() != unpacked_len {
            return Err(Error::Lengths);
        }
        read_records(Bytes::from(unpacked), count).ok_or(Error::Lengths)
    }
}

fn write_records(records: &[Record], out: &mut Vec<u8>) {
    for run in records.chunk_by(|a, b| a.key == b.key) {
        write_number(run.len(), out);
        write_number(run[0].key.len(), out);
        out.extend_from_slice(&run[0].key);
    }
    records.iter().for_each(|it| write_number(it.header.len(), out));
    records.iter().for_each(|it| write_number(it.value.len(), out));
    records.iter().for_each(|it| out.extend_from_slice(&it.header));
    records.iter().for_each(|it| out.extend_from_slice(&it.value));
}

/// None if `unpacked` does not hold exactly `count` records.
fn read_records(unpacked: Bytes, count: usize) -> Option<Vec<Record>> {
    // Each record takes two bytes at least: a wrong count must not allocate more than the frame is worth.
    if count > unpacked.len() {
        return None;
    }
    let mut rest = Cursor { bytes: unpacked, at: 0 };
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        let run = rest.number()?;
        let len = rest.number()?;
        let key = rest.slice(len)?;
        if run == 0 || run > count - records.len() {
            return None;
        }
        records.extend((0..run).map(|_| Record { key: key.clone(), header: Bytes::new(), value: Bytes::new() }));
    }
    let headers: Vec<usize> = (0..count).map(|_| rest.number()).collect::<Option<_>>()?;
    let values: Vec<usize> = (0..count).map(|_| rest.number()).collect::<Option<_>>()?;
    for (record, len) in records.iter_mut().zip(headers) {
        record.header = rest.slice(len)?;
    }
    for (record, len) in records.iter_mut().zip(values) {
        record.value = rest.slice(len)?;
    }
    (rest.at == rest.bytes.len()).then_some(records)
}

struct Cursor {
    bytes: Bytes,
    at: usize,
}

impl Cursor {
    fn slice(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Some(slice)
    }

    fn number(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

fn write_number(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let key = prop_oneof![Just(b"a".to_vec()), vec(any::<u8>(), 0..20)];
        let record = (key, vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..2000));
        vec(record, 1..40).prop_map(|all| {
            let record = |(key, header, value): (Vec<u8>, Vec<u8>, Vec<u8>)| Record {
                key: key.into(),
                header: header.into(),
                value: value.into(),
            };
            all.into_iter().map(record).collect()
        })
    }

    proptest! {
        #[test]
        fn packed_records_come_back_byte_for_byte(records in records()) {
            let mut packer = Packer::new().unwrap();
            let (packed, len) = packer.pack(&records).unwrap();
            prop_assert!(len <= records.iter().map(unpacked_size).sum());
            let unpacked = Unpacker::new().unwrap().unpack(packed, len, records.len()).unwrap();
            prop_assert_eq!(unpacked, records);
        }

        #[test]
        fn what_is_no_frame_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..300), count in 0_usize..400) {
            if let Some(records) = read_records(Bytes::from(bytes.clone()), count) {
                let mut again = Vec::new();
                write_records(&records, &mut again);
                prop_assert!(again.len() <= bytes.len());
            }
        }

        #[test]
        fn cut_and_lengthened_frames_are_refused(records in records(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            write_records(&records, &mut bytes);
            prop_assert_eq!(read_records(Bytes::copy_from_slice(&bytes[..cut.index(bytes.len())]), records.len()), None);
            bytes.push(0);
            prop_assert_eq!(read_records(Bytes::from(bytes), records.len()), None);
        }
    }

    /// Another byte in it, and no journal of version 1 can be read.
    #[test]
    fn the_dictionary_of_version_1_is_unchanged() {
        assert_eq!((DICTIONARY.len(), crc32fast::hash(DICTIONARY)), (39_118, 1_224_946_896));
    }
}
