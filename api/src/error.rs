//! What can go wrong with a read, and the answer to it.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use service::Problem;
use service::problem::bounded;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("too many answers are being streamed; try again")]
    Busy,
    #[error("what was written there is not applied yet; try again")]
    NotApplied,
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("a read failed: {0}")]
    Failed(String),
}

impl Error {
    pub fn no_job(job: &str) -> Self {
        Self::NotFound(format!("There is no job {:?}. GET /job lists the jobs.", bounded(job)))
    }

    pub fn no_run(job: &str, run: &str) -> Self {
        let (job, run) = (bounded(job), bounded(run));
        Self::NotFound(format!("The job {job:?} has no run {run:?}. GET /job/{{job}} lists the runs of a job."))
    }

    pub fn no_run_id(id: &str) -> Self {
        Self::NotFound(format!(
            "There is no run with the id {:?}. GET /v1/runs?job= lists runs with their ids.",
            bounded(id)
        ))
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "Not Found"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Too Many Streams"),
            Self::NotApplied => (StatusCode::SERVICE_UNAVAILABLE, "Not Applied Yet"),
            Self::Store(store::Error::NotYet(_) | store::Error::NoView { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "Store Not Ready")
            }
            Self::Store(_) | Self::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, title) = self.status();
        match self {
            Self::Store(store::Error::NotYet(_)) => {
                unavailable(status, title, "The store cannot be read yet; /health/ready says why.")
            }
            Self::Store(store::Error::NoView { .. }) => {
                unavailable(status, title, "No whole view of the store could be taken in time; try again.")
            }
            Self::Store(_) | Self::Failed(_) => {
                tracing::error!(error = %self, "cannot answer a read");
                Problem::new(status, title, "The store could not be read; the server's log says why.").into_response()
            }
            Self::Busy | Self::NotApplied => {
                Problem::new(status, title, self.to_string()).retry_after(Duration::from_secs(1)).into_response()
            }
            Self::NotFound(_) | Self::BadRequest(_) => Problem::new(status, title, self.to_string()).into_response(),
        }
    }
}

fn unavailable(status: StatusCode, title: &'static str, message: &str) -> Response {
    Problem::new(status, title, message).retry_after(Duration::from_secs(1)).into_response()
}
