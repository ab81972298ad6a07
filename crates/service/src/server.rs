//! What is the same in every binary: its sockets, health and metrics, and its end.

use std::sync::Arc;

use clap::Args;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

use crate::http::{self, Limits};
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
}

/// A process that listens and does not serve yet: a port in use is said before anything else is opened.
#[derive(Debug)]
pub struct Server {
    main: TcpListener,
    admin: Option<TcpListener>,
    limits: Limits,
    pub registry: Arc<Registry>,
    pub health: Health,
    pub shutdown: CancellationToken,
}

/// A process that serves.
#[derive(Debug)]
pub struct Running {
    servers: TaskTracker,
    limits: Limits,
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
        let limits = Limits { connections: flags.max_connections, grace: flags.shutdown_grace, ..Limits::default() };
        Ok(Self { main, admin, limits, registry, health: Health::new(), shutdown })
    }

    pub fn url(&self) -> String {
        url(&self.main)
    }

    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(url)
    }

    /// Serves these routes, and health and metrics beside them or on their own port.
    pub fn start(self, routers: impl IntoIterator<Item = OpenApiRouter>) -> Running {
        let Self { main, admin, limits, registry, health, shutdown } = self;
        let running = Running { servers: TaskTracker::new(), limits, shutdown };
        let mut routers: Vec<_> = routers.into_iter().collect();
        let operation = health::router(health, registry);
        match admin {
            None => routers.push(operation),
            Some(listener) => running.serve(listener, [operation]),
        }
        running.serve(main, routers);
        running
    }
}

impl Running {
    /// Serves other routes on another socket.
    pub fn serve(&self, listener: TcpListener, routers: impl IntoIterator<Item = OpenApiRouter>) {
        let router = openapi::assemble(routers);
        self.servers.spawn(http::serve(listener, router, self.limits.clone(), self.shutdown.clone()));
    }

    /// Ends it: returns when every request was answered, or cut after the grace time.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.servers.close();
        self.servers.wait().await;
    }
}

fn url(listener: &TcpListener) -> String {
    // A bound socket has an address.
    listener.local_addr().map(|address| format!("http://{address}")).unwrap_or_default()
}
