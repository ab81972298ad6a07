//! From an accepted connection to one with TLS, or to a close that says why not.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::Problem;
use crate::problem;
use crate::tls::{Failure, Tls};

/// The first byte of every TLS connection: a record that is part of a handshake.
const HANDSHAKE: u8 = 22;

/// `first` is the byte that the client begins with, still to be read.
pub(super) async fn handshake(
    tls: &Tls,
    mut stream: TcpStream,
    first: u8,
    remote: SocketAddr,
    within: Duration,
) -> Option<Box<TlsStream<TcpStream>>> {
    if first != HANDSHAKE {
        let is_http = first.is_ascii_uppercase();
        let failure = if is_http { Failure::PlainHttp } else { Failure::NotTls };
        tls.failed(failure, remote, "the client does not speak TLS");
        if is_http {
            // Whatever comes of it, the connection is over.
            drop(timeout(within, explain(&mut stream)).await);
        }
        return None;
    }
    match timeout(within, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => tls.failed(Failure::of(&error), remote, &error.to_string()),
        Err(_) => tls.failed(Failure::Timeout, remote, "the client does not end its handshake"),
    }
    None
}

/// Answers in clear, which is what such a client understands. Nothing of its request is read as one.
async fn explain(stream: &mut TcpStream) -> std::io::Result<()> {
    let message = "This port speaks TLS. Use https:// in the address.";
    let problem = Problem::new(StatusCode::BAD_REQUEST, "Bad Request", message);
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let (kind, length) = (problem::CONTENT_TYPE, body.len());
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await?;
    // A close with unread bytes becomes a reset, and the client would lose the answer.
    let mut rest = vec![0; 16 << 10];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
