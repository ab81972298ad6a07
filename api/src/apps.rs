//! The address that the Delight agent prints into the log of its driver.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect};
use event::delight;
use service::Problem;
use service::problem::bounded;

use crate::error::Error;
use crate::extract::{NoParameters, Query};
use crate::{Api, RunKey};

/// The `dmAppId` of a path.
pub struct AppId(String);

impl<S: Send + Sync> FromRequestParts<S> for AppId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(id) = crate::extract::path::<String, S>(parts, state).await?;
        Ok(Self(id))
    }
}

/// The run of an application by the id that the Delight agent gave it.
#[utoipa::path(get, path = "/apps/{dmAppId}", tag = "runs", params(("dmAppId" = String, Path, description = "As the agent prints it")), responses(
    (status = 307, description = "The run, at its place in `/v1/runs`"),
    (status = 404, description = "Nothing has come of it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
))]
pub async fn app(
    State(api): State<Arc<Api>>,
    AppId(id): AppId,
    _: Query<NoParameters>,
) -> Result<impl IntoResponse, Error> {
    let unknown = || {
        Error::NotFound(format!(
            "Nothing has come of the application {:?} yet. Does its spark.delight.collector.url end in /collector/ of this \
             server? Its driver's log says what the agent was answered. GET /job lists the jobs that are known.",
            bounded(&id)
        ))
    };
    let name = delight::run_of(&id).map_err(|_| unknown())?;
    let run = match api.run(RunKey::Name(name)).await {
        Err(Error::NotFound(_)) => return Err(unknown()),
        run => run?,
    };
    Ok(Redirect::temporary(&format!("/v1/runs/{}", run.hash()?)))
}
