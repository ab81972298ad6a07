use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::Registry;
use service::auth::Guard;
use service::http::Limits;
use service::tls::Tls;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::{LONG, Pair, Server, answer, connect_tls, metric, send, until};

const SHORT: Duration = Duration::from_millis(500);

struct Site {
    dir: TempDir,
    pair: Pair,
    server: Server,
}

async fn start(limits: Limits) -> Site {
    let (dir, pair, registry) = (tempfile::tempdir().unwrap(), Pair::new(), Arc::new(Registry::new()));
    let [certificate, key] = pair.write(dir.path());
    let tls = Tls::start(&certificate, &key, &registry, CancellationToken::new()).await.unwrap();
    let guard = Guard::with(None, &registry).unwrap();
    let server = Server::start(&guard, registry, Some(tls), limits).await;
    Site { dir, pair, server }
}

fn failures(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("emberlog_tls_handshake_failures_total{{reason=\"{reason}\"}}"))
}

const GET: &str = "GET /job HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn requests_are_answered_over_tls_and_http_1_is_agreed_on() {
    let site = start(Limits::default()).await;
    let mut stream = connect_tls(site.server.address, &site.pair).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..3 {
        send(&mut stream, GET).await;
        assert_eq!(answer(&mut stream).await.body, "jobs");
    }
    let body = "x".repeat(1 << 20);
    send(&mut stream, &format!("POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .await;
    assert!(answer(&mut stream).await.body.starts_with("1048576 bytes"));
    let not_after = site.server.metric("emberlog_tls_certificate_not_after_seconds");
    // The default of rcgen: the end of the year 4095.
    assert!((6.7e10..6.8e10).contains(&not_after), "{not_after}");
}

#[tokio::test]
async fn plain_http_is_told_to_speak_tls_and_other_bytes_are_cut() {
    let site = start(Limits { handshake: 2 * LONG, ..Limits::default() }).await;
    let mut stream = site.server.connect().await;
    send(&mut stream, GET).await;
    let told = answer(&mut stream).await;
    assert!(told.status == 400 && told.message().contains("https://"), "{told:?}");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 0);
    for (bytes, reason) in [(&b"\x00\x01\x02"[..], "not_tls"), (b"\x16\x03\x01\x00\x05hello", "not_tls")] {
        let before = failures(&site.server, reason);
        let mut stream = site.server.connect().await;
        stream.write_all(bytes).await.unwrap();
        // An alert may come before the end.
        let read = timeout(LONG, stream.read_to_end(&mut Vec::new())).await;
        assert!(read.is_ok(), "{bytes:?} hangs");
        assert_eq!(failures(&site.server, reason), before + 1.0, "{bytes:?}");
    }
    assert_eq!(failures(&site.server, "plain_http"), 1.0);
}

#[tokio::test]
async fn slow_handshakes_hinder_nobody_and_end() {
    let site = start(Limits { handshake: SHORT * 4, ..Limits::default() }).await;
    let mut is_hindered = true;
    // On a machine that stands still the time-out hits all of them before a good one is served: then all begins anew.
    for _ in 0..10 {
        let mut slow = Vec::new();
        for _ in 0..200 {
            let mut stream = site.server.connect().await;
            stream.write_all(b"\x16\x03\x01").await.unwrap();
            slow.push(stream);
        }
        if let Ok(mut stream) = connect_tls(site.server.address, &site.pair).await {
            send(&mut stream, GET).await;
            assert_eq!(answer(&mut stream).await.status, 200);
            is_hindered = timeout(Duration::from_millis(10), slow[0].peek(&mut [0])).await.is_ok();
        }
        for stream in &mut slow {
            let end = timeout(LONG, stream.read(&mut [0; 100])).await.expect("a slow handshake does not end");
            assert!(matches!(end, Ok(0) | Err(_)));
        }
        if !is_hindered {
            break;
        }
    }
    assert!(!is_hindered, "a client was served only when the first of the slow ones had been ended");
    assert!(failures(&site.server, "timeout") >= 200.0);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_counted() {
    let site = start(Limits::default()).await;
    assert!(connect_tls(site.server.address, &Pair::new()).await.is_err());
    until("the alert", || failures(&site.server, "alert") == 1.0).await;
    drop(TcpStream::connect(site.server.address).await.unwrap());
    assert_eq!(failures(&site.server, "closed"), 0.0, "a probe of the port is no handshake");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_over_tls_too() {
    let site = start(Limits { write_stall: SHORT, ..Limits::default() }).await;
    let mut stream = connect_tls(site.server.address, &site.pair).await.unwrap();
    // Answers pile up in what TLS holds and in the socket's buffers.
    let asked = async {
        loop {
            stream.write_all("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100).as_bytes()).await?;
            stream.flush().await?;
        }
        #[allow(unreachable_code)]
        Ok::<_, std::io::Error>(())
    };
    assert!(timeout(LONG, asked).await.expect("the connection is still held").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_in_under_load_and_a_broken_one_is_not() {
    let site = start(Limits { handshake: LONG, ..Limits::default() }).await;
    let address = site.server.address;
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let next = Pair::new();
    let load = async {
        let mut kept = connect_tls(address, &site.pair).await.unwrap();
        while !over.load(Ordering::Relaxed) {
            // One of the two is in force, and a connection keeps what it began with.
            let fresh = match connect_tls(address, &site.pair).await {
                Ok(stream) => Ok(stream),
                Err(_) => connect_tls(address, &next).await,
            };
            let mut fresh = fresh.expect("a handshake failed while the certificate changed");
            for stream in [&mut kept, &mut fresh] {
                send(stream, GET).await;
                assert_eq!(answer(stream).await.status, 200);
            }
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let change = async {
        let registry = &site.server.registry;
        let broken = || metric(registry, "emberlog_tls_files_broken");
        // Certificate and key do not match until both are written.
        let [certificate, _] = next.write(site.dir.path());
        while connect_tls(address, &next).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(connect_tls(address, &site.pair).await.is_err(), "the old one is still in force");
        for wrong in [site.pair.certificate.as_str(), "nonsense", ""] {
            std::fs::write(&certificate, wrong).unwrap();
            until("the pair to be found broken", || broken() == 1.0).await;
            assert!(connect_tls(address, &next).await.is_ok());
            std::fs::write(&certificate, &next.certificate).unwrap();
            until("the pair to be mended", || broken() == 0.0).await;
        }
        until("enough load", || asked.load(Ordering::Relaxed) > 100).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, change);
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_told_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let (pair, other) = (Pair::new(), Pair::new());
    let [certificate, key] = pair.write(dir.path());
    let cut = &pair.key[..pair.key.len() - 40];
    for (chain, secret, says) in [
        (&pair.certificate, other.key.as_str(), "does not belong to the key in"),
        (&pair.key, &pair.key, "tls.crt: it holds no certificate"),
        (&pair.certificate, &pair.certificate, "tls.key: it holds no private key"),
        (&pair.certificate, cut, "tls.key: a section of PEM has no end"),
        (&String::new(), &pair.key, "tls.crt: it holds no certificate"),
    ] {
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key, secret).unwrap();
        let started = Tls::start(&certificate, &key, &Registry::new(), CancellationToken::new()).await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(says) && !pair.key.lines().skip(1).any(|it| error.contains(it)), "{says}: {error}");
    }
}
