//! The routes of the documented protocol.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use service::Problem;
use utoipa::openapi::Paths;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::{Form, Stored};
use crate::respond::answer;
use crate::{Collector, schema};

/// `POST /collect`, and the same at `/collect/` and `/`, where agents are configured to post.
pub fn router(collector: Arc<Collector>) -> OpenApiRouter {
    let mut router = OpenApiRouter::new()
        .routes(routes!(collect))
        .routes(routes!(collect_with_slash))
        .routes(routes!(collect_at_root))
        .with_state(collector);
    describe(&mut router.get_openapi_mut().paths);
    router
}

/// The other paths are answered as the first is.
fn describe(paths: &mut Paths) {
    let collect = paths.paths.get("/collect").and_then(|item| item.post.as_ref());
    let Some(responses) = collect.map(|operation| operation.responses.clone()) else { return };
    for operation in paths.paths.values_mut().filter_map(|item| item.post.as_mut()) {
        operation.responses = responses.clone();
    }
}

/// Take in a payload of events, JSON or gzip. A 200 means that all of it is durable.
#[utoipa::path(post, path = "/collect", tag = "ingest", request_body = schema::Payload, responses(
    (status = 200, description = "Durable", body = Stored),
    (status = 400, description = "Not a payload; sending it again will not help", body = Problem, content_type = "application/problem+json"),
    (status = 408, description = "The body stopped before its end", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "Too large; send fewer messages in each payload", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "Neither gzip nor plain", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Not stored; send it again after `Retry-After` seconds", body = Problem, content_type = "application/problem+json"),
))]
async fn collect(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Form::Collect, request).await
}

/// The same as `POST /collect`.
#[utoipa::path(post, path = "/collect/", tag = "ingest", request_body = schema::Payload,
    responses((status = 200, description = "Durable", body = Stored)))]
async fn collect_with_slash(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Form::Collect, request).await
}

/// The same as `POST /collect`.
#[utoipa::path(post, path = "/", tag = "ingest", request_body = schema::Payload,
    responses((status = 200, description = "Durable", body = Stored)))]
async fn collect_at_root(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Form::Collect, request).await
}
