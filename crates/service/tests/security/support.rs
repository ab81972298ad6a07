//! A server with routes of every scope, and clients that send exactly what they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use prometheus::{Registry, TextEncoder};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use service::auth::{Access, Guard, Routes};
use service::http::{Limits, listen, serve_with};
use service::tls::Tls;
use service::{Health, health, openapi};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// More than a machine that others use too takes for anything here.
pub const LONG: Duration = Duration::from_secs(120);

#[utoipa::path(post, path = "/collect", responses((status = 200)))]
async fn collect(headers: HeaderMap, body: Bytes) -> String {
    format!("{} bytes, {headers:?}", body.len())
}

#[utoipa::path(get, path = "/job", responses((status = 200)))]
async fn read() -> &'static str {
    "jobs"
}

#[utoipa::path(get, path = "/v1/ingest", responses((status = 200)))]
async fn progress() -> &'static str {
    "progress"
}

#[utoipa::path(delete, path = "/job", responses((status = 200)))]
async fn delete() -> &'static str {
    "deleted"
}

pub fn routes(registry: &Arc<Registry>) -> Vec<Routes> {
    let with = |access: Access, router: OpenApiRouter| access.of(router);
    vec![
        with(Access::Ingest, OpenApiRouter::new().routes(routes!(collect))),
        with(Access::Read, OpenApiRouter::new().routes(routes!(read))),
        with(Access::IngestOrRead, OpenApiRouter::new().routes(routes!(progress))),
        with(Access::Admin, OpenApiRouter::new().routes(routes!(delete))),
        health::router(Health::new(), registry.clone()),
    ]
}

pub struct Server {
    pub address: SocketAddr,
    pub registry: Arc<Registry>,
    _stop: DropGuard,
}

impl Server {
    pub async fn start(guard: &Arc<Guard>, registry: Arc<Registry>, tls: Option<Tls>, limits: Limits) -> Self {
        let router = openapi::assemble_with(routes(&registry), Some(guard));
        let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve_with(listener, router, tls, limits, stop.clone()));
        Self { address, registry, _stop: stop.drop_guard() }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = self.connect().await;
        send(&mut stream, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        answer(&mut stream).await
    }

    /// The value of a metric, written with its labels.
    pub fn metric(&self, name: &str) -> f64 {
        metric(&self.registry, name)
    }
}

pub fn metric(registry: &Registry, name: &str) -> f64 {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

pub async fn until(what: &str, met: impl Fn() -> bool) {
    for _ in 0..9_000 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about");
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

pub async fn send(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads one answer, and leaves the connection as it is.
pub async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("the connection ended in an answer's head"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).map_or("0", |it| it.split("\r\n").next().unwrap());
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    };
    timeout(LONG, read).await.expect("no answer")
}

/// A self-signed certificate in two files.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    pub fn new() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }

    pub fn write(&self, dir: &std::path::Path) -> [std::path::PathBuf; 2] {
        let paths = ["tls.crt", "tls.key"].map(|it| dir.join(it));
        for (path, text) in paths.iter().zip([&self.certificate, &self.key]) {
            std::fs::write(path, text).unwrap();
        }
        paths
    }
}

/// A connection of a client that trusts this certificate only.
pub async fn connect_tls(address: SocketAddr, trusted: &Pair) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}
