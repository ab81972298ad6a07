//! Puts a binary's routes together: the document that describes them, and answers for what is not among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder};

use crate::auth::{self, Access, Guard, Merged, Routes};
use crate::problem::bounded;
use crate::{Problem, problem};

const DESCRIPTION: &str = "A job here is an application that runs periodically, not a Spark job; a run is one execution of it.\n\n\
Emberlog takes in the events that Apache Spark applications emit, and serves them once each, verbatim and in the order of their run. \
Errors are RFC 9457 problem documents whose `message` says what to do.";

/// Merges routers into one that also serves `/openapi.json`, and answers unknown routes and methods with a problem
/// that names what there is.
pub fn assemble(routes: impl IntoIterator<Item = Routes>) -> axum::Router {
    assemble_with(routes, None)
}

/// The same behind a guard: whoever has no token learns nothing of what there is.
pub fn assemble_with(routes: impl IntoIterator<Item = Routes>, guard: Option<&Arc<Guard>>) -> axum::Router {
    let Merged { router, document, open } = Routes::merge(routes, document(), guard);
    let paths = Arc::new(Paths::of(&document));
    let json = document.to_json().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot write the OpenAPI document");
        String::new()
    });
    let json: Arc<str> = json.into();
    let methods = paths.clone();
    let description = axum::Router::new().route(
        "/openapi.json",
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], json.to_string()) }),
    );
    let router = router
        .merge(auth::behind(Access::Read, description, guard))
        .method_not_allowed_fallback(move |request: Request| async move { methods.not_allowed(&request) })
        .fallback(move |request: Request| async move { paths.not_found(&request) });
    match guard {
        Some(guard) => guard.around(router, open),
        None => router,
    }
}

/// The description of an answer that is a problem.
pub fn problem(description: &str) -> utoipa::openapi::Response {
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content(problem::CONTENT_TYPE, content).build()
}

fn document() -> OpenApi {
    let info = InfoBuilder::new().title("Emberlog").version(env!("CARGO_PKG_VERSION")).description(Some(DESCRIPTION));
    let mut document = OpenApiBuilder::new().info(info.build()).build();
    auth::describe_schemes(&mut document);
    document
}

/// The methods of each path.
struct Paths(BTreeMap<String, Vec<&'static str>>);

impl Paths {
    fn of(document: &OpenApi) -> Self {
        let mut routes: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        routes.insert("/openapi.json".to_owned(), vec!["GET", "HEAD"]);
        for (path, item) in &document.paths.paths {
            let operations = [
                ("GET", &item.get),
                // Whatever can be got.
                ("HEAD", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            let methods = operations.into_iter().filter(|(_, operation)| operation.is_some()).map(|(name, _)| name);
            routes.insert(path.clone(), methods.collect());
        }
        Self(routes)
    }

    fn not_found(&self, request: &Request) -> Response {
        let there = self.0.iter().map(|(path, methods)| {
            // That goes without saying here.
            let methods: Vec<_> = methods.iter().copied().filter(|it| *it != "HEAD").collect();
            format!("{} {path}", methods.join(", "))
        });
        let there: Vec<_> = there.collect();
        let message = format!("There is nothing at {}. There is: {}.", bounded(request.uri().path()), there.join("; "));
        Problem::new(StatusCode::NOT_FOUND, "Not Found", message).into_response()
    }

    fn not_allowed(&self, request: &Request) -> Response {
        let path = request.extensions().get::<MatchedPath>().map_or("this path", MatchedPath::as_str);
        let method = bounded(request.method().as_str());
        // Other spellings of a path are not described by themselves.
        let described = path.replace("//", "/");
        let methods = self.0.get(path).or_else(|| self.0.get(described.trim_end_matches('/')));
        let (methods, message) = match methods.map(|methods| methods.join(", ")) {
            Some(methods) => (methods.clone(), format!("{path} takes {methods}, not {method}.")),
            None => (String::new(), format!("{path} does not take {method}.")),
        };
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", message);
        ([(header::ALLOW, methods)], problem).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;
    use crate::Health;

    async fn ask(method: &str, path: &str) -> (Response<()>, serde_json::Value) {
        let router = assemble([crate::health::router(Health::new(), Arc::default())]);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (Response::from_parts(parts, ()), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn the_document_says_first_what_a_job_is_and_lists_every_route() {
        let (response, document) = ask("GET", "/openapi.json").await;
        assert_eq!(response.status(), 200);
        assert_eq!(document["info"]["title"], "Emberlog");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let first = document["info"]["description"].as_str().unwrap().lines().next().unwrap().to_owned();
        assert!(first.contains("application that runs periodically, not a Spark job"), "{first}");
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/health", "/health/live", "/health/ready", "/metrics"]);
    }

    #[tokio::test]
    async fn unknown_routes_and_methods_are_told_what_there_is() {
        let (response, problem) = ask("GET", "/helth").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (404, &crate::problem::CONTENT_TYPE.parse().unwrap())
        );
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("/helth") && message.contains("GET /health;"), "{message}");

        let (response, problem) = ask("POST", "/health").await;
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
        assert_eq!(response.headers().get_all("allow").iter().count(), 1);
        assert_eq!(problem["message"], "/health takes GET, HEAD, not POST.");

        let (_, problem) = ask("GET", &format!("/{}", "x".repeat(10_000))).await;
        assert!(problem["message"].as_str().unwrap().len() < 1000);
    }
}
