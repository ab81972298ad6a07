//! Where clients of `/v1/ingest` go on.

use event::{EventKey, Header, Identity, Kind, Protocol, ReceivedAt, RunName, Sequence, ingest};
use store::{Batch, Cause, Gone, Run, RunNumber};

use crate::support::Server;

/// A run of which these sequences of these attempts came.
fn add(server: &mut Server, run: &str, stored: &[(u32, i64)]) {
    let name = RunName::new("a/b", run).unwrap();
    let number = u64::from(run.as_bytes()[0]);
    let mut record = Run::new(&name, RunNumber { partition: 0, number }, 0, ReceivedAt::now());
    let mut batch = Batch::default();
    for (attempt, sequence) in stored {
        let header = Header {
            kind: Kind::Event,
            protocol: Protocol::Ingest,
            generated_at: None,
            sequence: Some(Sequence(*sequence)),
            identity: None,
            received_at: ReceivedAt(0),
            instance: ingest::instance_of(*attempt),
        };
        let key = EventKey { order: ingest::order_of(*attempt), sequence: Sequence(*sequence), identity: Identity(7) };
        record.spans.fold(&header, false);
        record.ingested += 1;
        store::fold(&mut record, key, b"{}");
        batch.put_event(record.number, key, b"{}");
    }
    batch.put_run(&record, None).unwrap();
    server.writer.commit(batch).unwrap();
}

#[test]
fn the_next_sequence_is_the_first_that_is_not_stored() {
    let mut server = Server::start();
    add(&mut server, "whole", &[(0, 0), (0, 1), (0, 2), (3, 0)]);
    add(&mut server, "holes", &[(0, 0), (0, 1), (0, 4), (3, 1), (4, 0)]);
    let mut batch = Batch::default();
    let gone = Gone { cause: Cause::Deleted, at: ReceivedAt(0) };
    batch.put_gone(RunName::new("a/b", "gone").unwrap().hash(), 0, &gone).unwrap();
    server.writer.commit(batch).unwrap();
    let next = |path: &str| {
        let answer = server.get(&format!("/v1/ingest/a%2Fb/{path}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let expected = serde_json::json!({"job_name": "a/b", "run_id": "whole", "attempt": 0, "next_sequence": 3,
        "events": 4, "ingested": 4, "deleted": false});
    assert_eq!(next("whole"), expected);
    for (path, sequence) in
        [("whole?attempt=3", 1), ("whole?attempt=1", 0), ("holes", 2), ("holes?attempt=3", 0), ("holes?attempt=4", 1)]
    {
        assert_eq!(next(path)["next_sequence"], sequence, "{path}");
    }
    let unknown = next("none?attempt=7");
    assert_eq!((&unknown["next_sequence"], &unknown["events"], &unknown["attempt"]), (&0.into(), &0.into(), &7.into()));
    let gone = next("gone");
    assert_eq!((&gone["next_sequence"], &gone["deleted"]), (&0.into(), &true.into()));
    for bad in ["whole?attempt=2147483648", "whole?attempt=-1", "whole?attempts=1"] {
        assert_eq!(server.get(&format!("/v1/ingest/a%2Fb/{bad}")).status, 400, "{bad}");
    }
}
