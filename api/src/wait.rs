//! Reading what was just written: a read that names a place in the journal, as the collector's answer does, waits
//! until it is applied here.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, OpenApi, Required, Type};

use crate::Api;
use crate::error::Error;
use crate::extract::pairs;

/// Between two looks at the store.
const STEP: Duration = Duration::from_millis(5);

/// A record's place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    partition: u16,
    offset: u64,
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let place = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        let message = "wait_for takes PARTITION:OFFSET, as the collector's answer names them: `journal.partition` and \
                       `journal.offset`";
        place.ok_or_else(|| Error::BadRequest(message.to_owned()))
    }
}

/// Holds a request back until the place that it names is applied.
pub async fn until_applied(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let pairs = match pairs(request.uri().query().unwrap_or_default()) {
        Ok(pairs) => pairs,
        Err(error) => return error.into_response(),
    };
    if let Some((_, text)) = pairs.into_iter().find(|(key, _)| key == "wait_for") {
        *request.uri_mut() = without_wait(request.uri());
        let result = match text.parse() {
            Ok(place) => api.wait_for(place).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            return error.into_response();
        }
    }
    next.run(request).await
}

/// The routes refuse parameters that they do not know, and this one is not theirs.
fn without_wait(uri: &Uri) -> Uri {
    let is_other = |it: &&str| !it.starts_with("wait_for=");
    let others: Vec<_> = uri.query().unwrap_or_default().split('&').filter(is_other).collect();
    let target = match others.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), others.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = target.parse().ok();
    // A part of what was valid is valid.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

impl Api {
    async fn wait_for(&self, place: Place) -> Result<(), Error> {
        let deadline = Instant::now() + self.options.wait;
        loop {
            let applied = self.ask(move |reader| Ok(reader.applied(place.partition)?)).await?;
            if applied.is_some_and(|it| it.next_offset > place.offset) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::NotApplied);
            }
            tokio::time::sleep(STEP).await;
        }
    }
}

/// Adds the parameter to every route's description.
pub fn describe(document: &mut OpenApi) {
    let parameter = ParameterBuilder::new()
        .name("wait_for")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(
            "PARTITION:OFFSET, from the collector's answer (`journal.partition`, `journal.offset`): the read waits up to 5 s \
             until that record is applied, so that it sees what was just written; then 503.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(Some("3:118000".into()))
        .build();
    let bad = service::openapi::problem("A parameter that is not known here, or a bad `wait_for`");
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get].into_iter().flatten() {
            operation.parameters.get_or_insert_default().push(parameter.clone().into());
            let responses = &mut operation.responses.responses;
            responses.entry("400".to_owned()).or_insert_with(|| bad.clone().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_is_taken_from_the_query() {
        for (given, rest) in [
            ("/job?wait_for=3:5", "/job"),
            ("/job/a%2Fb?limit=2&wait_for=3:5&cursor=x", "/job/a%2Fb?limit=2&cursor=x"),
            ("http://h/v1/jobs?cursor=wait_for=1", "http://h/v1/jobs?cursor=wait_for=1"),
        ] {
            assert_eq!(without_wait(&given.parse().unwrap()).to_string(), rest);
        }
    }

    #[test]
    fn a_place_is_a_partition_and_an_offset_and_nothing_else() {
        assert_eq!("3:118000".parse::<Place>().unwrap(), Place { partition: 3, offset: 118_000 });
        for bad in ["", "3", "3:", ":3", "-1:3", "70000:1", "1:2:3", "a:b"] {
            assert!(matches!(bad.parse::<Place>(), Err(Error::BadRequest(_))), "{bad}");
        }
    }
}
