//! A store, opened to be followed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Options;
use crate::database::Database;
use crate::generation::{Generations, Number};
use crate::whole::Seen;
use crate::{Applied, Error, Result, View};

/// An opened store.
pub(super) struct Followed {
    pub(super) place: Place,
    pub(super) database: Arc<Database>,
    pub(super) seen: Seen,
    /// How far its last whole view is applied.
    pub(super) applied: Vec<(u16, Applied)>,
    batch: u64,
    pub(super) opened: Instant,
}

/// Where a store lies and which one it is: another one, or an older copy of it, may be put into its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: Number,
    /// What RocksDB calls it, in a file that is written once.
    identity: String,
    inode: u64,
    /// Inodes are used again.
    created: Option<SystemTime>,
}

impl Place {
    /// The store that should be served.
    pub(super) fn of(generations: &Generations) -> Result<Self> {
        let not_yet = || Error::NotYet(format!("{} holds no store", generations.dir().display()));
        Self::at(generations, generations.current()?.ok_or_else(not_yet)?)?.ok_or_else(not_yet)
    }

    fn at(generations: &Generations, generation: Number) -> Result<Option<Self>> {
        let path = generations.path(generation).join("IDENTITY");
        let read = || -> std::io::Result<Self> {
            let mut file = File::open(&path)?;
            let (mut identity, metadata) = (String::new(), file.metadata()?);
            file.read_to_string(&mut identity)?;
            Ok(Self { generation, identity, inode: metadata.ino(), created: metadata.created().ok() })
        };
        match read() {
            Ok(place) => Ok(Some(place)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Whether a catch-up that has ended has read from this store. From one that is gone nothing can be read.
    pub(super) fn is_still(&self, generations: &Generations, has_failed: bool) -> bool {
        match Self::at(generations, self.generation) {
            Ok(Some(found)) => found == *self,
            Ok(None) | Err(_) => has_failed,
        }
    }
}

impl Followed {
    pub(super) fn open(place: Place, generations: &Generations, options: &Options) -> Result<Self> {
        let own = own_dir(options, place.generation);
        let database = Database::open_secondary(&generations.path(place.generation), &own, &options.database)?;
        Ok(Self { place, database, seen: Seen::default(), applied: Vec::new(), batch: 0, opened: Instant::now() })
    }

    /// Keeps how far the view is applied.
    pub(super) fn note(&mut self) {
        let mut view = View::new(self.database.db.raw_iterator());
        let noted = view.batch().and_then(|batch| {
            if batch != self.batch {
                self.applied = view.all_applied()?;
                self.batch = batch;
            }
            Ok(())
        });
        if let Err(error) = noted {
            tracing::warn!(%error, "cannot read how far the store is applied");
        }
    }

    pub(super) fn has_reached(&self, goal: &[(u16, Applied)]) -> bool {
        let reached = |partition| self.applied.iter().find(|(it, _)| *it == partition).map(|(_, it)| it.next_offset);
        goal.iter().all(|(partition, goal)| reached(*partition).is_some_and(|it| it >= goal.next_offset))
    }
}

/// Where RocksDB logs what it does to a generation. No name that the folder of a store has, should both be one.
pub(super) fn own_dir(options: &Options, generation: Number) -> PathBuf {
    options.dir.join(format!("secondary-{generation:06}"))
}
