use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Recorded by Spark's own codecs from the log of one application: in pieces, flushed at each job.
fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).unwrap()
}

fn decode(codec: Codec, bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool), Damage> {
    let (mut decoder, mut out) = (Decoder::new(codec).unwrap(), Vec::new());
    for piece in bytes.chunks(step) {
        decoder.push(piece, |decoded| {
            out.extend_from_slice(decoded);
            Ok::<_, Damage>(())
        })?;
    }
    Ok((out, decoder.is_whole()))
}

#[test]
fn what_spark_compressed_is_the_same_from_every_codec_and_in_pieces_of_any_size() {
    for version in ["3.5", "4.3"] {
        let (plain, _) = decode(Codec::Zstd, &fixture(&format!("spark-{version}.zstd")), usize::MAX).unwrap();
        assert!(plain.ends_with(b"}\n") && plain.len() > 150_000);
        for (codec, name) in Codec::COMPRESSED {
            let bytes = fixture(&format!("spark-{version}.{name}"));
            for step in [1, 1000, usize::MAX] {
                assert!(decode(codec, &bytes, step) == Ok((plain.clone(), true)), "{version} {name} {step}");
            }
            // One stream behind another, as Spark's writers may append.
            let twice = [&bytes[..], &bytes].concat();
            assert!(decode(codec, &twice, 4096) == Ok(([&plain[..], &plain].concat(), true)), "{version} {name}");
        }
    }
}

#[test]
fn of_a_running_application_what_was_flushed_is_read() {
    let (whole, _) = decode(Codec::Zstd, &fixture("spark-4.3.zstd"), usize::MAX).unwrap();
    let (part, _) = decode(Codec::Zstd, &fixture("spark-4.3.cut.zstd"), 1000).unwrap();
    assert!(whole.starts_with(&part) && part.ends_with(b"}\n") && part.len() < whole.len());
    for (codec, name) in Codec::COMPRESSED {
        let bytes = fixture(&format!("spark-4.3.{name}"));
        let (part, is_whole) = decode(codec, &bytes[..bytes.len() * 9 / 10], usize::MAX).unwrap();
        assert!(whole.starts_with(&part) && !is_whole, "{name}: {} bytes, {is_whole}", part.len());
        assert!(part.len() > 1000, "{name}: {} bytes", part.len());
    }
}

#[test]
fn damage_is_told_with_its_place() {
    for (codec, name) in [(Codec::Lz4, "lz4"), (Codec::Snappy, "snappy"), (Codec::Lzf, "lzf"), (Codec::Zstd, "zstd")] {
        let mut bytes = fixture(&format!("spark-3.5.{name}"));
        let middle = bytes.len() / 2;
        bytes[middle..middle + 40].fill(0xff);
        match decode(codec, &bytes, 4096) {
            Err(damage) => assert!(damage.offset < middle as u64 + 8192 && damage.offset > 0, "{name} {damage:?}"),
            // LZF has no checksum.
            Ok(_) => assert_eq!(codec, Codec::Lzf),
        }
        let wrong = decode(codec, b"{\"Event\":\"SparkListenerLogStart\"}", usize::MAX);
        assert_eq!(wrong.unwrap_err().offset, 0, "{name}");
    }
}

#[test]
fn what_decompresses_to_something_else_is_no_text() {
    // Stored as it is, so that only the checksum tells.
    let block = |text: &[u8], sum: u32| {
        let numbers = [4, 4, sum].map(u32::to_le_bytes).concat();
        decode(Codec::Lz4, &[&b"LZ4Block\x16"[..], &numbers, text].concat(), usize::MAX)
    };
    let sum = xxhash_rust::xxh32::xxh32(b"text", 0x9747_b28c) & 0x0fff_ffff;
    assert_eq!(block(b"text", sum), Ok((b"text".to_vec(), true)));
    assert!(block(b"tex_", sum).unwrap_err().what.contains("checksum"));
    let mut chunk = encoded(Codec::Lzf, b"");
    chunk[6] += 1;
    assert!(decode(Codec::Lzf, &chunk, usize::MAX).unwrap_err().what.contains("damaged"));
}

#[test]
fn blocks_that_say_to_be_huge_are_refused_before_any_memory_is_taken() {
    let lz4 = [&b"LZ4Block\x26"[..], &8u32.to_le_bytes(), &u32::MAX.to_le_bytes(), &[0; 12]].concat();
    let snappy = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06"[..], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]].concat();
    for (codec, bytes) in [(Codec::Lz4, lz4), (Codec::Snappy, snappy)] {
        let damage = decode(codec, &bytes, usize::MAX).unwrap_err();
        assert!(damage.what.contains("4294967295 bytes"), "{codec:?}: {}", damage.what);
    }
    // A frame whose window would be 2 GiB.
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert!(decode(Codec::Zstd, &zstd, usize::MAX).is_err());
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![Codec::Zstd, Codec::Lz4, Codec::Snappy, Codec::Lzf])
}

/// Small data that zip well, as each codec would write them, so that what is changed in them reaches every path.
fn encoded(codec: Codec, text: &[u8]) -> Vec<u8> {
    let be = |n: usize, bytes: usize| (n as u32).to_be_bytes()[4 - bytes..].to_vec();
    match codec {
        Codec::Plain => text.to_vec(),
        Codec::Zstd => zstd_bytes(text),
        Codec::Lz4 => {
            let packed = lz4_flex::block::compress(text);
            let sum = xxhash_rust::xxh32::xxh32(text, 0x9747_b28c) & 0x0fff_ffff;
            let numbers = [packed.len() as u32, text.len() as u32, sum].map(u32::to_le_bytes).concat();
            [&b"LZ4Block\x26"[..], &numbers, &packed].concat()
        }
        Codec::Snappy => {
            let packed = snap::raw::Encoder::new().compress_vec(text).unwrap();
            [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &be(packed.len(), 4), &packed].concat()
        }
        Codec::Lzf => {
            // A literal, and then copies of it.
            let chunk = [0, b'x', 0xe0, 5, 0];
            [&b"ZV\x01"[..], &be(chunk.len(), 2), &be(15, 2), &chunk].concat()
        }
    }
}

fn zstd_bytes(text: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(text, 1).unwrap()
}

#[test]
fn a_chunk_of_lzf_may_copy_what_it_is_copying() {
    assert_eq!(decode(Codec::Lzf, &encoded(Codec::Lzf, b""), 2).unwrap(), (b"x".repeat(15), true));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(codec in codec(), bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
        let _ = decode(codec, &bytes, step);
    }

    #[test]
    fn what_is_damaged_makes_no_decoder_panic(codec in codec(), text in "[ab]{1,200}",
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = encoded(codec, text.as_bytes());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((out, _)) = decode(codec, &bytes, 64) {
            prop_assert!(out.len() <= MAX_BLOCK_BYTES);
        }
    }

    #[test]
    fn a_text_comes_back(codec in prop::sample::select(vec![Codec::Plain, Codec::Zstd, Codec::Lz4, Codec::Snappy]),
        text in ".{1,300}", step in 1usize..50) {
        prop_assert_eq!(decode(codec, &encoded(codec, text.as_bytes()), step).unwrap(), (text.into_bytes(), true));
    }
}
