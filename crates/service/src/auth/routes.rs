//! Routes, each with what it needs: a router cannot be served without.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Router, response::IntoResponse};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{Granted, Guard, Scope, describe};

/// What a request needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing. For health, which load balancers and orchestrators ask.
    Open,
    Ingest,
    Read,
    IngestOrRead,
    Admin,
}

impl Access {
    /// These routes, which need this.
    pub fn of(self, router: OpenApiRouter) -> Routes {
        Routes(vec![(self, router)])
    }

    /// Any of these is enough.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Open => &[],
            Self::Ingest => &[Scope::Ingest],
            Self::Read => &[Scope::Read],
            Self::IngestOrRead => &[Scope::Ingest, Scope::Read],
            Self::Admin => &[Scope::Admin],
        }
    }
}

/// Routers, each with what its routes need.
#[derive(Default)]
pub struct Routes(Vec<(Access, OpenApiRouter)>);

impl Routes {
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// All in one, each behind its own check, and what they need in the description.
    pub(crate) fn merge(routes: impl IntoIterator<Item = Self>, into: OpenApi, guard: Option<&Arc<Guard>>) -> Merged {
        let mut merged = Merged { router: Router::new(), document: into, open: HashSet::new() };
        for (access, router) in routes.into_iter().flat_map(|it| it.0) {
            let (router, mut document) = router.split_for_parts();
            if access == Access::Open {
                merged.open.extend(document.paths.paths.keys().cloned());
            } else {
                describe::needs(access, guard.is_some_and(|it| it.is_on()), &mut document);
            }
            merged.router = merged.router.merge(behind(access, router, guard));
            merged.document.merge(document);
        }
        merged
    }
}

pub(crate) struct Merged {
    pub router: Router,
    pub document: OpenApi,
    /// Paths that need no token.
    pub open: HashSet<String>,
}

/// A router whose routes need this.
pub(crate) fn behind(access: Access, router: Router, guard: Option<&Arc<Guard>>) -> Router {
    // A layer on no routes is an error of axum's.
    match guard {
        Some(guard) if access != Access::Open && guard.is_on() && router.has_routes() => {
            router.route_layer(middleware::from_fn_with_state((guard.clone(), access), authorize))
        }
        _ => router,
    }
}

async fn authorize(State((guard, access)): State<(Arc<Guard>, Access)>, request: Request, next: Next) -> Response {
    match guard.authorize(access, request.extensions().get::<Granted>(), &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => guard.refuse(&refusal, &request).into_response(),
    }
}
