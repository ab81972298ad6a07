//! Names of jobs and runs, and the canonical key of a run.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_128;

/// The longest job name or run id accepted, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} has {bytes} bytes; the limit is {MAX_NAME_BYTES}")]
    TooLong { what: &'static str, bytes: usize },
    #[error("not a run key: expected the JSON array [\"job\",\"run\"] in canonical form")]
    NotARunKey,
    #[error("not a run id of this server")]
    NotARunHash,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(name: &str) -> Result<Self, Error> {
                match name.len() {
                    0 => Err(Error::Empty { what: $what }),
                    bytes if bytes > MAX_NAME_BYTES => Err(Error::TooLong { what: $what, bytes }),
                    _ => Ok(Self(name.into())),
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The logical application: what runs periodically. Any UTF-8 but the empty text.
    JobName,
    "job_name"
);
name_type!(
    /// One execution of a job, Spark's App ID for most agents. Any UTF-8 but the empty text.
    RunId,
    "run_id"
);

/// What names a run: the pair of job and run, compared as bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    pub job: JobName,
    pub run: RunId,
}

impl RunName {
    pub fn new(job: &str, run: &str) -> Result<Self, Error> {
        Ok(Self { job: JobName::new(job)?, run: RunId::new(run)? })
    }

    /// The journal's key: the JSON array `["job","run"]` without spaces, with JSON's shortest escapes.
    pub fn to_key(&self) -> Vec<u8> {
        serde_json::to_vec(&(self.job.as_str(), self.run.as_str()))
            .unwrap_or_else(|e| unreachable!("two strings are always JSON: {e}"))
    }

    /// Reads a journal key. Another spelling of the same names is refused, so that equal runs have equal keys.
    pub fn from_key(key: &[u8]) -> Result<Self, Error> {
        let (job, run): (String, String) = serde_json::from_slice(key).map_err(|_| Error::NotARunKey)?;
        let name = Self::new(&job, &run)?;
        if name.to_key() == key { Ok(name) } else { Err(Error::NotARunKey) }
    }

    pub fn hash(&self) -> RunHash {
        RunHash(xxh3_128(&self.to_key()).to_be_bytes())
    }
}

/// The hash of a run's key. Its text form is the opaque `id` of the native API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunHash(pub [u8; 16]);

impl fmt::Display for RunHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for RunHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::NotARunHash)?;
        Ok(Self(bytes.try_into().map_err(|_| Error::NotARunHash)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_key_and_a_run_hash_round_trip(job in ".{1,40}", run in ".{1,40}") {
            let name = RunName::new(&job, &run).unwrap();
            prop_assert_eq!(&RunName::from_key(&name.to_key()).unwrap(), &name);
            prop_assert_eq!(name.hash().to_string().parse::<RunHash>().unwrap(), name.hash());
        }

        #[test]
        fn different_runs_have_different_keys(a in ".{1,6}", b in ".{1,6}", c in ".{1,6}", d in ".{1,6}") {
            prop_assume!((&a, &b) != (&c, &d));
            prop_assert_ne!(RunName::new(&a, &b).unwrap().to_key(), RunName::new(&c, &d).unwrap().to_key());
        }
    }

    #[test]
    fn another_spelling_of_a_key_is_refused() {
        for key in [
            &br#"["a", "b"]"#[..],
            br#"["\u0061","b"]"#,
            br#"["a","b","c"]"#,
            br#"["a"]"#,
            br#"["","b"]"#,
            b"",
            b"\xff",
        ] {
            assert!(RunName::from_key(key).is_err(), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn empty_and_overlong_names_are_refused() {
        assert_eq!(JobName::new(""), Err(Error::Empty { what: "job_name" }));
        assert!(RunId::new(&"x".repeat(MAX_NAME_BYTES)).is_ok());
        assert!(RunId::new(&"x".repeat(MAX_NAME_BYTES + 1)).is_err());
    }
}
