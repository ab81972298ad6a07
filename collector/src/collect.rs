//! The routes of the documented protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use bytes::Bytes;
use service::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::Stored;
use crate::letters::{self, Origin};
use crate::{Collector, Error, schema};

/// `POST /collect`, and the same at `/collect/` and `/`, where agents are configured to post.
pub fn router(collector: Arc<Collector>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(collect))
        .routes(routes!(collect_with_slash))
        .routes(routes!(collect_at_root))
        .with_state(collector)
}

/// Take in a payload of events, JSON or gzip. A 200 means that all of it is durable.
#[utoipa::path(post, path = "/collect", tag = "ingest", request_body = schema::Payload, responses(
    (status = 200, description = "Durable", body = Stored),
    (status = 400, description = "Not a payload; sending it again will not help", body = Problem),
    (status = 408, description = "The body stopped before its end", body = Problem),
    (status = 413, description = "Too large; send fewer messages in each payload", body = Problem),
    (status = 415, description = "Neither gzip nor plain", body = Problem),
    (status = 503, description = "Not stored; send it again after `Retry-After` seconds", body = Problem),
))]
async fn collect(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, request).await
}

/// The same as `POST /collect`.
#[utoipa::path(post, path = "/collect/", tag = "ingest", request_body = schema::Payload,
    responses((status = 200, description = "Durable", body = Stored)))]
async fn collect_with_slash(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, request).await
}

/// The same as `POST /collect`.
#[utoipa::path(post, path = "/", tag = "ingest", request_body = schema::Payload,
    responses((status = 200, description = "Durable", body = Stored)))]
async fn collect_at_root(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, request).await
}

async fn answer(collector: &Arc<Collector>, request: Request) -> Response {
    let (http::request::Parts { uri, headers, extensions, .. }, body) = request.into_parts();
    let source = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let origin = Origin { path: uri.path().to_owned(), source, headers };
    let response = match collector.accept(body, &origin).await {
        Ok(stored) => (StatusCode::OK, Json(stored)).into_response(),
        Err((error, body)) => {
            collector.metrics.refusals.with_label_values(&[error.reason()]).inc();
            collector.explain(&error, &body, &origin);
            error.problem().into_response()
        }
    };
    collector.metrics.requests.with_label_values(&[response.status().as_str()]).inc();
    response
}

impl Collector {
    /// Logs a refusal and keeps a sample, both only now and then: floods must fill neither.
    fn explain(self: &Arc<Self>, error: &Error, body: &Bytes, origin: &Origin) {
        let is_sample = error.is_worth_a_sample();
        let (seen, hash) = match is_sample {
            true => (&self.samples, letters::sample_hash(error, body)),
            false => (&self.troubles, letters::sample_hash(error, &Bytes::new())),
        };
        let Some(count) = seen.offer(hash, Instant::now()) else { return };
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let (status, source) = (error.status().as_u16(), origin.source);
        tracing::warn!(status, reason = error.reason(), ?source, count, cause, "{error}");
        if !is_sample {
            return;
        }
        let record = letters::record(letters::of_refused(error, body, count, origin, &self.options.redaction));
        let collector = self.clone();
        tokio::spawn(async move {
            let kept = tokio::time::timeout(Duration::from_secs(5), collector.dead_letters.publish(vec![record])).await;
            if !matches!(kept, Ok(Ok(_))) {
                tracing::debug!("a sample of what was refused could not be kept");
            }
        });
    }
}
