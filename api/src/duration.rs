//! How long a run took: by one point read once it has ended.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use event::ReceivedAt;
use service::Problem;

use crate::error::Error;
use crate::extract::{Id, Named, NoParameters, Query};
use crate::run::{Clock, RunDuration};
use crate::{Api, RunKey};

/// How long a run took, or has taken until now.
#[utoipa::path(get, path = "/job/{job}/{run}/duration", tag = "runs",
    params(Named),
    responses(
        (status = 200, description = "The duration", body = RunDuration),
        (status = 400, description = "A name is not percent-encoded UTF-8", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn duration_by_name(
    State(api): State<Arc<Api>>,
    Named(key): Named,
    _: Query<NoParameters>,
) -> Result<Json<RunDuration>, Error> {
    answer(&api, key).await
}

/// How long a run took, or has taken until now.
#[utoipa::path(get, path = "/v1/runs/{id}/duration", tag = "runs", params(Id),
    responses(
        (status = 200, description = "The duration", body = RunDuration),
        (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn duration(
    State(api): State<Arc<Api>>,
    Id(key): Id,
    _: Query<NoParameters>,
) -> Result<Json<RunDuration>, Error> {
    answer(&api, key).await
}

async fn answer(api: &Api, key: RunKey) -> Result<Json<RunDuration>, Error> {
    let lost_after = api.options.lost_after;
    let run = api.run(key.clone()).await?;
    let chronicle = run.chronicle();
    if chronicle.is_finished() {
        let clock = Clock { now: ReceivedAt::now(), through: None, lost_after };
        return Ok(Json(RunDuration::of(&chronicle, &clock)));
    }
    // Whether it is lost needs the applied time of the same view, lest events that came between make it look so.
    let (run, through) = api.run_and_time(key).await?;
    let clock = Clock { now: ReceivedAt::now(), through, lost_after };
    Ok(Json(RunDuration::of(&run.chronicle(), &clock)))
}
