use std::sync::Arc;
use std::time::SystemTime;

use prometheus::{Encoder, Registry, TextEncoder};

use super::simulated::Simulated;
use super::{garbage, options, publish, record, records, wait};
use crate::local::segment::file_name;
use crate::local::{Local, Metrics, Options, Retention};
use crate::{Error, Publisher};

/// The value of a metric of the journal `events`.
fn value(registry: &Registry, name: &str) -> f64 {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let prefix = format!("emberlog_journal_{name}{{journal=\"events\"}} ");
    let line = text.lines().find_map(|it| it.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {prefix}in {text}")).parse().unwrap()
}

fn open(disk: &Simulated, registry: &Registry) -> Local {
    let options = Options { max_bytes_in_flight: 100_000, ..options() };
    Local::open_on(Arc::new(disk.clone()), options, Metrics::register(registry, "events").unwrap(), None).unwrap()
}

#[test]
fn each_metric_tells_what_its_help_says() {
    let (disk, registry) = (Simulated::default(), Registry::new());
    let local = open(&disk, &registry);
    // The journal of dead letters has its own.
    Metrics::register(&registry, "dead_letters").unwrap();
    let is = |name: &str, expected: usize| assert_eq!(value(&registry, name), expected as f64, "{name}");

    let header = disk.bytes(&file_name(0)).len();
    for n in 0..4 {
        publish(&local, records(n * 3..n * 3 + 3)).unwrap();
    }
    let names = disk.names();
    let bytes: usize = names.iter().map(|it| disk.bytes(it).len()).sum();
    is("frames_total", 4);
    is("records_total", 12);
    is("raw_bytes_total", records(0..12).iter().map(crate::Record::size).sum());
    is("stored_bytes_total", bytes - names.len() * header);
    is("sync_seconds_count", 4);
    is("start_offset", 0);
    is("end_offset", 12);
    is("segments", names.len());
    is("segment_bytes", bytes);
    is("in_flight_bytes", 0);
    is("failed_publications_total", 0);
    is("failed", 0);
    is("truncated_tails_total", 0);

    disk.lock().hold_sync = true;
    let publisher = local.publisher();
    let publication = publisher.publish(vec![super::large(90_000)]);
    is("in_flight_bytes", 90_000 + size_of::<crate::Record>());
    assert!(matches!(wait(publisher.publish(vec![super::large(20_000)])), Err(Error::Overloaded)));
    is("refused_publications_total", 1);
    disk.release_sync();
    wait(publication).unwrap();

    let start = local.retain(Retention { max_bytes: Some(0), max_age: None }, 13, SystemTime::now()).unwrap();
    is("start_offset", start as usize);
    is("segments", disk.names().len());

    disk.lock().space = Some(3);
    publish(&local, vec![record(0)]).unwrap_err();
    is("failed_publications_total", 1);
    disk.lock().space = None;
    disk.lock().fail_sync = true;
    publish(&local, vec![record(0)]).unwrap_err();
    is("failed", 1);
}

#[test]
fn a_torn_tail_is_counted() {
    let disk = Simulated::default();
    drop(open(&disk, &Registry::new()));
    let whole = disk.bytes(&file_name(0));
    disk.put(&file_name(0), [whole, garbage(9)].concat());
    let registry = Registry::new();
    drop(open(&disk, &registry));
    assert_eq!(value(&registry, "truncated_tails_total"), 1.0);
}
