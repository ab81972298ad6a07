use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;
use service::auth::{Guard, Line, Scopes, Tokens};
use service::http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Server, answer, send};

const INGEST: &str = "emb_ingest";
const READ: &str = "emb_read";
const ADMIN: &str = "emb_admin";

async fn start() -> Server {
    let file: String = [(INGEST, "ingest"), (READ, "read"), (ADMIN, "admin")]
        .map(|(token, scope)| format!("{}\n", Line::of(token, Some(scope), Scopes::parse(scope).unwrap()).unwrap()))
        .concat();
    let tokens = Tokens::parse(Path::new("tokens"), file.as_bytes()).unwrap();
    let registry = Arc::new(Registry::new());
    let guard = Guard::with(Some(tokens), &registry).unwrap();
    Server::start(&guard, registry, None, Limits::default()).await
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn assert_is_refused(answer: &Answer, status: u16, challenge: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    assert!(answer.head.contains(&format!("www-authenticate: bearer realm=\"emberlog\"{challenge}\r\n")), "{answer:?}");
    // The Delight agent prints a message if there is exactly one in the body.
    assert_eq!(answer.body.matches("message").count(), 1);
    assert!(answer.message().len() > 60 && !answer.message().contains(['"', '\\']), "{}", answer.message());
}

#[tokio::test]
async fn without_a_token_everything_but_health_is_401_whether_it_is_there_or_not() {
    let server = start().await;
    for (method, path) in [
        ("GET", "/job"),
        ("DELETE", "/job"),
        ("PUT", "/job"),
        ("POST", "/collect"),
        ("GET", "/v1/ingest"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/"),
        ("GET", "/nothing"),
        ("OPTIONS", "*"),
        ("GET", "/health/"),
        ("GET", "/health/live/"),
        ("GET", "//health"),
        ("GET", "/HEALTH"),
        ("GET", "/health/%6cive"),
        ("GET", "/health/../job"),
        ("GET", "/health/live?x=/job"),
    ] {
        let answer = server.ask(method, path, "").await;
        if path == "/health/live?x=/job" {
            assert_eq!(answer.status, 200);
            continue;
        }
        assert_is_refused(&answer, 401, "");
        assert!(answer.message().contains("has none") && !answer.body.contains("/collect"), "{}", answer.message());
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(server.ask("GET", path, "").await.status, 200, "{path}");
    }
    assert_eq!(server.metric("emberlog_auth_refusals_total{reason=\"missing\"}"), 16.0);
    assert_eq!(server.metric("emberlog_auth_tokens"), 3.0);
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_allow_and_nothing_else() {
    let server = start().await;
    let routes = [
        ("POST", "/collect", [200, 403, 200]),
        ("GET", "/job", [403, 200, 200]),
        ("GET", "/v1/ingest", [200, 200, 200]),
        ("DELETE", "/job", [403, 403, 200]),
        ("GET", "/metrics", [403, 200, 200]),
        ("GET", "/openapi.json", [403, 200, 200]),
        ("GET", "/health", [200, 200, 200]),
        ("GET", "/nothing", [404, 404, 404]),
        ("PUT", "/job", [405, 405, 405]),
    ];
    for (method, path, expected) in routes {
        for (token, status) in [INGEST, READ, ADMIN].into_iter().zip(expected) {
            let answer = server.ask(method, path, &bearer(token)).await;
            assert_eq!(answer.status, status, "{method} {path} with {token}: {answer:?}");
        }
    }
    let refused = server.ask("DELETE", "/job", &bearer(READ)).await;
    assert_is_refused(&refused, 403, ", error=\"insufficient_scope\", scope=\"admin\"");
    assert!(refused.message().contains("scope admin"), "{}", refused.message());
    assert_eq!(server.metric("emberlog_auth_refusals_total{reason=\"scope\"}"), 7.0);
}

#[tokio::test]
async fn a_token_comes_in_either_header_and_goes_no_further() {
    let server = start().await;
    for headers in [
        bearer(INGEST),
        format!("authorization: bEARER  {INGEST} \r\n"),
        format!("X-API-key: {INGEST}\r\n"),
        // What proxies on the way add of their own.
        format!("Authorization: Basic dXNlcjpwYXNz\r\nX-API-Key: {INGEST}\r\n"),
        format!("{}X-API-Key: {INGEST}\r\n", bearer("of-a-proxy")),
    ] {
        let answer = server.ask("POST", "/collect", &headers).await;
        assert_eq!(answer.status, 200, "{headers}: {answer:?}");
        assert!(!answer.body.contains("authorization") && !answer.body.contains("emb_"), "{}", answer.body);
    }
    for headers in [
        bearer("emb_other"),
        bearer(&INGEST.to_uppercase()),
        bearer(&"x".repeat(20_000)),
        "X-API-Key: emb_ingest,emb_read\r\n".to_owned(),
        "Authorization: Bearer \u{e9}\u{e9}\u{e9}\r\n".to_owned(),
    ] {
        let answer = server.ask("POST", "/collect", &headers).await;
        assert_is_refused(&answer, 401, ", error=\"invalid_token\"");
    }
    for headers in ["Authorization: Basic dXNlcjpwYXNz\r\n", "Authorization: Bearer\r\n", "X-API-Key:\r\n"] {
        assert_is_refused(&server.ask("POST", "/collect", headers).await, 401, "");
    }
    assert_eq!(server.ask("POST", &format!("/collect?token={INGEST}"), "").await.status, 401);
}

#[tokio::test]
async fn the_refusal_comes_before_the_body_and_leaves_a_clean_connection() {
    let server = start().await;
    // Nothing of the body has come yet.
    let mut stream = server.connect().await;
    send(&mut stream, "POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n").await;
    let refused = answer(&mut stream).await;
    assert!(refused.status == 401 && refused.head.contains("connection: close"), "{refused:?}");
    // A client that goes on sending is not reset before it has read its answer.
    // The server reads on for some seconds, in which a machine that stands still does not get it all.
    let mut sent = Err(ErrorKind::NotConnected.into());
    for _ in 0..10 {
        stream = server.connect().await;
        send(&mut stream, "POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n").await;
        sent = stream.write_all(&vec![b'x'; 10_000_000]).await;
        if sent.is_ok() {
            break;
        }
    }
    sent.unwrap();
    assert_eq!(answer(&mut stream).await.status, 401);
    assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 0);
    // One that asked first is not told to go on.
    let mut stream = server.connect().await;
    let expect = "POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    send(&mut stream, expect).await;
    assert_eq!(answer(&mut stream).await.status, 401);
    // Without a body the connection goes on.
    let mut stream = server.connect().await;
    for headers in [String::new(), bearer("emb_other"), bearer(INGEST), bearer(READ)] {
        send(&mut stream, &format!("GET /job HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        let expected = if headers.contains(READ) {
            200
        } else if headers.contains(INGEST) {
            403
        } else {
            401
        };
        assert_eq!(answer(&mut stream).await.status, expected);
    }
}

#[tokio::test]
async fn without_a_tokens_file_everything_is_open_and_still_nothing_sees_a_token() {
    let registry = Arc::new(Registry::new());
    let guard = Guard::with(None, &registry).unwrap();
    let server = Server::start(&guard, registry, None, Limits::default()).await;
    let answer = server.ask("POST", "/collect", &format!("{}X-API-Key: {INGEST}\r\n", bearer(INGEST))).await;
    assert!(answer.status == 200 && !answer.body.contains(INGEST), "{answer:?}");
    assert_eq!(server.ask("DELETE", "/job", "").await.status, 200);
    let document = server.ask("GET", "/openapi.json", "").await.json();
    assert!(document["paths"]["/job"]["get"]["security"].as_array().unwrap().contains(&serde_json::json!({})));
}

#[tokio::test]
async fn the_description_says_which_scopes_each_route_needs() {
    let server = start().await;
    let document = server.ask("GET", "/openapi.json", &bearer(READ)).await.json();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["bearer"]["scheme"], &schemes["api_key"]["name"]), (&"bearer".into(), &"X-API-Key".into()));
    for (path, method, scopes) in [
        ("/collect", "post", &["ingest"][..]),
        ("/job", "get", &["read"]),
        ("/job", "delete", &["admin"]),
        ("/v1/ingest", "get", &["ingest", "read"]),
        ("/metrics", "get", &["read"]),
        ("/health", "get", &[]),
    ] {
        let operation = &document["paths"][path][method];
        let ways =
            scopes.iter().flat_map(|it| [serde_json::json!({"bearer": [it]}), serde_json::json!({"api_key": [it]})]);
        let found = operation["security"].as_array().cloned().unwrap_or_default();
        assert_eq!(found, ways.collect::<Vec<_>>(), "{method} {path}");
        assert_eq!(operation["responses"]["401"].is_object(), !scopes.is_empty(), "{path}");
    }
}
