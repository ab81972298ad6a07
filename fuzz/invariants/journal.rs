//! What must hold for any bytes in a file of the embedded journal.
//!
//! The first byte chooses: what is read are frames of any bytes under checksums that are right, packed or not; or a
//! journal of records that were written, damaged afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use journal::local::{Local, Metrics, Options, PARTITION, open_reader};
use journal::{Error, Position, Publisher, Record, Subscriber};

const SEGMENT: &str = "00000000000000000000.segment";
const SALT: u32 = 0x5eed_5eed;

/// A folder in memory, where there is one: fsync takes no time there.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = parent.join(format!("emberlog-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn hold_for(folder: &Folder, bytes: &[u8]) {
    let Some((selector, rest)) = bytes.split_first() else { return };
    match selector % 3 {
        0 => reads_frames_of_any_bytes(&folder.0, rest, false),
        1 => reads_frames_of_any_bytes(&folder.0, rest, true),
        _ => reads_no_other_records_than_were_written(&folder.0, rest),
    }
}

/// `unpacked`: the bytes are what a frame holds before compression.
fn reads_frames_of_any_bytes(dir: &Path, bytes: &[u8], unpacked: bool) {
    let Some(([count, len], content)) = bytes.split_first_chunk() else { return };
    let (count, len) = (u32::from(*count), usize::from(*len) * 16);
    let (packed, len) = match unpacked {
        true => (zstd::bulk::compress(content, 1).expect("zstd"), content.len()),
        false => (content.to_vec(), len),
    };
    clear(dir);
    fs::write(dir.join(SEGMENT), segment(&packed, len, count)).expect("a file");
    let Ok(found) = read_all(dir) else { return };
    assert_eq!(found.len(), count as usize);
    if unpacked {
        let headers = found.iter().flat_map(|it| it.header.iter());
        let texts: Vec<u8> = headers.chain(found.iter().flat_map(|it| it.value.iter())).copied().collect();
        assert!(content.ends_with(&texts), "other bytes than the frame holds");
    }
}

/// A segment of one frame, as docs/record-format.md has it.
fn segment(packed: &[u8], len: usize, count: u32) -> Vec<u8> {
    let mut out = b"EMBERSEG".to_vec();
    out.extend_from_slice(&1_u32.to_le_bytes());
    out.extend_from_slice(&SALT.to_le_bytes());
    out.extend_from_slice(&[0; 16]);
    let sum = checksum(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    let start = out.len();
    out.extend_from_slice(b"EMFR");
    for number in [packed.len() as u32, len as u32, count] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&checksum(SALT, packed).to_le_bytes());
    let sum = checksum(SALT, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(packed);
    out
}

fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Two bytes of damage (where, and what), then the records: each a length and as many bytes.
fn reads_no_other_records_than_were_written(dir: &Path, bytes: &[u8]) {
    let Some(([at_high, at_low, kind, damage], mut rest)) = bytes.split_first_chunk() else { return };
    let mut groups = vec![Vec::new()];
    while let Some((len, tail)) = rest.split_first() {
        let (value, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        let key = Bytes::from_static(if len % 2 == 0 { b"even" } else { b"odd" });
        let record = Record { key, header: Bytes::new(), value: Bytes::copy_from_slice(value) };
        match groups.last_mut() {
            Some(group) if group.len() < 3 => group.push(record),
            _ => groups.push(vec![record]),
        }
        rest = tail;
    }
    clear(dir);
    write(dir, &groups);
    let written: Vec<_> = groups.into_iter().flatten().collect();
    assert_eq!(read_all(dir).expect("a journal"), written);

    let path = dir.join(SEGMENT);
    let mut file = fs::read(&path).expect("a file");
    let at = (usize::from(*at_high) << 8 | usize::from(*at_low)) % file.len();
    match kind % 4 {
        0 => file[at] ^= (*damage).max(1),
        1 => file.truncate(at),
        2 => file.extend(std::iter::repeat_n(*damage, at)),
        _ => drop(file.splice(at..at, [*damage])),
    }
    fs::write(&path, file).expect("a file");
    // Read beside a writer, then recovered by one: what is found is the beginning of what was written, or nothing is.
    let found = read_all(dir);
    let opened = open(dir);
    assert_eq!(found.is_ok(), opened.is_ok());
    drop(opened);
    for found in [found, read_all(dir)].into_iter().flatten() {
        assert!(written.starts_with(&found), "records that nobody wrote");
        assert!(kind % 4 != 2 || found.len() == written.len(), "bytes behind the last frame took it along");
    }
}

fn open(dir: &Path) -> Result<Local, Error> {
    let metrics = Metrics::register(&prometheus::Registry::new(), "fuzz").expect("metrics");
    Local::open(dir, Options::default(), metrics)
}

fn write(dir: &Path, groups: &[Vec<Record>]) {
    let journal = open(dir).expect("a new journal");
    let publisher = journal.publisher();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for group in groups {
        runtime.block_on(publisher.publish(group.clone())).expect("it is written");
    }
}

fn read_all(dir: &Path) -> Result<Vec<Record>, Error> {
    let mut reader = open_reader(dir)?;
    let end = reader.extents()?[0].end;
    reader.seek(Position { partition: PARTITION, offset: 0 })?;
    let mut records = Vec::new();
    while (records.len() as u64) < end {
        records.extend(reader.next(Duration::ZERO)?.into_iter().map(|it| it.record));
    }
    Ok(records)
}

fn clear(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        fs::remove_file(entry.path()).expect("a file");
    }
}
