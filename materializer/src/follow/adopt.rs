//! Moving to a generation that a rebuild has made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use store::generation::Next;
use store::{Applied, Writer};

use super::Materializer;
use crate::start::{WAIT, start};
use crate::{Applier, Error, Poison, Result};

impl Materializer {
    /// Moves to a generation that a rebuild has finished. The old one is served until the new one has applied as
    /// much, so that no answer goes back in time.
    pub(super) fn adopt_if_ready(&mut self, stop: &AtomicBool) -> Result<()> {
        let Some((next, writer)) = self.ready_generation()? else { return Ok(()) };
        let adopted = self.catch_up(&next, writer, stop);
        if adopted.is_err() {
            self.begin()?;
        }
        adopted
    }

    pub(super) fn ready_generation(&self) -> Result<Option<(Next, Writer)>> {
        let Some(next) = self.generations.next()?.filter(|next| next.ready) else { return Ok(None) };
        match Writer::open(&self.generations.path(next.generation), &self.options.store) {
            // The rebuild has not closed it yet.
            Err(store::Error::Locked(_)) => Ok(None),
            writer => Ok(Some((next, writer?))),
        }
    }

    fn catch_up(&mut self, next: &Next, writer: Writer, stop: &AtomicBool) -> Result<()> {
        let goal = self.applier.progress().clone();
        let mut applier = Applier::new(writer, goal.keys().copied())?;
        start(self.subscriber()?, applier.progress())?;
        while !has_reached(applier.progress(), &goal) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let entries = self.subscriber()?.next(WAIT)?;
            let quarantine = &mut self.hooks.quarantine;
            // What is below the goal is in the dead letters already.
            applier.apply(entries, &mut |poison: &[Poison]| {
                let is_new = |it: &&Poison| goal.get(&it.partition).is_none_or(|goal| it.offset >= goal.next_offset);
                let new: Vec<Poison> = poison.iter().filter(is_new).cloned().collect();
                if new.is_empty() { Ok(()) } else { quarantine(&new) }
            })?;
        }
        self.adopt(next, applier)
    }

    pub(super) fn adopt(&mut self, next: &Next, mut applier: Applier) -> Result<()> {
        applier.expire_as(&self.reader)?;
        self.generations.adopt(next)?;
        self.reader.follow(&applier.writer().reader());
        self.applier = applier;
        tracing::info!(generation = next.generation, source = next.source, "serving a new generation of the store");
        Ok(())
    }
}

fn has_reached(progress: &BTreeMap<u32, Applied>, goal: &BTreeMap<u32, Applied>) -> bool {
    goal.iter().all(|(partition, goal)| progress.get(partition).is_some_and(|it| it.next_offset >= goal.next_offset))
}
