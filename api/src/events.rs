//! The events of a run: streamed whole, or page by page.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use service::Problem;
use store::{Line, Run};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;
use crate::export::{self, Part};
use crate::extract::{Id, Named, Parameters, Query};
use crate::scan::{Scan, Start, Visit};
use crate::{Api, RunKey, cursor, stream};

const NDJSON: &str = "application/x-ndjson";
const NEXT_CURSOR: HeaderName = HeaderName::from_static("emberlog-next-cursor");
pub const MAX_LIMIT: usize = 10_000;
/// A page also ends behind this size: it is in memory as a whole.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// How long a page waits for its turn to scan.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

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

pub const LIMIT: (&str, &str) = ("limit", "a number from 1 to 10000");
pub const CURSOR: (&str, &str) = ("cursor", "the `Emberlog-Next-Cursor` of the page before");
pub const SKIP: (&str, &str) = ("skip", "a number of lines");

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
///
/// A stream that the server cuts has no proper end (in HTTP/1.1 the last chunk is missing): go on with `skip`.
#[utoipa::path(get, path = "/job/{job}/{run}/events", tag = "events",
    params(("job" = String, Path, description = "Name of the job, percent-encoded"), ("run" = String, Path, description = "Id of the run as its agent sent it, percent-encoded"), EventsQuery),
    responses(
        (status = 200, description = "Events, one a line", body = String, content_type = "application/x-ndjson",
            headers(("Emberlog-Next-Cursor" = String, description = "Of a page that is not the last: the cursor of the next"),
                ("Link" = String, description = "Of a page that is not the last: the next, as `rel=\"next\"`"))),
        (status = 400, description = "A bad parameter, or an event log of a run with several applications", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many answers are being streamed, or the store cannot be read yet", body = Problem, content_type = "application/problem+json"),
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
///
/// A stream that the server cuts has no proper end (in HTTP/1.1 the last chunk is missing): go on with `skip`.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "events", params(("id" = String, Path, description = "The run's `id`"), EventsQuery),
    responses(
        (status = 200, description = "Events, one a line", body = String, content_type = "application/x-ndjson",
            headers(("Emberlog-Next-Cursor" = String, description = "Of a page that is not the last: the cursor of the next"),
                ("Link" = String, description = "Of a page that is not the last: the next, as `rel=\"next\"`"))),
        (status = 400, description = "A bad parameter, or an event log of a run with several applications", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many answers are being streamed, or the store cannot be read yet", body = Problem, content_type = "application/problem+json"),
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
    describe(&mut headers);
    let Part { begin, end } = select(&run, query, &mut headers)?;
    let start = match (after, begin) {
        (Some(after), _) => Start::After(after),
        (None, Some(begin)) => Start::At(begin),
        (None, None) => Start::Run,
    };
    let scan = Scan { hash, what: Line::Event, start, end, skip: query.skip };
    let body = match query.limit {
        Some(limit @ 1..=MAX_LIMIT) => page(api, scan, limit, &more(query), &mut headers).await?,
        Some(limit) => return Err(Error::BadRequest(format!("limit is {limit}; it goes from 1 to {MAX_LIMIT}"))),
        None if method == Method::HEAD => stream::of_head(),
        None => stream::events(api, scan)?,
    };
    Ok((headers, body).into_response())
}

/// What the body is.
pub fn describe(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    // Events hold what anyone sent; a browser must not take them for a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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

/// A page of events or samples.
pub async fn page(
    api: &Arc<Api>,
    mut scan: Scan,
    limit: usize,
    more: &str,
    headers: &mut HeaderMap,
) -> Result<Body, Error> {
    let (hash, what, shared) = (scan.hash, scan.what, api.clone());
    // No stream's place: slow clients may hold all of those. Streams give their threads to others at every turn.
    let thread = timeout(PAGE_PATIENCE, api.scans.clone().acquire_owned()).await;
    let thread = thread.ok().and_then(Result::ok).ok_or(Error::Busy)?;
    let ask = move |reader: &store::Reader| {
        let began = std::time::Instant::now();
        let (mut lines, mut count) = (Vec::new(), 0);
        let ended = scan.walk(reader, |event| {
            if count == limit || lines.len() >= MAX_PAGE_BYTES {
                return Visit::Left;
            }
            lines.extend_from_slice(event);
            lines.push(b'\n');
            count += 1;
            Visit::Taken
        })?;
        drop(thread);
        shared.metrics.scanned(began.elapsed(), count, lines.len());
        Ok((lines, scan.place().filter(|_| !ended)))
    };
    let (lines, next) = api.ask(ask).await?;
    if let Some(next) = next {
        let (name, next) = match what {
            Line::Event => ("events", cursor::of_event(next)),
            Line::Sample => ("samples", cursor::of_sample(next)),
        };
        // By its id: names need not be ASCII.
        let link = format!("</v1/runs/{hash}/{name}?limit={limit}&cursor={next}{more}>; rel=\"next\"");
        let value = |text: String| HeaderValue::try_from(text).map_err(|e| Error::Failed(e.to_string()));
        headers.insert(header::LINK, value(link)?);
        headers.insert(NEXT_CURSOR, value(next)?);
    }
    Ok(Body::from(lines))
}
