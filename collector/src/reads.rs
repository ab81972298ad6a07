//! Where reads are: a collector has none, but its address is the one that people and listeners know.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use service::Problem;
use service::auth::{Access, Routes};
use utoipa_axum::router::OpenApiRouter;

/// Routes that send readers on to the API at `url`, or tell that there is none here.
pub fn redirects(url: Option<String>) -> Routes {
    let url = url.map(|url| url.trim_end_matches('/').to_owned());
    let to_api = |paths: &[&str]| {
        let router = paths.iter().fold(OpenApiRouter::new(), |router, path| router.route(path, get(redirect)));
        router.with_state(url.clone())
    };
    Access::Read
        .of(to_api(&[
            "/apps/{dmAppId}",
            "/job",
            "/job/{*rest}",
            "/v1/jobs",
            "/v1/runs",
            "/v1/runs/{id}",
            "/v1/runs/{id}/{*rest}",
        ]))
        .and(Access::IngestOrRead.of(to_api(&["/v1/ingest/{job}/{run}"])))
}

async fn redirect(State(url): State<Option<String>>, request: Request) -> Response {
    let Some(url) = url else {
        let message = "This is a collector; reads are answered by emberlog-api. Start the collector with --reads-url \
                       to be sent there.";
        return Problem::new(StatusCode::NOT_FOUND, "Not Found", message).into_response();
    };
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{url}{path}"))]).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;

    async fn ask(url: Option<&str>, path: &str) -> Response {
        let router = service::openapi::assemble([redirects(url.map(str::to_owned))]);
        router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn readers_are_sent_to_the_api_with_path_and_query_as_they_are() {
        for path in [
            "/job",
            "/job/a%2Fb%20%26/..%2f/events?format=eventlog&skip=3",
            "/v1/runs?job=x%20y",
            "/v1/runs/id/events",
            "/v1/ingest/a%2Fb/..?attempt=1",
        ] {
            let answer = ask(Some("http://api:5001/"), path).await;
            assert_eq!(answer.status(), 307, "{path}");
            assert_eq!(answer.headers()["location"], format!("http://api:5001{path}"));
        }
        assert_eq!(ask(Some("http://api:5001"), "/jobs").await.status(), 404);
    }

    #[tokio::test]
    async fn without_an_api_the_answer_says_where_reads_are() {
        let answer = ask(None, "/job").await;
        assert_eq!(answer.status(), 404);
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("--reads-url"));
    }
}
