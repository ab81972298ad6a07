//! Who may take a view, and when: nobody between the beginning of a catch-up and the finding that its view is whole.
//!
//! Only taking a view and point reads happen inside; a view in use holds nobody up. Whoever shuts the gate waits
//! for those inside, and whoever comes then waits outside, so that neither side starves: point reads are short, and
//! between two catch-ups the gate is open for an interval.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::{Error, Result};

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    opened: Condvar,
    left: Condvar,
    /// How long a gate is shut before nobody waits for it any more.
    patience: Duration,
}

#[derive(Debug)]
struct State {
    served: Served,
    shut_since: Option<Instant>,
    inside: usize,
}

#[derive(Debug)]
enum Served {
    Store(Arc<Database>),
    /// There is none yet, and why.
    Nothing(String),
}

/// The right to take a view or to read a key, now.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    pub(crate) database: Arc<Database>,
}

impl Gate {
    /// A gate that is never shut, unless somebody does.
    pub(crate) fn open_to(database: Arc<Database>) -> Self {
        Self::new(Served::Store(database), Duration::MAX)
    }

    /// A gate with nothing behind it yet.
    pub(crate) fn to_nothing(why: String, patience: Duration) -> Self {
        Self::new(Served::Nothing(why), patience)
    }

    fn new(served: Served, patience: Duration) -> Self {
        let state = Mutex::new(State { served, shut_since: None, inside: 0 });
        Self { state, opened: Condvar::new(), left: Condvar::new(), patience }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the gate is shut, but not for one that has been shut for long.
    pub(crate) fn enter(&self) -> Result<Pass<'_>> {
        let mut state = self.state();
        while let Some(since) = state.shut_since {
            let shut = since.elapsed();
            let Some(left) = self.patience.checked_sub(shut).filter(|left| !left.is_zero()) else {
                return Err(Error::NoView { shut });
            };
            (state, _) = self.opened.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        let database = match &state.served {
            Served::Store(database) => database.clone(),
            Served::Nothing(why) => return Err(Error::NotYet(why.clone())),
        };
        state.inside += 1;
        Ok(Pass { gate: self, database })
    }

    /// Returns when nobody is inside and nobody can come in.
    pub(crate) fn shut(&self) {
        let mut state = self.state();
        state.shut_since.get_or_insert_with(Instant::now);
        while state.inside > 0 {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn open(&self) {
        self.state().shut_since = None;
        self.opened.notify_all();
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.state().shut_since.is_some()
    }

    /// How long the gate has been shut, if it is, for longer than anybody waits.
    pub(crate) fn shut_for_long(&self) -> Option<Duration> {
        self.state().shut_since.map(|since| since.elapsed()).filter(|shut| *shut >= self.patience)
    }

    /// Who enters from now on reads this store.
    pub(crate) fn serve(&self, database: Arc<Database>) {
        // The last use of the one before may close it, which takes time.
        let before = std::mem::replace(&mut self.state().served, Served::Store(database));
        drop(before);
    }

    /// Says why there is nothing to read, while there is nothing.
    pub(crate) fn explain(&self, reason: &str) {
        if let Served::Nothing(why) = &mut self.state().served {
            reason.clone_into(why);
        }
    }

    /// What is served, for figures that no answer is made of.
    pub(crate) fn served(&self) -> Option<Arc<Database>> {
        match &self.state().served {
            Served::Store(database) => Some(database.clone()),
            Served::Nothing(_) => None,
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.inside -= 1;
        if state.inside == 0 && state.shut_since.is_some() {
            self.gate.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;

    use super::*;

    /// More than a machine that others use too takes for anything here.
    const LONG: Duration = Duration::from_secs(120);

    fn gate(dir: &tempfile::TempDir, patience: Duration) -> Gate {
        let gate = Gate::to_nothing("not yet".into(), patience);
        gate.serve(Database::open(dir.path(), &crate::Options::default()).unwrap());
        gate
    }

    #[test]
    fn whoever_comes_to_a_shut_gate_waits_and_gives_up_once_it_has_been_shut_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let opened = gate(&dir, LONG);
        let patient = &opened;
        patient.shut();
        thread::scope(|scope| {
            let (comes, has_come) = std::sync::mpsc::channel();
            let waiting = scope.spawn(move || {
                comes.send(()).unwrap();
                patient.enter().map(drop)
            });
            has_come.recv().unwrap();
            thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished(), "came in through a shut gate");
            patient.open();
            waiting.join().unwrap().unwrap();
        });
        drop(opened);
        let gate = gate(&dir, Duration::from_millis(200));
        gate.shut();
        let began = Instant::now();
        assert!(matches!(gate.enter(), Err(Error::NoView { .. })));
        assert!(began.elapsed() >= Duration::from_millis(190));
        assert!(gate.shut_for_long().is_some());
        let waits = (0..10).map(|_| {
            let began = Instant::now();
            assert!(matches!(gate.enter(), Err(Error::NoView { .. })));
            began.elapsed()
        });
        // A machine may stand still during one of them.
        assert!(waits.min().unwrap() < Duration::from_millis(100), "each waited anew");
    }

    #[test]
    fn shutting_waits_for_those_inside() {
        let dir = tempfile::tempdir().unwrap();
        let gate = gate(&dir, LONG);
        let pass = gate.enter().unwrap();
        thread::scope(|scope| {
            let shutting = scope.spawn(|| gate.shut());
            thread::sleep(Duration::from_millis(50));
            assert!(!shutting.is_finished(), "shut over the head of a reader");
            drop(pass);
            shutting.join().unwrap();
        });
    }

    #[test]
    fn neither_readers_nor_catch_ups_starve_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let gate = gate(&dir, LONG);
        let stop = AtomicBool::new(false);
        let entered: [AtomicU32; 4] = Default::default();
        thread::scope(|scope| {
            for count in &entered {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        drop(gate.enter().unwrap());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let began = Instant::now();
            let (mut shut, mut is_starved) = (0, true);
            while (shut < 200 || is_starved) && began.elapsed() < LONG {
                gate.shut();
                gate.open();
                shut += 1;
                is_starved = entered.iter().any(|it| it.load(Ordering::Relaxed) <= 200);
                thread::sleep(Duration::from_millis(1));
            }
            stop.store(true, Ordering::Relaxed);
            assert!(shut >= 200, "readers hold the gate open: it was shut {shut} times");
            assert!(!is_starved, "catch-ups keep the gate shut: {entered:?}");
        });
    }
}
