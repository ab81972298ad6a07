//! `m | format` -> the format's name; `m | batch` -> the number of the last batch;
//! `m | copied` -> how far a rebuild from another store has come.

pub const FORMAT_KEY: &[u8] = b"mformat";
pub const BATCH_KEY: &[u8] = b"mbatch";
pub const COPIED_KEY: &[u8] = b"mcopied";

/// Changes when an older program could not read the store, or an older store this program.
pub const FORMAT: &str = "emberlog-store-1";
