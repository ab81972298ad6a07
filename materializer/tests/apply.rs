//! Applying, against a plain model of the rule of duplicates and order.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use event::header::Instance;
use event::{EventKey, GeneratedAt, Header, Identity, Kind, Protocol, ReceivedAt, RunName, Sequence};
use journal::{Entry, Record};
use materializer::{Applier, Poison};
use proptest::prelude::*;
use store::{Missing, Reader, Writer};

const NO_POISON: fn(&[Poison]) -> Result<(), journal::Error> = |poison| panic!("poison: {poison:?}");

#[derive(Debug, Clone, Copy, PartialEq)]
struct Sent {
    run: usize,
    protocol: Protocol,
    generated_at: i64,
    sequence: i64,
    identity: u64,
}

fn record(sent: Sent, bytes: &str) -> Record {
    let header = Header {
        kind: Kind::Event,
        protocol: sent.protocol,
        generated_at: Some(GeneratedAt(sent.generated_at)),
        sequence: Some(Sequence(sent.sequence)),
        identity: Some(Identity(sent.identity)),
        received_at: ReceivedAt(1),
        instance: (sent.protocol == Protocol::Instance).then_some(Instance(7)),
    };
    let mut text = Vec::new();
    header.write(&mut text);
    let key = RunName::new("job", &format!("run {}", sent.run)).unwrap().to_key();
    Record { key: key.into(), header: text.into(), value: Bytes::copy_from_slice(bytes.as_bytes()) }
}

fn key(sent: Sent) -> EventKey {
    let order = if sent.protocol == Protocol::Delight { 0 } else { sent.generated_at };
    EventKey { order, sequence: Sequence(sent.sequence), identity: Identity(sent.identity) }
}

/// The table of docs/record-format.md, word for word: the first copy wins.
fn is_duplicate(stored: &[(Sent, String)], new: Sent) -> bool {
    let same = |old: Sent| {
        let (a, b) = (key(old), key(new));
        let place = match new.protocol {
            Protocol::Collect => a.order == b.order,
            _ => a.order == b.order && a.sequence == b.sequence,
        };
        old.run == new.run && place && a.identity == b.identity
    };
    stored.iter().any(|(old, _)| same(*old))
}

fn served(reader: &Reader, run: usize) -> Vec<(EventKey, String)> {
    let hash = RunName::new("job", &format!("run {run}")).unwrap().hash();
    reader
        .scan(|view| {
            let Some(run) = view.run(hash)? else { return Ok::<_, store::Error>(Vec::new()) };
            let mut found = Vec::new();
            let mut events = view.events(run.number, None);
            while let Some((key, event)) = events.next()? {
                found.push((key, String::from_utf8(event.to_vec()).unwrap()));
            }
            Ok(found)
        })
        .unwrap()
}

fn sent(protocol: Protocol) -> impl Strategy<Value = Sent> {
    (0..3usize, -2..3i64, -1..4i64, 0..4u64).prop_map(move |(run, generated_at, sequence, identity)| Sent {
        run,
        protocol,
        generated_at,
        sequence,
        identity,
    })
}

