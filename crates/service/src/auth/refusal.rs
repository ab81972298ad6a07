//! Why a request is not let through, as an answer that says what to do: agents print its message in their users' logs.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Access, Scope};
use crate::Problem;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No token.
    Missing,
    /// A token that is none of ours.
    Unknown,
    /// The token of that name does not allow this.
    Scope { name: Arc<str>, access: Access },
}

const HOW: &str = "Send it in the header 'Authorization: Bearer TOKEN' or 'X-API-Key: TOKEN'; Emberlog's listener takes it \
                   from spark.emberlog.token.secret, the Delight agent from spark.delight.accessToken.secret.";

impl Refusal {
    /// For labels.
    pub const REASONS: [&str; 3] = ["missing", "unknown", "scope"];

    pub fn index(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Unknown => 1,
            Self::Scope { .. } => 2,
        }
    }

    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.index()]
    }

    /// For the log. Nothing in it was chosen by the client.
    pub fn log(&self) -> String {
        match self {
            Self::Missing => "no token".to_owned(),
            Self::Unknown => "an unknown token".to_owned(),
            Self::Scope { name, access } => format!("the token {name} does not allow {}", names(*access, " or ")),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Missing => format!("A token is needed here, and the request has none. {HOW}"),
            Self::Unknown => format!(
                "The token of this request is not known here: it is mistyped, was withdrawn, or belongs to another \
                 server. {HOW} Who runs this server can make a new one with 'emberlog token new'."
            ),
            Self::Scope { access, .. } => format!(
                "The token of this request does not allow this: a token with the scope {} is needed. Who runs this \
                 server can make one with 'emberlog token new'.",
                names(*access, " or ")
            ),
        }
    }

    /// By RFC 6750.
    fn challenge(&self) -> String {
        let realm = "Bearer realm=\"emberlog\"";
        match self {
            Self::Missing => realm.to_owned(),
            Self::Unknown => format!("{realm}, error=\"invalid_token\""),
            Self::Scope { access, .. } => {
                format!("{realm}, error=\"insufficient_scope\", scope=\"{}\"", names(*access, " "))
            }
        }
    }
}

fn names(access: Access, between: &str) -> String {
    access.scopes().iter().copied().map(Scope::as_str).collect::<Vec<_>>().join(between)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, title) = match self {
            Self::Missing | Self::Unknown => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Scope { .. } => (StatusCode::FORBIDDEN, "Forbidden"),
        };
        let mut response = Problem::new(status, title, self.message()).into_response();
        if let Ok(challenge) = HeaderValue::try_from(self.challenge()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
