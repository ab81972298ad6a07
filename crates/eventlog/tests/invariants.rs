//! What the fuzz targets check, on a stable compiler: files that Spark wrote, cut and damaged, in pieces of any size.

#[path = "../../../fuzz/invariants/eventlog.rs"]
mod eventlog_file;
#[path = "../../../fuzz/invariants/names.rs"]
mod names;

use proptest::prelude::*;

fn recorded() -> impl Strategy<Value = Vec<u8>> {
    let logs = [
        (1, "spark-3.5.zstd"),
        (2, "spark-4.3.lz4"),
        (3, "spark-3.5.snappy"),
        (4, "spark-4.3.lzf"),
        (0, "spark-4.3.zstd"),
    ];
    (prop::sample::select(logs.to_vec()), any::<u8>(), 0..6000_usize).prop_map(|((codec, name), step, length)| {
        let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        let log = std::fs::read(path).expect("a recorded log");
        [&[codec, step][..], &log[..length.min(log.len())]].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(100_000), ..ProptestConfig::default() })]

    #[test]
    fn they_hold_for_logs_cut_and_damaged(
        mut log in recorded(), damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        if let Some((at, byte)) = damage {
            let at = at.index(log.len() - 1).max(1);
            log[at] = byte;
        }
        eventlog_file::hold_for(&log);
    }

    #[test]
    fn they_hold_for_lines_without_a_codec(text in "[a{}\"\n]{0,60}", step: u8) {
        eventlog_file::hold_for(&[&[0, step], text.as_bytes()].concat());
    }

    #[test]
    fn they_hold_for_names(name in "(events_|appstatus_|eventlog_v2_)?[a-c0-9./_-]{0,8}(.zstd|.lz4|.compact|.inprogress){0,2}") {
        names::hold_for(name.as_bytes());
    }
}
