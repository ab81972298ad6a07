//! Alone in its process: it measures the process's memory.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;

use axum::Router;
use axum::routing::get;
use service::{http, limits};
use tokio_util::sync::CancellationToken;

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_fit_within_256_mb() {
    // Both ends are in this process.
    let count = usize::try_from(limits::raise_open_files() / 2 - 100).unwrap().min(10_000);
    let listener = http::listen("127.0.0.1:0", "--listen").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(http::serve(listener, router, http::Limits::default(), CancellationToken::new()));
    let before = resident();
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].ends_with(b"hello"));
        streams.push(stream);
    }
    let each = (resident() - before) / count;
    println!("{count} idle connections take {each} bytes each");
    assert!(each < 20 << 10, "{each} bytes");
}
