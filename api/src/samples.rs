//! The samples of a run: figures of memory and the like, which the Delight agent sends if it is told to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use service::Problem;
use store::Line;
use utoipa::IntoParams;

use crate::error::Error;
use crate::events::{self, CURSOR, LIMIT, MAX_LIMIT, SKIP};
use crate::extract::{Id, Parameters, Query};
use crate::scan::{Scan, Start};
use crate::{Api, cursor, stream};

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
///
/// A stream that the server cuts has no proper end (in HTTP/1.1 the last chunk is missing): go on with `skip`.
#[utoipa::path(get, path = "/v1/runs/{id}/samples", tag = "samples", params(("id" = String, Path, description = "The run's `id`"), SamplesQuery),
    responses(
        (status = 200, description = "Samples, one a line", body = String, content_type = "application/x-ndjson",
            headers(("Emberlog-Next-Cursor" = String, description = "Of a page that is not the last: the cursor of the next"),
                ("Link" = String, description = "Of a page that is not the last: the next, as `rel=\"next\"`"))),
        (status = 400, description = "A bad parameter", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many answers are being streamed, or the store cannot be read yet", body = Problem, content_type = "application/problem+json"),
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
    let mut headers = HeaderMap::new();
    events::describe(&mut headers);
    let scan =
        Scan { hash, what: Line::Sample, start: after.map_or(Start::Run, Start::After), end: None, skip: query.skip };
    let body = match query.limit {
        Some(limit @ 1..=MAX_LIMIT) => events::page(&api, scan, limit, "", &mut headers).await?,
        Some(limit) => return Err(Error::BadRequest(format!("limit is {limit}; it goes from 1 to {MAX_LIMIT}"))),
        None if method == Method::HEAD => stream::of_head(),
        None => stream::events(&api, scan)?,
    };
    Ok((headers, body).into_response())
}
