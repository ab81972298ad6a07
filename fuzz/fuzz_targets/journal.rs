#![no_main]

use std::sync::LazyLock;

#[path = "../invariants/journal.rs"]
mod journal_file;

static FOLDER: LazyLock<journal_file::Folder> = LazyLock::new(|| journal_file::Folder::new("fuzz"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| journal_file::hold_for(&FOLDER, bytes));
