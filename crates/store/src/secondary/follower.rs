//! What the following thread does each turn: catch up with what is served, and look whether something else should be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::followed::{Followed, Place, own_dir};
use super::trouble::Trouble;
use super::{Metrics, Options, Readiness};
use crate::gate::Gate;
use crate::generation::Generations;
use crate::whole::Finding;
use crate::{Error, Result};

/// How often it is looked whether another store should be served.
const LOOK: Duration = Duration::from_millis(200);
/// A view that stays torn is caught up with again at once, for as long before other things are looked after.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Between two catch-ups while the gate is shut.
const SHUT: Duration = Duration::from_millis(1);
/// Trouble that lasts for as long ends in opening the store anew.
const TROUBLE: Duration = Duration::from_secs(1);

type Told = Box<dyn FnMut(Readiness) + Send>;

pub(super) struct Follower {
    options: Options,
    generations: Generations,
    gate: Arc<Gate>,
    metrics: Metrics,
    told: Told,
    said: Option<Readiness>,
    served: Option<Followed>,
    /// What will be served once it is whole and as far as what is.
    next: Option<Followed>,
    look_again: Instant,
    /// What keeps catch-ups from being good.
    following: Trouble,
    /// What keeps another store from being served.
    looking: Trouble,
    #[cfg(test)]
    pub(super) controls: super::truth::Controls,
}

impl Follower {
    pub(super) fn new(options: Options, gate: Arc<Gate>, metrics: Metrics, told: Told) -> Self {
        let generations = Generations::at(&options.store);
        Self {
            options,
            generations,
            gate,
            metrics,
            told,
            said: None,
            served: None,
            next: None,
            look_again: Instant::now(),
            following: Trouble::default(),
            looking: Trouble::default(),
            #[cfg(test)]
            controls: super::truth::Controls::from_env(),
        }
    }

    /// One turn; returns the pause behind it if it is another than the interval.
    pub(super) fn turn(&mut self) -> Option<Duration> {
        let place = Place::of(&self.generations);
        if self.is_served(&place) {
            self.catch_up();
        }
        if Instant::now() >= self.look_again {
            let pause = match place.and_then(|place| self.look(place)) {
                Ok(()) => {
                    self.looking.is_over();
                    LOOK
                }
                Err(Error::NotYet(reason)) => {
                    self.looking.is(reason);
                    LOOK
                }
                Err(error) => {
                    self.looking.is(error.to_string());
                    TROUBLE
                }
            };
            self.look_again = Instant::now() + pause;
        }
        self.gate.explain(&self.looking.to_string());
        self.tell();
        self.gate.is_shut().then_some(SHUT)
    }

    /// Of a store that was replaced, nothing more is read: files of the same names would be mixed.
    fn is_served(&self, place: &Result<Place>) -> bool {
        self.served.as_ref().is_some_and(|served| place.as_ref().is_ok_and(|place| served.place == *place))
    }

    /// Catches up with what is served until its view is whole. If it does not become so, the gate stays shut.
    fn catch_up(&mut self) {
        let Some(mut served) = self.served.take() else { return };
        let began = Instant::now();
        self.shut();
        loop {
            let (failure, found) = self.step(&mut served);
            if let Some(error) = &failure {
                self.following.is(error.to_string());
            }
            match found {
                _ if !served.place.is_still(&self.generations, failure.is_some()) => {
                    self.following.is("the store was replaced".into());
                    break;
                }
                // After an error too: then the view is what it was before, or newer.
                Finding::Whole(_) => {
                    self.gate.open();
                    if failure.is_none() {
                        self.following.is_over();
                        self.metrics.is_fresh();
                    }
                    served.note();
                    break;
                }
                Finding::Back { seen, found } => {
                    self.following.is(format!("the last batch is {found} and was {seen}: the store lost its end"));
                    break;
                }
                _ if began.elapsed() >= AT_ONCE => {
                    self.following.is(format!("no whole view for {AT_ONCE:?}"));
                    break;
                }
                _ => {}
            }
        }
        self.served = Some(served);
    }

