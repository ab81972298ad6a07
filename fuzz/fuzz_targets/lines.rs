#![no_main]

#[path = "../invariants/lines.rs"]
// Of its two ways in, this takes one.
#[allow(dead_code)]
mod lines;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lines::hold_for_events(bytes));
