//! What Spark compresses its logs with. Decoders are pushed: bytes in, decoded bytes out, as far as they go, so that a file
//! that still grows is read as one that is whole. What they hold in memory is bounded, whatever they are fed.

mod blocks;
mod lz4;
mod lzf;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

use blocks::Blocks;

/// The largest block, compressed or not, of the codecs that work in blocks: 32 MiB is the most that lz4-java writes,
/// and far more than Spark lets any of them have.
const MAX_BLOCK_BYTES: usize = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Plain,
    Zstd,
    Lz4,
    Snappy,
    Lzf,
}

impl Codec {
    pub const COMPRESSED: [(Self, &'static str); 4] =
        [(Self::Zstd, "zstd"), (Self::Lz4, "lz4"), (Self::Snappy, "snappy"), (Self::Lzf, "lzf")];

    /// By the short name that Spark ends its files with.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Self::COMPRESSED.iter().find(|(_, name)| *name == extension).map(|(codec, _)| *codec)
    }

    /// What a file's name ends with, the dot included.
    pub fn suffix(self) -> String {
        let name = Self::COMPRESSED.iter().find(|(codec, _)| *codec == self);
        name.map(|(_, name)| format!(".{name}")).unwrap_or_default()
    }
}

/// What is wrong with compressed bytes, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {what}")]
pub struct Damage {
    pub offset: u64,
    pub what: String,
}

/// Decodes one file.
#[derive(Debug)]
pub struct Decoder(Inner);

#[derive(Debug)]
enum Inner {
    Plain,
    Zstd(zstd::Frames),
    Lz4(Blocks<lz4::Lz4>),
    Snappy(Blocks<snappy::Snappy>),
    Lzf(Blocks<lzf::Lzf>),
}

impl Decoder {
    /// # Errors
    /// If there is no memory for it.
    pub fn new(codec: Codec) -> std::io::Result<Self> {
        Ok(Self(match codec {
            Codec::Plain => Inner::Plain,
            Codec::Zstd => Inner::Zstd(zstd::Frames::new()?),
            Codec::Lz4 => Inner::Lz4(Blocks::new(lz4::Lz4)),
            Codec::Snappy => Inner::Snappy(Blocks::new(snappy::Snappy::default())),
            Codec::Lzf => Inner::Lzf(Blocks::new(lzf::Lzf)),
        }))
    }

    /// Takes the next bytes of the file, and hands out all that they complete. After an error it must not be used again.
    pub fn push<E: From<Damage>>(
        &mut self,
        bytes: &[u8],
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.0 {
            Inner::Plain => out(bytes),
            Inner::Zstd(frames) => frames.push(bytes, &mut out),
            Inner::Lz4(blocks) => blocks.push(bytes, &mut out),
            Inner::Snappy(blocks) => blocks.push(bytes, &mut out),
            Inner::Lzf(blocks) => blocks.push(bytes, &mut out),
        }
    }

    /// Whether the bytes so far end where a file may end.
    pub fn is_whole(&self) -> bool {
        match &self.0 {
            Inner::Plain => true,
            Inner::Zstd(frames) => frames.is_whole(),
            Inner::Lz4(blocks) => blocks.is_whole(),
            Inner::Snappy(blocks) => blocks.is_whole(),
            Inner::Lzf(blocks) => blocks.is_whole(),
        }
    }
}
