//! Standing still until a person has decided.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Materializer, State};
use crate::halt::{Halt, Order};
use crate::start::{WAIT, doubts};
use crate::{Applier, Error, Result};

impl Materializer {
    /// Says why nothing is applied, and waits for a person's order, or for a store that was rebuilt.
    pub(super) fn halt(&mut self, error: &Error, stop: &AtomicBool) -> Result<()> {
        let halt = Halt::of(error);
        // What reads on in the background would tell the same again.
        self.subscriber = None;
        // Before anybody hears of it: who does may order at once what leads out.
        if let Err(error) = self.files.set_halted(&halt) {
            tracing::warn!(%error, "the reason of a halt cannot be written down");
        }
        tracing::error!(%error, state = halt.state, "the materializer has halted; reads go on");
        self.metrics.halted.with_label_values(&[&halt.state]).set(1);
        (self.hooks.state)(State::Halted(error));
        let ended = self.wait_for_a_person(stop);
        self.metrics.halted.with_label_values(&[&halt.state]).set(0);
        ended
    }

    fn wait_for_a_person(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut said = String::new();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            match self.files.order() {
                Ok(Some(order)) => return self.resume(order, stop),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "not an order"),
            }
            match self.ready_generation() {
                // Its offsets are those of the journal as it is now; there is nothing to wait for.
                Ok(Some((next, writer))) => return self.adopt(&next, Applier::open(writer)?),
                Ok(None) => {}
                // It may be the very reason of the halt: to halt anew for it would never end.
                Err(error) if error.to_string() == said => {}
                Err(error) => {
                    said = error.to_string();
                    tracing::warn!(%error, "it cannot be seen whether there is a store that was rebuilt");
                }
            }
            std::thread::sleep(WAIT);
        }
    }

    fn resume(&mut self, order: Order, stop: &AtomicBool) -> Result<()> {
        tracing::warn!(accept_gap = order.accept_gap, "going on as ordered");
        self.poison.reset();
        let result = if order.accept_gap { self.retrying_gap(stop) } else { Ok(()) };
        // Done or impossible: an order is never followed twice.
        self.files.clear_order()?;
        result
    }

    fn retrying_gap(&mut self, stop: &AtomicBool) -> Result<()> {
        loop {
            match self.accept_gap() {
                Err(error) if error.is_retryable() && !stop.load(Ordering::Relaxed) => {
                    tracing::warn!(%error, "the journal cannot be compared yet; it is tried again");
                    self.subscriber = None;
                    std::thread::sleep(self.options.retry);
                }
                result => return result,
            }
        }
    }

    /// Partitions that are not as they were applied are read anew from their start: what is stored is recognised.
    fn accept_gap(&mut self) -> Result<()> {
        let mut subscriber = (self.hooks.connect)()?;
        let extents = subscriber.extents()?;
        let doubts = doubts(subscriber.as_mut(), &extents, self.applier.progress())?;
        let partitions: Vec<u32> = doubts.iter().filter_map(Error::partition).collect();
        let runs = self.applier.accept_gap(extents.iter().map(|it| it.partition), &partitions)?;
        tracing::warn!(?partitions, runs, "a gap was accepted; runs that had not finished are marked");
        self.subscriber = Some(subscriber);
        Ok(())
    }
}
