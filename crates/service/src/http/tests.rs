use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

const SHORT: Duration = Duration::from_millis(300);
/// More than a machine that others use too takes for anything here.
const LONG: Duration = Duration::from_secs(120);
/// On a machine that stands still a time-out hits a client that does as it should: then all begins anew.
const ATTEMPTS: usize = 10;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

fn patient() -> Limits {
    let longer = 4 * LONG;
    Limits { header_read: longer, idle: longer, write_stall: longer, grace: longer, ..Limits::default() }
}

async fn start(router: Router, limits: Limits) -> Running {
    let listener = listen("127.0.0.1:0", "--listen").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
    Running { address, shutdown, server }
}

fn hello() -> Router {
    Router::new().route("/", get(|ConnectInfo(remote): ConnectInfo<SocketAddr>| async move { remote.to_string() }))
}

async fn connect(to: &Running) -> TcpStream {
    TcpStream::connect(to.address).await.unwrap()
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// Reads until the text ends an answer or the connection ends.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let mut buf = [0; 4096];
    loop {
        let n = timeout(LONG, stream.read(&mut buf)).await.expect("no answer and no end").unwrap_or(0);
        read.extend_from_slice(&buf[..n]);
        if n == 0 || String::from_utf8_lossy(&read).ends_with(end) {
            return String::from_utf8_lossy(&read).into_owned();
        }
    }
}

async fn ask(stream: &mut TcpStream) -> String {
    // It may be closed already.
    drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await);
    let own = stream.local_addr().unwrap().to_string();
    read_until(stream, &own).await
}

async fn is_answered(stream: &mut TcpStream) -> bool {
    ask(stream).await.starts_with("HTTP/1.1 200")
}

/// Whether the server has neither said anything nor closed it.
async fn is_open(stream: &TcpStream) -> bool {
    timeout(Duration::from_millis(10), stream.peek(&mut [0])).await.is_err()
}

/// How long until the server ends the connection.
async fn ends_after(stream: &mut TcpStream) -> Duration {
    let from = Instant::now();
    assert_eq!(read_until(stream, "never").await, "");
    from.elapsed()
}

#[tokio::test]
async fn a_thousand_connections_that_say_nothing_hinder_nobody_and_end() {
    let running = start(hello(), Limits { header_read: SHORT * 6, ..patient() }).await;
    let mut is_hindered = true;
    for _ in 0..ATTEMPTS {
        let mut silent = Vec::new();
        for _ in 0..1000 {
            silent.push(connect(&running).await);
        }
        let mut client = connect(&running).await;
        is_hindered = !is_answered(&mut client).await || !is_open(&silent[0]).await;
        for stream in &mut silent {
            ends_after(stream).await;
        }
        if !is_hindered {
            break;
        }
    }
    assert!(!is_hindered, "a client was served only when the first of the silent ones had been ended");
}

#[tokio::test]
async fn headers_that_trickle_are_cut_at_their_deadline() {
    let running = start(hello(), Limits { header_read: SHORT, ..patient() }).await;
    for first in [true, false] {
        let mut from = Instant::now();
        let mut stream = connect(&running).await;
        if !first {
            while !is_answered(&mut stream).await {
                stream = connect(&running).await;
            }
            from = Instant::now();
        }
        drop(stream.write_all(b"GET / HTTP/1.1\r\nX: ").await);
        while from.elapsed() < LONG && stream.write_all(b"x").await.is_ok() {
            sleep(SHORT / 10).await;
        }
        assert!((SHORT / 2..LONG).contains(&from.elapsed()), "{:?}", from.elapsed());
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_deadline_of_headers_but_not_that_of_idling() {
    let running = start(hello(), Limits { header_read: SHORT, idle: SHORT * 4, ..patient() }).await;
    for _ in 0..ATTEMPTS {
        let mut stream = connect(&running).await;
        let mut outlives = is_answered(&mut stream).await;
        sleep(SHORT * 2).await;
        outlives &= is_answered(&mut stream).await;
        if ends_after(&mut stream).await >= SHORT * 3 && outlives {
            return;
        }
    }
    panic!("an idle connection ends too early");
}

#[tokio::test]
async fn a_slow_answer_is_not_a_slow_header() {
    let slow = Router::new().route(
        "/",
        get(|| async {
            sleep(SHORT * 3).await;
            "done"
        }),
    );
    let running = start(slow, Limits { header_read: SHORT, idle: SHORT, ..patient() }).await;
    for _ in 0..ATTEMPTS {
        let mut stream = connect(&running).await;
        drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await);
        if read_until(&mut stream, "done").await.ends_with("done") {
            return;
        }
    }
    panic!("no answer");
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_its_turn() {
    let running = start(hello(), Limits { connections: 2, ..patient() }).await;
    let mut first = connect(&running).await;
    let mut second = connect(&running).await;
    ask(&mut first).await;
    ask(&mut second).await;
    let mut third = connect(&running).await;
    assert!(timeout(SHORT, ask(&mut third)).await.is_err());
    drop(first);
    let own = third.local_addr().unwrap().to_string();
    assert!(read_until(&mut third, &own).await.starts_with("HTTP/1.1 200"));
}

/// An endless body that tells when it is dropped.
struct Endless(Arc<Notify>);

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1 << 16])))))
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    for _ in 0..ATTEMPTS {
        if is_let_go_when_it_does_not_read().await {
            return;
        }
    }
    panic!("a client that reads is let go");
}

