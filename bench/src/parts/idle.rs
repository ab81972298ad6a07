//! Connections that say nothing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Context;
use crate::client::Client;
use crate::report::{Figure, Goal};
use crate::server::{Role, Server};

const CONNECTIONS: usize = 10_000;

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let files = service::limits::raise_open_files();
    anyhow::ensure!(
        files > CONNECTIONS as u64 + 100,
        "only {files} open files are allowed: raise the limit (ulimit -n)"
    );
    let dir = context.dir.join("idle");
    let server = Server::start(Role::Emberlog, &dir)?;
    let (empty, _) = server.memory()?;
    let address = server.url.trim_start_matches("http://").to_owned();
    let begin = Instant::now();
    let connections = (0..CONNECTIONS).map(|_| TcpStream::connect(&address)).collect::<Result<Vec<_>, _>>();
    let connections = connections.context("cannot connect")?;
    // A request on each of the last ones would make it busy: an answer to a new client says that all are accepted.
    Client::new(&server.url).get("/health/live")?;
    let (full, _) = server.memory()?;
    anyhow::ensure!(begin.elapsed() < Duration::from_secs(14), "the first connections were timed out meanwhile");
    drop(connections);
    server.stop()?;
    std::fs::remove_dir_all(&dir)?;
    let figure = |name: &str, value, unit| Figure::new("idle", name, value, unit);
    Ok(vec![
        figure("memory with 10,000 silent connections", full as f64 / 1e6, "MB")
            .limit(empty as f64 / 1e6, "without")
            .goal(Goal::AtMost(256.0 * 1.048_576)),
        figure("each connection", (full.saturating_sub(empty)) as f64 / CONNECTIONS as f64 / 1e3, "kB"),
    ])
}
