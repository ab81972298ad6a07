//! The check of every request, before its body is read and before it is known whether its path exists.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::refusal::Refusal;
use super::{Access, Scopes, Tokens};
use crate::sampler::Sampler;
use crate::{Error, files};

const API_KEY: &str = "x-api-key";

/// Whose token a request carried. Only its name: the token itself goes no further than here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub name: Arc<str>,
    pub scopes: Scopes,
}

/// Lets requests with a token through that allows what they ask for. Without a tokens file it lets everything through.
#[derive(Debug)]
pub struct Guard {
    tokens: Option<RwLock<Arc<Tokens>>>,
    metrics: Metrics,
    samplers: [Sampler; Refusal::REASONS.len()],
}

impl Guard {
    /// Reads the file, and from then on takes its changes in until `shutdown`.
    pub async fn start(
        path: Option<&Path>,
        registry: &Registry,
        shutdown: CancellationToken,
    ) -> Result<Arc<Self>, Error> {
        let Some(path) = path else { return Self::with(None, registry) };
        let paths = [path.to_owned()];
        let read = files::read(&paths).await?;
        let guard = Self::with(Some(parse(path, &read)?), registry)?;
        let following = guard.clone();
        let changed = move |read: Result<files::Contents<1>, Error>| {
            let [path] = &paths;
            let parsed = read.and_then(|read| parse(path, &read));
            following.metrics.broken.set(parsed.is_err().into());
            match parsed {
                Ok(tokens) => following.replace(tokens),
                Err(error) => tracing::error!(
                    "the tokens file changed and cannot be used; the tokens read before stay in force: {error}"
                ),
            }
        };
        tokio::spawn(files::follow([path.to_owned()], read, changed, shutdown));
        Ok(guard)
    }

    /// With these tokens, for ever.
    pub fn with(tokens: Option<Tokens>, registry: &Registry) -> Result<Arc<Self>, Error> {
        let metrics = Metrics::register(registry)?;
        let guard = Self { tokens: tokens.map(|it| RwLock::new(Arc::new(it))), metrics, samplers: Default::default() };
        guard.metrics.tokens.set(guard.tokens().map_or(0, |it| it.len() as i64));
        Ok(Arc::new(guard))
    }

    pub fn is_on(&self) -> bool {
        self.tokens.is_some()
    }

    fn tokens(&self) -> Option<Arc<Tokens>> {
        self.tokens.as_ref().map(|it| it.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn replace(&self, tokens: Tokens) {
        let Some(current) = &self.tokens else { return };
        tracing::info!(tokens = tokens.len(), "the tokens file was read again");
        let count = tokens.len() as i64;
        *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
        self.metrics.tokens.set(count);
    }

    /// A router that asks for a token everywhere but on `open` paths, whether there is something or not.
    pub(crate) fn around(self: &Arc<Self>, router: Router, open: HashSet<String>) -> Router {
        router.layer(middleware::from_fn_with_state((self.clone(), Arc::new(open)), authenticate))
    }

    fn granted(&self, tokens: &Tokens, headers: &HeaderMap) -> Result<Granted, Refusal> {
        let mut sent = credentials(headers).peekable();
        if sent.peek().is_none() {
            return Err(Refusal::Missing);
        }
        let line = sent.find_map(|token| tokens.find(token)).ok_or(Refusal::Unknown)?;
        Ok(Granted { name: line.name.as_str().into(), scopes: line.scopes })
    }

    pub(super) fn authorize(
        &self,
        access: Access,
        granted: Option<&Granted>,
        request: &Request,
    ) -> Result<(), Refusal> {
        // Nobody comes here without, but if one did, it would be refused.
        let granted = granted.ok_or(Refusal::Missing)?;
        if !access.scopes().iter().any(|scope| granted.scopes.allow(*scope)) {
            return Err(Refusal::Scope { name: granted.name.clone(), access });
        }
        if access == Access::Admin {
            let (token, method, path) = (&*granted.name, request.method().as_str(), request.uri().path());
            tracing::info!(token, method, path = crate::problem::bounded(path), "administration");
        }
        Ok(())
    }

    /// Counts a refusal, and logs it now and then.
    pub(super) fn refuse(&self, refusal: &Refusal, request: &Request) -> Response {
        self.metrics.refusals.with_label_values(&[refusal.reason()]).inc();
        if let Some(count) = self.samplers[refusal.index()].offer() {
            let source = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|it| tracing::field::display(it.0));
            tracing::warn!(reason = refusal.reason(), source, count, "refused: {}", refusal.log());
        }
        refusal.clone().into_response()
    }
}

fn parse(path: &Path, read: &files::Contents<1>) -> Result<Tokens, Error> {
    let [file] = read;
    let tokens = Tokens::parse(path, &file.bytes)?;
    file.warn_if_open_to_all(path, "whoever reads hashes of tokens that are not random can guess them");
    if tokens.is_empty() {
        tracing::warn!(path = %path.display(), "the tokens file holds no token: every request is refused");
    }
    Ok(tokens)
}

/// What a client sent as its token. A proxy on the way may have put something of its own into one of the two headers.
fn credentials(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    let key = headers.get(API_KEY).map(|it| it.as_bytes());
    [bearer, key].into_iter().flatten().map(<[u8]>::trim_ascii).filter(|it| !it.is_empty())
}

async fn authenticate(
    State((guard, open)): State<(Arc<Guard>, Arc<HashSet<String>>)>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(tokens) = guard.tokens()
        && !open.contains(request.uri().path())
    {
        match guard.granted(&tokens, request.headers()) {
            Ok(granted) => request.extensions_mut().insert(granted),
            Err(refusal) => return guard.refuse(&refusal, &request),
        };
    }
    // Nothing behind this needs them, so that nothing can log or keep them.
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().remove(API_KEY);
    next.run(request).await
}
