//! Whether the process lives and is ready, by named conditions, and the routes that say so.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use prometheus::Registry;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Access, Routes};

/// The conditions of readiness; clones share them. The process is ready when all of them hold.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// What stands in the way of each condition, if anything.
    conditions: Arc<RwLock<BTreeMap<&'static str, Option<String>>>>,
}

/// One thing that must hold before requests are welcome. It does not at first.
#[derive(Debug, Clone)]
pub struct Condition {
    health: Health,
    name: &'static str,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, not ready until told so. A name that is registered again names the same condition.
    pub fn register(&self, name: &'static str) -> Condition {
        self.set(name, Some("starting".to_owned()));
        Condition { health: self.clone(), name }
    }

    pub fn readiness(&self) -> Readiness {
        let conditions = self.conditions.read().unwrap_or_else(PoisonError::into_inner);
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(name, reason)| ConditionState { name, ready: reason.is_none(), reason: reason.clone() })
            .collect();
        Readiness { ready: conditions.iter().all(|c| c.ready), conditions }
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        let mut conditions = self.conditions.write().unwrap_or_else(PoisonError::into_inner);
        let before = conditions.insert(name, reason.clone());
        if before.as_ref() != Some(&reason) {
            match reason {
                None => tracing::info!(condition = name, "ready"),
                Some(reason) => tracing::info!(condition = name, reason, "not ready"),
            }
        }
    }
}

impl Condition {
    pub fn ready(&self) {
        self.health.set(self.name, None);
    }

    pub fn not_ready(&self, reason: impl Into<String>) {
        self.health.set(self.name, Some(reason.into()));
    }
}

/// Whether requests are welcome, and what stands in their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    conditions: Vec<ConditionState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"name": "store", "ready": false, "reason": "opening"}))]
pub struct ConditionState {
    name: &'static str,
    ready: bool,
    /// Why not; absent when ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether the process lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Liveness {
    live: bool,
}

/// `/health`, `/health/live` and `/health/ready`, which need no token, and `/metrics`.
pub fn router(health: Health, registry: Arc<Registry>) -> Routes {
    let metrics = OpenApiRouter::new().routes(routes!(crate::metrics::metrics)).with_state(registry);
    let health =
        OpenApiRouter::new().routes(routes!(healthy)).routes(routes!(ready)).with_state(health).routes(routes!(live));
    Access::Open.of(health).and(Access::Read.of(metrics))
}

/// The same as `/health/ready`.
#[utoipa::path(get, path = "/health", tag = "operation", responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Not ready; the conditions say why", body = Readiness),
))]
async fn healthy(health: State<Health>) -> (StatusCode, Json<Readiness>) {
    ready(health).await
}

/// Whether requests are welcome: 503 while anything that the process needs is missing.
#[utoipa::path(get, path = "/health/ready", tag = "operation", responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Not ready; the conditions say why", body = Readiness),
))]
async fn ready(State(health): State<Health>) -> (StatusCode, Json<Readiness>) {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// Whether the process answers at all. It depends on nothing else, so that nobody restarts it for another's fault.
#[utoipa::path(get, path = "/health/live", tag = "operation", responses((status = 200, description = "Alive", body = Liveness)))]
async fn live() -> Json<Liveness> {
    Json(Liveness { live: true })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn get(health: &Health, path: &str) -> (u16, String) {
        let registry = Registry::new();
        crate::metrics::Process::register(&registry).unwrap();
        let router = crate::openapi::assemble([router(health.clone(), Arc::new(registry))]);
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_process_is_ready_when_every_condition_is() {
        let health = Health::new();
        let [store, journal] = [health.register("store"), health.register("journal")];
        assert_eq!(get(&health, "/health").await.0, 503);
        store.ready();
        journal.not_ready("the disk is full");
        for path in ["/health", "/health/ready"] {
            let (status, body) = get(&health, path).await;
            assert_eq!(status, 503);
            let expected = r#"{"ready":false,"conditions":[{"name":"journal","ready":false,"reason":"the disk is full"},{"name":"store","ready":true}]}"#;
            assert_eq!(body, expected);
        }
        assert_eq!(get(&health, "/health/live").await, (200, r#"{"live":true}"#.to_owned()));
        journal.ready();
        assert_eq!(get(&health, "/health").await.0, 200);
        store.not_ready("gone");
        assert_eq!(get(&health, "/health/ready").await.0, 503);
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let (status, body) = get(&Health::new(), "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.lines().any(|line| line.starts_with("process_cpu_seconds_total ")), "{body}");
    }
}
