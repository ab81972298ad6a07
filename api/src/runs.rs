//! Lists of runs, and one run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use event::{JobName, ReceivedAt};
use serde::{Deserialize, Serialize};
use service::Problem;
use store::{Reader, RunCursor};
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;
use crate::extract::{Id, Job, NoParameters, Parameters, Query};
use crate::jobs::{CURSOR, LIMIT, cut, limit};
use crate::run::{Clock, RunBody};
use crate::stream::{self, Page};
use crate::{Api, cursor};

/// Which runs are asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Name of the job.
    job: String,
    /// Entries of the page, from 1 to 1000. Default 100.
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

impl Parameters for RunsQuery {
    const TAKEN: &'static [(&'static str, &'static str)] =
        &[("job", "the name of a job, percent-encoded; GET /job lists them"), LIMIT, CURSOR];
    const NEEDED: Option<&'static str> = Some("job");
}

/// One page of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Runs {
    runs: Vec<RunBody>,
    /// The `cursor` of the next page; null on the last.
    next: Option<String>,
}

/// The ids of all runs of a job as its agents sent them, oldest first.
#[utoipa::path(get, path = "/job/{job}", tag = "runs", params(Job),
    responses(
        (status = 200, description = "Ids of runs", body = Vec<String>, example = json!(["local-1571838229751"])),
        (status = 400, description = "The name is not percent-encoded UTF-8", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many answers are being streamed, or the store cannot be read yet", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn all_runs_of_job(
    State(api): State<Arc<Api>>,
    Job(job): Job,
    _: Query<NoParameters>,
) -> Result<Response, Error> {
    let page = move |reader: &Reader, after: Option<&RunCursor>, limit| {
        reader.view(|view| {
            if after.is_none() && !view.has_job(job.as_str())? {
                return Err(Error::no_job(job.as_str()));
            }
            let runs = view.runs(job.as_str(), after.copied(), limit)?;
            Ok(Page {
                next: runs.last().map(|run| run.cursor),
                entries: runs.into_iter().map(|run| run.run_id).collect(),
            })
        })
    };
    stream::json_array(api, page).await
}

/// Runs of a job, oldest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(RunsQuery), responses(
    (status = 200, description = "One page of runs", body = Runs),
    (status = 400, description = "No job, or a bad limit or cursor", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
))]
pub async fn runs(State(api): State<Arc<Api>>, Query(query): Query<RunsQuery>) -> Result<Json<Runs>, Error> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(cursor::run).transpose()?;
    let job = JobName::new(&query.job).map_err(|_| Error::no_job(&query.job))?;
    let lost_after = api.options.lost_after;
    let ask = move |reader: &Reader| {
        reader.view(|view| {
            if !view.has_job(job.as_str())? {
                return Err(Error::no_job(job.as_str()));
            }
            let mut entries = view.runs(job.as_str(), after, limit + 1)?;
            let next = cut(&mut entries, limit, |entry| cursor::of_run(entry.cursor));
            let mut runs = Vec::new();
            for entry in entries {
                let Some(run) = view.run(entry.cursor.hash)? else { continue };
                let through = view.applied(run.number.partition)?.map(|applied| applied.through);
                runs.push(RunBody::of(&run.chronicle(), &Clock { now: ReceivedAt::now(), through, lost_after })?);
            }
            Ok(Runs { runs, next })
        })
    };
    Ok(Json(api.ask(ask).await?))
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs", params(Id), responses(
    (status = 200, description = "The run", body = RunBody),
    (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
))]
pub async fn run(State(api): State<Arc<Api>>, Id(key): Id, _: Query<NoParameters>) -> Result<Json<RunBody>, Error> {
    let (run, through) = api.run_and_time(key).await?;
    let clock = Clock { now: ReceivedAt::now(), through, lost_after: api.options.lost_after };
    Ok(Json(RunBody::of(&run.chronicle(), &clock)?))
}
