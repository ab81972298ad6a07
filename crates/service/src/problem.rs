//! Errors as answers: RFC 9457 problem documents with one `message`, which agents print in their users' logs.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, for people (`message`) and for programs (`status`, `title`).
///
/// There is no `detail` member: agents look for exactly one `message` anywhere in the body, and the text is not said twice.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"type": "about:blank", "title": "Not Found", "status": 404, "message": "There is no job \"etl\"."}))]
pub struct Problem {
    /// Always `about:blank`: the status and the title say what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind of problem, the same text for every problem of its kind.
    title: &'static str,
    /// The HTTP status.
    #[serde(serialize_with = "code")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What happened in this case, and what to do about it.
    message: String,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    pub fn new(status: StatusCode, title: &'static str, message: impl Into<String>) -> Self {
        Self { kind: "about:blank", title, status, message: message.into(), retry_after: None }
    }

    /// When a client may try again; sent as `Retry-After` in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Text of a request, short enough to be repeated in a message.
pub fn bounded(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

fn code<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.title, self.message)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_holds_one_message_and_says_when_to_retry() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", "Say \"when\"\n")
            .retry_after(Duration::from_millis(1200));
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let expected = r#"{"type":"about:blank","title":"Overloaded","status":503,"message":"Say \"when\"\n"}"#;
        assert_eq!(body, expected);
    }
}
