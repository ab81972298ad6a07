//! Three processes: what one wrote the other serves, whoever starts first, and each ends in order.

use std::sync::atomic::{AtomicBool, Ordering};

use e2e::agent::Agents;
use e2e::client::{Answer, Client, path};
use e2e::parts::{Part, Parts, check, rebuild, resume};
use e2e::payload::{Message, Payload, small_run};
use e2e::process::said;
use e2e::random::Random;
use e2e::server::data_dir;
use e2e::topic::{self, Topic};
use e2e::wait;
use serde_json::Value;

fn event(n: i64) -> Message {
    Message::event(format!(r#"{{"Event":"E","n":{n}}}"#), n)
}

/// Where the materializer serves reads itself.
fn serving(parts: &mut Parts) -> Client {
    let logged = parts.process(Part::Materializer).until("the address of reads", |it| it.logged("serving reads"));
    Client::new(logged["url"].as_str().unwrap())
}

#[test]
fn a_read_that_names_the_place_of_a_write_sees_it() {
    let (data, topic) = (data_dir(), Topic::new(3));
    let mut parts = Parts::started(&topic, data.path(), &["--serve", "127.0.0.1:0"]);
    let client = parts.client();
    let readers = [client.of_reads(), serving(&mut parts)];
    for n in 0..60 {
        let run = format!("run {}", n % 7);
        let answer = client.post("/collect", &Payload::new("job", &run, vec![event(n)]).to_json()).json();
        let place = format!("wait_for={}:{}", answer["journal"]["partition"], answer["journal"]["offset"]);
        for reader in &readers {
            let events = reader.get_applied(&format!("{}?{place}", path(&["job", "job", &run, "events"])));
            assert_eq!(events.status, 200, "{}", events.text());
            let last = events.lines().pop();
            assert_eq!(last.as_deref(), Some(event(n).content.as_str()), "{run} at {place} from {}", reader.url);
        }
    }
    // What is never written is waited for, but not for ever.
    let late = client.get("/job?wait_for=0:1000000");
    assert_eq!(late.status, 503, "{}", late.text());
    assert!(late.header("retry-after").is_some());
}

#[test]
fn the_materializer_serves_the_same_answers_as_the_api() {
    let (data, topic) = (data_dir(), Topic::new(3));
    let mut parts = Parts::started(&topic, data.path(), &["--serve", "127.0.0.1:0"]);
    let client = parts.client();
    let readers = [client.of_reads(), serving(&mut parts)];
    let mut random = Random::for_test("the same answers");
    let mut agents = Agents::start(2, &mut random);
    agents.target.set(Some(client.clone()));
    wait::until("some runs", || (agents.ledger.count().runs >= 6).then_some(()));
    agents.end();
    readers.iter().for_each(|reader| agents.ledger.assert_sound(reader));
    let mut paths = vec!["/job".to_owned(), "/v1/jobs?limit=3".into(), "/openapi.json".into(), "/v1/runs/none".into()];
    for (job, run) in agents.ledger.runs() {
        paths.push(path(&["job", &job]));
        paths.push(format!("/v1/runs?limit=500&job={}", &path(&[&job])[1..]));
        paths.push(path(&["job", &job, &run, "duration"]));
        paths.push(path(&["job", &job, &run, "events"]));
        paths.push(format!("{}?format=eventlog", path(&["job", &job, &run, "events"])));
    }
    for path in paths {
        // The events are there, but duplicates of them may still be on their way to the one or the other.
        wait::until(&format!("the same answer to {path}"), || {
            let [ours, theirs] = readers.each_ref().map(|reader| comparable(&path, &reader.get(&path)));
            (ours == theirs).then_some(())
        });
    }
}

/// Status, type and body, without what may differ between two that serve the same.
fn comparable(path: &str, answer: &Answer) -> (u16, Option<String>, String) {
    let content_type = answer.header("content-type").map(str::to_owned);
    let body = match content_type.as_deref() {
        // Beside the reads, one of them describes health and metrics.
        _ if path == "/openapi.json" => {
            answer.json()["paths"].as_object().unwrap().keys().filter(|it| it.contains("/job")).count().to_string()
        }
        Some("application/json") => without_clock(answer.json()).to_string(),
        _ => answer.text(),
    };
    (answer.status, content_type, body)
}

/// What a running run's figures say depends on when one asks.
fn without_clock(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.remove("elapsed_ms");
            members.values_mut().for_each(|it| *it = without_clock(it.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| *it = without_clock(it.take())),
        _ => {}
    }
    value
}

#[test]
fn a_term_ends_each_part_with_0_whatever_it_is_doing() {
    let (data, topic) = (data_dir(), Topic::new(1));
    // Waiting: for brokers, for a topic, for a store.
    let nobody = Topic::named("127.0.0.1:1");
    let missing = Topic::named(&topic.brokers);
    for waiting in [&nobody, &missing] {
        let empty = data_dir();
        let mut parts = Parts::new(waiting, empty.path(), &[]);
        // The materializer would make a store for the API.
        for part in [Part::Collector, Part::Api, Part::Materializer] {
            parts.start(part);
            let readiness = parts.readiness(part);
            assert_eq!((readiness.status, parts.client_of(part).get("/health/live").status), (503, 200), "{part:?}");
            let why = if waiting.brokers == nobody.brokers { "Connection refused" } else { "emberlog init" };
            wait::until("the reason why it is not ready", || {
                (part == Part::Api || parts.readiness(part).text().contains(why)).then_some(())
            });
            let answer = parts.stop(part);
            assert_eq!(answer.code(), Some(0), "{part:?} waiting for {waiting:?}");
        }
    }
    // Under load.
    let mut random = Random::for_test("terms");
    let mut agents = Agents::start(3, &mut random);
    let mut parts = Parts::started(&topic, data.path(), &["--poison-limit", "0"]);
    for _ in 0..3 {
        for part in Part::ALL {
            agents.target.set(Some(parts.client()));
            let sent = agents.ledger.count().acknowledged;
            wait::until("some load", || (agents.ledger.count().acknowledged > sent + 300).then_some(()));
            assert_eq!(parts.stop(part).code(), Some(0), "{part:?} under load");
            parts.start(part);
            parts.await_ready(part);
        }
    }
    agents.target.set(Some(parts.client()));
    agents.end();
    agents.ledger.assert_sound(&parts.client());
    // Halted.
    if let Some(cluster) = topic::own() {
        cluster.produce_raw(&topic.name, 0, &[kafka_broker::RawRecord::default()]);
        let halted = "emberlog_materializer_halted{state=\"poison\"}";
        wait::until("the halt", || (parts.metric(Part::Materializer, halted) == Some(1.0)).then_some(()));
        assert_eq!(parts.stop(Part::Materializer).code(), Some(0), "halted");
        // One that is down follows the order at its next start.
        let left = resume(data.path(), &[]);
        assert!(left.status.success() && said(&left).contains("the next one will go on"), "{}", said(&left));
        parts.start(Part::Materializer);
        parts.await_ready(Part::Materializer);
    }
    assert_eq!(parts.stop_all().code(), Some(0));
}

/// Availability without coordination: each has a volume of its own.
#[test]
fn two_materializers_on_one_topic_have_equal_stores() {
    let (data, topic) = ([data_dir(), data_dir()], Topic::new(3));
    let mut first = Parts::started(&topic, data[0].path(), &[]);
    let mut second = Parts::new(&topic, data[1].path(), &[]);
    let mut random = Random::for_test("two materializers");
    let mut agents = Agents::start(3, &mut random);
    agents.target.set(Some(first.client()));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // One of them lives a quiet life, the other does not.
            while !is_over.load(Ordering::Relaxed) {
                second.start(Part::Materializer);
                std::thread::sleep(std::time::Duration::from_millis(random.between(200, 1_500)));
                second.kill(Part::Materializer);
            }
        });
        wait::until("some load", || (agents.ledger.count().acknowledged > 8_000).then_some(()));
        agents.end();
        is_over.store(true, Ordering::Relaxed);
    });
    second.start(Part::Materializer);
    second.start(Part::Api);
    second.await_ready(Part::Api);
    let reads = [first.client().of_reads(), second.client_of(Part::Api)];
    agents.ledger.assert_sound(&reads[0]);
    // What the one serves already is missing in the other until that has caught up.
    for (job, run) in agents.ledger.runs() {
        let expected = reads[0].events(&job, &run).unwrap();
        wait::until(&run, || reads[1].events(&job, &run).is_ok_and(|it| it == expected).then_some(()));
    }
    agents.ledger.assert_sound(&reads[1]);
    assert!(first.stop_all().success() && second.stop_all().success());
    let stores = data.each_ref().map(|it| check(it.path()));
    assert_eq!(stores[0]["digest"], stores[1]["digest"], "{stores:?}");
    assert_eq!(stores[0]["events"], agents.ledger.count().served);
    let rebuilt = rebuild(data[1].path(), &topic, "topic", &[]).output().unwrap();
    assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    assert_eq!(check(data[1].path())["digest"], stores[0]["digest"]);
}

