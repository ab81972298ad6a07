//! Records that cannot be applied: made safe in the dead letters, and a reason to halt when there are too many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::ReceivedAt;
use event::dead_letter::{DeadLetter, Kind, Origin};
use journal::{Publisher, Record};
use tokio::runtime::Handle;

use crate::{Error, Poison, Result};

/// Makes poison records safe in the dead letters.
pub type Quarantine = Box<dyn FnMut(&[Poison]) -> Result<(), journal::Error> + Send>;

/// Writes poison records to a journal of dead letters; returns when they are durable.
pub fn quarantine(dead_letters: Arc<dyn Publisher>, runtime: Handle) -> Quarantine {
    Box::new(move |poison: &[Poison]| {
        let records = poison.iter().map(dead_letter).collect();
        runtime.block_on(dead_letters.publish(records)).map(|_| ())
    })
}

fn dead_letter(poison: &Poison) -> Record {
    let mut letter = DeadLetter::new(Kind::Record, "cannot_be_applied", &poison.reason, ReceivedAt::now());
    letter.origin = Some(Origin {
        partition: poison.partition,
        offset: poison.offset,
        header: String::from_utf8_lossy(&poison.record.header).into_owned(),
    });
    let letter = letter.with_value(poison.record.value.clone());
    Record { key: poison.record.key.clone(), header: letter.header().into(), value: letter.value }
}

/// How many records may be quarantined within an hour. More are not accidents: somebody else writes to the topic.
#[derive(Debug)]
pub struct Limit {
    limit: u64,
    count: u64,
    since: Instant,
}

impl Limit {
    const WINDOW: Duration = Duration::from_secs(3600);

    pub fn new(limit: u64) -> Self {
        Self { limit, count: 0, since: Instant::now() }
    }

    /// Begins anew: a person has looked at it.
    pub fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Counts records that are safe in the dead letters already.
    pub fn count(&mut self, poison: &[Poison]) -> Result<()> {
        let Some(last) = poison.last() else { return Ok(()) };
        if self.since.elapsed() > Self::WINDOW {
            self.reset();
        }
        self.count += poison.len() as u64;
        if self.count <= self.limit {
            return Ok(());
        }
        let reason = format!("{} at offset {} of partition {}", last.reason, last.offset, last.partition);
        Err(Error::TooMuchPoison { count: self.count, limit: self.limit, reason })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_record_too_many_halts_until_a_person_has_looked() {
        let record = Record { key: Bytes::new(), header: Bytes::new(), value: Bytes::new() };
        let poison = vec![Poison { partition: 3, offset: 7, reason: "no header".into(), record }; 2];
        let mut limit = Limit::new(3);
        limit.count(&poison).unwrap();
        limit.count(&[]).unwrap();
        let error = limit.count(&poison).unwrap_err().to_string();
        assert!(error.contains("4 records") && error.contains("no header at offset 7 of partition 3"), "{error}");
        assert!(limit.count(&poison[..1]).is_err());
        limit.reset();
        limit.count(&poison).unwrap();
    }
}
