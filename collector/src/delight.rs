//! The routes of the Delight agent. It takes anything but 200 for a failure and sends the same again, for ever, every half
//! second, and 429 for an order to stop for good. So what can never be taken in is acknowledged as a dead letter, and
//! only what may succeed later is answered 503.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use event::delight::Route;
use service::Problem;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accept::{Form, Stored};
use crate::body::{self, Received};
use crate::letters::{self, Origin};
use crate::respond::origin;
use crate::{Collector, Error, schema};

/// `POST /collector/{bulk,heartbeat,ack,metrics}`, and the same with a slash behind, or with two before the last segment, as
/// agents ask for whose `spark.delight.collector.url` ends in a slash.
pub fn router(collector: Arc<Collector>) -> OpenApiRouter {
    let paths =
        |name: &str| [format!("/collector/{name}/"), format!("/collector//{name}"), format!("/collector//{name}/")];
    let mut router = OpenApiRouter::new()
        .routes(routes!(bulk))
        .routes(routes!(heartbeat))
        .routes(routes!(ack))
        .routes(routes!(metrics));
    for path in paths("bulk") {
        router = router.route(&path, post(bulk));
    }
    for path in paths("heartbeat") {
        router = router.route(&path, post(heartbeat));
    }
    for path in paths("ack") {
        router = router.route(&path, post(ack));
    }
    for path in paths("metrics") {
        router = router.route(&path, post(metrics));
    }
    router.with_state(collector)
}

/// Take in events as the Delight agent sends them. A 200 means that all of it is durable, if only as a dead letter.
#[utoipa::path(post, path = "/collector/bulk", tag = "delight", request_body = schema::Bulk, responses(
    (status = 200, description = "Durable: events, or a dead letter", body = Stored),
    (status = 503, description = "Not stored; send it again", body = Problem, content_type = "application/problem+json"),
))]
async fn bulk(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Route::Bulk, request).await
}

/// A sign of life of the Delight agent.
#[utoipa::path(post, path = "/collector/heartbeat", tag = "delight", request_body = schema::SignOfLife, responses(
    (status = 200, description = "Durable", body = Stored),
    (status = 503, description = "Not stored; send it again", body = Problem, content_type = "application/problem+json"),
))]
async fn heartbeat(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Route::Heartbeat, request).await
}

/// The Delight agent's last word. It is a sign of life, and proves nothing.
#[utoipa::path(post, path = "/collector/ack", tag = "delight", request_body = schema::SignOfLife, responses(
    (status = 200, description = "Durable", body = Stored),
    (status = 503, description = "Not stored; send it again", body = Problem, content_type = "application/problem+json"),
))]
async fn ack(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Route::Ack, request).await
}

/// Take in samples of memory and the like as the Delight agent sends them. They are kept with the run.
#[utoipa::path(post, path = "/collector/metrics", tag = "delight", request_body = schema::Metrics, responses(
    (status = 200, description = "Durable: samples, or a dead letter", body = Stored),
    (status = 503, description = "Not stored; send it again", body = Problem, content_type = "application/problem+json"),
))]
async fn metrics(State(collector): State<Arc<Collector>>, request: Request) -> Response {
    answer(&collector, Route::Metrics, request).await
}

async fn answer(collector: &Arc<Collector>, route: Route, request: Request) -> Response {
    let (origin, body) = origin(request);
    let response = match collector.accept_from_delight(route, body, &origin).await {
        Ok(stored) => (StatusCode::OK, Json(stored)).into_response(),
        Err(error) => {
            collector.metrics.refusals.with_label_values(&[error.reason()]).inc();
            collector.explain(&error, &Bytes::new(), &origin);
            error.problem().into_response()
        }
    };
    collector.metrics.requests.with_label_values(&[response.status().as_str()]).inc();
    response
}

/// A request that no sending again will make better: what was read of its body, and its length.
struct Hopeless {
    error: Error,
    kept: Bytes,
    length: usize,
}

impl Collector {
    async fn accept_from_delight(self: &Arc<Self>, route: Route, body: Body, origin: &Origin) -> Result<Stored, Error> {
        if self.is_shutting_down() {
            return Err(Error::ShuttingDown);
        }
        let mut lease = self.budget.lease();
        let received = body::receive_to_its_end(body, &self.options, &mut lease).await;
        let deadline = Instant::now() + self.options.answer_within;
        // The agent knows no 408, and what it sent is not here: it is to try again.
        let received = received.map_err(|error| match error {
            Error::Stalled { .. } | Error::Incomplete => Error::NotInTime("the body did not come to its end"),
            other => other,
        })?;
        let hopeless = match received {
            Received::Beginning(kept, length) => {
                Hopeless { error: Error::TooLargeOnWire { limit: self.options.wire_bytes }, kept, length }
            }
            Received::Whole(body) => {
                self.metrics.wire_bytes.inc_by(body.len() as u64);
                let decoded = match body::encoding(&origin.headers) {
                    Ok(encoding) => self.decode(Form::Delight(route), body.clone(), encoding, lease, deadline).await,
                    Err(error) => Err(error),
                };
                match decoded {
                    Ok((payload, lease)) => {
                        let stored = self.publish(payload, origin, deadline).await;
                        drop(lease);
                        return stored;
                    }
                    Err(error) if error.is_of_what_came() => Hopeless { error, length: body.len(), kept: body },
                    Err(error) => return Err(error),
                }
            }
        };
        self.bury_payload(hopeless, route, origin, deadline).await
    }

    async fn bury_payload(
        self: &Arc<Self>,
        Hopeless { error, kept, length }: Hopeless,
        route: Route,
        origin: &Origin,
        deadline: Instant,
    ) -> Result<Stored, Error> {
        if origin.is_replay() {
            return Ok(Stored { stored: 0, samples: 0, dead_lettered: 1, heartbeats: 0, journal: None });
        }
        let mut lease = self.budget.lease();
        lease.grow(kept.len())?;
        self.explain_buried(&error, origin);
        let letter = match error.is_of_its_lines() {
            true => letters::of_its_lines(&error, &kept, route, origin, &self.options),
            false => letters::of_undecodable(&error, &kept, length, origin),
        };
        drop(kept);
        let dead_lettered = self.bury(vec![letter], deadline).await?;
        Ok(Stored { stored: 0, samples: 0, dead_lettered, heartbeats: 0, journal: None })
    }
}
