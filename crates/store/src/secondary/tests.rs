//! A real secondary beside a real writer, in one process.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event::{EventKey, Identity, ReceivedAt, RunName, Sequence};
use prometheus::Registry;

use super::{Metrics, Options, Readiness, Secondary};
use crate::database::Database;
use crate::generation::{Generations, Next};
use crate::table::{meta, ring};
use crate::{Applied, Batch, Error, Reader, Run, RunNumber, Writer, metrics};

struct Pair {
    dir: tempfile::TempDir,
    registry: Registry,
    told: Arc<Mutex<Vec<Readiness>>>,
    secondary: Secondary,
    reader: Reader,
}

impl Pair {
    fn start() -> Self {
        Self::with(|options| options)
    }

    fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let secondary = Secondary::start(change(options(dir.path())), Metrics::new(&registry).unwrap(), move |it| {
            tell.lock().unwrap().push(it);
        })
        .unwrap();
        let reader = secondary.reader();
        Self { dir, registry, told, secondary, reader }
    }

    fn generations(&self) -> Generations {
        Generations::open(&self.dir.path().join("store")).unwrap()
    }

    fn writer(&self, generation: u32) -> Writer {
        self.generations().current_or_first().unwrap();
        Writer::open(&self.generations().path(generation), &crate::Options::default()).unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|it| it.name() == name).unwrap_or_else(|| panic!("no metric {name}"));
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value()
            + metric.get_gauge().get_value()
            + metric.get_histogram().get_sample_count() as f64
    }

    /// Waits until the record of the run was last written by this batch, as views see it.
    #[track_caller]
    fn sees(&self, batch: u64) {
        let found = wait_for(|| shown(&self.reader).ok().filter(|(_, received)| *received == batch));
        let (number, _) = found.unwrap_or_else(|| panic!("{:?} instead of {batch}", shown(&self.reader)));
        assert_eq!(number, batch);
        let run = self.reader.run(name().hash()).unwrap().unwrap();
        assert_eq!(run.arrival.last_received_at, ReceivedAt(batch as i64), "the point read");
        assert_eq!(self.reader.applied(0).unwrap().unwrap().next_offset, batch);
    }
}

fn options(dir: &Path) -> Options {
    let options = Options::new(dir.join("store"), dir.join("api"));
    // A machine that stands still in the middle of a catch-up makes no reader give up.
    Options { interval: Duration::from_millis(5), patience: Duration::from_secs(120), ..options }
}

fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let found = what();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn name() -> RunName {
    RunName::new("etl", "r").unwrap()
}

/// The batch of a view, and the one that its run's record was written by.
fn shown(reader: &Reader) -> Result<(u64, u64), Error> {
    reader.view(|view| {
        let received = view.run(name().hash())?.map_or(0, |run| run.arrival.last_received_at.0);
        Ok((view.batch()?, received as u64))
    })
}

/// Everything that the batch of this number holds.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    let mut run = Run::new(&name(), RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(0));
    run.arrival.last_received_at = ReceivedAt(number as i64);
    batch.put_run(&run, None).unwrap();
    let key = EventKey { order: number as i64, sequence: Sequence(0), identity: Identity(0) };
    batch.put_event(run.number, key, b"{}");
    batch.put_applied(0, &Applied { next_offset: number, ..Applied::default() }).unwrap();
    batch
}

#[test]
fn it_waits_for_a_store_and_follows_a_writer_that_opens_it_again() {
    let pair = Pair::start();
    assert!(matches!(shown(&pair.reader), Err(Error::NotYet(_))));
    assert!(matches!(pair.reader.run(name().hash()), Err(Error::NotYet(_))));
    wait_for(|| pair.told.lock().unwrap().first().cloned()).unwrap();
    assert!(matches!(&pair.told.lock().unwrap()[..], [Readiness::NotReady(why)] if why.contains("holds no store")));
    assert_eq!(pair.metric("emberlog_secondary_generation"), 0.0);

    let mut writer = pair.writer(1);
    for number in 1..=3 {
        writer.commit(batch(number)).unwrap();
    }
    pair.sees(3);
    assert_eq!(pair.told.lock().unwrap().last(), Some(&Readiness::Ready));
    drop(writer);
    for number in 4..=9 {
        let mut writer = pair.writer(1);
        writer.commit(batch(number)).unwrap();
        pair.sees(number);
        if number % 2 == 0 {
            writer.settle().unwrap();
        }
    }
    assert_eq!(pair.told.lock().unwrap().len(), 2, "{:?}", pair.told);
    assert_eq!(pair.metric("emberlog_secondary_generation"), 1.0);
    assert_eq!(pair.metric("emberlog_secondary_reopens_total"), 0.0);
    assert!(pair.metric("emberlog_secondary_catch_ups_total") > 5.0);
    assert!(pair.metric("emberlog_secondary_catch_up_seconds") > 5.0);
    wait_for(|| (pair.metric("emberlog_secondary_view_age_seconds") < 1.0).then_some(())).expect("the view stays old");
}

