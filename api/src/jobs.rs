//! Lists of jobs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use service::Problem;
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;
use crate::extract::{NoParameters, Parameters, Query};
use crate::stream::{self, Page};
use crate::{Api, cursor};

/// How much of a list is asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Entries of the page, from 1 to 1000. Default 100.
    limit: Option<usize>,
    /// The `next` of the page before.
    cursor: Option<String>,
}

impl Parameters for JobsQuery {
    const TAKEN: &'static [(&'static str, &'static str)] = &[LIMIT, CURSOR];
}

/// One page of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"jobs": [{"job_name": "etl"}, {"job_name": "report/daily"}], "next": null}))]
pub struct Jobs {
    jobs: Vec<JobBody>,
    /// The `cursor` of the next page; null on the last.
    next: Option<String>,
}

/// What runs periodically.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobBody {
    job_name: String,
}

pub const LIMIT: (&str, &str) = ("limit", "a number from 1 to 1000");
pub const CURSOR: (&str, &str) = ("cursor", "the `next` of the page before");
pub const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// The page size asked for.
pub fn limit(asked: Option<usize>) -> Result<usize, Error> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(Error::BadRequest(format!("limit is {other}; it goes from 1 to {MAX_LIMIT}"))),
    }
}

/// Cuts the one entry more that tells whether there is a next page.
pub fn cut<T>(entries: &mut Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Option<String> {
    let more = entries.len() > limit;
    entries.truncate(limit);
    entries.last().filter(|_| more).map(cursor)
}

/// The names of all jobs, sorted by their bytes.
#[utoipa::path(get, path = "/job", tag = "jobs", responses(
    (status = 200, description = "Names of jobs", body = Vec<String>, example = json!(["etl", "report/daily"])),
    (status = 503, description = "Too many answers are being streamed, or the store cannot be read yet", body = Problem, content_type = "application/problem+json"),
))]
pub async fn all_jobs(State(api): State<Arc<Api>>, _: Query<NoParameters>) -> Result<Response, Error> {
    let page = |reader: &store::Reader, after: Option<&String>, limit| {
        let names = reader.view(|view| view.jobs(after.map(String::as_str), limit))?;
        Ok(Page { next: names.last().cloned(), entries: names })
    };
    stream::json_array(api, page).await
}

/// Jobs, sorted by the bytes of their names.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobsQuery), responses(
    (status = 200, description = "One page of jobs", body = Jobs),
    (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
    (status = 400, description = "A bad limit or cursor", body = Problem, content_type = "application/problem+json"),
))]
pub async fn jobs(State(api): State<Arc<Api>>, Query(query): Query<JobsQuery>) -> Result<Json<Jobs>, Error> {
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(cursor::job).transpose()?;
    let ask = move |reader: &store::Reader| reader.view(|view| Ok(view.jobs(after.as_deref(), limit + 1)?));
    let mut names = api.ask(ask).await?;
    let next = cut(&mut names, limit, |name| cursor::of_job(name));
    Ok(Json(Jobs { jobs: names.into_iter().map(|job_name| JobBody { job_name }).collect(), next }))
}
