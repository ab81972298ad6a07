//! Samples: kept once each, counted, and gone with their run.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use event::{Deletion, GeneratedAt, Header, Identity, Kind, Protocol, ReceivedAt, RunName};
use journal::{Entry, Record};
use materializer::{Applier, Outcome, Poison};
use proptest::prelude::*;
use store::{Line, Reader, Writer};

fn name(run: usize) -> RunName {
    RunName::new("job", &format!("run {run}")).unwrap()
}

fn record(run: usize, time: i64, identity: u64) -> Record {
    let header = Header {
        kind: Kind::Sample,
        protocol: Protocol::Delight,
        generated_at: Some(GeneratedAt(time)),
        sequence: None,
        identity: Some(Identity(identity)),
        received_at: ReceivedAt(1),
        instance: None,
    };
    let mut text = Vec::new();
    header.write(&mut text);
    Record { key: name(run).to_key().into(), header: text.into(), value: bytes(time, identity).into() }
}

fn bytes(time: i64, identity: u64) -> String {
    format!(r#"{{"timestamp":{time},"identity":{identity}}}"#)
}

fn stored(reader: &Reader, run: usize, what: Line) -> Vec<String> {
    let lines = reader.scan(|view| {
        let Some(run) = view.run(name(run).hash())? else { return Ok::<_, store::Error>(vec![]) };
        let mut lines = Vec::new();
        let mut found = view.lines(what, run.number, None);
        while let Some((_, line)) = found.next()? {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        }
        Ok(lines)
    });
    lines.unwrap()
}

fn apply(applier: &mut Applier, offset: &mut u64, records: Vec<Record>) -> (Outcome, Vec<Poison>) {
    let mut poison = Vec::new();
    let entries = records.into_iter().map(|record| {
        *offset += 1;
        Entry { partition: 0, offset: *offset - 1, record }
    });
    let entries = entries.collect();
    let outcome = applier.apply(entries, &mut |them| {
        poison.extend_from_slice(them);
        Ok(())
    });
    (outcome.unwrap(), poison)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_sample_is_kept_once_by_its_time_however_batches_and_restarts_fall(
        sent in prop::collection::vec((0..2usize, -2..4i64, 0..3u64), 1..40),
        cuts in prop::collection::vec((1..6usize, any::<bool>()), 40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let open = || Applier::new(Writer::open(dir.path(), &store::Options::default()).unwrap(), [0]).unwrap();
        let (mut applier, mut offset, mut rest, mut cuts) = (open(), 0, &sent[..], cuts.into_iter());
        while !rest.is_empty() {
            let (length, restart) = cuts.next().unwrap();
            let (batch, later) = rest.split_at(length.min(rest.len()));
            rest = later;
            let records = batch.iter().map(|(run, time, identity)| record(*run, *time, *identity)).collect();
            apply(&mut applier, &mut offset, records);
            if restart {
                drop(applier);
                applier = open();
            }
        }
        let reader = applier.writer().reader();
        for run in 0..2 {
            let mut expected: Vec<_> = sent.iter().filter(|it| it.0 == run).map(|it| (it.1, it.2)).collect();
            expected.sort_unstable();
            expected.dedup();
            let lines: Vec<_> = expected.iter().map(|(time, identity)| bytes(*time, *identity)).collect();
            prop_assert_eq!(stored(&reader, run, Line::Sample), lines);
            prop_assert_eq!(stored(&reader, run, Line::Event), Vec::<String>::new());
            if let Some(found) = reader.run(name(run).hash()).unwrap() {
                prop_assert_eq!((found.samples.count, found.summary.events), (expected.len() as u64, 0));
            }
        }
        let checked = store::check(&reader, |_, _| ()).unwrap();
        prop_assert_eq!(checked.faults, Vec::<String>::new());
    }
}

#[test]
fn a_deleted_run_takes_its_samples_along_and_leaves_those_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut applier = Applier::new(Writer::open(dir.path(), &store::Options::default()).unwrap(), [0]).unwrap();
    let mut offset = 0;
    let samples = |run| (0..5).map(|time| record(run, time, 7)).collect::<Vec<_>>();
    apply(&mut applier, &mut offset, [samples(0), samples(1)].concat());
    let reader = applier.writer().reader();
    let number = reader.run(name(0).hash()).unwrap().unwrap().number;
    let deletion = Deletion::Run { id: name(0).hash(), reopen: false };
    let deletion =
        Record { key: deletion.to_key().into(), header: Deletion::header(ReceivedAt(2)).into(), value: "".into() };
    apply(&mut applier, &mut offset, vec![deletion]);
    let left = reader.scan(|view| Ok::<_, store::Error>(view.samples(number, None).next()?.is_some())).unwrap();
    assert!(!left, "they would come back with the next run of this number");
    assert_eq!(stored(&reader, 1, Line::Sample).len(), 5);
    let (late, _) = apply(&mut applier, &mut offset, samples(0));
    assert_eq!((late.samples, late.dropped), (0, 5));
    let checked = store::check(&reader, |_, _| ()).unwrap();
    assert_eq!((checked.samples, checked.faults), (5, vec![]));
}

#[test]
fn what_is_no_sample_is_poison_and_a_lost_sample_is_found_by_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let mut applier = Applier::new(Writer::open(dir.path(), &store::Options::default()).unwrap(), [0]).unwrap();
    let mut offset = 0;
    let bad = Record { value: Bytes::from_static(b"{\n}"), ..record(0, 1, 1) };
    let (_, poison) = apply(&mut applier, &mut offset, vec![bad, record(0, 2, 1)]);
    assert_eq!(poison.len(), 1);
    let mut writer = applier.into_writer();
    let run = writer.reader().run(name(0).hash()).unwrap().unwrap();
    let mut batch = store::Batch::default();
    batch.put_run(&store::Run { samples: store::Samples::default(), ..run }, Some(1)).unwrap();
    writer.commit(batch).unwrap();
    let faults = store::check(&writer.reader(), |_, _| ()).unwrap().faults;
    assert!(faults.iter().any(|it| it.contains("samples")), "{faults:?}");
}
