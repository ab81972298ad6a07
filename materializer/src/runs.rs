//! The runs in memory: their records, and which identities are stored where duplicates are to be expected.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use event::{EventKey, Header, Identity, Protocol, RunName, Sequence};
use store::{Run, RunNumber};

use crate::Result;

/// What is asked of the store. In tests of `apply`, a map.
pub trait Lookup {
    fn run(&self, name: &RunName) -> store::Result<Option<Run>>;

    /// Whether what comes of a run in this partition is to be dropped.
    fn is_gone(&self, name: &RunName, partition: u16) -> store::Result<bool>;

    /// The identities stored at one `order` of a run, or at one `order` and `sequence`.
    fn identities(&self, run: RunNumber, order: i64, sequence: Option<Sequence>) -> store::Result<Vec<Identity>>;

    fn holds_sample(&self, run: RunNumber, key: EventKey) -> store::Result<bool>;
}

impl Lookup for store::Writer {
    fn run(&self, name: &RunName) -> store::Result<Option<Run>> {
        store::Writer::run(self, name)
    }

    fn is_gone(&self, name: &RunName, partition: u16) -> store::Result<bool> {
        Ok(self.gone(name.hash(), partition)?.is_some())
    }

    fn identities(&self, run: RunNumber, order: i64, sequence: Option<Sequence>) -> store::Result<Vec<Identity>> {
        match sequence {
            Some(sequence) => self.identities_at_sequence(run, order, sequence),
            None => self.identities_at(run, order),
        }
    }

    fn holds_sample(&self, run: RunNumber, key: EventKey) -> store::Result<bool> {
        store::Writer::holds_sample(self, run, key)
    }
}

/// Where an event could have been stored before: by its protocol, an order, or an order and a sequence.
type Slot = (i64, Option<Sequence>);

/// Whether an event is new to its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    New,
    /// New, at the sequence of another event.
    Conflict,
    Duplicate,
}

/// One run, between two batches and within one.
#[derive(Debug)]
pub struct State {
    pub run: Run,
    /// The start by which the store's index lists the run; none while it is not stored.
    pub indexed: Option<i64>,
    pub changed: bool,
    used: u64,
    /// All identities of each slot that this batch touched, and of the newest order.
    slots: HashMap<Slot, HashSet<Identity>>,
    /// The samples of this batch.
    samples: HashSet<EventKey>,
}

impl State {
    /// Decides whether an event is new, and if so remembers it.
    ///
    /// An event later than everything in its run needs no look-up.
    pub fn admit(&mut self, header: &Header, key: EventKey, lookup: &impl Lookup) -> Result<Verdict> {
        let slot = match header.protocol {
            Protocol::Collect => (key.order, None),
            Protocol::Instance | Protocol::Delight | Protocol::Ingest | Protocol::Admin => {
                (key.order, Some(key.sequence))
            }
        };
        let is_later = self.run.summary.last.is_none_or(|last| match slot.1 {
            None => key.order > last.order,
            Some(sequence) => (key.order, sequence) > (last.order, last.sequence),
        });
        if !is_later && !self.slots.contains_key(&slot) {
            let stored = lookup.identities(self.run.number, slot.0, slot.1)?;
            self.slots.insert(slot, stored.into_iter().collect());
        }
        let identities = self.slots.entry(slot).or_default();
        let is_occupied = slot.1.is_some() && !identities.is_empty();
        Ok(match (identities.insert(key.identity), is_occupied) {
            (false, _) => Verdict::Duplicate,
            (true, true) => Verdict::Conflict,
            (true, false) => Verdict::New,
        })
    }

    /// Whether a sample is new. If so, remembers it.
    pub fn admit_sample(&mut self, key: EventKey, lookup: &impl Lookup) -> Result<bool> {
        if !self.samples.insert(key) {
            return Ok(false);
        }
        let is_later = self.run.samples.last.is_none_or(|last| key > last);
        Ok(is_later || !lookup.holds_sample(self.run.number, key)?)
    }

    fn committed(&mut self) {
        self.changed = false;
        self.samples.clear();
        let newest = self.run.summary.last;
        self.slots.retain(|slot, _| newest.is_some_and(|last| last.order == slot.0 && slot.1.is_none()));
    }
}

/// What is known of a record's run.
#[derive(Debug)]
pub enum Found<'a> {
    Here(&'a mut State),
    /// It was deleted or has expired: what comes of it is dropped.
    Gone,
    /// The key names no run.
    Bad(String),
}

