//! Topics that lie: each halts the materializer in the state that docs/operations.md names, at its start and while it
//! runs; reads go on; the documented command leads out, and nothing of the store is lost by it.

use std::thread::spawn;

use e2e::case::{Case, lines};
use e2e::client::{path, undisturbed};
use e2e::parts::{Part, check};
use e2e::payload::{Message, small_run};
use e2e::process::said;
use e2e::random::Random;
use e2e::topic::{self, Topic};
use e2e::wait;
use kafka_broker::{Cluster, RawRecord};
use serde_json::Value;

/// None on a broker of the user's own, which is not damaged.
fn case(flags: &[&str]) -> Option<(Case, &'static Cluster)> {
    let cluster = topic::own()?;
    Some((Case::start(Topic::new(1), flags), cluster))
}

type Row = (&'static str, fn(Case, &Cluster));

/// Runs all rows at the same time: most of them wait.
fn all(rows: &[Row]) {
    let start = |(name, row): &Row| {
        let (name, row) = (*name, *row);
        (
            name,
            spawn(move || {
                // Their places are told by numbers.
                undisturbed(|| match case(&[]) {
                    Some((case, cluster)) => row(case, cluster),
                    None => println!("left out: a broker of your own is not damaged"),
                });
            }),
        )
    };
    let threads: Vec<_> = rows.iter().map(start).collect();
    let failed: Vec<_> = threads.into_iter().filter_map(|(name, it)| it.join().is_err().then_some(name)).collect();
    assert_eq!(failed, Vec::<&str>::new());
}

#[test]
fn each_fault_of_a_topic_halts_at_the_start_and_its_command_leads_out() {
    all(&[
        ("deleted above the offset", |mut case, cluster| {
            assert!(case.parts.stop(Part::Materializer).success());
            case.publish(&small_run("job", "gone", 30));
            cluster.delete_records(&case.topic.name, 0, 75);
            case.parts.start(Part::Materializer);
            case.assert_halts("out_of_range", "75 to 75");
            case.accept_gap();
            case.end();
        }),
        ("made anew and shorter", |mut case, cluster| {
            assert!(case.parts.stop(Part::Materializer).success());
            make_anew(&mut case, cluster);
            case.parts.start(Part::Materializer);
            case.assert_halts("cut_back", "but the journal holds 0 to 0");
            case.accept_gap();
            case.end();
        }),
        ("made anew and as long", |mut case, cluster| {
            assert!(case.parts.stop(Part::Materializer).success());
            make_anew(&mut case, cluster);
            case.publish(&small_run("job", "of the new topic", 100));
            case.parts.start(Part::Materializer);
            case.assert_halts("rewritten", "is not the one that was applied");
            case.served.push(small_run("job", "of the new topic", 100));
            case.accept_gap_of_another_topic();
            case.end();
        }),
        ("grown", |mut case, cluster| {
            assert!(case.parts.stop(Part::Materializer).success());
            cluster.grow_topic(&case.topic.name, 2);
            case.parts.start(Part::Materializer);
            case.assert_halts("repartitioned", "2 partitions, not 1");
            case.accept_more_partitions();
            case.end();
        }),
        ("compacted", |mut case, cluster| {
            assert!(case.parts.stop(Part::Materializer).success());
            cluster.alter_topic(&case.topic.name, "cleanup.policy", "compact");
            case.parts.start(Part::Materializer);
            case.assert_halts("configuration", "--add-config cleanup.policy=delete");
            cluster.alter_topic(&case.topic.name, "cleanup.policy", "delete");
            case.resume(&[]);
            case.end();
        }),
    ]);
}

#[test]
fn each_fault_of_a_topic_halts_a_running_materializer_and_its_command_leads_out() {
    all(&[
        ("deleted above the offset", |mut case, cluster| {
            case.freeze();
            case.publish(&small_run("job", "gone", 30));
            cluster.delete_records(&case.topic.name, 0, 75);
            case.thaw();
            case.assert_halts("out_of_range", "75 to 75");
            case.accept_gap();
            case.end();
        }),
        ("made anew and shorter", |mut case, cluster| {
            make_anew(&mut case, cluster);
            // It depends on whether the end of the log is looked at first, or the record that was read last.
            case.assert_halts("cut_back|rewritten", "halted");
            case.accept_gap();
            case.end();
        }),
        ("made anew and as long", |mut case, cluster| {
            case.freeze();
            make_anew(&mut case, cluster);
            case.publish(&small_run("job", "of the new topic", 100));
            case.thaw();
            case.assert_halts("rewritten", "is not the one that was read");
            case.served.push(small_run("job", "of the new topic", 100));
            case.accept_gap_of_another_topic();
            case.end();
        }),
        ("grown", |mut case, cluster| {
            cluster.grow_topic(&case.topic.name, 2);
            case.assert_halts("repartitioned", "2 partitions, not 1");
            case.accept_more_partitions();
            case.end();
        }),
        ("compacted", |mut case, cluster| {
            cluster.alter_topic(&case.topic.name, "cleanup.policy", "compact");
            case.assert_halts("configuration", "--add-config cleanup.policy=delete");
            cluster.alter_topic(&case.topic.name, "cleanup.policy", "delete");
            case.resume(&[]);
            case.end();
        }),
        ("a store with a file that is damaged", |mut case, _| {
            let next = case.data.path().join("store").join("NEXT");
            std::fs::write(&next, "nonsense").unwrap();
            case.assert_halts("failed", "NEXT");
            std::fs::remove_file(&next).unwrap();
            case.resume(&[]);
            case.end();
        }),
    ]);
}

/// Deletes the topic and creates it again; the collectors are restarted as documented.
fn make_anew(case: &mut Case, cluster: &Cluster) {
    assert!(case.parts.stop(Part::Collector).success());
    cluster.delete_topic(&case.topic.name);
    wait::until("the topic made anew", || {
        let output = case.topic.tool(&["init", "--partitions", "1", "--replication-factor", "1"]);
        said(&output).contains(&format!("topic {} was created", case.topic.name)).then_some(())
    });
    case.parts.start(Part::Collector);
    case.parts.await_ready(Part::Collector);
    case.client = case.parts.client();
}

/// Records that no collector has written.
fn foreign() -> Vec<(RawRecord, &'static str)> {
    let key = |key: &[u8]| Some(key.to_vec());
    let header = |text: &str| vec![(b"emberlog".to_vec(), Some(text.as_bytes().to_vec()))];
    let good = "1 event collect 5 0 00000000000000aa 1795000000000 -";
    let event = Some(br#"{"Event":"E"}"#.to_vec());
    let run = br#"["job","goes on"]"#;
    vec![
        (RawRecord { key: key(run), value: event.clone(), headers: vec![] }, "header"),
        (RawRecord { key: key(run), value: event.clone(), headers: header("7 what is this") }, "header"),
        (RawRecord { key: key(run), value: None, headers: header(good) }, "not one line"),
        (RawRecord { key: key(b"no array"), value: event.clone(), headers: header(good) }, "key"),
        (RawRecord { key: None, value: event, headers: header(good) }, "key"),
    ]
}

fn letters(topic: &Topic) -> Vec<Value> {
    let output = topic.tool(&["dlq", "list", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn foreign_records_are_quarantined_with_their_place_and_over_the_limit_they_halt() {
    undisturbed(|| {
        let Some((mut case, cluster)) = case(&["--poison-limit", "5"]) else { return };
        let (records, reasons): (Vec<_>, Vec<_>) = foreign().into_iter().unzip();
        let first = check(case.data.path())["applied"][0][1].as_u64().unwrap();
        cluster.produce_raw(&case.topic.name, 0, &records);
        case.post(small_run("job", "behind them", 5));
        case.assert_serves_all();
        let listed = letters(&case.topic);
        assert_eq!(listed.len(), reasons.len(), "{listed:?}");
        for ((offset, letter), reason) in (first..).zip(&listed).zip(&reasons) {
            assert_eq!((&letter["kind"], &letter["origin"]["partition"]), (&"record".into(), &0.into()), "{letter}");
            assert_eq!(letter["origin"]["offset"], offset, "{letter}");
            assert!(letter["detail"].as_str().unwrap().contains(reason), "{letter} should say {reason}");
        }
        let quarantined = "emberlog_materializer_quarantined_total";
        assert_eq!(case.parts.metric(Part::Materializer, quarantined), Some(5.0));

        // One more than the limit.
        cluster.produce_raw(&case.topic.name, 0, &records[..1]);
        case.assert_halts("poison", "6 records were quarantined");
        assert_eq!(letters(&case.topic).len(), 6, "what halts is safe too");
        case.resume(&[]);
        assert_eq!(letters(&case.topic).len(), 6);
        // A restart quarantines nothing again.
        case.restart(Part::Materializer);
        case.assert_goes_on();
        assert_eq!(letters(&case.topic).len(), 6);
        case.end();
    });
}

/// Noise does not compress; the broker's limit is one of compressed bytes.
fn large_event(n: i64) -> String {
    let mut random = Random::new(n.unsigned_abs());
    let text: String = (0..130_000).map(|_| format!("{:016x}", random.number())).collect();
    format!(r#"{{"Event":"E","n":{n},"text":"{text}"}}"#)
}

#[test]
fn a_topic_limited_to_one_megabyte_dead_letters_what_is_larger_and_stores_the_rest() {
    undisturbed(|| {
        let Some((mut case, cluster)) = case(&[]) else { return };
        let payload = |run: &str| {
            let mut payload = small_run("job", run, 3);
            payload.messages.insert(1, Message::event(large_event(1), 1_795_000_001_001));
            payload
        };
        assert_eq!(case.client.post("/collect", &payload("before").to_gzip()).json()["dead_lettered"], 0);
        case.served.push(payload("before"));
        cluster.alter_topic(&case.topic.name, "max.message.bytes", "1000000");
        let mut restarted = false;
        for run in ["while it runs", "after a restart"] {
            if run == "after a restart" {
                case.restart(Part::Collector);
                case.parts.await_ready(Part::Collector);
                restarted = true;
            }
            // A collector that runs learns of the limit within a minute.
            let answer = wait::until(run, || {
                let answer = case.client.post_once("/collect", &payload(run).to_gzip());
                assert!(answer.status == 200 || (!restarted && answer.status == 503), "{}", answer.text());
                (answer.status == 200).then(|| answer.json())
            });
            assert_eq!((&answer["stored"], &answer["dead_lettered"]), (&5.into(), &1.into()), "{answer}");
            case.served.push(small_run("job", run, 3));
            case.assert_serves_all();
        }
        let letters = letters(&case.topic);
        assert_eq!(letters.len(), 2, "a payload that was sent again makes no second letter");
        for letter in letters {
            assert_eq!(letter["reason"], "too_large", "{letter}");
            let id = letter["id"].as_str().unwrap();
            let raw = case.topic.tool(&["dlq", "show", id, "--raw"]).stdout;
            assert!(String::from_utf8_lossy(&raw).contains(&large_event(1)[..1000].replace('"', "\\\"")), "{letter}");
        }
        let served = case.client.get(&path(&["job", "job", "before", "events"]));
        assert_eq!(served.body, lines(&payload("before")));
        case.end();
    });
}
