#![no_main]

#[path = "../invariants/eventlog.rs"]
mod eventlog;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventlog::hold_for(bytes));
