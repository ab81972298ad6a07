//! What the fuzz target checks, on a stable compiler: gzip of one member and more, with every kind of header, damaged.

#[path = "../../fuzz/invariants/gzip.rs"]
mod gzip;

use std::io::Write;

use proptest::prelude::*;

fn member() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(0..4_u8, 0..3000), 0..10_u32, prop::option::of("[a-z]{0,5}"), any::<bool>()).prop_map(
        |(content, level, name, has_extra)| {
            let mut builder = flate2::GzBuilder::new();
            if let Some(name) = name {
                builder = builder.filename(name.as_str()).comment("a comment");
            }
            if has_extra {
                builder = builder.extra([1, 2, 3]);
            }
            let mut writer = builder.write(Vec::new(), flate2::Compression::new(level));
            writer.write_all(&content).and_then(|()| writer.finish()).expect("gzip")
        },
    )
}

proptest! {
    #[test]
    fn they_hold_for_gzip_whole_and_damaged(
        members in prop::collection::vec(member(), 1..4), damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut gzip = members.concat();
        if let Some((at, byte)) = damage {
            let at = at.index(gzip.len());
            gzip[at] = byte;
        }
        gzip::hold_for(&gzip);
    }
}
