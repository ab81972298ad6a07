//! The three programs as processes.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use journal::kafka::Settings;

use crate::client::Client;
use crate::server::{Role, Server};

pub fn collector(settings: &Settings) -> anyhow::Result<Server> {
    start(Role::KafkaCollector, &[], settings)
}

pub fn materializer(settings: &Settings, dir: &Path) -> anyhow::Result<Server> {
    let dir = dir.display().to_string();
    start(Role::Materializer, &["run", "--data-dir", &dir], settings)
}

pub fn api(dir: &Path) -> anyhow::Result<Server> {
    let url = free()?;
    let dir = dir.display().to_string();
    ready(Server::spawn(Role::Api, &["--listen", &url, "--data-dir", &dir], &url)?)
}

fn start(role: Role, arguments: &[&str], settings: &Settings) -> anyhow::Result<Server> {
    let url = free()?;
    let kafka = ["--listen", &url, "--kafka-brokers", &settings.brokers, "--topic", &settings.topic];
    ready(Server::spawn(role, &[arguments, &kafka].concat(), &url)?)
}

fn free() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn ready(server: Server) -> anyhow::Result<Server> {
    let (client, deadline) = (Client::new(&server.url), Instant::now() + Duration::from_secs(60));
    while !matches!(client.get("/health/ready"), Ok(Some(_))) {
        anyhow::ensure!(Instant::now() < deadline, "{} is not ready", server.url);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// The value of a metric without labels.
pub fn metric(server: &Server, name: &str) -> anyhow::Result<f64> {
    let text = Client::new(&server.url).get("/metrics")?.unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| anyhow::anyhow!("there is no metric {name}"))
}
