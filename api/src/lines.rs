//! Answers of lines, one event or sample each: streamed whole, or page by page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use service::openapi::problem;
use store::Line;
use tokio::time::timeout;
use utoipa::openapi::{self, ContentBuilder, HeaderBuilder, ResponseBuilder, ResponsesBuilder};
use utoipa::{IntoResponses, PartialSchema};

use crate::error::Error;
use crate::scan::{Scan, Visit};
use crate::{Api, cursor, stream};

const NDJSON: &str = "application/x-ndjson";
const NEXT_CURSOR: HeaderName = HeaderName::from_static("emberlog-next-cursor");
const MAX_LIMIT: usize = 10_000;
/// A page also ends behind this size: it is in memory as a whole.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// How long a page waits for its turn to scan.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

pub const LIMIT: (&str, &str) = ("limit", "a number from 1 to 10000");
pub const CURSOR: (&str, &str) = ("cursor", "the `Emberlog-Next-Cursor` of the page before");
pub const SKIP: (&str, &str) = ("skip", "a number of lines");

/// What every such route answers, for its description.
pub struct Lines;

impl IntoResponses for Lines {
    fn responses() -> BTreeMap<String, openapi::RefOr<openapi::Response>> {
        let text = || Some(String::schema());
        let of_a_page = |what: &str| {
            let description = format!("Of a page that is not the last: {what}");
            HeaderBuilder::new().schema(text()).description(Some(description)).build()
        };
        let lines = ResponseBuilder::new()
            .description(
                "The lines. A stream that the server cuts has no proper end (in HTTP/1.1 the last chunk is missing): go on \
                 with `skip`.",
            )
            .content(NDJSON, ContentBuilder::new().schema(text()).build())
            .header("Emberlog-Next-Cursor", of_a_page("the cursor of the next"))
            .header("Link", of_a_page("the next, as `rel=\"next\"`"));
        let busy = "Too many answers are being streamed, or the store cannot be read yet";
        let responses = ResponsesBuilder::new()
            .response("200", lines)
            .response("404", problem("No such run"))
            .response("503", problem(busy));
        responses.build().responses
    }
}

/// `more` is what the link of a page to the next has besides limit and cursor.
pub async fn answer(
    api: &Arc<Api>,
    method: &Method,
    scan: Scan,
    limit: Option<usize>,
    more: &str,
    mut headers: HeaderMap,
) -> Result<Response, Error> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    // Events hold what anyone sent; a browser must not take them for a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let body = match limit {
        Some(limit @ 1..=MAX_LIMIT) => page(api, scan, limit, more, &mut headers).await?,
        Some(limit) => return Err(Error::BadRequest(format!("limit is {limit}; it goes from 1 to {MAX_LIMIT}"))),
        None if method == Method::HEAD => stream::of_head(),
        None => stream::events(api, scan)?,
    };
    Ok((headers, body).into_response())
}

async fn page(
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
