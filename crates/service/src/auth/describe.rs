//! What routes need, in the OpenAPI document.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, OpenApi};

use super::{Access, Scope};
use crate::{Problem, openapi};

const BEARER: &str = "bearer";
const API_KEY: &str = "api_key";

/// Adds to every operation the scopes that it needs, and the answers to those that have none.
pub fn needs(access: Access, is_on: bool, document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(|operation| describe(access, is_on, operation));
    }
}

/// Adds how a token is sent.
pub fn schemes(document: &mut OpenApi) {
    let components = ComponentsBuilder::from(document.components.take().unwrap_or_default())
        .schema_from::<Problem>()
        .security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)))
        .security_scheme(API_KEY, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    document.components = Some(components.build());
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

fn describe(access: Access, is_on: bool, operation: &mut Operation) {
    let ways = |scope: &Scope| [BEARER, API_KEY].map(|way| SecurityRequirement::new(way, [scope.as_str()]));
    // On a server without tokens, nothing is needed.
    let nothing = (!is_on).then(SecurityRequirement::default);
    operation.security = Some(access.scopes().iter().flat_map(ways).chain(nothing).collect());
    for (status, description) in
        [("401", "No token, or one that is not known here"), ("403", "The token's scopes do not allow this")]
    {
        operation.responses.responses.insert(status.to_owned(), openapi::problem(description).into());
    }
}
