//! Deleting, against a plain model: what came before a deletion in its partition is gone, what comes later is dropped.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use event::{Deletion, Header, Identity, JobName, Kind, Protocol, ReceivedAt, RunName, Sequence};
use journal::{Entry, Record};
use materializer::{Applier, Outcome, Poison};
use proptest::prelude::*;
use store::{Reader, Writer};

const NO_POISON: fn(&[Poison]) -> Result<(), journal::Error> = |poison| panic!("poison: {poison:?}");
const PARTITIONS: u32 = 2;

#[derive(Debug, Clone, Copy)]
enum Op {
    Event { run: usize, sequence: i64 },
    Delete { run: usize, reopen: bool },
    DeleteJob { job: usize },
}

fn job(number: usize) -> String {
    format!("job {number}")
}

/// Each job has a run in each partition.
fn name(run: usize) -> RunName {
    RunName::new(&job(run / 2), &format!("run {run}")).unwrap()
}

fn partition(run: usize) -> u32 {
    u32::try_from(run % 2).unwrap()
}

fn event(run: usize, sequence: i64) -> Record {
    let header = Header {
        kind: Kind::Event,
        protocol: Protocol::Ingest,
        generated_at: None,
        sequence: Some(Sequence(sequence)),
        identity: Some(Identity(7)),
        received_at: ReceivedAt(1),
        instance: None,
    };
    let mut text = Vec::new();
    header.write(&mut text);
    Record { key: name(run).to_key().into(), header: text.into(), value: bytes(sequence).into() }
}

fn bytes(sequence: i64) -> String {
    format!(r#"{{"Event":"X","sequence":{sequence}}}"#)
}

fn deletion(deletion: &Deletion) -> Record {
    Record { key: deletion.to_key().into(), header: Deletion::header(ReceivedAt(2)).into(), value: "".into() }
}

fn record(op: Op) -> (Option<u32>, Record) {
    match op {
        Op::Event { run, sequence } => (Some(partition(run)), event(run, sequence)),
        Op::Delete { run, reopen } => (None, deletion(&Deletion::Run { id: name(run).hash(), reopen })),
        Op::DeleteJob { job: number } => (None, deletion(&Deletion::Job(JobName::new(&job(number)).unwrap()))),
    }
}

/// The records of each partition, in the order of the operations.
fn partitions(ops: &[Op]) -> Vec<Vec<Entry>> {
    let mut partitions: Vec<Vec<Entry>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
    for (only, record) in ops.iter().map(|op| record(*op)) {
        for (number, entries) in partitions.iter_mut().enumerate() {
            let partition = u32::try_from(number).unwrap();
            if only.is_none_or(|only| only == partition) {
                entries.push(Entry { partition, offset: entries.len() as u64, record: record.clone() });
            }
        }
    }
    partitions
}

/// What must be stored: the sequences of each run that there is.
fn model(ops: &[Op]) -> BTreeMap<usize, BTreeSet<i64>> {
    let (mut runs, mut gone) = (BTreeMap::<usize, BTreeSet<i64>>::new(), BTreeSet::new());
    for op in ops {
        match *op {
            Op::Event { run, sequence } if !gone.contains(&run) => {
                runs.entry(run).or_default().insert(sequence);
            }
            Op::Event { .. } => {}
            Op::Delete { run, reopen } => {
                runs.remove(&run);
                if reopen {
                    gone.remove(&run)
                } else {
                    gone.insert(run)
                };
            }
            Op::DeleteJob { job } => {
                gone.extend(runs.extract_if(.., |run, _| run / 2 == job).map(|(run, _)| run));
            }
        }
    }
    runs
}

fn stored(reader: &Reader) -> (BTreeMap<usize, BTreeSet<i64>>, Vec<String>) {
    let read = |view: &mut store::View<'_>| {
        let mut runs = BTreeMap::new();
        for number in 0..4 {
            let Some(run) = view.run(name(number).hash())? else { continue };
            let mut sequences = BTreeSet::new();
            let mut events = view.events(run.number, None);
            while let Some((key, event)) = events.next()? {
                assert_eq!(event, bytes(key.sequence.0).as_bytes());
                assert!(sequences.insert(key.sequence.0));
            }
            runs.insert(number, sequences);
        }
        Ok::<_, store::Error>((runs, view.jobs(None, 100)?))
    };
    reader.scan(read).unwrap()
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (0..4usize, 0..6i64).prop_map(|(run, sequence)| Op::Event { run, sequence }),
        2 => (0..4usize, any::<bool>()).prop_map(|(run, reopen)| Op::Delete { run, reopen }),
        1 => (0..2usize).prop_map(|job| Op::DeleteJob { job }),
    ];
    prop::collection::vec(op, 1..60)
}