#[test]
fn a_view_in_use_stays_what_it_is_and_holds_nobody_up() {
    let pair = Pair::start();
    let mut writer = pair.writer(1);
    writer.commit(batch(1)).unwrap();
    pair.sees(1);
    pair.reader
        .view(|view| {
            for number in 2..=20 {
                writer.commit(batch(number)).unwrap();
                writer.settle().unwrap();
                pair.sees(number);
            }
            assert_eq!(view.batch()?, 1);
            let run = view.run(name().hash())?.unwrap();
            assert_eq!(run.arrival.last_received_at, ReceivedAt(1));
            let mut events = view.events(run.number, None);
            assert_eq!(events.next()?.unwrap().0.order, 1);
            assert!(events.next()?.is_none());
            Ok::<_, Error>(())
        })
        .unwrap();
}

#[test]
fn a_view_that_lacks_a_batch_is_not_served() {
    let pair = Pair::with(|options| Options { patience: Duration::from_millis(400), ..options });
    let mut writer = pair.writer(1);
    writer.commit(batch(1)).unwrap();
    pair.sees(1);
    drop(writer);
    let dir = pair.generations().path(1);
    let database = Database::open(&dir, &crate::Options::default()).unwrap();
    let show = |number: u64| {
        let mut batch = batch(number).0;
        batch.put(ring::key(number), number.to_be_bytes());
        batch.put(meta::BATCH_KEY, 3u64.to_be_bytes());
        database.db.write(&batch).unwrap();
    };
    show(3);
    let error = wait_for(|| shown(&pair.reader).err()).expect("a torn view was served");
    assert!(matches!(error, Error::NoView { .. }), "{error}");
    assert!(matches!(pair.reader.run(name().hash()), Err(Error::NoView { .. })));
    assert!(matches!(pair.reader.applied(0), Err(Error::NoView { .. })));
    wait_for(|| matches!(pair.told.lock().unwrap().last(), Some(Readiness::NotReady(_))).then_some(())).unwrap();
    assert!(pair.metric("emberlog_secondary_torn_views_total") > 0.0);
    assert!(pair.metric("emberlog_secondary_view_age_seconds") >= 0.4);
    show(2);
    wait_for(|| shown(&pair.reader).ok().filter(|(number, _)| *number == 3)).expect("a whole view was not served");
    wait_for(|| (pair.told.lock().unwrap().last() == Some(&Readiness::Ready)).then_some(())).unwrap();
}

