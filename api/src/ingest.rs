//! Where a client of `POST /v1/ingest` goes on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use event::{EventKey, Identity, Sequence, ingest};
use serde::{Deserialize, Serialize};
use service::Problem;
use store::{Run, View};
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;
use crate::extract::{Named, Parameters, Query};
use crate::{Api, RunKey};

/// Events that are looked through for the first one that is missing. Of what lies behind, a client sends again what
/// is stored, which does no harm.
const MAX_SCANNED: usize = 1_000_000;

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResumeQuery {
    /// The attempt that is to go on, from 0 to 2147483647. Default 0.
    #[serde(default)]
    attempt: u32,
}

impl Parameters for ResumeQuery {
    const TAKEN: &'static [(&'static str, &'static str)] = &[("attempt", "a number from 0 to 2147483647")];
}

/// What of a run's attempt is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Resume {
    job_name: String,
    run_id: String,
    attempt: u32,
    /// The first sequence from 0 of which no event is stored: go on there.
    next_sequence: i64,
    /// Events of the run, of all attempts and protocols.
    events: u64,
    /// Those of them that came by `/v1/ingest`.
    ingested: u64,
    /// Whether the run was deleted or has expired, and what is sent now is dropped.
    deleted: bool,
}

/// Where to go on with a run's events after a cut. A run that is not known begins at 0.
///
/// What was answered 200 a moment ago may not be applied yet: name its place as `wait_for`.
#[utoipa::path(get, path = "/v1/ingest/{job}/{run}", tag = "ingest",
    params(Named, ResumeQuery),
    responses(
        (status = 200, description = "What is stored", body = Resume),
        (status = 400, description = "A bad attempt", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No run can have such a name", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read yet", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn resume(
    State(api): State<Arc<Api>>,
    Named(key): Named,
    Query(ResumeQuery { attempt }): Query<ResumeQuery>,
) -> Result<Json<Resume>, Error> {
    if attempt > ingest::MAX_ATTEMPT {
        return Err(Error::BadRequest(format!("attempt is {attempt}; it goes from 0 to {}", ingest::MAX_ATTEMPT)));
    }
    let RunKey::Name(name) = key.clone() else { return Err(Error::Failed("a run by its id".to_owned())) };
    let unknown = Resume {
        job_name: name.job.to_string(),
        run_id: name.run.to_string(),
        attempt,
        next_sequence: 0,
        events: 0,
        ingested: 0,
        deleted: false,
    };
    let asked = key.clone();
    let ask = move |reader: &store::Reader| {
        reader.view(|view| match asked.check(view.run(asked.hash())?) {
            Err(Error::NotFound(_)) => Ok((None, view.gone(asked.hash())?.is_some())),
            run => Ok((Some(run?), false)),
        })
    };
    let (run, deleted) = api.ask(ask).await?;
    let Some(run) = run else { return Ok(Json(Resume { deleted, ..unknown })) };
    let known = |run: &Run, next: Sequence| Resume {
        next_sequence: next.0,
        events: run.summary.events,
        ingested: run.ingested,
        ..unknown
    };
    if let Some(next) = run.spans.next_sequence(ingest::instance_of(attempt)) {
        return Ok(Json(known(&run, next)));
    }
    let _thread = api.scans.clone().acquire_owned().await.map_err(|e| Error::Failed(e.to_string()))?;
    let scan = move |reader: &store::Reader| {
        reader.scan(|view| {
            let run = key.check(view.run(key.hash())?)?;
            let next = first_missing(view, &run, attempt)?;
            Ok((run, next))
        })
    };
    let (run, next) = api.ask(scan).await?;
    Ok(Json(known(&run, next)))
}

/// Looks through an attempt's events for the first sequence of which none is stored.
pub fn first_missing(view: &mut View<'_>, run: &Run, attempt: u32) -> Result<Sequence, store::Error> {
    let order = ingest::order_of(attempt);
    let mut next = Sequence(0);
    let mut events = view.events(run.number, Some(EventKey { order, sequence: next, identity: Identity(0) }));
    for _ in 0..MAX_SCANNED {
        match events.next()? {
            Some((key, _)) if key.order == order && key.sequence <= next => {
                next = next.max(Sequence(key.sequence.0.saturating_add(1)));
            }
            _ => break,
        }
    }
    Ok(next)
}
