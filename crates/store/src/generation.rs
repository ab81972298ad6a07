//! Generations: the directories of a store, of which one is served while the next may be in the making.
//!
//! `CURRENT` names the served one. `NEXT` names the one that a rebuild makes, and whether it is ready; only then
//! the serving process, or the rebuild itself when nobody serves, makes it the current one. Both files are
//! replaced by rename, so each state is whole.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const CURRENT: &str = "CURRENT";
const NEXT: &str = "NEXT";
const LOCK: &str = "LOCK";
const REBUILD_LOCK: &str = "REBUILD.LOCK";

/// The number of a generation, from 1.
pub type Number = u32;

/// The folder that holds the generations of one store.
#[derive(Debug, Clone)]
pub struct Generations {
    dir: PathBuf,
}

/// Held by the one process that writes to the current generation, or makes the next one.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

/// The generation in the making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub generation: Number,
    /// What it is made from, as the rebuild names it.
    pub source: String,
    pub ready: bool,
}

impl Generations {
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|source| Error::Io { path: dir.into(), source })?;
        Ok(Self::at(dir))
    }

    /// For reading; the folder need not be there.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Locks the store for the process that serves and writes it.
    pub fn hold(&self) -> Result<Held> {
        self.lock(LOCK)
    }

    /// Locks the making of the next generation.
    pub fn hold_rebuild(&self) -> Result<Held> {
        self.lock(REBUILD_LOCK)
    }

    fn lock(&self, name: &str) -> Result<Held> {
        lock(&self.dir.join(name))
    }

    /// The served generation; none in a new store.
    pub fn current(&self) -> Result<Option<Number>> {
        self.read(CURRENT)
    }

    pub fn next(&self) -> Result<Option<Next>> {
        self.read(NEXT)
    }

    pub fn path(&self, generation: Number) -> PathBuf {
        self.dir.join(format!("gen-{generation:06}"))
    }

    /// The served generation's number; a new store begins with the first.
    pub fn current_or_first(&self) -> Result<Number> {
        if let Some(current) = self.current()? {
            // A kill between the two steps of `adopt`.
            if self.next()?.is_some_and(|next| next.generation == current) {
                self.remove(NEXT)?;
            }
            return Ok(current);
        }
        self.replace(CURRENT, &1)?;
        Ok(1)
    }

    pub fn set_next(&self, next: &Next) -> Result<()> {
        self.replace(NEXT, next)
    }

    /// Makes the next generation the current one. The old one is kept until dropped.
    pub fn adopt(&self, next: &Next) -> Result<()> {
        self.replace(CURRENT, &next.generation)?;
        self.remove(NEXT)
    }

    /// Gives up the generation in the making, with what was made of it.
    pub fn abandon(&self, next: &Next) -> Result<()> {
        self.remove(NEXT)?;
        self.drop_generation(next.generation)
    }

    /// All generations on disk.
    pub fn all(&self) -> Result<Vec<Number>> {
        let io = |source| Error::Io { path: self.dir.clone(), source };
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            all.extend(name.to_str().and_then(|name| name.strip_prefix("gen-")?.parse::<Number>().ok()));
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Removes the files of a generation that is neither served nor in the making.
    pub fn drop_generation(&self, generation: Number) -> Result<()> {
        let in_use = self.current()? == Some(generation) || self.next()?.is_some_and(|it| it.generation == generation);
        if in_use {
            return Err(Error::Locked(self.path(generation)));
        }
        let path = self.path(generation);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// A small JSON file beside the generations; none if it is not there.
    pub fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::Damaged(format!("{} cannot be read: {e}", path.display()))),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Replaces such a file by rename: it is whole in each state, also after a power cut.
    pub fn replace<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let io = |source| Error::Io { path: path.clone(), source };
        let text = serde_json::to_vec(value).map_err(|e| io(e.into()))?;
        let mut file = File::create(&new).map_err(io)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io)?;
        fs::rename(&new, &path).map_err(io)?;
        self.sync_dir()
    }

    /// Removes such a file, if it is there.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io { path, source }),
            _ => self.sync_dir(),
        }
    }

    fn sync_dir(&self) -> Result<()> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| Error::Io { path: self.dir.clone(), source })
    }
}

/// Locks a file, which is made if it is not there.
pub(crate) fn lock(path: &Path) -> Result<Held> {
    let io = |source| Error::Io { path: path.into(), source };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Held { _file: file }),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(path.into())),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_generation_becomes_the_current_one_and_survives_a_kill_half_way() {
        let dir = tempfile::tempdir().unwrap();
        let generations = Generations::open(dir.path()).unwrap();
        assert_eq!(generations.current_or_first().unwrap(), 1);
        let next = Next { generation: 2, source: "journal".into(), ready: true };
        generations.set_next(&next).unwrap();
        assert_eq!(generations.next().unwrap(), Some(next.clone()));
        generations.adopt(&next).unwrap();
        assert_eq!((generations.current_or_first().unwrap(), generations.next().unwrap()), (2, None));
        generations.set_next(&next).unwrap();
        assert_eq!((generations.current_or_first().unwrap(), generations.next().unwrap()), (2, None));
        assert!(generations.drop_generation(2).is_err());
    }

    #[test]
    fn a_second_holder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let generations = Generations::open(dir.path()).unwrap();
        let held = generations.hold().unwrap();
        assert!(matches!(generations.hold(), Err(Error::Locked(_))));
        drop(held);
        assert!(generations.hold().is_ok());
    }
}
