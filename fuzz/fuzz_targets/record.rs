#![no_main]

#[path = "../invariants/record.rs"]
mod record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| record::hold_for(bytes));
