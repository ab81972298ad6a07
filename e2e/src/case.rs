//! Three processes on a topic that is going to lie, and what they must serve whatever it does.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::parts::{Part, Parts, check, rebuild, resume};
use crate::payload::{Payload, small_run};
use crate::process::said;
use crate::server::data_dir;
use crate::topic::Topic;
use crate::wait;

/// A deployment that serves a run that has finished and one that goes on.
#[derive(Debug)]
pub struct Case {
    pub data: TempDir,
    pub topic: Topic,
    pub parts: Parts,
    pub client: Client,
    /// What must be served.
    pub served: Vec<Payload>,
}

pub fn unfinished(job: &str, run: &str, tasks: i64) -> Payload {
    let mut payload = small_run(job, run, tasks);
    payload.messages.pop();
    payload
}

/// As they are served.
pub fn lines(payload: &Payload) -> Vec<u8> {
    payload.messages.iter().map(|it| format!("{}\n", it.content)).collect::<String>().into_bytes()
}

impl Case {
    pub fn start(topic: Topic, flags: &[&str]) -> Self {
        let data = data_dir();
        let mut parts = Parts::started(&topic, data.path(), flags);
        let client = parts.client();
        let mut case = Self { data, topic, parts, client, served: vec![] };
        case.post(small_run("job", "finished", 20));
        case.post(unfinished("job", "goes on", 20));
        case.assert_serves_all();
        case
    }

    /// Posts what must be served from then on.
    pub fn post(&mut self, payload: Payload) {
        self.publish(&payload);
        self.served.push(payload);
    }

    /// Posts what may never be applied.
    pub fn publish(&self, payload: &Payload) {
        let answer = self.client.post("/collect", &payload.to_gzip());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub fn assert_serves_all(&self) {
        for payload in &self.served {
            let expected = lines(payload);
            wait::until(&payload.run_id, || {
                (self.client.events(&payload.job_name, &payload.run_id).unwrap() == expected).then_some(())
            });
        }
    }

    /// Nothing that is posted from now on comes to the materializer: the broker answers a fetch under way after 100 ms,
    /// or when it gets to it.
    pub fn freeze(&mut self) {
        self.parts.process(Part::Materializer).signal(Signal::STOP);
        for _ in 0..2 {
            sleep(Duration::from_millis(500));
            let listed = self.topic.tool(&["dlq", "list"]);
            assert!(listed.status.success(), "the broker answers nothing: {}", said(&listed));
        }
    }

    pub fn thaw(&mut self) {
        self.parts.process(Part::Materializer).signal(Signal::CONT);
    }

    pub fn restart(&mut self, part: Part) {
        assert!(self.parts.stop(part).success());
        self.parts.start(part);
        if part != Part::Materializer {
            self.client = self.parts.client();
        }
    }

    /// In the state, or one of the states with `|` between.
    pub fn assert_halts(&mut self, states: &str, says: &str) {
        // The topic is examined once a minute.
        let deadline = Instant::now() + 2 * wait::PATIENCE;
        let mut is_halted = || {
            let metric = |state| format!("emberlog_materializer_halted{{state=\"{state}\"}}");
            states.split('|').any(|it| self.parts.metric(Part::Materializer, &metric(it)) == Some(1.0))
        };
        while !is_halted() {
            sleep(Duration::from_millis(100));
            if Instant::now() > deadline {
                panic!("not halted as {states}, but {}", self.parts.readiness(Part::Materializer).text());
            }
        }
        let readiness = self.parts.readiness(Part::Materializer);
        assert_eq!(readiness.status, 503);
        assert!(readiness.text().contains("halted: ") && readiness.text().contains(says), "{}", readiness.text());
        assert_eq!(self.parts.client_of(Part::Materializer).get("/health/live").status, 200);
        // Reads go on.
        assert_eq!(self.parts.readiness(Part::Api).status, 200);
        self.assert_serves_all();
    }

    pub fn assert_goes_on(&mut self) {
        self.parts.await_ready(Part::Materializer);
        let text = self.parts.client_of(Part::Materializer).get("/metrics").text();
        let halted: Vec<_> =
            text.lines().filter(|it| it.starts_with("emberlog_materializer_halted") && !it.ends_with(" 0")).collect();
        assert_eq!(halted, Vec::<&str>::new());
        self.post(small_run("job", &format!("afterwards {}", self.served.len()), 10));
        self.assert_serves_all();
    }

    pub fn resume(&mut self, more: &[&str]) {
        let output = resume(self.data.path(), more);
        assert!(output.status.success() && said(&output).contains("goes on"), "{}", said(&output));
        self.assert_goes_on();
    }

    /// Needs to be told that records are missing.
    pub fn accept_gap(&mut self) {
        let refused = resume(self.data.path(), &[]);
        assert!(!refused.status.success() && said(&refused).contains("--accept-gap"), "{}", said(&refused));
        self.accept_gap_now();
    }

    /// The runs that may have lost records say so, and no other.
    pub fn accept_gap_now(&mut self) {
        self.resume(&["--accept-gap"]);
        let runs = self.client.get("/v1/runs?job=job").json();
        let missing = |run: &str| {
            let runs = runs["runs"].as_array().unwrap();
            runs.iter().find(|it| it["run_id"] == run).unwrap()["missing"].clone()
        };
        assert_eq!((missing("finished"), missing("goes on")), (serde_json::json!([]), serde_json::json!(["records"])));
    }

    pub fn end(mut self) {
        assert!(self.parts.stop_all().success());
        let checked = check(self.data.path());
        let events: usize = self.served.iter().map(|it| it.messages.len()).sum();
        assert_eq!(checked["events"], events, "{checked}");
    }

    pub fn accept_gap_of_another_topic(&mut self) {
        self.accept_gap();
        // The store is a copy of two topics now.
        let refused = rebuild(self.data.path(), &self.topic, "topic", &[]).output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains("would vanish"), "{}", said(&refused));
    }

    pub fn accept_more_partitions(&mut self) {
        let refused = resume(self.data.path(), &[]);
        assert!(!refused.status.success() && said(&refused).contains("--accept-gap"), "{}", said(&refused));
        // As documented, and before the order: a collector that knows one partition only goes on with that.
        self.restart(Part::Collector);
        self.parts.await_ready(Part::Collector);
        self.resume(&["--accept-gap"]);
        // Runs of the new partition are served as well.
        (0..8).for_each(|i| self.post(small_run("job", &format!("spread {i}"), 3)));
        self.assert_serves_all();
        let ends = self.parts.client_of(Part::Api).get("/metrics").text();
        assert!(ends.contains("emberlog_api_partitions 2"), "{ends}");
    }
}
