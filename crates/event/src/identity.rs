//! What makes two received events the same event.
//!
//! The hashes are part of the record format: a retry after an upgrade must find its first copy.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::{Sequence, spark};

/// The hash by which copies of one event are found inside their run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Identity(pub u64);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Identity {
    /// What stays the same when an agent sends an event again with other bytes: of the events whose
    /// objects Spark goes on changing, the members that name them; of all others, the content.
    pub fn of_occurrence(event: &[u8]) -> Self {
        match spark::occurrence(event) {
            Some(occurrence) => Self(xxh3_64(occurrence.as_bytes())),
            None => Self(xxh3_64(event)),
        }
    }

    /// Of what is no event: all of its bytes.
    pub fn of_content(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }

    /// The `copy`-th equal occurrence inside one payload, from 0. The first keeps the occurrence's own identity.
    pub fn of_copy(self, copy: u32) -> Self {
        if copy == 0 {
            return self;
        }
        let mut hasher = Xxh3::new();
        hasher.update(&self.0.to_be_bytes());
        hasher.update(&copy.to_be_bytes());
        Self(hasher.digest())
    }

    /// An event of a listener that counts exactly: its instance and the sequence name it.
    pub fn of_instance(instance_id: &str, sequence: Sequence) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(instance_id.as_bytes());
        hasher.update(&[0]);
        hasher.update(&sequence.0.to_be_bytes());
        Self(hasher.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen with the record format (docs/record-format.md).
    #[test]
    fn identities_match_the_published_vectors() {
        let end = br#"{"Event":"SparkListenerApplicationEnd","Timestamp":1795229709392}"#;
        let start = br#"{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0,"Task Info":{"Task ID":7,"Index":7,"Attempt":0,"Launch Time":1795229690000,"Finish Time":0}}"#;
        let occurrence = Identity::of_occurrence(end);
        let instance = Identity::of_instance("6ab6a1c4-33a5-4a33-8d0f-4b4c0fbb8f0f", Sequence(12));
        assert_eq!(occurrence.to_string(), "93823c1d3bcae2f6");
        assert_eq!(occurrence.of_copy(0), occurrence);
        assert_eq!(occurrence.of_copy(1).to_string(), "aab5c5a0da702580");
        assert_eq!(Identity::of_occurrence(start).to_string(), "175c0a5cb315e1a3");
        assert_eq!(instance.to_string(), "db1115477e8da54d");
    }

    #[test]
    fn an_event_that_spark_changed_meanwhile_keeps_its_identity() {
        let early = br#"{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0,"Task Info":{"Task ID":7,"Launch Time":5,"Finish Time":0,"Accumulables":[]}}"#;
        let late = br#"{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0,"Task Info":{"Task ID":7,"Launch Time":5,"Finish Time":9,"Accumulables":[{"ID":1}]}}"#;
        let other = br#"{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0,"Task Info":{"Task ID":8,"Launch Time":5,"Finish Time":0,"Accumulables":[]}}"#;
        assert_eq!(Identity::of_occurrence(early), Identity::of_occurrence(late));
        assert_ne!(Identity::of_occurrence(early), Identity::of_occurrence(other));
        let failed = |id: i64, trace: &str| {
            let event = format!(
                r#"{{"Event":"SparkListenerJobEnd","Job ID":{id},"Completion Time":5,"Job Result":{{"Result":"JobFailed","Exception":{{"Message":"{trace}"}}}}}}"#
            );
            Identity::of_occurrence(event.as_bytes())
        };
        assert_eq!(failed(1, "at a"), failed(1, "at a, at b"));
        assert_ne!(failed(1, "at a"), failed(2, "at a"));
    }
}
