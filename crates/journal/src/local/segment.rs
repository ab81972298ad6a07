//! The bytes of a segment file: its name, its header, and the headers of its frames.
//! `docs/record-format.md` is the specification; it is frozen.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const VERSION: u32 = 1;
/// No frame is longer, compressed or not: a longer one in a header is damage, and is not allocated.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"EMBERSEG";
pub const FRAME_MAGIC: [u8; 4] = *b"EMFR";
const SUFFIX: &str = ".segment";
const OFFSET_DIGITS: usize = 20;

pub fn file_name(base: u64) -> String {
    format!("{base:0OFFSET_DIGITS$}{SUFFIX}")
}

/// The base offset that a file name tells; none if it is not a segment's.
pub fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let canonical = digits.len() == OFFSET_DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    canonical.then(|| digits.parse().ok()).flatten()
}

/// The first bytes of a segment. The salt goes into every checksum of the file, so that frames quoted in a record,
/// or left in blocks of a deleted file, are never taken for frames of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub base: u64,
    pub salt: u32,
    pub created_at: SystemTime,
}

impl SegmentHeader {
    pub const LEN: usize = 36;

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let created = self.created_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&u64::try_from(created).unwrap_or(u64::MAX).to_le_bytes());
        let crc = checksum(0, &bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| "the file is shorter than a segment's header")?;
        if bytes[..8] != SEGMENT_MAGIC {
            return Err("the file does not begin as a segment does");
        }
        if u32_at(bytes, 32) != checksum(0, &bytes[..32]) {
            return Err("the checksum of the segment's header is wrong");
        }
        if u32_at(bytes, 8) != VERSION {
            return Err("the segment is of a version that this program does not know");
        }
        let created_at = UNIX_EPOCH.checked_add(Duration::from_millis(u64_at(bytes, 24)));
        Ok(Self { base: u64_at(bytes, 16), salt: u32_at(bytes, 12), created_at: created_at.unwrap_or(UNIX_EPOCH) })
    }
}

/// What precedes the compressed records of one group commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes that follow the header.
    pub packed_len: u32,
    /// Bytes that they unpack to.
    pub unpacked_len: u32,
    pub count: u32,
    /// The offset of the frame's first record.
    pub base: u64,
    pub crc: u32,
}

impl FrameHeader {
    pub const LEN: usize = 32;

    pub fn to_bytes(self, salt: u32) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.packed_len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.unpacked_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let crc = checksum(salt, &bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None if these bytes are not the whole and unharmed header of a frame.
    pub fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        if bytes[..4] != FRAME_MAGIC || u32_at(bytes, 28) != checksum(salt, &bytes[..28]) {
            return None;
        }
        let header = Self {
            packed_len: u32_at(bytes, 4),
            unpacked_len: u32_at(bytes, 8),
            count: u32_at(bytes, 12),
            base: u64_at(bytes, 16),
            crc: u32_at(bytes, 24),
        };
        let sound = header.packed_len as usize <= MAX_FRAME_BYTES
            && header.unpacked_len as usize <= MAX_FRAME_BYTES
            && header.count > 0
            && header.base.checked_add(u64::from(header.count)).is_some();
        sound.then_some(header)
    }

    /// The offset behind the frame's last record.
    pub fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }

    /// Bytes of the whole frame in its file.
    pub fn frame_len(&self) -> u64 {
        Self::LEN as u64 + u64::from(self.packed_len)
    }
}

pub fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