fn open(dir: &std::path::Path) -> Applier {
    Applier::new(Writer::open(dir, &store::Options::default()).unwrap(), 0..PARTITIONS).unwrap()
}

/// Applies the partitions in pieces, one or the other as `cuts` say; `true` closes and opens the store.
fn apply(dir: &std::path::Path, ops: &[Op], cuts: &[(usize, usize, bool)]) -> Applier {
    let mut applier = open(dir);
    let mut rest: Vec<_> = partitions(ops).into_iter().map(std::collections::VecDeque::from).collect();
    let mut cuts = cuts.iter().cycle();
    while rest.iter().any(|it| !it.is_empty()) {
        let (which, length, restart) = *cuts.next().unwrap();
        let entries = &mut rest[which];
        let batch: Vec<Entry> = entries.drain(..length.min(entries.len())).collect();
        applier.apply(batch, &mut { NO_POISON }).unwrap();
        if restart {
            drop(applier);
            applier = open(dir);
        }
    }
    applier
}

fn cuts() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    let cut = (0..PARTITIONS as usize, 1..9usize, prop::bool::weighted(0.1));
    prop::collection::vec(cut, 30).prop_filter("both partitions", |it| (0..2).all(|p| it.iter().any(|cut| cut.0 == p)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_was_deleted_is_gone_in_whatever_order_the_partitions_are_applied(
        ops in ops(), first in cuts(), second in cuts(),
    ) {
        let expected = model(&ops);
        let jobs: BTreeSet<String> = expected.keys().map(|run| job(run / 2)).collect();
        let mut digests = Vec::new();
        let dir = tempfile::tempdir().unwrap();
        // The third is a replay into the same store, as after an accepted gap.
        let other = tempfile::tempdir().unwrap();
        for (dir, cuts) in [(&dir, &first), (&other, &second), (&dir, &second)] {
            let applier = apply(dir.path(), &ops, cuts);
            let (runs, listed) = stored(&applier.writer().reader());
            prop_assert_eq!(&runs, &expected);
            prop_assert_eq!(listed, jobs.iter().cloned().collect::<Vec<_>>());
            let checked = store::check(&applier.writer().reader(), |_, _| ()).unwrap();
            prop_assert_eq!(checked.faults, Vec::<String>::new());
            digests.push(checked.digest);
        }
        prop_assert!(digests.iter().all(|it| *it == digests[0]));
    }
}

fn applied(applier: &mut Applier, ops: &[Op]) -> Outcome {
    let entries = partitions(ops).into_iter().flatten().collect();
    applier.apply(entries, &mut { NO_POISON }).unwrap()
}

#[test]
fn late_events_of_a_deleted_run_are_counted_and_a_key_that_deletes_nothing_is_quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let mut applier = open(dir.path());
    let [one, two] = [0, 1].map(|sequence| Op::Event { run: 0, sequence });
    let outcome = applied(&mut applier, &[one, Op::Delete { run: 0, reopen: false }, two, two]);
    assert_eq!((outcome.events, outcome.deleted_runs, outcome.dropped), (1, 1, 2));
    let record = Record { key: "[]".into(), ..deletion(&Deletion::Job(JobName::new("x").unwrap())) };
    let mut quarantined = Vec::new();
    let entry = Entry { partition: 0, offset: 9, record: record.clone() };
    applier
        .apply(vec![entry], &mut |poison| {
            quarantined.extend_from_slice(poison);
            Ok(())
        })
        .unwrap();
    assert_eq!(quarantined.iter().map(|it| it.record.clone()).collect::<Vec<_>>(), [record]);
    assert_eq!(applier.progress()[&0].next_offset, 10);
}
