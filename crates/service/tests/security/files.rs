use std::fs;
use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;
use service::auth::{Guard, Line, Scopes};
use service::http::Limits;
use tokio_util::sync::CancellationToken;

use crate::support::{Server, metric, until};

fn line(token: &str) -> String {
    format!("{}\n", Line::of(token, None, Scopes::parse("read").unwrap()).unwrap())
}

async fn start(path: &Path) -> Server {
    let registry = Arc::new(Registry::new());
    let guard = Guard::start(Some(path), &registry, CancellationToken::new()).await.unwrap();
    Server::start(&guard, registry, None, Limits::default()).await
}

async fn status(server: &Server, token: &str) -> u16 {
    server.ask("GET", "/job", &format!("X-API-Key: {token}\r\n")).await.status
}

#[tokio::test]
async fn a_changed_file_is_taken_in_and_a_broken_one_leaves_the_tokens_that_were() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    fs::write(&path, line("old")).unwrap();
    let server = start(&path).await;
    let tokens = || metric(&server.registry, "emberlog_auth_tokens");
    let broken = || metric(&server.registry, "emberlog_auth_file_broken");
    assert_eq!((status(&server, "old").await, status(&server, "new").await), (200, 401));

    fs::write(&path, line("old") + &line("new")).unwrap();
    until("two tokens", || tokens() == 2.0).await;
    assert_eq!((status(&server, "old").await, status(&server, "new").await), (200, 200));

    fs::write(&path, line("new")).unwrap();
    until("one token", || tokens() == 1.0).await;
    assert_eq!((status(&server, "old").await, status(&server, "new").await), (401, 200));

    for break_it in [|path: &Path| fs::write(path, "nonsense"), |path: &Path| fs::remove_file(path)] {
        break_it(&path).unwrap();
        until("the file to be found broken", || broken() == 1.0).await;
        assert_eq!((tokens(), status(&server, "new").await), (1.0, 200));
        fs::write(&path, line("new")).unwrap();
        until("the file to be mended", || broken() == 0.0).await;
    }

    // Nobody may do anything then: it is no reason to let all in.
    fs::write(&path, "# none\n").unwrap();
    until("no token", || tokens() == 0.0).await;
    assert_eq!(status(&server, "new").await, 401);
}

#[tokio::test]
async fn a_file_that_is_wrong_or_missing_at_the_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    let error = async || {
        let started = Guard::start(Some(&path), &Registry::new(), CancellationToken::new()).await;
        started.unwrap_err().to_string()
    };
    assert!(error().await.contains("cannot read"));
    fs::write(&path, "a b\n").unwrap();
    assert!(error().await.contains("line 1"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(error().await.contains("not a regular file"));
}
