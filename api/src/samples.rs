//! The samples of a run: figures of memory and the like, which the Delight agent sends if it is told to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use service::Problem;
use store::Line;
use utoipa::IntoParams;

use crate::error::Error;
use crate::extract::{Id, Parameters, Query};
use crate::lines::{self, CURSOR, LIMIT, Lines, SKIP};
use crate::scan::{Scan, Start};
use crate::{Api, cursor};

/// Which samples are asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SamplesQuery {
    /// Samples of the page, from 1 to 10000; a page also ends at 8 MiB. Without it, all samples are streamed.
    limit: Option<usize>,
    /// The `Emberlog-Next-Cursor` of the page before.
    cursor: Option<String>,
    /// Samples to leave out first: as many as whole lines came before a stream was cut.
    #[serde(default)]
    skip: u64,
}

impl Parameters for SamplesQuery {
    const TAKEN: &'static [(&'static str, &'static str)] = &[LIMIT, CURSOR, SKIP];
}

/// The samples of a run, one a line, as they were sent, in the order of their times.
#[utoipa::path(get, path = "/v1/runs/{id}/samples", tag = "samples", params(Id, SamplesQuery),
    responses(
        Lines,
        (status = 400, description = "A bad parameter", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn samples(
    State(api): State<Arc<Api>>,
    method: Method,
    Id(key): Id,
    Query(query): Query<SamplesQuery>,
) -> Result<Response, Error> {
    let after = query.cursor.as_deref().map(cursor::sample).transpose()?;
    let hash = key.hash();
    // A run without samples has none; one that is not there is told so.
    api.run(key).await?;
    let start = after.map_or(Start::Run, Start::After);
    let scan = Scan { hash, what: Line::Sample, start, end: None, skip: query.skip };
    lines::answer(&api, &method, scan, query.limit, "", HeaderMap::new()).await
}
