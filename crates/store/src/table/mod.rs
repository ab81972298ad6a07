//! The kinds of keys, one file each. The first byte of a key is its kind; integers are big-endian, so that
//! bytes sort as the numbers do.

pub mod applied;
pub mod event;
pub mod gone;
pub mod job;
pub mod meta;
pub mod ring;
pub mod run;
pub mod sample;

/// Takes `N` bytes of a key, or none if it is too short.
fn take<const N: usize>(key: &[u8], at: usize) -> Option<[u8; N]> {
    key.get(at..at + N)?.try_into().ok()
}
