//! Deletions: what they put into the journal, and what is refused.

use event::{Deletion, Header, JobName, Kind, RunName};

use crate::support::{Mode, options, start};

fn request(target: &str) -> Vec<u8> {
    format!("DELETE {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_deletion_is_a_record_of_the_journal() {
    let server = start(options()).await;
    let id = RunName::new("j", "r").unwrap().hash();
    let cases = [
        (format!("/v1/runs/{id}"), Deletion::Run { id, reopen: false }),
        (format!("/v1/runs/{id}?reopen=false"), Deletion::Run { id, reopen: false }),
        (format!("/v1/runs/{id}?reopen=true"), Deletion::Run { id, reopen: true }),
        ("/v1/jobs?job=a%2Fb%20+%C3%BC".to_owned(), Deletion::Job(JobName::new("a/b  ü").unwrap())),
    ];
    for (number, (target, deletion)) in cases.into_iter().enumerate() {
        let answer = server.raw(&request(&target)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["journal"], serde_json::json!([{"partition": 0, "offset": number}]));
        let record = server.events.records().swap_remove(number);
        assert_eq!(Deletion::from_key(&record.key), Ok(deletion));
        assert_eq!(Header::parse(&record.header).unwrap().kind, Kind::Delete);
        assert!(record.value.is_empty());
    }
    assert_eq!(server.metric("emberlog_collector_deletions_total"), 4.0);
}

#[tokio::test]
async fn what_names_nothing_to_delete_is_refused() {
    let server = start(options()).await;
    let id = RunName::new("j", "r").unwrap().hash();
    for target in [
        "/v1/runs/r",
        "/v1/runs/%ff",
        &format!("/v1/runs/{id}?reopen"),
        &format!("/v1/runs/{id}?reopen=yes"),
        &format!("/v1/runs/{id}?force=true"),
        "/v1/jobs",
        "/v1/jobs?job=",
        "/v1/jobs?job=%ff",
        "/v1/jobs?job=a&job=b",
        "/v1/jobs?name=a",
    ] {
        let answer = server.raw(&request(target)).await;
        // An id that none can have is that of no run, as for reads.
        let is_id = target.starts_with(&format!("/v1/runs/{id}")) || target.starts_with("/v1/jobs");
        assert_eq!(answer.status, if is_id { 400 } else { 404 }, "{target} {answer:?}");
        assert!(!answer.message().is_empty());
    }
    assert_eq!(server.events.records(), []);
}

#[tokio::test]
async fn without_the_journal_nothing_is_said_to_be_deleted() {
    let server = start(options()).await;
    *server.events.mode.lock().unwrap() = Mode::IsAway;
    let answer = server.raw(&request("/v1/jobs?job=a")).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("retry-after"));
    assert_eq!(server.metric("emberlog_collector_deletions_total"), 0.0);
}
