//! Paths and queries of requests, with problems for what they cannot be.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use event::{JobName, RunHash, RunName};
use serde::de::DeserializeOwned;

use crate::RunKey;
use crate::error::Error;

/// The job of a path.
pub struct Job(pub JobName);

/// The run of a path, by its names.
pub struct Named(pub RunKey);

/// The run of a path, by its id.
pub struct Id(pub RunKey);

/// The query, of which every key must be known.
pub struct Query<T>(pub T);

impl<S: Send + Sync> FromRequestParts<S> for Job {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(job) = path::<String, S>(parts, state).await?;
        // No such name was ever taken in.
        JobName::new(&job).map(Self).map_err(|_| Error::no_job(&job))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path((job, run)) = path::<(String, String), S>(parts, state).await?;
        RunName::new(&job, &run).map(|name| Self(RunKey::Name(name))).map_err(|_| Error::no_run(&job, &run))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(id) = path::<String, S>(parts, state).await?;
        id.parse::<RunHash>().map(|hash| Self(RunKey::Id(hash))).map_err(|_| Error::no_run_id(&id))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let text = parts.uri.query().unwrap_or_default();
        // The form decoder would put U+FFFD for what is no UTF-8, which is another name.
        if percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
            return Err(Error::BadRequest("the query is not percent-encoded UTF-8".to_owned()));
        }
        let query = <axum::extract::Query<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection: QueryRejection| Error::BadRequest(rejection.body_text()))
    }
}

pub async fn path<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Path<T>, Error> {
    let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
    path.map_err(|rejection: PathRejection| {
        Error::BadRequest(format!("the path is not percent-encoded UTF-8: {}", rejection.body_text()))
    })
}
