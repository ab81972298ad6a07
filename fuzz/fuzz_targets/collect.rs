#![no_main]

#[path = "../invariants/collect.rs"]
mod collect;

libfuzzer_sys::fuzz_target!(|body: &[u8]| collect::hold_for(body));