#[test]
fn a_new_generation_is_served_once_it_is_applied_as_far_and_the_old_one_may_go() {
    let pair = Pair::start();
    let generations = pair.generations();
    let mut old = pair.writer(1);
    for number in 1..=5 {
        old.commit(batch(number)).unwrap();
    }
    pair.sees(5);
    let clone = pair.reader.clone();
    pair.reader
        .view(|view| {
            let mut new = pair.writer(2);
            for number in 1..=4 {
                new.commit(batch(number)).unwrap();
            }
            generations.adopt(&Next { generation: 2, source: "journal".into(), ready: true }).unwrap();
            std::thread::sleep(Duration::from_millis(600));
            assert_eq!(shown(&clone)?, (5, 5), "an answer went back in time");
            assert_eq!(pair.metric("emberlog_secondary_generation"), 1.0);

            new.commit(batch(5)).unwrap();
            wait_for(|| (pair.metric("emberlog_secondary_generation") == 2.0).then_some(())).unwrap();
            new.commit(batch(6)).unwrap();
            pair.sees(6);
            drop(old);
            generations.drop_generation(1)?;
            new.commit(batch(7)).unwrap();
            pair.sees(7);
            let run = view.run(name().hash())?.unwrap();
            assert_eq!((view.batch()?, run.arrival.last_received_at.0), (5, 5), "the view changed");
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(pair.metric("emberlog_secondary_reopens_total"), 1.0);
    let left: Vec<_> =
        std::fs::read_dir(pair.dir.path().join("api")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.contains(&"secondary-000002".into()) && !left.contains(&"secondary-000001".into()), "{left:?}");
}

#[test]
fn a_store_that_stays_behind_the_one_before_it_is_served_in_the_end() {
    let pair = Pair::with(|options| Options { behind: Duration::from_secs(1), ..options });
    let mut old = pair.writer(1);
    for number in 1..=5 {
        old.commit(batch(number)).unwrap();
    }
    pair.sees(5);
    let mut new = pair.writer(2);
    new.commit(batch(1)).unwrap();
    let adopted = Instant::now();
    pair.generations().adopt(&Next { generation: 2, source: "journal".into(), ready: true }).unwrap();
    pair.sees(1);
    assert!(adopted.elapsed() >= Duration::from_secs(1), "an answer went back in time at once");
}

#[test]
fn a_store_that_is_removed_is_served_until_the_one_in_its_place_is_applied_as_far() {
    let pair = Pair::start();
    let mut writer = pair.writer(1);
    for number in 1..=5 {
        writer.commit(batch(number)).unwrap();
    }
    pair.sees(5);
    drop(writer);
    std::fs::remove_dir_all(pair.dir.path().join("store")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(shown(&pair.reader).unwrap(), (5, 5));
    assert!(pair.metric("emberlog_secondary_view_age_seconds") > 0.1);
    let mut writer = pair.writer(1);
    for number in 1..=4 {
        writer.commit(batch(number)).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(shown(&pair.reader).unwrap(), (5, 5), "an answer went back in time");
    }
    for number in 5..=6 {
        writer.commit(batch(number)).unwrap();
    }
    pair.sees(6);
    assert!(pair.metric("emberlog_secondary_reopens_total") >= 1.0);
}

#[test]
fn an_older_copy_in_the_place_of_a_store_is_not_mixed_with_it() {
    let pair = Pair::start();
    let [store, copy] = [pair.generations().path(1), pair.dir.path().join("copy")];
    let write = |numbers: std::ops::RangeInclusive<u64>| {
        let mut writer = pair.writer(1);
        for number in numbers {
            writer.commit(batch(number)).unwrap();
            if number % 2 == 0 {
                writer.settle().unwrap();
            }
        }
    };
    write(1..=5);
    copy_files(&store, &copy);
    write(6..=10);
    pair.sees(10);
    std::fs::remove_dir_all(&store).unwrap();
    copy_files(&copy, &store);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(shown(&pair.reader).unwrap(), (10, 10));
    for last in 6..=9 {
        write(last..=last);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(shown(&pair.reader).unwrap(), (10, 10), "an answer went back in time");
    }
    write(10..=11);
    pair.sees(11);
    assert_eq!(pair.metric("emberlog_secondary_reopens_total"), 1.0);
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_second_process_cannot_share_the_folder() {
    let pair = Pair::start();
    let start = || Secondary::start(options(pair.dir.path()), Metrics::new(&Registry::new()).unwrap(), |_| {});
    let error = start().unwrap_err();
    assert!(matches!(&error, Error::Locked(path) if path.ends_with("api/SECONDARY.LOCK")), "{error}");
    drop(pair.secondary);
    start().unwrap();
}

#[test]
fn table_files_are_counted() {
    let pair = Pair::start();
    pair.registry.register(Box::new(metrics::RocksDb::new(pair.reader.clone()).unwrap())).unwrap();
    assert_eq!(pair.metric("emberlog_rocksdb_files"), 0.0);
    let mut writer = pair.writer(1);
    for number in 1..=3 {
        writer.commit(batch(number)).unwrap();
        writer.settle().unwrap();
    }
    pair.sees(3);
    // One more of opening.
    wait_for(|| (pair.metric("emberlog_rocksdb_files") == 4.0).then_some(())).unwrap();
}
