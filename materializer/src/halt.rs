//! When going on would skip or mix records: what is told about it, and the order that leads out.
//!
//! `HALTED` in the store's folder says why nothing is applied any more. `RESUME` is what a person ordered; a running
//! materializer follows it at once, one that is down at its next start. Both are small JSON files.

use std::path::Path;

use serde::{Deserialize, Serialize};
use store::generation::Generations;

use crate::{Error, Result};

const HALTED: &str = "HALTED";
const RESUME: &str = "RESUME";

/// The states in which nothing is applied, as labels and in `HALTED`.
pub const STATES: [&str; 8] =
    ["out_of_range", "cut_back", "rewritten", "repartitioned", "damaged", "configuration", "poison", "failed"];

/// Why nothing is applied any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// One of [`STATES`].
    pub state: String,
    pub message: String,
}

/// What a person wants to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Go on although records are missing, or the journal is another one: the runs concerned are marked.
    pub accept_gap: bool,
}

impl Halt {
    pub fn of(error: &Error) -> Self {
        Self { state: state(error).to_owned(), message: error.to_string() }
    }

    /// Whether trying again can not help: something has to be accepted.
    pub fn needs_acceptance(&self) -> bool {
        ["out_of_range", "cut_back", "rewritten", "repartitioned"].contains(&self.state.as_str())
    }
}

pub fn state(error: &Error) -> &'static str {
    use journal::Error as Journal;
    match error {
        Error::Gap { applied: wanted, start, .. } | Error::Journal(Journal::OutOfRange { wanted, start, .. }) => {
            if wanted < start {
                "out_of_range"
            } else {
                "cut_back"
            }
        }
        Error::AnotherJournal { .. } | Error::Journal(Journal::Rewritten { .. }) => "rewritten",
        Error::Partitions { .. } | Error::Journal(Journal::Repartitioned { .. }) => "repartitioned",
        Error::Journal(Journal::Damaged(_)) => "damaged",
        Error::Journal(Journal::Configuration(_)) => "configuration",
        Error::TooMuchPoison { .. } => "poison",
        _ => "failed",
    }
}

/// The two files.
#[derive(Debug, Clone)]
pub struct Files(Generations);

impl Files {
    pub fn new(dir: &Path) -> Self {
        Self(Generations::at(dir))
    }

    pub fn halted(&self) -> Result<Option<Halt>> {
        Ok(self.0.read(HALTED)?)
    }

    pub fn set_halted(&self, halt: &Halt) -> Result<()> {
        Ok(self.0.replace(HALTED, halt)?)
    }

    pub fn clear_halted(&self) -> Result<()> {
        Ok(self.0.remove(HALTED)?)
    }

    pub fn order(&self) -> Result<Option<Order>> {
        Ok(self.0.read(RESUME)?)
    }

    pub fn set_order(&self, order: Order) -> Result<()> {
        Ok(self.0.replace(RESUME, &order)?)
    }

    pub fn clear_order(&self) -> Result<()> {
        Ok(self.0.remove(RESUME)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_an_error_has_is_among_those_of_the_metric() {
        let gap = |applied| Error::Gap { partition: 0, applied, start: 5, end: 9 };
        let cases = [
            (gap(4), "out_of_range", true),
            (gap(10), "cut_back", true),
            (Error::AnotherJournal { partition: 0, offset: 1 }, "rewritten", true),
            (Error::Partitions { found: 2, expected: 1 }, "repartitioned", true),
            (journal::Error::Damaged(String::new()).into(), "damaged", false),
            (journal::Error::Configuration(String::new()).into(), "configuration", false),
            (Error::TooMuchPoison { count: 2, limit: 1, reason: String::new() }, "poison", false),
            (store::Error::Damaged(String::new()).into(), "failed", false),
        ];
        assert_eq!(cases.each_ref().map(|(_, state, _)| *state), STATES);
        for (error, state, needs_acceptance) in cases {
            let halt = Halt::of(&error);
            assert_eq!((halt.state.as_str(), halt.needs_acceptance()), (state, needs_acceptance), "{error}");
        }
    }

    #[test]
    fn an_order_is_read_as_it_was_given_and_nonsense_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        assert_eq!((files.order().unwrap(), files.halted().unwrap()), (None, None));
        let (order, halt) = (Order { accept_gap: true }, Halt { state: "poison".into(), message: "much".into() });
        files.set_order(order).unwrap();
        files.set_halted(&halt).unwrap();
        assert_eq!((files.order().unwrap(), files.halted().unwrap()), (Some(order), Some(halt)));
        files.clear_order().unwrap();
        files.clear_order().unwrap();
        assert_eq!(files.order().unwrap(), None);
        std::fs::write(dir.path().join(RESUME), r#"{"accept_gap":true,"accept_all":true}"#).unwrap();
        assert!(files.order().unwrap_err().to_string().contains("RESUME"));
    }
}
