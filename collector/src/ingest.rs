//! The route of events that no Spark listener sends: one a line.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use event::{RunName, ingest};
use serde::Deserialize;
use service::Problem;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::{Form, Stored};
use crate::respond::answer;
use crate::{Collector, Error};

/// `POST /v1/ingest/{job}/{run}`.
pub fn router(collector: Arc<Collector>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(lines)).with_state(collector)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct IngestQuery {
    /// The sequence of the first line, from 0. Default 0.
    #[serde(default)]
    first_sequence: i64,
    /// Which attempt of the run the events are of, from 0 to 2147483647. Attempts lie behind each other, and each
    /// has its own sequences from 0. Default 0.
    #[serde(default)]
    attempt: u32,
}

/// Take in events, one JSON object a line, plain or gzip. A 200 means that all of them are durable.
///
/// The line i, from 0, has the sequence `first_sequence + i`; blank lines are none. The same event at the same sequence
/// is stored once, however often it is sent: after a cut, ask `GET` of the same path where to go on. A line that is no
/// event keeps its sequence and becomes a dead letter, unless the body begins at 0 and no line is one.
#[utoipa::path(post, path = "/v1/ingest/{job}/{run}", tag = "ingest",
    params(("job" = String, Path, description = "Name of the job, percent-encoded; 1 to 4,096 bytes of UTF-8"),
        ("run" = String, Path, description = "Id of the run, percent-encoded; 1 to 4,096 bytes of UTF-8"), IngestQuery),
    request_body(content = String, content_type = "application/x-ndjson", description = "Events, each a JSON object with a text member `Event`",
        example = "{\"Event\":\"SparkListenerLogStart\",\"Spark Version\":\"4.0.0\"}\n"),
    responses(
        (status = 200, description = "Durable", body = Stored),
        (status = 400, description = "No line is an event of a body that begins at 0, or a bad path or query; sending it again will not help", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body stopped before its end", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large; send fewer lines in each body", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Neither gzip nor plain", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; send it again after `Retry-After` seconds", body = Problem, content_type = "application/problem+json"),
    ))]
async fn lines(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    match target(&mut parts).await {
        Ok(target) => answer(&collector, Form::Ingest(target), Request::from_parts(parts, body)).await,
        Err(error) => {
            collector.refuse(&error);
            error.problem().into_response()
        }
    }
}

async fn target(parts: &mut axum::http::request::Parts) -> Result<ingest::Target, Error> {
    let Path((job, run)) = Path::<(String, String)>::from_request_parts(parts, &())
        .await
        .map_err(|rejection| Error::Target(rejection.body_text()))?;
    let Query(IngestQuery { first_sequence, attempt }) =
        Query::from_request_parts(parts, &()).await.map_err(|rejection| Error::Target(rejection.body_text()))?;
    let run = RunName::new(&job, &run).map_err(|error| Error::Target(error.to_string()))?;
    if first_sequence < 0 {
        return Err(Error::Target(format!("first_sequence is {first_sequence}; it begins at 0")));
    }
    if attempt > ingest::MAX_ATTEMPT {
        return Err(Error::Target(format!("attempt is {attempt}; it goes from 0 to {}", ingest::MAX_ATTEMPT)));
    }
    Ok(ingest::Target { run, first_sequence, attempt })
}
