//! Deleting runs: as a record of the journal, since only the journal's order says what came before a deletion.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use event::{Deletion, JobName, ReceivedAt, RunHash};
use journal::Record;
use serde::Serialize;
use service::Problem;
use service::auth::{Access, Granted, Routes};
use service::problem::bounded;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::Position;
use crate::{Collector, Error};

/// Routes for administrators.
pub fn router(collector: Arc<Collector>) -> Routes {
    let router = OpenApiRouter::new().routes(routes!(delete_run)).routes(routes!(delete_job));
    Access::Admin.of(router.with_state(collector))
}

/// A deletion that is durable. Whether there was anything to delete shows only when it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Deleted {
    /// Where the deletion is in the journal, in each partition. Once a reader has applied these offsets, it serves nothing of
    /// what was deleted.
    pub journal: Vec<Position>,
}

/// Delete a run: its events and its record. What is sent of it later is dropped.
#[utoipa::path(delete, path = "/v1/runs/{id}", tag = "administration",
    params(
        ("id" = String, Path, description = "The run's `id`"),
        ("reopen" = Option<bool>, Query, description = "Empty the run, and take in again what is sent of it later"),
    ),
    responses(
        (status = 200, description = "Durable; gone from all answers within a second", body = Deleted),
        (status = 400, description = "An unknown parameter", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not the id of a run", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not durable; try again after `Retry-After` seconds", body = Problem, content_type = "application/problem+json"),
    ))]
async fn delete_run(
    State(collector): State<Arc<Collector>>,
    token: Option<Extension<Granted>>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
) -> Response {
    let id = id.ok().and_then(|Path(id)| id.parse::<RunHash>().ok());
    let Some(id) = id else {
        let message = "This is not the `id` of a run; GET /v1/runs?job=NAME tells it.";
        return Problem::new(StatusCode::NOT_FOUND, "Not Found", message).into_response();
    };
    let reopen = match parameters(query.as_deref()).as_deref() {
        Some([]) => false,
        Some([(name, value)]) if name == "reopen" && (value == "true" || value == "false") => value == "true",
        _ => return bad_request("The only parameter is reopen, which is true or false."),
    };
    answer(&collector, &Deletion::Run { id, reopen }, token).await
}

/// Delete all runs that a job has so far. Runs that begin later are taken in.
#[utoipa::path(delete, path = "/v1/jobs", tag = "administration",
    params(("job" = String, Query, description = "Name of the job")),
    responses(
        (status = 200, description = "Durable; gone from all answers within a second", body = Deleted),
        (status = 400, description = "No job is named", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not durable; try again after `Retry-After` seconds", body = Problem, content_type = "application/problem+json"),
    ))]
async fn delete_job(
    State(collector): State<Arc<Collector>>,
    token: Option<Extension<Granted>>,
    RawQuery(query): RawQuery,
) -> Response {
    let job = match parameters(query.as_deref()).as_deref() {
        Some([(name, value)]) if name == "job" => JobName::new(value).ok(),
        _ => None,
    };
    match job {
        Some(job) => answer(&collector, &Deletion::Job(job), token).await,
        None => bad_request("Name the job: DELETE /v1/jobs?job=NAME, percent-encoded, and nothing else."),
    }
}

/// Names and values; none if they are not percent-encoded UTF-8.
fn parameters(query: Option<&str>) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    let pairs = query.unwrap_or_default().split('&').filter(|it| !it.is_empty());
    pairs.map(|pair| pair.split_once('=').and_then(|(name, value)| Some((decode(name)?, decode(value)?)))).collect()
}

async fn answer(collector: &Arc<Collector>, deletion: &Deletion, token: Option<Extension<Granted>>) -> Response {
    // Who deleted what: one line tells it.
    let token = token.as_ref().map(|Extension(granted)| &*granted.name);
    let (run, job, reopen) = match deletion {
        Deletion::Run { id, reopen } => (Some(id.to_string()), None, Some(*reopen)),
        Deletion::Job(job) => (None, Some(bounded(job.as_str())), None),
    };
    match collector.delete(deletion).await {
        Ok(deleted) => {
            tracing::info!(token, run, job, reopen, "deleted");
            Json(deleted).into_response()
        }
        Err(error) => {
            tracing::warn!(token, run, job, reopen, reason = error.reason(), "not deleted: {error}");
            let message = "The deletion may not be durable. Send it again: it can be repeated.";
            let problem = Problem::new(error.status(), "Service Unavailable", message);
            (problem.retry_after(std::time::Duration::from_secs(3))).into_response()
        }
    }
}

fn bad_request(message: &str) -> Response {
    Problem::new(StatusCode::BAD_REQUEST, "Bad Request", message).into_response()
}

impl Collector {
    async fn delete(&self, deletion: &Deletion) -> Result<Deleted, Error> {
        if self.is_shutting_down() {
            return Err(Error::ShuttingDown);
        }
        let deadline = Instant::now() + self.options.answer_within;
        let record = Record {
            key: deletion.to_key().into(),
            header: Deletion::header(ReceivedAt::now()).into(),
            value: bytes::Bytes::new(),
        };
        let positions = timeout_at(deadline, self.events.publish_to_all(record)).await;
        let positions = positions.map_err(|_| Error::NotInTime("the journal did not answer"))??;
        self.metrics.deletions.inc();
        let position = |it: &journal::Position| Position { partition: it.partition, offset: it.offset };
        Ok(Deleted { journal: positions.iter().map(position).collect() })
    }
}
