//! Answers to requests that bring something, and what is said and kept of those that are refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use bytes::Bytes;

use crate::accept::Form;
use crate::letters::{self, Origin};
use crate::{Collector, Error};

/// Takes a request's body in.
pub async fn answer(collector: &Arc<Collector>, form: Form, request: Request) -> Response {
    let (origin, body) = origin(request);
    let response = match collector.accept(form, body, &origin).await {
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

/// Where a request comes from, and its body.
pub fn origin(request: Request) -> (Origin, Body) {
    let (http::request::Parts { uri, headers, extensions, .. }, body) = request.into_parts();
    let source = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    (Origin { path: uri.path().to_owned(), source, headers }, body)
}

impl Collector {
    /// Counts a request that is refused before its body is looked at.
    pub(crate) fn refuse(&self, error: &Error) {
        self.metrics.refusals.with_label_values(&[error.reason()]).inc();
        self.metrics.requests.with_label_values(&[error.status().as_str()]).inc();
    }

    /// Logs a refusal and keeps a sample, both only now and then: floods must fill neither.
    pub(crate) fn explain(self: &Arc<Self>, error: &Error, body: &Bytes, origin: &Origin) {
        self.explain_as(error, body, origin, error.is_worth_a_sample() && !origin.is_replay());
    }

    /// The same for what is no sample because it is kept anyway.
    pub(crate) fn explain_buried(self: &Arc<Self>, error: &Error, origin: &Origin) {
        self.explain_as(error, &Bytes::new(), origin, false);
    }

    fn explain_as(self: &Arc<Self>, error: &Error, body: &Bytes, origin: &Origin, is_sample: bool) {
        let (seen, hash) = match is_sample {
            true => (&self.samples, letters::sample_hash(error, body)),
            false => (&self.troubles, letters::sample_hash(error, &Bytes::new())),
        };
        let Some(count) = seen.offer(hash, Instant::now()) else { return };
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let (status, source) = (error.status().as_u16(), origin.source.map(tracing::field::display));
        tracing::warn!(status, reason = error.reason(), source, count, cause, "{error}");
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
