//! A store, opened to be followed.

use std::path::PathBuf;
use std::sync::Arc;

use super::Options;
use crate::database::Database;
use crate::generation::{Generations, Number};
use crate::whole::Seen;
use crate::{Applied, Result, View};

/// An opened store.
pub(super) struct Followed {
    pub(super) place: Place,
    pub(super) database: Arc<Database>,
    pub(super) seen: Seen,
    /// How far its last whole view is applied.
    pub(super) applied: Vec<(u16, Applied)>,
    batch: u64,
}

/// Where a store lies and which one it is: another one may be put into its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: Number,
    pub(super) identity: String,
}

impl Followed {
    pub(super) fn open(place: Place, generations: &Generations, options: &Options) -> Result<Self> {
        let own = own_dir(options, place.generation);
        let database = Database::open_secondary(&generations.path(place.generation), &own, &options.database)?;
        Ok(Self { place, database, seen: Seen::default(), applied: Vec::new(), batch: 0 })
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