fn sents() -> impl Strategy<Value = Vec<Sent>> {
    let one = prop::sample::select(vec![Protocol::Collect, Protocol::Instance, Protocol::Delight, Protocol::Ingest]);
    one.prop_flat_map(|protocol| prop::collection::vec(sent(protocol), 1..60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_event_is_stored_once_and_in_order_however_batches_and_restarts_fall(
        sents in sents(), cuts in prop::collection::vec((1..8usize, any::<bool>()), 60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let open = || Applier::new(Writer::open(dir.path(), &store::Options::default()).unwrap(), [0]).unwrap();
        let mut applier = open();
        let mut model: Vec<(Sent, String)> = Vec::new();
        let (mut offset, mut rest, mut cuts) = (0, &sents[..], cuts.into_iter());
        while !rest.is_empty() {
            let (length, restart) = cuts.next().unwrap();
            let (batch, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            let mut entries = Vec::new();
            for sent in batch {
                // Each delivery has bytes of its own, as those of Spark's changing objects do.
                let bytes = format!(r#"{{"Event":"X","delivery":{offset}}}"#);
                entries.push(Entry { partition: 0, offset, record: record(*sent, &bytes) });
                if !is_duplicate(&model, *sent) {
                    model.push((*sent, bytes));
                }
                offset += 1;
            }
            applier.apply(entries, &mut { NO_POISON }).unwrap();
            if restart {
                drop(applier);
                applier = open();
            }
        }
        let reader = applier.writer().reader();
        for run in 0..3 {
            let mut expected: Vec<_> = model.iter().filter(|(it, _)| it.run == run).map(|(it, b)| (key(*it), b.clone())).collect();
            expected.sort();
            prop_assert_eq!(served(&reader, run), expected);
        }
        let checked = store::check(&reader, |_, _| ()).unwrap();
        prop_assert_eq!(checked.faults, Vec::<String>::new());
        prop_assert_eq!(checked.events, model.len() as u64);
        prop_assert_eq!(checked.applied[0].1.next_offset, offset);
    }
}

#[test]
fn replaying_everything_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut applier = Applier::new(Writer::open(dir.path(), &store::Options::default()).unwrap(), [0]).unwrap();
    let all: Vec<Entry> = (0..500)
        .map(|i| {
            let sent = Sent {
                run: i % 5,
                protocol: Protocol::Collect,
                generated_at: i as i64 / 9,
                sequence: i as i64,
                identity: i as u64,
            };
            Entry { partition: 0, offset: i as u64, record: record(sent, r#"{"Event":"X"}"#) }
        })
        .collect();
    let mut seen = Vec::new();
    for _ in 0..3 {
        for batch in all.chunks(37) {
            applier.apply(batch.to_vec(), &mut { NO_POISON }).unwrap();
        }
        seen.push(store::check(&applier.writer().reader(), |_, _| ()).unwrap());
    }
    assert_eq!((seen[0].events, seen[0].runs, &seen[0].faults), (500, 5, &vec![]));
    assert!(seen.iter().all(|it| it.digest == seen[0].digest));
}

#[test]
fn poison_is_safe_before_the_offset_moves_past_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut applier = Applier::new(Writer::open(dir.path(), &store::Options::default()).unwrap(), [0]).unwrap();
    let good = record(
        Sent { run: 0, protocol: Protocol::Collect, generated_at: 1, sequence: 0, identity: 1 },
        r#"{"Event":"X"}"#,
    );
    let bad = [
        Record { key: "not a key".into(), ..good.clone() },
        Record { header: "2 something".into(), ..good.clone() },
        Record { header: Bytes::new(), ..good.clone() },
        Record { value: "{\"Event\":\n1}".into(), ..good.clone() },
        Record { value: "heartbeat".into(), ..good.clone() },
    ];
    let entries: Vec<Entry> = [good]
        .into_iter()
        .chain(bad.clone())
        .enumerate()
        .map(|(i, record)| Entry { partition: 0, offset: i as u64, record })
        .collect();
    let refuse: &mut dyn FnMut(&[Poison]) -> Result<(), journal::Error> =
        &mut |_| Err(journal::Error::Unavailable("full".into()));
    assert!(applier.apply(entries.clone(), refuse).unwrap_err().is_retryable());
    assert_eq!(applier.progress()[&0].next_offset, 0);
    assert_eq!(store::check(&applier.writer().reader(), |_, _| ()).unwrap().events, 0);

    let mut quarantined = Vec::new();
    applier
        .apply(entries, &mut |poison| {
            quarantined.extend_from_slice(poison);
            Ok(())
        })
        .unwrap();
    assert_eq!(quarantined.iter().map(|it| it.record.clone()).collect::<Vec<_>>(), bad);
    assert_eq!(applier.progress()[&0].next_offset, 6);
    assert_eq!(store::check(&applier.writer().reader(), |_, _| ()).unwrap().events, 1);
    // Its run tells of those under its key, and no other run came of them.
    let name = RunName::new("job", "run 0").unwrap();
    let run = applier.writer().run(&name).unwrap().unwrap();
    assert_eq!((run.arrival.quarantined, run.chronicle().missing().contains(&Missing::Records)), (4, true));
    let other = Record { key: RunName::new("job", "other").unwrap().to_key().into(), ..bad[1].clone() };
    applier.apply(vec![Entry { partition: 0, offset: 6, record: other }], &mut |_| Ok(())).unwrap();
    assert_eq!(store::check(&applier.writer().reader(), |_, _| ()).unwrap().runs, 1);
}
