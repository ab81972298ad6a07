//! Paths and queries of requests, with problems for what they cannot be.

use std::borrow::Cow;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use event::{JobName, RunHash, RunName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service::problem::bounded;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

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

/// What the keys of a query are and take: refusals say it.
pub trait Parameters: DeserializeOwned {
    const TAKEN: &'static [(&'static str, &'static str)];
    /// The key that must be there.
    const NEEDED: Option<&'static str> = None;
}

/// Of routes that take none.
#[derive(Debug, Clone, Deserialize)]
pub struct NoParameters {}

impl Parameters for NoParameters {
    const TAKEN: &'static [(&'static str, &'static str)] = &[];
}

impl IntoParams for Job {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![of_path("job", "Name of the job, percent-encoded")]
    }
}

impl IntoParams for Named {
    fn into_params(of: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = Job::into_params(of);
        parameters.push(of_path("run", "Id of the run as its agent sent it, percent-encoded"));
        parameters
    }
}

impl IntoParams for Id {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![of_path("id", "The run's `id`")]
    }
}

fn of_path(name: &str, description: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(description)).schema(Some(String::schema())).build()
}

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

impl<T: Parameters, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let pairs = pairs(parts.uri.query().unwrap_or_default())?;
        check_keys::<T>(&pairs)?;
        let query = <axum::extract::Query<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        query
            .map(|query| Self(query.0))
            .map_err(|rejection: QueryRejection| bad_value::<T>(&pairs, &rejection.body_text()))
    }
}

/// The keys and values of a query, decoded.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, Error> {
    let decode = |text: &str| {
        // A form decoder would put U+FFFD for what is no UTF-8, which is another name.
        let text = text.replace('+', " ");
        let text = percent_encoding::percent_decode_str(&text).decode_utf8();
        text.map(Cow::into_owned).map_err(|_| Error::BadRequest("the query is not percent-encoded UTF-8".to_owned()))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| Ok((decode(key)?, decode(value)?))).collect()
}

/// Refuses unknown keys, lest a misspelt one be taken for a default, and doubled and missing ones.
fn check_keys<T: Parameters>(pairs: &[(String, String)]) -> Result<(), Error> {
    let bad = |text: String| Err(Error::BadRequest(text));
    for (i, (key, _)) in pairs.iter().enumerate() {
        if !T::TAKEN.iter().any(|(name, _)| name == key) {
            let key = bounded(key);
            let names: Vec<_> = T::TAKEN.iter().map(|(name, _)| *name).chain(["wait_for"]).collect();
            return bad(format!("There is no parameter {key:?} here; there is {}.", names.join(", ")));
        }
        if pairs[..i].iter().any(|(other, _)| other == key) {
            return bad(format!("The parameter {key} is given more than once."));
        }
    }
    let missing = |needed: &&str| pairs.iter().all(|(key, _)| key != needed);
    match T::NEEDED.filter(missing) {
        None => Ok(()),
        Some(needed) => bad(format!("The parameter {needed} is missing; it takes {}.", taken::<T>(needed))),
    }
}

fn bad_value<T: Parameters>(pairs: &[(String, String)], problem: &str) -> Error {
    let is_named = |(key, _): &&(String, String)| problem.contains(&format!("{key}: "));
    Error::BadRequest(match pairs.iter().find(is_named) {
        Some((key, value)) => format!("{key} is {:?}; it takes {}.", bounded(value), taken::<T>(key)),
        None => format!("The query cannot be read: {problem}."),
    })
}

fn taken<T: Parameters>(key: &str) -> &'static str {
    T::TAKEN.iter().find(|(name, _)| *name == key).map_or("another value", |(_, what)| *what)
}

pub async fn path<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Path<T>, Error> {
    let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
    path.map_err(|rejection: PathRejection| {
        Error::BadRequest(format!("the path is not percent-encoded UTF-8: {}", rejection.body_text()))
    })
}