    /// One catch-up: its failure, and what is visible after it.
    fn step(&self, followed: &mut Followed) -> (Option<Error>, Finding) {
        let timer = self.metrics.catch_up_seconds.start_timer();
        self.metrics.catch_ups.inc();
        let caught_up = followed.database.db.try_catch_up_with_primary();
        let judged = followed.seen.judge(&followed.database.db, caught_up.is_ok());
        timer.observe_duration();
        let (failure, found) = match (caught_up, judged) {
            (Ok(()), Ok(found)) => (None, found),
            (Err(error), Ok(found)) => (Some(error.into()), found),
            (_, Err(error)) => (Some(error), Finding::Torn),
        };
        if failure.is_some() {
            self.metrics.errors.inc();
        }
        if found == Finding::Torn {
            self.metrics.torn_views.inc();
        }
        #[cfg(test)]
        let found = self.controls.without_ring(found);
        (failure, found)
    }

    fn shut(&self) {
        #[cfg(test)]
        if self.controls.no_gate {
            return;
        }
        self.gate.shut();
    }

    /// Opens what should be served, if it is not, and serves it once it is whole and no answer would go back in time.
    fn look(&mut self, place: Place) -> Result<()> {
        let is_served = self.served.as_ref().is_some_and(|served| served.place == place);
        if is_served && !self.following.lasts(TROUBLE) {
            self.next = None;
            return Ok(());
        }
        let mut next = match self.next.take().filter(|next| next.place == place) {
            Some(next) => next,
            None => Followed::open(place, &self.generations, &self.options)?,
        };
        let began = Instant::now();
        while !matches!(self.step_clean(&mut next)?, Finding::Whole(_)) {
            if began.elapsed() >= AT_ONCE {
                self.next = Some(next);
                return Err(Error::NotYet("its view is not whole yet".into()));
            }
        }
        next.note();
        if self.served.as_ref().is_some_and(|served| !next.has_reached(&served.applied)) {
            let generation = next.place.generation;
            if next.opened.elapsed() < self.options.behind {
                self.next = Some(next);
                return Err(Error::NotYet(format!(
                    "generation {generation} is not yet applied as far as what is served"
                )));
            }
            tracing::warn!(generation, "serving a store that is applied less far than the one before it");
        }
        self.serve(next);
        Ok(())
    }

    fn step_clean(&self, followed: &mut Followed) -> Result<Finding> {
        match self.step(followed) {
            (Some(error), _) => Err(error),
            (None, Finding::Back { .. }) => Err(Error::NotYet("the store is being replaced".into())),
            (None, found) => Ok(found),
        }
    }

    fn serve(&mut self, next: Followed) {
        let generation = next.place.generation;
        let before = self.served.replace(next);
        if let Some(served) = &self.served {
            self.gate.serve(served.database.clone());
        }
        self.gate.open();
        self.metrics.generation.set(i64::from(generation));
        match before {
            None => tracing::info!(generation, "serving the store"),
            Some(before) => {
                self.metrics.reopens.inc();
                tracing::info!(generation, before = before.place.generation, "serving the store, opened anew");
                if before.place.generation != generation {
                    // RocksDB's log of it; views in use do without.
                    let _ = std::fs::remove_dir_all(own_dir(&self.options, before.place.generation));
                }
            }
        }
        self.following.is_over();
        self.metrics.is_fresh();
    }

    /// Tells whether reads are answered, if that has changed.
    fn tell(&mut self) {
        let readiness = match (&self.served, self.gate.shut_for_long()) {
            (Some(_), None) => Readiness::Ready,
            (Some(_), Some(_)) => Readiness::NotReady(format!("no whole view of the store: {}", self.following)),
            (None, _) => Readiness::NotReady(format!("there is nothing to read yet: {}", self.looking)),
        };
        if self.said.as_ref() != Some(&readiness) {
            (self.told)(readiness.clone());
            self.said = Some(readiness);
        }
    }
}
