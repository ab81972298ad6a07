//! What the fuzz target checks, on a stable compiler.

#[path = "../../../fuzz/invariants/journal.rs"]
mod journal_file;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(100_000), ..ProptestConfig::default() })]

    #[test]
    fn they_hold_for_frames_of_any_bytes(selector in 0..2_u8, bytes in prop::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..60)) {
        journal_file::hold_for(&journal_file::Folder::new("frames"), &[&[selector], &bytes[..]].concat());
    }

    #[test]
    fn they_hold_for_damaged_journals(bytes in prop::collection::vec(prop_oneof![0..30_u8, any::<u8>()], 4..200)) {
        journal_file::hold_for(&journal_file::Folder::new("damaged"), &[&[2], &bytes[..]].concat());
    }
}
