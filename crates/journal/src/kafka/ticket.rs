//! One publication on its way: every record of it carries the ticket, and the last delivery report ends it.

use std::sync::Mutex;
use std::sync::PoisonError;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::budget::Lease;
use crate::Position;

/// Why a publication failed, by its first record that did.
pub type Outcome = Result<Vec<Position>, KafkaError>;

#[derive(Debug)]
pub struct Ticket {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: usize,
    positions: Vec<Position>,
    failed: Option<KafkaError>,
    /// Held until the last report, whoever stopped waiting; or until the last reference, if not all records were sent.
    lease: Option<Lease>,
    done: Option<oneshot::Sender<Outcome>>,
}

impl Ticket {
    pub fn new(records: usize, lease: Lease) -> (Self, oneshot::Receiver<Outcome>) {
        let (done, outcome) = oneshot::channel();
        let state = State { left: records, positions: Vec::new(), failed: None, lease: Some(lease), done: Some(done) };
        (Self { state: Mutex::new(state) }, outcome)
    }

    /// The delivery report of one record. An offset is not known of a record that a retry found to be there already.
    pub fn report(&self, report: Result<(u32, Option<u64>), KafkaError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match report {
            Ok((partition, Some(offset))) => state.saw(partition, offset),
            Ok((_, None)) => {}
            // What the others died of says nothing: the first is the cause.
            Err(error) if state.failed.as_ref().is_none_or(is_consequence) => state.failed = Some(error),
            Err(_) => {}
        }
        state.left -= 1;
        if state.left == 0
            && let Some(done) = state.done.take()
        {
            let outcome = match state.failed.take() {
                Some(error) => Err(error),
                None => Ok(std::mem::take(&mut state.positions)),
            };
            // Whoever has the answer can publish as much again at once.
            drop(state.lease.take());
            let _ = done.send(outcome);
        }
    }
}

impl State {
    fn saw(&mut self, partition: u32, offset: u64) {
        match self.positions.iter_mut().find(|it| it.partition == partition) {
            Some(position) => position.offset = position.offset.max(offset),
            None => self.positions.push(Position { partition, offset }),
        }
    }
}

fn is_consequence(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::super::budget::Budget;
    use super::*;

    #[test]
    fn the_budget_is_given_back_before_the_answer_and_not_before_the_last_report() {
        let budget = Budget::new(10, IntGauge::new("bytes", "Bytes.").unwrap());
        let (ticket, outcome) = Ticket::new(2, budget.take(10).unwrap());
        // As librdkafka holds it, beyond the last report.
        let ticket = std::sync::Arc::new(ticket);
        ticket.report(Ok((0, Some(1))));
        assert!(budget.take(1).is_err());
        ticket.report(Ok((0, Some(2))));
        assert_eq!(outcome.blocking_recv().unwrap().unwrap(), [Position { partition: 0, offset: 2 }]);
        assert!(budget.take(10).is_ok());
    }
}
