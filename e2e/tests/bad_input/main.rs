//! What no agent should send, and what bad luck sends: each has its clear answer, and the server goes on.
#![allow(clippy::unwrap_used)]

mod limits;
mod shape;

use e2e::client::{Answer, Client};
use e2e::payload::small_run;
use e2e::server::Site;
use e2e::wait;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// One payload works, and soon.
fn assert_goes_on(client: &Client, run: &str) {
    let payload = small_run("good", run, 3);
    let answer = client.post("/collect", &payload.to_gzip());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected: String = payload.messages.iter().map(|it| format!("{}\n", it.content)).collect();
    wait::until("the good run", || (client.events("good", run).unwrap() == expected.as_bytes()).then_some(()));
}

fn assert_refused(what: &str, answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.json()["status"], status, "{what}");
    assert!(answer.message().contains(says), "{what}: {:?} does not say {says:?}", answer.message());
}
