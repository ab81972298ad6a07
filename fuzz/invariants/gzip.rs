//! What must hold for any bytes that are decompressed as gzip.

use std::io::Read;

use collector::gzip::{Error, decompress_all};

const LIMIT: usize = 1 << 20;
const LESS: usize = 1000;

pub fn hold_for(gzip: &[u8]) {
    let result = decompress_all(gzip, LIMIT);
    let Ok(content) = &result else { return };
    assert!(content.capacity() <= LIMIT + 1);
    let mut other = Vec::new();
    flate2::read::MultiGzDecoder::new(gzip).read_to_end(&mut other).expect("another reader takes it too");
    assert!(*content == other, "another reader reads something else");
    match decompress_all(gzip, LESS) {
        Ok(same) => assert!(same == *content && same.len() <= LESS),
        Err(error) => assert!(error == Error::TooLarge { limit: LESS } && content.len() > LESS),
    }
    assert!(decompress_all(&gzip[..gzip.len() - 1], LIMIT).is_err(), "cut off, it is not refused");
    assert!(decompress_all(&[gzip, &[0]].concat(), LIMIT).is_err(), "with a byte behind it, it is not refused");
}
