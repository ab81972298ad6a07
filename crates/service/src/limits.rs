//! Limits of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one and returns what holds now.
///
/// Shells and service managers start processes with 1,024, which a few hundred connections and a store use up.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let before = current.unwrap_or(u64::MAX);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(limit = before, %error, "cannot raise the limit of open files");
        return before;
    }
    let after = open_files();
    tracing::info!(before, limit = after, "limit of open files");
    after
}

/// The soft limit of open files.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
