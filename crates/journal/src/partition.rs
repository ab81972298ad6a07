//! The partition of a key: murmur2 as Kafka's Java client computes it, so that any producer agrees.

/// The partition of a key among `count` partitions (`count` > 0).
pub fn of_key(key: &[u8], count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % count.max(1)
}

/// `org.apache.kafka.common.utils.Utils.murmur2`, Kafka 4.3.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (i, byte) in rest.iter().enumerate().rev() {
        h ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn murmur2_matches_the_java_client() {
        let cases: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()), hash.cast_unsigned(), "{text}");
        }
    }

    /// Frozen with the record format (docs/record-format.md).
    #[test]
    fn the_partition_of_a_run_matches_the_published_vector() {
        let key = br#"["spark-pi","local-1795229682121"]"#;
        assert_eq!((murmur2(key), of_key(key, 12), of_key(key, 1)), (751_908_689, 5, 0));
    }

    /// Java takes the sign bit away, and does not negate.
    #[test]
    fn a_negative_hash_has_a_partition_too() {
        assert_eq!(of_key(b"21", 12), (-973_932_308_i32 & i32::MAX).cast_unsigned() % 12);
    }
}
