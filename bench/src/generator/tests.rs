//! What the generator promises, against the figures measured on real Spark 3.5.9.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde_json::Value;

use crate::{Message, Payload, Run, Workload};

fn events(mut run: Run) -> Vec<(i64, Vec<u8>)> {
    let mut events = Vec::new();
    let mut event = Vec::new();
    while let Some(generated_at) = run.next(&mut event) {
        events.push((generated_at, std::mem::take(&mut event)));
    }
    events
}

fn parsed(event: &[u8]) -> Value {
    serde_json::from_slice(event).unwrap()
}

#[test]
fn a_run_has_the_sizes_and_the_compressibility_of_recorded_ones() {
    // A recorded run of 30,000 tasks: 1,569 bytes an event, of which zstd makes 39.3.
    let events = events(Run::new(1, 0, 60_000));
    let mut log = Vec::new();
    for (_, event) in &events {
        log.extend_from_slice(event);
        log.push(b'\n');
    }
    let mean = log.len() / events.len();
    assert!((1_550..1_800).contains(&mean), "{mean} bytes an event");
    let ratio = log.len() as f64 / zstd::encode_all(&log[..], 3).unwrap().len() as f64;
    println!("{mean} bytes an event, zstd {ratio:.1}:1, {:.1} bytes", mean as f64 / ratio);
    assert!((37.0..44.0).contains(&ratio), "zstd {ratio}:1");
}

#[test]
fn every_event_is_one_line_of_json_that_begins_with_its_name() {
    let mut names = BTreeMap::new();
    for (_, event) in events(Run::new(7, 3, 5_000)) {
        let text = std::str::from_utf8(&event).unwrap();
        assert!(!text.contains("{{") && !text.contains('\n'), "{text}");
        let name = parsed(&event)["Event"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!(r#"{{"Event":"{name}""#)));
        *names.entry(name.rsplit('.').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(names.len(), 17, "{names:?}");
    assert_eq!(names["SparkListenerTaskStart"], names["SparkListenerTaskEnd"]);
    assert!(names["SparkListenerTaskEnd"] > 2_400);
    assert_eq!(names["SparkListenerJobStart"], names["SparkListenerStageCompleted"]);
}

#[test]
fn tasks_end_once_and_after_their_start_and_totals_add_up() {
    let mut running = BTreeSet::new();
    let mut totals: BTreeMap<i64, i64> = BTreeMap::new();
    for (generated_at, event) in events(Run::new(2, 5, 3_000)) {
        let event = parsed(&event);
        let info = &event["Task Info"];
        match event["Event"].as_str().unwrap() {
            "SparkListenerTaskStart" => assert!(running.insert(info["Task ID"].as_i64().unwrap())),
            "SparkListenerTaskEnd" => {
                assert!(running.remove(&info["Task ID"].as_i64().unwrap()));
                assert!(info["Launch Time"].as_i64() <= info["Finish Time"].as_i64());
                assert_eq!(info["Finish Time"].as_i64().unwrap(), generated_at);
                let of = |name| info["Accumulables"].as_array().unwrap().iter().find(|it| it["Name"] == name).unwrap();
                let cpu = of("internal.metrics.executorCpuTime");
                let total = totals.entry(event["Stage ID"].as_i64().unwrap()).or_default();
                *total += cpu["Update"].as_i64().unwrap();
                assert_eq!(*total, cpu["Value"].as_i64().unwrap());
            }
            _ => {}
        }
    }
    assert!(running.is_empty());
}

#[test]
fn runs_have_the_asked_length_begin_and_end_as_applications_do_and_never_go_back() {
    for asked in [0, 7, 8, 20, 21, 22, 500, 2_000] {
        let events = events(Run::new(3, asked, asked));
        assert_eq!(events.len() as u64, asked.max(Run::MIN_EVENTS));
        assert!(events.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        let start = parsed(&events[5].1);
        let end = parsed(&events[events.len() - 1].1);
        assert_eq!(start["Event"], "SparkListenerApplicationStart");
        assert_eq!(end["Event"], "SparkListenerApplicationEnd");
        assert!(end["Timestamp"].as_i64() > start["Timestamp"].as_i64());
    }
}

#[test]
fn the_payloads_hold_each_run_whole_and_in_order_and_the_same_again() {
    let workload =
        Workload { runs: 6, events_per_run: 900, concurrent: 3, events_per_payload: 100, ..Workload::default() };
    let mut served: BTreeMap<String, Vec<(i64, Vec<u8>)>> = BTreeMap::new();
    let mut order = Vec::new();
    for payload in workload.payloads() {
        order.push(payload.run_id.clone());
        let events = served.entry(payload.run_id.clone()).or_default();
        events.extend(payload.events().map(|(at, event)| (at, event.to_vec())));
        assert_eq!(payload.message_counter, events.len() as u64);
    }
    order.dedup();
    assert!(order.len() > 30, "the runs are not interleaved");
    for number in 0..6 {
        let run = workload.run(number);
        assert_eq!(served[run.run_id()], events(run));
    }
    assert_eq!(workload.payloads().collect::<Vec<_>>(), workload.payloads().collect::<Vec<_>>());
    let other = Workload { seed: 2, ..workload.clone() };
    assert_ne!(workload.payloads().next(), other.payloads().next());
}

#[test]
fn a_payload_is_gzipped_json_with_its_contents_verbatim() {
    let workload = Workload { heartbeat_every: 2, instance_ids: true, ..Workload::default() };
    let mut heartbeats = 0;
    for payload in workload.payloads().take(20) {
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&payload.to_gzip()[..]).read_to_end(&mut body).unwrap();
        let json = parsed(&body);
        assert_eq!(json["counters"]["message_counter"], payload.message_counter);
        assert_eq!(json["instance_id"].as_str().unwrap().len(), 36);
        let messages = json["messages"].as_array().unwrap();
        assert_eq!(messages.len(), payload.messages.len());
        for (json, message) in messages.iter().zip(&payload.messages) {
            match message {
                Message::Event { content, .. } => assert_eq!(json["content"].as_str().unwrap().as_bytes(), content),
                Message::Heartbeat { .. } => heartbeats += 1,
            }
        }
    }
    assert!(heartbeats > 0);
}

#[test]
fn texts_with_quotes_and_controls_are_escaped() {
    let payload = Payload {
        job_name: "a \"b\"\\\n\u{1}é🚀".into(),
        run_id: "r".into(),
        instance_id: None,
        message_counter: 0,
        payload_counter: 1,
        sent_at: -5,
        messages: Vec::new(),
    };
    let json = parsed(&payload.to_json());
    assert_eq!(json["job_name"], payload.job_name);
    assert_eq!(json["sent_at"], -5);
}