/// Where a record's run is.
enum Loaded {
    Here,
    Gone,
    Bad(String),
    /// Neither in memory nor in the store.
    Nowhere(RunName),
}

/// The runs most recently written to.
#[derive(Debug)]
pub struct Runs {
    by_key: HashMap<Bytes, State>,
    /// Deleted runs that something came of lately.
    gone: HashSet<Bytes>,
    /// The keys of this batch: far fewer than are in memory.
    touched: Vec<Bytes>,
    limit: usize,
    batch: u64,
}

impl Runs {
    pub fn new(limit: usize) -> Self {
        Self { by_key: HashMap::new(), gone: HashSet::new(), touched: Vec::new(), limit, batch: 1 }
    }

    /// The run of a record's key, from memory or the store. `new_run` makes the record of a run seen for the first time.
    pub fn get(
        &mut self,
        key: &Bytes,
        partition: u16,
        lookup: &impl Lookup,
        new_run: impl FnOnce(&RunName) -> Run,
    ) -> Result<Found<'_>> {
        match self.load(key, lookup)? {
            Loaded::Here => {}
            Loaded::Gone => return Ok(Found::Gone),
            Loaded::Bad(reason) => return Ok(Found::Bad(reason)),
            Loaded::Nowhere(name) => {
                if lookup.is_gone(&name, partition)? {
                    self.gone.insert(Bytes::copy_from_slice(key));
                    return Ok(Found::Gone);
                }
                self.keep(key, new_run(&name), None);
            }
        }
        Ok(self.touch(key).map_or_else(|| Found::Bad("the run is not in memory".to_owned()), Found::Here))
    }

    /// The run of a record's key, if there is one.
    pub fn stored(&mut self, key: &Bytes, lookup: &impl Lookup) -> Result<Option<&mut State>> {
        self.load(key, lookup)?;
        Ok(self.touch(key))
    }

    /// Sees to it that a run is in memory which the store has.
    fn load(&mut self, key: &Bytes, lookup: &impl Lookup) -> Result<Loaded> {
        // Not `entry`: it would need the key's clone for every record.
        if self.by_key.contains_key(key) {
            return Ok(Loaded::Here);
        }
        if self.gone.contains(key) {
            return Ok(Loaded::Gone);
        }
        let name = match RunName::from_key(key) {
            Ok(name) => name,
            Err(error) => return Ok(Loaded::Bad(error.to_string())),
        };
        match lookup.run(&name) {
            Ok(Some(run)) => {
                let indexed = Some(run.started_at());
                self.keep(key, run, indexed);
                Ok(Loaded::Here)
            }
            Ok(None) => Ok(Loaded::Nowhere(name)),
            Err(collision @ store::Error::Collision { .. }) => Ok(Loaded::Bad(collision.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&mut self, key: &Bytes, run: Run, indexed: Option<i64>) {
        let state = State { run, indexed, changed: false, used: 0, slots: HashMap::new(), samples: HashSet::new() };
        // A copy, lest the key's slice pins the buffer it was cut from.
        self.by_key.insert(Bytes::copy_from_slice(key), state);
    }

    fn touch(&mut self, key: &Bytes) -> Option<&mut State> {
        let state = self.by_key.get_mut(key)?;
        if state.used != self.batch {
            state.used = self.batch;
            self.touched.push(Bytes::copy_from_slice(key));
        }
        Some(state)
    }

    /// Visits the runs that this batch has changed.
    pub fn each_changed(&mut self, mut visit: impl FnMut(&mut State) -> Result<()>) -> Result<()> {
        for key in &self.touched {
            if let Some(state) = self.by_key.get_mut(key).filter(|state| state.changed) {
                visit(state)?;
            }
        }
        Ok(())
    }

    /// To be called when the batch is stored.
    pub fn committed(&mut self) {
        self.batch += 1;
        for key in self.touched.drain(..) {
            if let Some(state) = self.by_key.get_mut(&key) {
                state.committed();
            }
        }
        if self.gone.len() > self.limit {
            self.gone.clear();
        }
        if self.by_key.len() > self.limit {
            let mut ages: Vec<u64> = self.by_key.values().map(|state| state.used).collect();
            let (_, middle, _) = ages.select_nth_unstable(self.limit / 2);
            let middle = *middle;
            self.by_key.retain(|_, state| state.used > middle);
        }
    }

    /// To be called when a batch was not stored, or when runs were removed: what is in memory is no longer what the store
    /// says.
    pub fn forget(&mut self) {
        self.by_key.clear();
        self.gone.clear();
        self.touched.clear();
    }
}
