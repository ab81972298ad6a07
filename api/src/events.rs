//! The events of a run.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use serde::Deserialize;
use service::Problem;
use store::{Line, Run};
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;
use crate::export::{self, Part};
use crate::extract::{Id, Named, Parameters, Query};
use crate::lines::{self, CURSOR, LIMIT, Lines, SKIP};
use crate::scan::{Scan, Start};
use crate::{Api, RunKey, cursor};

/// Which events are asked for, and in which form.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Events of the page, from 1 to 10000; a page also ends at 8 MiB. Without it, all events are streamed.
    limit: Option<usize>,
    /// The `Emberlog-Next-Cursor` of the page before.
    cursor: Option<String>,
    /// Events to leave out first: as many as whole lines came before a stream was cut.
    #[serde(default)]
    skip: u64,
    /// `eventlog`: one application's events, as a file that the Spark History Server opens. Default `ndjson`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// Only the events of this application of the run, counted from 1.
    application: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Ndjson,
    Eventlog,
}

impl Parameters for EventsQuery {
    const TAKEN: &'static [(&'static str, &'static str)] = &[
        LIMIT,
        CURSOR,
        SKIP,
        ("format", "`ndjson` or `eventlog`"),
        ("application", "a number from 1, that of an application of the run"),
    ];
}

/// The events of a run, one a line, byte for byte as they were sent, in the order of the run.
#[utoipa::path(get, path = "/job/{job}/{run}/events", tag = "events",
    params(Named, EventsQuery),
    responses(
        Lines,
        (status = 400, description = "A bad parameter, or an event log of a run with several applications", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn events_by_name(
    State(api): State<Arc<Api>>,
    method: Method,
    Named(key): Named,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Error> {
    answer(&api, &method, key, &query).await
}

/// The events of a run, one a line, byte for byte as they were sent, in the order of the run.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "events", params(Id, EventsQuery),
    responses(
        Lines,
        (status = 400, description = "A bad parameter, or an event log of a run with several applications", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn events(
    State(api): State<Arc<Api>>,
    method: Method,
    Id(key): Id,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Error> {
    answer(&api, &method, key, &query).await
}

async fn answer(api: &Arc<Api>, method: &Method, key: RunKey, query: &EventsQuery) -> Result<Response, Error> {
    let after = query.cursor.as_deref().map(cursor::event).transpose()?;
    let hash = key.hash();
    let run = api.run(key).await?;
    let mut headers = HeaderMap::new();
    let Part { begin, end } = select(&run, query, &mut headers)?;
    let start = match (after, begin) {
        (Some(after), _) => Start::After(after),
        (None, Some(begin)) => Start::At(begin),
        (None, None) => Start::Run,
    };
    let scan = Scan { hash, what: Line::Event, start, end, skip: query.skip };
    lines::answer(api, method, scan, query.limit, &more(query), headers).await
}

/// The part of the run that is asked for; of an event log also the file's name.
fn select(run: &Run, query: &EventsQuery, headers: &mut HeaderMap) -> Result<Part, Error> {
    if query.format == Format::Ndjson && query.application.is_none() {
        return Ok(Part { begin: None, end: None });
    }
    let (part, application) = export::part(run, query.application)?;
    if query.format == Format::Eventlog {
        let name = export::file_name(run, application.as_ref());
        let disposition = format!("attachment; filename=\"{name}\"");
        let disposition = HeaderValue::try_from(disposition).map_err(|e| Error::Failed(e.to_string()))?;
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(part)
}

/// What the link of a page to the next has besides limit and cursor.
fn more(query: &EventsQuery) -> String {
    let mut more = String::new();
    if query.format == Format::Eventlog {
        more.push_str("&format=eventlog");
    }
    if let Some(application) = query.application {
        more.push_str(&format!("&application={application}"));
    }
    more
}
