//! Files that may be exchanged while the process runs: their content is looked at every second. What the system would
//! tell of changes is not the same on every file system, and Kubernetes exchanges a link two levels above.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Error;

pub const MAX_BYTES: u64 = 1 << 20;
const EVERY: Duration = Duration::from_secs(1);

pub struct Content {
    pub bytes: Vec<u8>,
    mode: u32,
}

/// The bytes may be a key.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

pub type Contents<const N: usize> = [Content; N];

impl Content {
    /// `why` says what is bad about it.
    pub fn warn_if_open_to_all(&self, path: &Path, why: &str) {
        if self.mode & 0o007 != 0 {
            let mode = format!("{:o}", self.mode & 0o777);
            tracing::warn!(path = %path.display(), mode, "the file is open to every user of this machine, and {why}; chmod 600 closes it");
        }
    }
}

pub async fn read<const N: usize>(paths: &[PathBuf; N]) -> Result<Contents<N>, Error> {
    let paths = paths.clone();
    // A panic is the only way in which this could fail.
    let read = tokio::task::spawn_blocking(move || read_now(&paths)).await;
    read.unwrap_or_else(|error| Err(Error::ReadFile { path: PathBuf::new(), source: io::Error::other(error) }))
}

fn read_now<const N: usize>(paths: &[PathBuf; N]) -> Result<Contents<N>, Error> {
    let mut contents = Vec::with_capacity(N);
    for path in paths {
        let failed = |source| Error::ReadFile { path: path.clone(), source };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let file = File::open(path).map_err(failed)?;
        let mode = metadata.permissions().mode();
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::FileTooLarge { path: path.clone(), limit: MAX_BYTES });
        }
        contents.push(Content { bytes, mode });
    }
    let read = contents.try_into();
    read.map_err(|_| Error::ReadFile { path: PathBuf::new(), source: io::ErrorKind::InvalidData.into() })
}

/// Calls `changed` with what the files hold when it is another than `before`, and again when that changes. What is
/// still being written is left alone: a change counts when two looks have found the same.
pub async fn follow<const N: usize>(
    paths: [PathBuf; N],
    before: Contents<N>,
    mut changed: impl FnMut(Result<Contents<N>, Error>),
    shutdown: CancellationToken,
) {
    let mut taken = Seen::of(&Ok(before));
    let mut last = taken.clone();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let read = read(&paths).await;
        let seen = Seen::of(&read);
        if seen != taken && seen == last {
            taken = seen.clone();
            changed(read);
        }
        last = seen;
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Read(Vec<Vec<u8>>),
    Failed(String),
}

impl Seen {
    fn of<const N: usize>(read: &Result<Contents<N>, Error>) -> Self {
        match read {
            Ok(contents) => Self::Read(contents.iter().map(|it| it.bytes.clone()).collect()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_change_is_told_once_it_rests_also_through_exchanged_links() {
        let dir = tempfile::tempdir().unwrap();
        // As Kubernetes mounts a Secret: file -> ..data/file, ..data -> a folder that is exchanged.
        for (version, text) in [("one", "1"), ("two", "2")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("file"), text).unwrap();
        }
        let [data, new, path] = ["..data", "..new", "file"].map(|it| dir.path().join(it));
        symlink("one", &data).unwrap();
        symlink("..data/file", &path).unwrap();
        let before = read(std::array::from_ref(&path)).await.unwrap();
        let (told, mut changes) = mpsc::unbounded_channel();
        let changed = move |read: Result<Contents<1>, Error>| {
            let text = read.map(|[it]| String::from_utf8(it.bytes).unwrap());
            told.send(text.map_err(|it| it.to_string())).unwrap();
        };
        let stop = CancellationToken::new();
        tokio::spawn(follow([path.clone()], before, changed, stop.clone()));
        symlink("two", &new).unwrap();
        fs::rename(&new, &data).unwrap();
        assert_eq!(changes.recv().await.unwrap().unwrap(), "2");
        fs::remove_file(&path).unwrap();
        assert!(changes.recv().await.unwrap().unwrap_err().contains("file"));
        // A file that grows is not taken before it has grown, unless the machine stands still meanwhile.
        let mut is_whole = false;
        for letter in ["a", "b", "c", "d", "e"] {
            for i in 0..12 {
                fs::write(&path, letter.repeat(i)).unwrap();
                tokio::time::sleep(EVERY / 4).await;
            }
            let mut told = changes.recv().await.unwrap().unwrap();
            is_whole = told.len() == 11;
            if is_whole {
                break;
            }
            while told != letter.repeat(11) {
                told = changes.recv().await.unwrap().unwrap();
            }
        }
        assert!(is_whole, "a part of it is taken each time");
        stop.cancel();
        assert_eq!(changes.recv().await, None);
    }

    #[tokio::test]
    async fn large_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(read(&[path]).await.unwrap_err().to_string().contains("1048576"));
    }
}
