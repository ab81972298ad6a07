//! What must hold for any bytes that are read as a file of an event log. The first byte chooses the codec, the second how
//! long the pieces are that the file comes in.

use std::io::Read;

use eventlog::codec::Damage;
use eventlog::{Chunk, Codec, Decoder, End, Error, Log, LogFile, LogReader, Place};

/// More is not decoded: a small file may hold very much.
const MOST_DECODED: usize = 4 << 20;
const CODECS: [Codec; 5] = [Codec::Plain, Codec::Zstd, Codec::Lz4, Codec::Snappy, Codec::Lzf];

pub fn hold_for(bytes: &[u8]) {
    let Some(([selector, step], file)) = bytes.split_first_chunk() else { return };
    let codec = CODECS[usize::from(*selector) % CODECS.len()];
    let step = usize::from(*step) + 1;
    let whole = decode(codec, file, file.len().max(1));
    let pieces = decode(codec, file, step);
    agree(codec, &whole, &pieces);
    // To the other reader a file without a byte is no zstd; here it is a log that nothing was written to yet.
    if let (Codec::Zstd, Ok(true), false) = (codec, &whole.end, file.is_empty()) {
        let mut other = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(file).expect("a decoder");
        decoder.take(MOST_DECODED as u64).read_to_end(&mut other).expect("another reader takes it too");
        assert!(other == whole.bytes, "another reader reads something else");
    }
    if let Ok(is_whole) = whole.end {
        has_the_lines_of(codec, file, step, &whole.bytes, is_whole);
    }
}

enum Stop {
    Damaged(Damage),
    Enough,
    Failed,
}

impl From<Damage> for Stop {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<Error> for Stop {
    fn from(_: Error) -> Self {
        Self::Failed
    }
}

struct Decoded {
    bytes: Vec<u8>,
    /// Whether the file may end here; else why it was not decoded to its end.
    end: Result<bool, Stop>,
}

fn decode(codec: Codec, file: &[u8], step: usize) -> Decoded {
    let (mut decoder, mut bytes) = (Decoder::new(codec).expect("a decoder"), Vec::new());
    let result = file.chunks(step).try_for_each(|piece| {
        decoder.push(piece, |decoded| {
            bytes.extend_from_slice(decoded);
            if bytes.len() > MOST_DECODED { Err(Stop::Enough) } else { Ok(()) }
        })
    });
    Decoded { bytes, end: result.map(|()| decoder.is_whole()) }
}

fn agree(codec: Codec, whole: &Decoded, pieces: &Decoded) {
    let same = whole.bytes.len().min(pieces.bytes.len());
    assert!(whole.bytes[..same] == pieces.bytes[..same], "other bytes come out of pieces");
    match (&whole.end, &pieces.end) {
        (Ok(one), Ok(other)) => assert!(one == other && whole.bytes.len() == pieces.bytes.len()),
        // zstd tells where it noticed, and may notice before it has handed out what came before.
        (Err(Stop::Damaged(_)), Err(Stop::Damaged(_))) if codec == Codec::Zstd => {}
        (Err(Stop::Damaged(one)), Err(Stop::Damaged(other))) => {
            assert!(one == other && whole.bytes.len() == pieces.bytes.len());
        }
        (Err(Stop::Enough), Err(Stop::Enough)) => {}
        (Err(Stop::Enough), Err(Stop::Damaged(_))) | (Err(Stop::Damaged(_)), Err(Stop::Enough))
            if codec == Codec::Zstd => {}
        _ => panic!("in pieces it ends otherwise"),
    }
}

fn has_the_lines_of(codec: Codec, file: &[u8], step: usize, decoded: &[u8], is_whole: bool) {
    let mut lines: Vec<_> = decoded.split(|it| *it == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    lines.retain(|it| !it.is_empty());
    for (skip, may_be_cut) in [(0, true), (0, false), (step as u64 % 7, true)] {
        let (read, end, count) = read_lines(codec, file, step, skip, may_be_cut);
        let expected: Vec<_> = lines.iter().skip(skip as usize).copied().collect();
        let is_same = |added: &[&[u8]]| read == [&expected[..], added].concat();
        match end {
            Ok(End::Whole) if rest.is_empty() => assert!(is_whole && is_same(&[]) && count == lines.len() as u64),
            // The last line lacks no more than its end.
            Ok(End::Whole) => assert!(is_whole && !may_be_cut && is_same(&[rest]) && count == lines.len() as u64 + 1),
            Ok(End::Cut) => assert!(may_be_cut && is_same(&[]) && (!is_whole || !rest.is_empty())),
            Err(_) => assert!(!may_be_cut && is_same(&[]) && (!is_whole || !rest.is_empty())),
        }
    }
}

fn read_lines(
    codec: Codec,
    bytes: &[u8],
    step: usize,
    skip: u64,
    may_be_cut: bool,
) -> (Vec<Vec<u8>>, Result<End, Stop>, u64) {
    let size = bytes.len() as u64;
    let file = LogFile { place: Place::Path("log".into()), codec, size, number: 0, compact: false };
    let log = Log {
        place: "log".to_owned(),
        app: "app".to_owned(),
        files: vec![file.clone()],
        in_progress: may_be_cut,
        compacted: false,
        modified: None,
    };
    let (mut decoder, mut reader) = (Decoder::new(codec).expect("a decoder"), LogReader::new(skip, step));
    let (mut lines, mut next) = (Vec::new(), skip);
    let mut emit = |chunk: Chunk| {
        assert_eq!(chunk.first, next, "chunks do not follow one another");
        let text = chunk.bytes.strip_suffix(b"\n").expect("lines end");
        lines.extend(text.split(|it| *it == b'\n').map(<[u8]>::to_vec));
        next += chunk.count;
        Ok::<_, Stop>(())
    };
    let pushed = bytes.chunks(step).try_for_each(|piece| reader.push(&log, &file, &mut decoder, piece, &mut emit));
    let end = pushed.and_then(|()| reader.end_of_file(&file, &decoder, size, may_be_cut, &mut emit));
    let end = end.and_then(|end| reader.flush(&mut emit).map(|()| end));
    (lines, end, reader.lines())
}
