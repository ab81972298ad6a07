//! Why a request was not answered with 200, and the answer that says so.

use std::time::Duration;

use axum::http::StatusCode;
use bytesize::ByteSize;
use service::Problem;

use crate::budget::Exhausted;
use crate::gzip;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("This collector is shutting down. Send the payload again.")]
    ShuttingDown,
    #[error("This collector holds as much as it may. Send the payload again later.")]
    Exhausted,
    #[error("The payload could not be stored in time: {0}. Send it again later.")]
    NotInTime(&'static str),
    #[error("The journal cannot take events now. Send the payload again later.")]
    Journal(#[from] journal::Error),
    #[error("Something failed inside the collector; its log says what. Send the payload again later.")]
    Internal(&'static str),
    #[error(
        "The body has more than {} ({limit} bytes) as sent. Send fewer messages in each payload, or raise the \
         collector's limit.", ByteSize(*limit as u64)
    )]
    TooLargeOnWire { limit: usize },
    #[error(
        "The body has more than {} ({limit} bytes) decompressed. Send fewer messages in each payload, or raise the \
         collector's limit.", ByteSize(*limit as u64)
    )]
    TooLargeDecompressed { limit: usize },
    #[error("The payload has more than {limit} messages. Send fewer in each payload.")]
    TooManyMessages { limit: usize },
    #[error("The body's encoding {0:?} is not known here. Send it with gzip, or as it is.")]
    Encoding(String),
    #[error("The body stopped before its end; the collector waited {} s for more.", waited.as_secs())]
    Stalled { waited: Duration },
    #[error("The body ended before it was complete.")]
    Incomplete,
    #[error("The body is not valid gzip: {0}.")]
    Gzip(gzip::Error),
    #[error("The payload's `data` is not valid gzip: {0}.")]
    Data(gzip::Error),
    #[error("This is not a payload: {0}.")]
    Payload(event::collect::Error),
    #[error("The path or the query cannot be used: {0}.")]
    Target(String),
}

impl From<Exhausted> for Error {
    fn from(Exhausted: Exhausted) -> Self {
        Self::Exhausted
    }
}

impl From<gzip::Error> for Error {
    fn from(error: gzip::Error) -> Self {
        match error {
            gzip::Error::Exhausted => Self::Exhausted,
            gzip::Error::TooLarge { limit } => Self::TooLargeDecompressed { limit },
            error => Self::Gzip(error),
        }
    }
}

impl From<event::collect::Error> for Error {
    fn from(error: event::collect::Error) -> Self {
        match error {
            event::collect::Error::TooManyMessages => Self::TooManyMessages { limit: event::collect::MAX_MESSAGES },
            error => Self::Payload(error),
        }
    }
}

impl Error {
    /// Of the gzip inside a payload.
    pub fn of_data(error: gzip::Error) -> Self {
        match error.into() {
            Self::Gzip(error) => Self::Data(error),
            other => other,
        }
    }

    /// The body was read, and no decoder will ever make more of it.
    pub fn is_of_what_came(&self) -> bool {
        self.status().is_client_error() && !matches!(self, Self::Stalled { .. } | Self::Incomplete)
    }

    /// The payload's lines were read, so that its secrets are known to be there.
    pub fn is_of_its_lines(&self) -> bool {
        use event::collect::Error::{TooManyRejected, TooMuchRedacted};
        matches!(self, Self::TooManyMessages { .. } | Self::Payload(TooManyRejected { .. } | TooMuchRedacted))
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::ShuttingDown | Self::Exhausted | Self::NotInTime(_) | Self::Journal(_) | Self::Internal(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooLargeOnWire { .. } | Self::TooLargeDecompressed { .. } | Self::TooManyMessages { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Stalled { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Incomplete | Self::Gzip(_) | Self::Data(_) | Self::Payload(_) | Self::Target(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// A fixed set, for labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutting_down",
            Self::Exhausted => "over_budget",
            Self::NotInTime(_) => "not_in_time",
            Self::Journal(_) => "journal",
            Self::Internal(_) => "internal",
            Self::TooLargeOnWire { .. } => "too_large_on_wire",
            Self::TooLargeDecompressed { .. } => "too_large_decompressed",
            Self::TooManyMessages { .. } => "too_many_messages",
            Self::Encoding(_) => "encoding",
            Self::Stalled { .. } => "stalled",
            Self::Incomplete => "incomplete",
            Self::Gzip(_) | Self::Data(_) => "gzip",
            Self::Payload(error) => error.reason(),
            Self::Target(_) => "bad_target",
        }
    }

    /// Whether a sample of the body helps to find out what the client does wrong.
    pub fn is_worth_a_sample(&self) -> bool {
        self.status().is_client_error() && !matches!(self, Self::Stalled { .. } | Self::Incomplete | Self::Target(_))
    }

    pub fn problem(&self) -> Problem {
        let status = self.status();
        let problem = Problem::new(status, status.canonical_reason().unwrap_or("Error"), self.to_string());
        match self {
            // Memory is free again within moments; a journal that is away takes longer to come back.
            Self::ShuttingDown | Self::Exhausted => problem.retry_after(Duration::from_secs(1)),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => problem.retry_after(Duration::from_secs(3)),
            _ => problem,
        }
    }
}
