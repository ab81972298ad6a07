#![no_main]

#[path = "../invariants/delight.rs"]
mod delight;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| delight::hold_for(bytes));
