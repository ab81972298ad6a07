use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn all_members_are_read_and_headers_of_every_kind() {
    let mut encoder =
        GzBuilder::new().filename("a").comment("b").extra(vec![1, 2, 3]).write(Vec::new(), Compression::best());
    encoder.write_all(b"two").unwrap();
    let fancy = encoder.finish().unwrap();
    let members = [gzip(b"one "), gzip(b""), fancy, gzip(b" three")].concat();
    assert_eq!(decompress_all(&members, LIMIT).unwrap(), b"one two three");
}

#[test]
fn a_member_cut_at_any_byte_is_refused() {
    let first = gzip(b"{\"job_name\":\"j\"}");
    let both = [first.clone(), gzip(b"and more, and more, and more")].concat();
    for end in 0..both.len() {
        let result = decompress_all(&both[..end], LIMIT);
        if end == first.len() {
            assert_eq!(result.unwrap(), b"{\"job_name\":\"j\"}");
        } else {
            assert!(matches!(result, Err(Error::Truncated | Error::Trailing { bytes: 1 })), "{end}: {result:?}");
        }
    }
}

#[test]
fn a_wrong_checksum_or_length_is_refused() {
    let good = gzip(b"content");
    let flip = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        decompress_all(&bad, LIMIT)
    };
    assert_eq!(flip(good.len() - 8), Err(Error::Checksum));
    assert_eq!(flip(good.len() - 1), Err(Error::Length));
    assert_eq!(flip(2), Err(Error::Header("a method other than deflate")));
    let mut reserved = good.clone();
    reserved[3] = 0x80;
    assert_eq!(decompress_all(&reserved, LIMIT), Err(Error::Header("flags that are reserved")));
}

#[test]
fn a_header_with_a_checksum_is_checked() {
    let mut bytes = gzip(b"content");
    bytes[3] = 2;
    let sum = u16::try_from(crc32fast::hash(&bytes[..10]) & 0xffff).unwrap().to_le_bytes();
    bytes.splice(10..10, sum);
    assert_eq!(decompress_all(&bytes, LIMIT).unwrap(), b"content");
    bytes[10] ^= 1;
    assert_eq!(decompress_all(&bytes, LIMIT), Err(Error::Header("its checksum is wrong")));
}

#[test]
fn bytes_after_the_last_member_are_refused() {
    for rest in [&b"\0"[..], b"garbage", b"\0\0\0\0"] {
        let bytes = [gzip(b"content"), rest.to_vec()].concat();
        assert_eq!(decompress_all(&bytes, LIMIT), Err(Error::Trailing { bytes: rest.len() }));
    }
    assert_eq!(decompress_all(b"{}", LIMIT), Err(Error::NotGzip));
}

#[test]
fn a_bomb_ends_at_the_limit_and_at_the_budget() {
    let bomb = gzip(&vec![0; 10 * LIMIT]);
    assert_eq!(decompress_all(&bomb, LIMIT), Err(Error::TooLarge { limit: LIMIT }));
    assert_eq!(decompress_all(&gzip(&vec![0; LIMIT]), LIMIT).unwrap().len(), LIMIT);
    let members = gzip(&vec![0; LIMIT / 2]).repeat(3);
    assert_eq!(decompress_all(&members, LIMIT), Err(Error::TooLarge { limit: LIMIT }));

    let mut charged = 0;
    let result = decompress(&bomb, usize::MAX, |more| {
        charged += more;
        if charged > LIMIT { Err(Exhausted) } else { Ok(()) }
    });
    assert_eq!(result, Err(Error::Exhausted));
}

#[test]
fn what_is_charged_is_what_is_held() {
    for size in [0, 1, 1000, 100_000, LIMIT] {
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut charged = 0;
        let out = decompress(&gzip(&content), LIMIT, |more| {
            charged += more;
            Ok(())
        });
        assert_eq!(charged, out.unwrap().capacity(), "{size}");
    }
}

proptest! {
    #[test]
    fn what_was_compressed_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..4)) {
        let members: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
        prop_assert_eq!(decompress_all(&members, LIMIT).unwrap(), parts.concat());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..60_usize) {
        let _ = decompress_all(&[&MAGIC[..], &[8, 0], &bytes].concat(), 10_000);
        let mut damaged = gzip(b"some content, some content, some content");
        let at = cut % damaged.len();
        damaged[at] = bytes.first().copied().unwrap_or(0);
        let _ = decompress_all(&damaged, 10_000);
    }
}
