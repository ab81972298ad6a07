//! An embedded journal that no longer holds all that the store does: no rebuild loses what is gone from it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::client::undisturbed;
use e2e::payload::{Message, Payload};
use e2e::process::said;
use e2e::random::Random;
use e2e::server::{Server, check, data_dir, tool};
use e2e::wait;

/// Text that does not compress, so that few events fill a segment of the journal.
fn noise(random: &mut Random, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes + 8);
    while text.len() < bytes {
        let mut number = random.number();
        for _ in 0..10 {
            text.push(char::from(LETTERS[usize::try_from(number % 64).unwrap()]));
            number /= 64;
        }
    }
    text
}

/// The offset at which the journal begins, by the name of its oldest segment.
fn journal_start(data: &Path) -> u64 {
    let files = std::fs::read_dir(data.join("journal")).unwrap();
    let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.split('.').next()?.parse().ok()).min().unwrap()
}

#[test]
fn what_the_journal_no_longer_holds_is_lost_by_no_rebuild() {
    undisturbed(|| {
        const RUNS: u64 = 18;
        let data = data_dir();
        let mut random = Random::for_test("retention");
        let server = Server::start(data.path(), &["--journal-retention-size", "1MiB"]);
        let client = server.client();
        for i in 0..RUNS {
            let event = format!(r#"{{"Event":"E","n":{i},"text":"{}"}}"#, noise(&mut random, 12_000_000));
            let payload = Payload::new("large", &format!("run {i:02}"), vec![Message::event(event, 1)]);
            assert_eq!(client.post("/collect", &payload.to_json()).status, 200);
        }
        // A segment may go once the store that applied it is synced: every minute.
        let deadline = Instant::now() + 2 * wait::PATIENCE;
        while journal_start(data.path()) == 0 {
            assert!(Instant::now() < deadline, "no segment was removed");
            sleep(Duration::from_millis(200));
        }
        // On a slow machine that minute is over before all of them have come.
        let whole = wait::until("all runs", || Some(check(data.path())).filter(|it| it["runs"] == RUNS));
        assert_eq!(server.stop().code(), Some(0));
        // One record a run: the offset of the first one held is the number of those that are gone.
        let gone = journal_start(data.path());
        assert!((1..RUNS).contains(&gone), "{gone}");

        let refused = tool(data.path(), &["rebuild", "--from", "journal"]);
        assert!(!refused.status.success());
        let text = said(&refused);
        for part in [&format!("{gone} runs would vanish or lose events"), "rebuild from the store", "--accept-loss"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(check(data.path())["digest"], whole["digest"]);

        // What was refused has begun nothing that the other way would have to give up.
        let kept = tool(data.path(), &["rebuild", "--from", "store"]);
        assert!(kept.status.success(), "{}", said(&kept));
        let kept = check(data.path());
        assert_eq!((&kept["digest"], &kept["runs"]), (&whole["digest"], &whole["runs"]));

        let accepted = tool(data.path(), &["rebuild", "--from", "journal", "--accept-loss", "--drop-old"]);
        assert!(accepted.status.success(), "{}", said(&accepted));
        assert_eq!(check(data.path())["runs"], RUNS - gone);
        let states = |flags: &[&str]| {
            let output = tool(data.path(), &[&["generations", "--json"], flags].concat());
            assert!(output.status.success(), "{}", said(&output));
            let lines = String::from_utf8(output.stdout).unwrap();
            let state = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["state"].clone();
            lines.lines().map(state).collect::<Vec<_>>()
        };
        assert_eq!(states(&[]), ["old", "served"]);
        assert_eq!(states(&["--drop-old"]), ["removed", "served"]);
        assert_eq!(states(&[]), ["served"]);
        let server = Server::start(data.path(), &[]);
        let listed = server.client().get("/job/large").json();
        // They began in the same millisecond, so that their order is any.
        let mut listed: Vec<_> = listed.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        listed.sort_unstable();
        let expected: Vec<_> = (gone..RUNS).map(|i| format!("run {i:02}")).collect();
        assert_eq!(listed, expected);
    });
}
