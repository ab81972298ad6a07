//! The HTTP server: every connection, header, idle client and slow reader is bounded, and the end is orderly.

mod connection;
mod handshake;
mod socket;
mod stream;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::tls::Tls;

/// The bounds of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; those above it wait to be accepted.
    pub connections: usize,
    /// From the first byte of a request (of a new connection: from its start) to the end of its headers.
    pub header_read: Duration,
    /// From the first byte of a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// Between two requests of a connection. Longer than load balancers keep theirs (AWS: 60 s), so that it is
    /// they who close.
    pub idle: Duration,
    /// How long a client may take none of an answer's bytes.
    pub write_stall: Duration,
    /// The request line and headers. Two names of 4,096 bytes, percent-encoded, are 24 KiB.
    pub header_bytes: usize,
    /// How long requests may go on after shutdown began.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            header_read: Duration::from_secs(15),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            header_bytes: 64 << 10,
            grace: Duration::from_secs(20),
        }
    }
}

/// Binds `address` (host and port), the value of the flag named `flag`.
pub async fn listen(address: &str, flag: &'static str) -> Result<TcpListener, Error> {
    let failed = |source| Error::Listen { address: address.to_owned(), flag, source };
    let mut last = failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for candidate in lookup_host(address).await.map_err(failed)? {
        match bind(candidate) {
            Ok(listener) => return Ok(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                let other =
                    SocketAddr::new(candidate.ip(), candidate.port().checked_add(1).unwrap_or(5000)).to_string();
                last = Error::AddressInUse { address: candidate.to_string(), port: candidate.port(), flag, other };
            }
            Err(source) => last = failed(source),
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    // The system bounds it (net.core.somaxconn): 1,024, Tokio's own, is little when every driver reconnects at once.
    const BACKLOG: u32 = 4096;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Else a restart would fail while connections of the process before are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`, then lets requests finish for `limits.grace` and cuts the rest.
///
/// Requests carry `axum::extract::ConnectInfo<SocketAddr>`. Idle connections cost some 10 KB each.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    serve_with(listener, router, None, limits, shutdown).await;
}

/// The same, with TLS if there is one.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let tasks = TaskTracker::new();
    let server = connection::Server::new(router, tls, &limits, shutdown.clone());
    let mut warned = None;
    while let Some(slot) = until(&shutdown, free(&slots, &mut warned)).await {
        match until(&shutdown, listener.accept()).await {
            None => break,
            Some(Ok((stream, remote))) => {
                let connection = server.connection(stream, remote);
                tasks.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Some(Err(error)) => {
                until(&shutdown, back_off(&error)).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if timeout(limits.grace, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "cutting connections that did not finish in time");
        server.cut();
        tasks.wait().await;
    }
}

async fn until<T>(shutdown: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        value = future => Some(value),
    }
}

async fn free(slots: &Arc<Semaphore>, warned: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
    const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);
    if slots.available_permits() == 0 && warned.is_none_or(|at| at.elapsed() > BETWEEN_WARNINGS) {
        *warned = Some(Instant::now());
        tracing::warn!("the limit of connections is reached; new ones wait");
    }
    slots.clone().acquire_owned().await.ok()
}

/// A client that went away between its connection and our accept needs no pause; a lack of files or memory does.
async fn back_off(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::warn!(%error, "cannot accept connections; trying again");
        sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests;
