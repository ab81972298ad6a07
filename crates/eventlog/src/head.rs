//! What the beginning of a log says of its application.

use event::spark::{Lifecycle, lifecycle};

use crate::{Chunk, Error, Log, LogReader, Result};

/// Spark writes ApplicationStart behind at most some executors and the environment, which has a tenth of a megabyte.
const MAX_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// Of which run a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The job's name: `App Name`, or `unnamed`.
    pub name: String,
    /// The run's id: `App ID`, or what the log is called.
    pub id: String,
    /// `App Attempt ID` if it is a number, else 0.
    pub attempt: u32,
}

/// The beginning of a log, as far as its application's start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// None before its start was written.
    pub application: Option<Application>,
    /// The environment names a listener that sends the same events.
    pub has_listener: bool,
}

enum Stop {
    Seen,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Head {
    pub fn read(log: &Log) -> Result<Self> {
        let (mut head, mut seen) = (Self::default(), 0);
        let mut look = |chunk: Chunk| {
            seen += chunk.bytes.len();
            chunk.bytes.split(|b| *b == b'\n').for_each(|line| head.line(&log.app, line));
            if head.application.is_some() || seen >= MAX_BYTES { Err(Stop::Seen) } else { Ok(()) }
        };
        match LogReader::new(0, CHUNK_BYTES).read(log, &mut |_| (), &mut look) {
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Seen) | Ok(_) => Ok(head),
        }
    }

    /// Takes in one line; `app` is what the log is called.
    pub fn line(&mut self, app: &str, line: &[u8]) {
        const ENVIRONMENT: &[u8] = br#"{"Event":"SparkListenerEnvironmentUpdate""#;
        const LISTENERS: [&str; 3] = ["io.emberlog.EmberlogListener", "spark.emberlog.url", "spark.delight."];
        if self.application.is_some() {
            return;
        }
        if line.starts_with(ENVIRONMENT) {
            self.has_listener |= LISTENERS.iter().any(|it| memchr::memmem::find(line, it.as_bytes()).is_some());
        }
        let Some(Lifecycle::ApplicationStart(start)) = lifecycle(line) else { return };
        let named = |name: Option<String>, other: &str| name.filter(|it| !it.is_empty()).unwrap_or(other.to_owned());
        self.application = Some(Application {
            name: named(start.name, "unnamed"),
            id: named(start.app_id, app),
            attempt: start.attempt.and_then(|it| it.parse().ok()).filter(|it| *it <= i32::MAX as u32).unwrap_or(0),
        });
    }
}
