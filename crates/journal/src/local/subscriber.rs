//! Reading: frame after frame, up to what is durable.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use super::PARTITION;
use super::codec::Unpacker;
use super::follower::Follower;
use super::frames::{Found, SegmentFile};
use super::log::{Log, View};
use super::segment::{FrameHeader, SegmentHeader};
use super::storage::Storage;
use crate::{Entry, Error, Extent, Position, Record};

/// At most so many records are handed out at once.
const BATCH_RECORDS: usize = 8192;
/// A batch is closed when it has this many bytes; its last record may exceed it.
const BATCH_BYTES: usize = 8 << 20;

/// Who knows what there is to read.
#[derive(Debug)]
pub(super) enum Source {
    /// The writer in this process.
    Writer(Arc<Log>),
    /// The files alone, which another process may be writing.
    Files(Follower),
}

/// Reads an embedded journal. Records of one group commit share one buffer.
pub struct Subscriber {
    storage: Arc<dyn Storage>,
    source: Source,
    unpacker: Unpacker,
    /// The offset to be handed out next; none before the first `seek`.
    offset: Option<u64>,
    /// The records from `offset` on that are unpacked already.
    unpacked: IntoIter<Record>,
    place: Option<Place>,
}

/// Where the next frame stands, and the offset of its first record.
#[derive(Debug)]
struct Place {
    segment: SegmentFile,
    at: u64,
    offset: u64,
}

impl Subscriber {
    pub(super) fn new(storage: Arc<dyn Storage>, source: Source) -> Result<Self, Error> {
        let unpacker = Unpacker::new().map_err(|e| Error::Fatal(e.to_string()))?;
        Ok(Self { storage, source, unpacker, offset: None, unpacked: Vec::new().into_iter(), place: None })
    }

    /// The end of the journal; fails if `offset` is not among what it holds or will hold next.
    fn end_for(&mut self, offset: u64) -> Result<u64, Error> {
        let (start, end) = self.source.view(offset, |view| (view.start(), view.end))?;
        if (start..=end).contains(&offset) {
            return Ok(end);
        }
        Err(Error::OutOfRange { partition: PARTITION, wanted: offset, start, end })
    }

    /// The records from `offset` on that are there already, as far as a batch goes.
    fn collect(&mut self, mut offset: u64) -> Result<Vec<Entry>, Error> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            if let Some(record) = self.unpacked.next() {
                bytes += record.size();
                batch.push(Entry { partition: PARTITION, offset, record });
                offset += 1;
                self.offset = Some(offset);
                continue;
            }
            match self.unpack_next(offset) {
                Ok(true) => {}
                Ok(false) => break,
                // What was read before it is good; the error comes again.
                Err(_) if !batch.is_empty() => break,
                Err(e) => return Err(e),
            }
        }
        Ok(batch)
    }

    /// Unpacks the frame that holds `offset`; false if there is none yet.
    fn unpack_next(&mut self, offset: u64) -> Result<bool, Error> {
        if self.end_for(offset)? == offset {
            return Ok(false);
        }
        let result = self.go_to(offset).and_then(|header| self.unpack(&header, offset));
        if result.is_err() {
            // A segment that retention deleted meanwhile is no damage.
            self.source.refresh()?;
            self.end_for(offset)?;
        }
        result.map(|()| true)
    }

    /// Goes to the frame that holds `offset`, which is durable. After an error the place stays before what is wrong,
    /// so that it is never passed over.
    fn go_to(&mut self, offset: u64) -> Result<FrameHeader, Error> {
        loop {
            let base = self.source.view(offset, |view| view.segment_of(offset))?.unwrap_or(offset);
            let place = match &mut self.place {
                Some(place) => place,
                none => none.insert(Place::begin(&*self.storage, base)?),
            };
            match place.segment.header_at(place.at)? {
                Found::Frame(header) if header.base == place.offset => {
                    if header.end() > offset {
                        return Ok(header);
                    }
                    place.pass(&header);
                }
                Found::End if base == place.offset && base != place.segment.header.base => {
                    *place = Place::begin(&*self.storage, base)?;
                }
                _ => {
                    let why = format!("no frame of offset {}, which was durable", place.offset);
                    return Err(place.segment.damaged(place.at, &why));
                }
            }
        }
    }

    fn unpack(&mut self, header: &FrameHeader, offset: u64) -> Result<(), Error> {
        let Some(place) = &mut self.place else { return Ok(()) };
        let (segment, at) = (&place.segment, place.at);
        let packed = segment.packed_at(at, header)?;
        let packed = packed.ok_or_else(|| segment.damaged(at, "the checksum of the frame's records is wrong"))?;
        let records = self.unpacker.unpack(&packed, header.unpacked_len as usize, header.count as usize);
        let mut records = records.map_err(|e| segment.damaged(at, &e.to_string()))?;
        records.drain(..(offset - header.base) as usize);
        self.unpacked = records.into_iter();
        place.pass(header);
        Ok(())
    }
}

impl Place {
    fn begin(storage: &dyn Storage, base: u64) -> Result<Self, Error> {
        Ok(Self { segment: SegmentFile::open(storage, base)?, at: SegmentHeader::LEN as u64, offset: base })
    }

    fn pass(&mut self, frame: &FrameHeader) {
        self.at += frame.frame_len();
        self.offset = frame.end();
    }
}

impl crate::Subscriber for Subscriber {
    fn extents(&mut self) -> Result<Vec<Extent>, Error> {
        self.source.refresh()?;
        let (start, end) = self.source.view(0, |view| (view.start(), view.end))?;
        Ok(vec![Extent { partition: PARTITION, start, end }])
    }

    fn seek(&mut self, position: Position) -> Result<(), Error> {
        let Position { partition, offset } = position;
        if partition != PARTITION {
            return Err(Error::OutOfRange { partition, wanted: offset, start: 0, end: 0 });
        }
        self.source.refresh()?;
        self.end_for(offset)?;
        self.offset = Some(offset);
        self.unpacked = Vec::new().into_iter();
        self.place = None;
        Ok(())
    }

    fn next(&mut self, max_wait: Duration) -> Result<Vec<Entry>, Error> {
        let deadline = Instant::now() + max_wait;
        let Some(offset) = self.offset else {
            std::thread::sleep(max_wait);
            return Ok(Vec::new());
        };
        loop {
            let batch = self.collect(offset)?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.source.wait(offset, deadline)?;
            if Instant::now() >= deadline {
                return self.collect(offset);
            }
        }
    }
}

impl Source {
    /// Looks at what there is to read, which is asked for again when it was not known to reach beyond `offset`.
    fn view<T>(&mut self, offset: u64, look: impl FnOnce(&View) -> T) -> Result<T, Error> {
        match self {
            Self::Writer(log) => Ok(look(&log.view())),
            Self::Files(follower) => {
                if follower.view().end <= offset {
                    follower.refresh()?;
                }
                Ok(look(follower.view()))
            }
        }
    }

    fn refresh(&mut self) -> Result<(), Error> {
        match self {
            Self::Writer(_) => Ok(()),
            Self::Files(follower) => follower.refresh(),
        }
    }

    fn wait(&mut self, offset: u64, deadline: Instant) -> Result<(), Error> {
        match self {
            Self::Writer(log) => log.wait(offset, deadline),
            Self::Files(follower) => {
                follower.wait(deadline);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("offset", &self.offset).field("place", &self.place).finish_non_exhaustive()
    }
}
