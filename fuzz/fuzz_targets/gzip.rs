#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let limit = 1 << 20;
    if let Ok(content) = collector::gzip::decompress_all(body, limit) {
        assert!(content.len() <= limit);
    }
});
