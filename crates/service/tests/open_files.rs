//! Alone in its process: it lowers the process's limit of open files.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use service::{http, limits};
use tokio_util::sync::CancellationToken;

/// All that there are left.
fn take_files() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "{error}");
                return files;
            }
        }
    }
}

fn ask(stream: &mut TcpStream, patience: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_files_left_goes_on_when_there_are_some_and_the_limit_can_be_raised() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let listener = http::listen("127.0.0.1:0", "--listen").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(http::serve(listener, router, http::Limits::default(), CancellationToken::new()));

    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum }).unwrap();
    assert_eq!(limits::open_files(), 200);
    let mut files = take_files();
    // One for the client, and so none for the server.
    drop(files.pop());
    let mut last = TcpStream::connect(address).unwrap();
    let refused = ask(&mut last, Duration::from_secs(1)).expect_err("there was a file left for it");
    assert!(matches!(refused.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{refused}");
    drop(files);
    let mut later = TcpStream::connect(address).unwrap();
    assert!(ask(&mut later, Duration::from_secs(120)).unwrap().ends_with("hello"));

    assert_eq!(limits::raise_open_files(), maximum.unwrap_or(u64::MAX));
}
