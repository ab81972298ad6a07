//! What a record of the kind `delete` deletes: its key says it.

use serde::{Deserialize, Serialize};

use crate::{Header, JobName, Kind, Protocol, ReceivedAt, RunHash};

/// Stands in every partition, since only the partition of a run knows it, and the run's id alone does not tell which that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// The run of this id; `reopen`: it is emptied, and what comes later is taken in again.
    Run { id: RunHash, reopen: bool },
    /// All runs that the job has so far.
    Job(JobName),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the key of a deletion: expected {{\"run\":\"ID\"}}, {{\"run\":\"ID\",\"reopen\":true}} or {{\"job\":\"NAME\"}}"
)]
pub struct Invalid;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reopen: bool,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    job: Option<std::borrow::Cow<'a, str>>,
}

impl Deletion {
    pub fn to_key(&self) -> Vec<u8> {
        let key = match self {
            Self::Run { id, reopen } => Key { run: Some(id.to_string()), reopen: *reopen, job: None },
            Self::Job(name) => Key { run: None, reopen: false, job: Some(name.as_str().into()) },
        };
        serde_json::to_vec(&key).unwrap_or_else(|e| unreachable!("texts are always JSON: {e}"))
    }

    pub fn from_key(key: &[u8]) -> Result<Self, Invalid> {
        match serde_json::from_slice(key).map_err(|_| Invalid)? {
            Key { run: Some(id), reopen, job: None } => Ok(Self::Run { id: id.parse().map_err(|_| Invalid)?, reopen }),
            Key { run: None, reopen: false, job: Some(name) } => {
                Ok(Self::Job(JobName::new(&name).map_err(|_| Invalid)?))
            }
            _ => Err(Invalid),
        }
    }

    /// The header of its records.
    pub fn header(received_at: ReceivedAt) -> Vec<u8> {
        let header = Header {
            kind: Kind::Delete,
            protocol: Protocol::Admin,
            generated_at: None,
            sequence: None,
            identity: None,
            received_at,
            instance: None,
        };
        let mut text = Vec::new();
        header.write(&mut text);
        text
    }

    /// Whether a header begins as those of deletions do, without reading all of it.
    pub fn is_announced_by(header: &[u8]) -> bool {
        header.starts_with(b"1 delete ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunName;

    /// Frozen with the record format (docs/record-format.md).
    #[test]
    fn keys_and_headers_match_the_published_vectors() {
        let id = RunName::new("spark-pi", "local-1795229682121").unwrap().hash();
        for (deletion, key) in [
            (Deletion::Run { id, reopen: false }, format!(r#"{{"run":"{id}"}}"#)),
            (Deletion::Run { id, reopen: true }, format!(r#"{{"run":"{id}","reopen":true}}"#)),
            (Deletion::Job(JobName::new("a \"b\"").unwrap()), r#"{"job":"a \"b\""}"#.to_owned()),
        ] {
            assert_eq!(String::from_utf8(deletion.to_key()).unwrap(), key);
            assert_eq!(Deletion::from_key(key.as_bytes()), Ok(deletion));
        }
        let header = Deletion::header(ReceivedAt(1_795_229_683_500));
        assert_eq!(header, b"1 delete admin - - - 1795229683500 -");
        assert!(Deletion::is_announced_by(&header));
    }

    #[test]
    fn what_deletes_nothing_or_two_things_is_refused() {
        for key in [
            "",
            "{}",
            r#"["a","b"]"#,
            r#"{"run":"x"}"#,
            r#"{"job":""}"#,
            r#"{"job":"a","reopen":true}"#,
            r#"{"job":"a","all":1}"#,
        ] {
            assert_eq!(Deletion::from_key(key.as_bytes()), Err(Invalid), "{key}");
        }
    }
}
