#![no_main]

#[path = "../invariants/redact.rs"]
mod redact;

libfuzzer_sys::fuzz_target!(|event: &[u8]| redact::hold_for(event));
