#![no_main]

#[path = "../invariants/gzip.rs"]
mod gzip;

libfuzzer_sys::fuzz_target!(|gzip: &[u8]| gzip::hold_for(gzip));