/// A data folder is one materializer's.
#[test]
fn a_second_materializer_on_the_same_folder_is_refused_and_health_can_have_a_port_of_its_own() {
    let (data, topic) = (data_dir(), Topic::new(1));
    let mut parts = Parts::started(&topic, data.path(), &[]);
    let mut second = Parts::new(&topic, data.path(), &[]);
    second.spawn(Part::Materializer);
    let (status, said) = second.ended(Part::Materializer);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another process") || said.contains("in use by"), "{said}");
    let client = parts.client();
    assert_eq!(client.post("/collect", &small_run("job", "run", 3).to_gzip()).status, 200);
    wait::until("the run", || (!client.events("job", "run").unwrap().is_empty()).then_some(()));

    let (_, mut other) = (parts.kill_all(), Parts::new(&topic, data.path(), &[]));
    other.start(Part::Materializer);
    for part in [Part::Collector, Part::Api] {
        let admin = e2e::topic::free_address();
        other.spawn_with(part, &["--admin-listen", &admin]);
        let (main, admin) = (other.client_of(part), Client::new(&format!("http://{admin}")));
        other.process(part).until("readiness", |_| (admin.get("/health/ready").status == 200).then_some(()));
        assert_eq!((main.get("/metrics").status, main.get("/health").status), (404, 404), "{part:?}");
        assert_eq!((admin.get("/metrics").status, admin.get("/job").status), (200, 404), "{part:?}");
    }
    assert!(other.stop_all().success());
}
