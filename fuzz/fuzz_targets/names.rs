#![no_main]

#[path = "../invariants/names.rs"]
mod names;

libfuzzer_sys::fuzz_target!(|name: &[u8]| names::hold_for(name));
