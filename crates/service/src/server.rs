//! What is the same in every binary: its sockets, health and metrics, and its end.

use std::sync::Arc;

use clap::Args;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Routes;
use crate::http::{self, Limits};
use crate::security::{self, Security};
use crate::{Error, Health, health, limits, metrics, openapi, shutdown, units};

/// The flags of every binary, to be flattened into its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
#[group(skip)]
pub struct Flags {
    /// Connections at once; those above it wait
    #[arg(long, env = "EMBERLOG_MAX_CONNECTIONS", default_value_t = 16_384)]
    pub max_connections: usize,
    /// How long requests may go on after SIGTERM
    #[arg(long, env = "EMBERLOG_SHUTDOWN_GRACE", default_value = "20s", value_parser = units::duration)]
    pub shutdown_grace: std::time::Duration,
    #[command(flatten)]
    pub security: security::Flags,
}

/// A process that listens and does not serve yet: a port in use is said before anything else is opened.
#[derive(Debug)]
pub struct Server {
    main: TcpListener,
    admin: Option<TcpListener>,
    limits: Limits,
    security: Security,
    pub registry: Arc<Registry>,
    pub health: Health,
    pub shutdown: CancellationToken,
}

/// A process that serves.
#[derive(Debug)]
pub struct Running {
    servers: TaskTracker,
    limits: Limits,
    security: Security,
    shutdown: CancellationToken,
}

impl Server {
    /// Listens, on `--listen` and, where the binary has it, `--admin-listen`; from now on SIGTERM and SIGINT end the process in order.
    pub async fn bind(listen: &str, admin: Option<&str>, flags: &Flags) -> Result<Self, Error> {
        limits::raise_open_files();
        let shutdown = shutdown::on_signals()?;
        let main = http::listen(listen, "--listen").await?;
        let admin = match admin {
            Some(address) => Some(http::listen(address, "--admin-listen").await?),
            None => None,
        };
        let registry = Arc::new(Registry::new());
        metrics::Process::register(&registry)?;
        let security = Security::start(&flags.security, &registry, &shutdown).await?;
        let limits = Limits { connections: flags.max_connections, grace: flags.shutdown_grace, ..Limits::default() };
        Ok(Self { main, admin, limits, security, registry, health: Health::new(), shutdown })
    }

    pub fn url(&self) -> String {
        self.security.url(&self.main)
    }

    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(|it| self.security.url(it))
    }

    /// Whether requests need a token.
    pub fn asks_for_tokens(&self) -> bool {
        self.security.guard.is_on()
    }

    /// Serves these routes, and health and metrics beside them or on their own port.
    pub fn start(self, routes: impl IntoIterator<Item = Routes>) -> Running {
        let Self { main, admin, limits, security, registry, health, shutdown } = self;
        let running = Running { servers: TaskTracker::new(), limits, security, shutdown };
        let mut routes: Vec<_> = routes.into_iter().collect();
        let operation = health::router(health, registry);
        match admin {
            None => routes.push(operation),
            Some(listener) => running.serve(listener, [operation]),
        }
        running.serve(main, routes);
        running
    }
}

impl Running {
    /// Serves other routes on another socket.
    pub fn serve(&self, listener: TcpListener, routes: impl IntoIterator<Item = Routes>) {
        if let Some(exposure) = self.security.exposure(&listener) {
            tracing::warn!(url = self.url(&listener), "{exposure}");
        }
        let Security { guard, tls } = &self.security;
        let router = openapi::assemble_with(routes, Some(guard));
        let (limits, shutdown) = (self.limits.clone(), self.shutdown.clone());
        self.servers.spawn(http::serve_with(listener, router, tls.clone(), limits, shutdown));
    }

    /// Where a socket is reached that is going to be served.
    pub fn url(&self, listener: &TcpListener) -> String {
        self.security.url(listener)
    }

    /// Ends it: returns when every request was answered, or cut after the grace time.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.servers.close();
        self.servers.wait().await;
    }
}