/// Not before.
async fn is_let_go_when_it_does_not_read() -> bool {
    let dropped = Arc::new(Notify::new());
    let notify = dropped.clone();
    let router = Router::new().route("/", get(|| async move { Body::new(Endless(notify)) }));
    let running = start(router, Limits { write_stall: SHORT, ..patient() }).await;
    let mut stream = connect(&running).await;
    send(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // For a while it reads, slower than the server writes.
    for _ in 0..20 {
        sleep(SHORT / 10).await;
        if stream.read_exact(&mut vec![0; 1 << 20]).await.is_err() {
            return false;
        }
    }
    let from = Instant::now();
    timeout(LONG, dropped.notified()).await.expect("the body is still held");
    from.elapsed() >= SHORT / 2
}

#[tokio::test]
async fn headers_too_large_get_431_and_a_refused_body_does_not_lose_the_answer() {
    let refuse = |request: Request| async move {
        drop(request);
        (StatusCode::PAYLOAD_TOO_LARGE, "too large")
    };
    let running = start(hello().route("/collect", post(refuse)), patient()).await;
    let mut stream = connect(&running).await;
    let headers = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    send(&mut stream, headers.as_bytes()).await;
    let answer = read_until(&mut stream, "never").await;
    assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large"), "{answer}");

    let body = vec![0; 64 << 20];
    let head = format!("POST /collect HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut answers = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut stream = connect(&running).await;
        send(&mut stream, head.as_bytes()).await;
        // What is refused is read on for some seconds, in which a machine that stands still does not get it all.
        if stream.write_all(&body).await.is_ok() {
            answers.push(read_until(&mut stream, "too large").await);
            break;
        }
    }
    assert!(answers.first().is_some_and(|it| it.starts_with("HTTP/1.1 413")), "{answers:?}");
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_lets_requests_finish() {
    let go = Arc::new(Notify::new());
    let (begun, finish) = (go.clone(), Arc::new(Notify::new()));
    let done = finish.clone();
    let wait = async move || {
        begun.notify_one();
        finish.notified().await;
        "finished"
    };
    let running = start(hello().route("/wait", get(wait)), patient()).await;
    let (mut silent, mut idle, mut busy) = (connect(&running).await, connect(&running).await, connect(&running).await);
    ask(&mut idle).await;
    send(&mut busy, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    go.notified().await;
    running.shutdown.cancel();
    ends_after(&mut idle).await;
    ends_after(&mut silent).await;
    assert!(!running.server.is_finished());
    done.notify_one();
    assert!(read_until(&mut busy, "finished").await.ends_with("finished"));
    drop(busy);
    timeout(LONG / 2, running.server).await.expect("does not end").unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn shutdown_has_a_hard_deadline() {
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let running = start(router, Limits { grace: SHORT, ..patient() }).await;
    let mut stream = connect(&running).await;
    send(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(SHORT / 3).await;
    running.shutdown.cancel();
    timeout(LONG, running.server).await.expect("does not end").unwrap();
    ends_after(&mut stream).await;
}

#[tokio::test]
async fn an_address_in_use_gets_an_error_that_says_what_to_do() {
    let taken = listen("127.0.0.1:0", "--listen").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = listen(&format!("localhost:{port}"), "--listen").await.unwrap_err().to_string();
    for part in [format!("127.0.0.1:{port}"), format!("ss -ltnp 'sport = :{port}'"), "--listen 127.0.0.1:".to_owned()] {
        assert!(error.contains(&part), "{error}");
    }
    let error = listen("192.0.2.1:5000", "--admin-listen").await.unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:5000") && error.contains("--admin-listen"), "{error}");
    let error = listen("5000", "--listen").await.unwrap_err().to_string();
    assert!(error.contains("such as `--listen 127.0.0.1:5000`"), "{error}");
}
