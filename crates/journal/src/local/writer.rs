//! The one thread that writes: it packs what waits into a frame, writes it, makes it durable, and only then answers.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::SystemTime;

use super::Options;
use super::codec::{Packer, unpacked_size};
use super::log::{Log, Segment};
use super::metrics::Metrics;
use super::queue::{Pending, Queue};
use super::segment::{FrameHeader, SegmentHeader, checksum, file_name};
use super::storage::{File, Storage};
use crate::{Error, Record};

/// A frame is closed when it has this many bytes, unpacked; one large record may exceed it.
const FRAME_BYTES: usize = 8 << 20;

/// What a segment is called until its header is durable.
pub const NEW_SUFFIX: &str = ".new";

/// The segment that is being written.
#[derive(Debug)]
pub struct Active {
    pub header: SegmentHeader,
    pub file: Box<dyn File>,
    /// Bytes of whole and durable frames, the header included.
    pub len: u64,
}

pub struct Writer {
    pub storage: Arc<dyn Storage>,
    pub queue: Arc<Queue>,
    pub log: Arc<Log>,
    pub options: Options,
    pub metrics: Metrics,
    pub packer: Packer,
    pub active: Active,
    pub end: u64,
}

impl Writer {
    /// Ends when the queue is closed and empty, or with the first fatal error.
    pub fn run(mut self) {
        let _guard = FailOnPanic { queue: self.queue.clone(), log: self.log.clone() };
        while let Some(publications) = self.queue.take(FRAME_BYTES) {
            // Nobody waits for an answer to nothing: a segment that is old ends, so that retention can remove it.
            let result = if publications.is_empty() { self.roll_if_due() } else { self.write(publications) };
            if let Err(Error::Fatal(why)) = result {
                self.log.fail(&why);
                self.queue.fail(&why);
                break;
            }
        }
    }

    /// Writes publications in as few frames as hold them, and answers each when its last record is durable. After an
    /// error nothing more of them is tried.
    fn write(&mut self, mut publications: Vec<Pending>) -> Result<(), Error> {
        let mut records = Vec::new();
        let mut ends = Vec::with_capacity(publications.len());
        for publication in &mut publications {
            records.append(&mut publication.records);
            ends.push(records.len());
        }
        let first = self.end;
        let mut open = publications.into_iter().zip(ends).peekable();
        let mut written = 0;
        while written < records.len() {
            let count = frame_of(&records[written..]);
            if let Err(e) = self.write_frame(&records[written..written + count]) {
                open.for_each(|(publication, _)| self.queue.resolve(publication, Err(again(&e))));
                return Err(e);
            }
            written += count;
            while let Some((publication, end)) = open.next_if(|(_, end)| *end <= written) {
                self.queue.resolve(publication, Ok(first + end as u64 - 1));
            }
        }
        Ok(())
    }

    fn write_frame(&mut self, records: &[Record]) -> Result<(), Error> {
        self.roll_if_due()?;
        let frame = self.frame(records)?;
        if let Err(e) = self.active.file.write_at(&frame, self.active.len) {
            return Err(self.take_back(&e));
        }
        let timer = self.metrics.sync_seconds.start_timer();
        self.active.file.sync().map_err(|e| Error::Fatal(format!("fsync of {}: {e}", self.name())))?;
        timer.observe_duration();
        self.active.len += frame.len() as u64;
        self.end += records.len() as u64;
        self.metrics.frames.inc();
        self.metrics.records.inc_by(records.len() as u64);
        self.metrics.raw_bytes.inc_by(records.iter().map(|it| it.size() as u64).sum());
        self.metrics.stored_bytes.inc_by(frame.len() as u64);
        self.log.change(|view| {
            view.end = self.end;
            if let Some(segment) = view.segments.last_mut() {
                segment.bytes = self.active.len;
            }
        });
        Ok(())
    }

    fn frame(&mut self, records: &[Record]) -> Result<Vec<u8>, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Fatal(format!("records cannot be packed: {e}"));
        let (packed, unpacked_len) = self.packer.pack(records).map_err(|e| failed(&e))?;
        let salt = self.active.header.salt;
        let header = FrameHeader {
            packed_len: u32::try_from(packed.len()).map_err(|e| failed(&e))?,
            unpacked_len: u32::try_from(unpacked_len).map_err(|e| failed(&e))?,
            count: u32::try_from(records.len()).map_err(|e| failed(&e))?,
            base: self.end,
            crc: checksum(salt, packed),
        };
        let mut frame = Vec::with_capacity(FrameHeader::LEN + packed.len());
        frame.extend_from_slice(&header.to_bytes(salt));
        frame.extend_from_slice(packed);
        Ok(frame)
    }

    /// After a write that failed, for want of space for example: the segment ends again with its last whole frame.
    /// Durably, since a segment that is followed by another must not have a torn tail.
    fn take_back(&mut self, cause: &io::Error) -> Error {
        let name = self.name();
        let file = &mut self.active.file;
        match file.truncate(self.active.len).and_then(|()| file.sync()) {
            Ok(()) => Error::Unavailable(format!("writing {name}: {cause}")),
            Err(e) => Error::Fatal(format!("writing {name}: {cause}; and it cannot be cut back: {e}")),
        }
    }

    fn roll_if_due(&mut self) -> Result<(), Error> {
        let empty = self.active.header.base == self.end;
        let age = SystemTime::now().duration_since(self.active.header.created_at).unwrap_or_default();
        if empty || (self.active.len < self.options.segment_bytes && age < self.options.segment_age) {
            return Ok(());
        }
        self.active = create_segment(&*self.storage, self.end)?;
        let SegmentHeader { base, created_at, .. } = self.active.header;
        let segment = Segment { base, bytes: self.active.len, created_at };
        self.log.change(|view| view.segments.push(segment));
        Ok(())
    }

    fn name(&self) -> String {
        file_name(self.active.header.base)
    }
}

/// A segment without frames, there for good: its name appears only when its header is durable.
pub fn create_segment(storage: &dyn Storage, base: u64) -> Result<Active, Error> {
    let name = file_name(base);
    let new = format!("{name}{NEW_SUFFIX}");
    let header = SegmentHeader { base, salt: RandomState::new().hash_one(base) as u32, created_at: SystemTime::now() };
    let unavailable = |e: io::Error| Error::Unavailable(format!("creating {name}: {e}"));
    let fatal = |e: io::Error| Error::Fatal(format!("creating {name} durably: {e}"));
    let mut file = storage.create(&new).map_err(unavailable)?;
    file.write_at(&header.to_bytes(), 0).map_err(unavailable)?;
    file.sync().map_err(fatal)?;
    // Only a full disk is sure to have renamed nothing; a segment there unknown to us would hide what we write next.
    storage.rename(&new, &name).map_err(|e| match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => unavailable(e),
        _ => fatal(e),
    })?;
    storage.sync_dir().map_err(fatal)?;
    Ok(Active { header, file, len: SegmentHeader::LEN as u64 })
}

/// How many of these records make one frame: at least one.
fn frame_of(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fitting = records.iter().take_while(|it| {
        bytes += unpacked_size(it);
        bytes <= FRAME_BYTES
    });
    fitting.count().max(1)
}

fn again(e: &Error) -> Error {
    match e {
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        Error::Fatal(why) => Error::Fatal(why.clone()),
        other => Error::Fatal(other.to_string()),
    }
}

/// Nobody may wait for a writer that panicked.
struct FailOnPanic {
    queue: Arc<Queue>,
    log: Arc<Log>,
}

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.fail("the writer has panicked");
            self.queue.fail("the writer has panicked");
        }
    }
}
