//! Agents of the documented protocol, as they are in the field: they resend until they read a 200, regroup and grow what
//! they resend, and send other bytes for events that Spark changed meanwhile.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::ledger::{Ledger, RunName, Sent};
use crate::payload::{Counters, Message, Payload};
use crate::random::Random;
use crate::wait;

/// Where the server is now: after a restart it listens elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Target(Arc<RwLock<Option<Client>>>);

impl Target {
    pub fn set(&self, client: Option<Client>) {
        *self.0.write().unwrap() = client;
    }

    pub fn client(&self) -> Option<Client> {
        self.0.read().unwrap().clone()
    }
}

/// What is known to differ, or not known, of agents.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Set: a listener that counts exactly, and sends the same bytes again.
    pub instance_id: Option<String>,
    /// Whether heartbeats have their place in `message_counter`.
    pub counts_heartbeats: bool,
    /// Whether a failed attempt moves the counters.
    pub counts_failures: bool,
    /// Payloads sent again as if their 200 had not arrived, of a hundred.
    pub lost_answers: u64,
    pub uses_gzip: bool,
    /// The driver's clock goes back now and then.
    pub clock_goes_back: bool,
    /// Events of one run, before the next run begins.
    pub run_length: usize,
}

impl Habits {
    pub fn any(random: &mut Random) -> Self {
        let is_exact = random.percent(25);
        Self {
            instance_id: is_exact.then(|| format!("{:016x}", random.number())),
            counts_heartbeats: random.percent(50),
            counts_failures: random.percent(50),
            lost_answers: 10,
            uses_gzip: random.percent(70),
            clock_goes_back: !is_exact && random.percent(30),
            run_length: usize::try_from(random.between(200, 3000)).unwrap(),
        }
    }
}

/// One message on its way.
#[derive(Debug)]
struct Pending {
    /// None: a heartbeat.
    event: Option<(usize, Draft)>,
    generated_at: i64,
}

/// What is written when it is sent.
#[derive(Debug)]
enum Draft {
    /// The same at each attempt.
    Fixed(String),
    TaskStart {
        task: usize,
        launched: i64,
    },
    StageSubmitted {
        stage: usize,
        submitted: i64,
    },
}

impl Draft {
    fn text(&self, attempt: usize, is_exact: bool) -> String {
        let attempt = if is_exact { 0 } else { attempt };
        match self {
            Self::Fixed(text) => text.clone(),
            Self::TaskStart { task, launched } => format!(
                r#"{{"Event":"SparkListenerTaskStart","Stage ID":0,"Stage Attempt ID":0,"Task Info":{{"Task ID":{task},"Index":{task},"Attempt":0,"Launch Time":{launched},"Executor ID":"driver","Host":"localhost","Locality":"PROCESS_LOCAL","Speculative":false,"Getting Result Time":0,"Finish Time":{attempt},"Failed":false,"Killed":false,"Accumulables":[]}}}}"#
            ),
            Self::StageSubmitted { stage, submitted } => format!(
                r#"{{"Event":"SparkListenerStageSubmitted","Stage Info":{{"Stage ID":{stage},"Stage Attempt ID":0,"Stage Name":"collect at Été 😀","Number of Tasks":2,"Submission Time":{submitted},"Accumulables":[{attempt}]}},"Properties":{{}}}}"#
            ),
        }
    }
}

#[derive(Debug)]
pub struct Agent {
    job: String,
    run: RunName,
    runs: usize,
    habits: Habits,
    random: Random,
    ledger: Arc<Ledger>,
    now: i64,
    events: usize,
    pending: VecDeque<Pending>,
    attempts: usize,
    /// Messages before the first pending one, as this agent counts.
    counted: i64,
    payloads: i64,
}

impl Agent {
    pub fn new(job: &str, habits: Habits, mut random: Random, ledger: &Arc<Ledger>) -> Self {
        let now = 1_795_000_000_000 + i64::try_from(random.below(1_000_000)).unwrap();
        Self {
            job: job.to_owned(),
            run: (job.to_owned(), format!("{job}-0")),
            runs: 0,
            habits,
            random,
            ledger: ledger.clone(),
            now,
            events: 0,
            pending: VecDeque::new(),
            attempts: 0,
            counted: 0,
            payloads: 0,
        }
    }

    /// Lives until told to stop, then ends its run and sends what is left.
    pub fn live(mut self, target: &Target, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.happen();
            self.flush(target);
        }
        self.end(target);
    }

    /// Sends all that is pending, whatever it takes.
    ///
    /// # Panics
    /// If that takes too long.
    fn end(&mut self, target: &Target) {
        let end = format!(r#"{{"Event":"SparkListenerApplicationEnd","Timestamp":{}}}"#, self.now);
        self.push(Draft::Fixed(end));
        let deadline = Instant::now() + wait::PATIENCE;
        while !self.pending.is_empty() {
            self.flush(target);
            assert!(Instant::now() < deadline, "{:?} cannot get rid of its last events", self.run);
        }
    }

    /// Some events happen, many of them in one millisecond.
    fn happen(&mut self) {
        if self.events >= self.habits.run_length && self.pending.is_empty() {
            self.begin_run();
        }
        // An agent whose server is away goes on, but this one is not to eat all memory.
        for _ in 0..self.random.between(1, 80).min(5_000u64.saturating_sub(self.pending.len() as u64)) {
            if self.random.percent(40) {
                self.now += i64::try_from(self.random.below(4)).unwrap();
            } else if self.habits.clock_goes_back && self.random.percent(2) {
                self.now -= 3;
            }
            let draft = self.draft();
            self.push(draft);
        }
        if self.random.percent(20) {
            self.pending.push_back(Pending { event: None, generated_at: self.now });
        }
    }

    fn begin_run(&mut self) {
        self.runs += 1;
        self.run.1 = format!("{}-{}", self.job, self.runs);
        if let Some(id) = &mut self.habits.instance_id {
            *id = format!("{:016x}", self.random.number());
        }
        (self.events, self.counted, self.payloads) = (0, 0, 0);
    }

    fn draft(&mut self) -> Draft {
        let (n, now) = (self.events, self.now);
        match (n, self.random.below(100)) {
            (0, _) => Draft::Fixed(format!(
                r#"{{"Event":"SparkListenerApplicationStart","App Name":"{}","App ID":"{}","Timestamp":{now},"User":"u"}}"#,
                self.job, self.run.1
            )),
            (_, 0..45) => Draft::TaskStart { task: n, launched: now },
            (_, 45..50) => Draft::StageSubmitted { stage: n, submitted: now },
            (_, 50..95) => Draft::Fixed(format!(
                r#"{{"Event":"SparkListenerTaskEnd","Stage ID":0,"Stage Attempt ID":0,"Task Type":"ResultTask","Task End Reason":{{"Reason":"Success"}},"Task Info":{{"Task ID":{n},"Launch Time":{now},"Finish Time":{now}}},"Task Metrics":{{"Executor Run Time":{n},"Result Size":{}}}}}"#,
                self.random.below(100_000)
            )),
            _ => Draft::Fixed(format!(
                r#"{{"Event":"org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart","executionId":{n},"description":"select 'ü /&'","physicalPlanDescription":"{}"}}"#,
                "Project [a, b] \\n".repeat(usize::try_from(self.random.below(200)).unwrap())
            )),
        }
    }

    fn push(&mut self, draft: Draft) {
        self.pending.push_back(Pending { event: Some((self.events, draft)), generated_at: self.now });
        self.events += 1;
    }

    /// Sends the oldest pending messages once.
    fn flush(&mut self, target: &Target) {
        let count = self.choose();
        let (payload, sent) = self.payload(count);
        self.attempts += 1;
        self.ledger.sending(&self.run, &sent);
        let Some(status) = target.client().and_then(|client| self.post(&client, &payload)) else {
            self.has_failed(count);
            // As the field's agents do, only less patient.
            std::thread::sleep(Duration::from_millis(20));
            return;
        };
        assert!([200, 503].contains(&status), "{:?} was answered {status}", self.run);
        if status == 200 {
            self.ledger.acknowledged(&self.run, sent.iter().map(|it| it.event));
        }
        if status != 200 || self.random.percent(self.habits.lost_answers) {
            return self.has_failed(count);
        }
        self.counted += self.counts(count);
        self.pending.drain(..count);
        self.attempts = 0;
    }

    /// How many messages the next payload takes: mostly all, sometimes fewer than were tried before.
    fn choose(&mut self) -> usize {
        let all = self.pending.len();
        let chosen = if self.random.percent(80) { all } else { self.random.between(1, all as u64) as usize };
        let chosen = chosen.min(1_000);
        if self.habits.instance_id.is_none() {
            return chosen;
        }
        // A listener that counts exactly sends heartbeats by themselves.
        let is_heartbeat = |it: &Pending| it.event.is_none();
        match self.pending.iter().take(chosen).position(is_heartbeat) {
            Some(0) => 1,
            Some(heartbeat) => heartbeat,
            None => chosen,
        }
    }

    /// What the first `count` messages are in this agent's counters.
    fn counts(&self, count: usize) -> i64 {
        let counts = |it: &&Pending| it.event.is_some() || self.habits.counts_heartbeats;
        let counts = self.pending.iter().take(count).filter(counts).count();
        let heartbeat_of_exact = self.habits.instance_id.is_some() && self.pending[0].event.is_none();
        if heartbeat_of_exact { 0 } else { i64::try_from(counts).unwrap() }
    }

    fn payload(&mut self, count: usize) -> (Payload, Vec<Sent>) {
        self.payloads += 1;
        let is_exact = self.habits.instance_id.is_some();
        let mut payload = Payload {
            instance_id: self.habits.instance_id.clone(),
            counters: Counters { message_counter: self.counted + self.counts(count), payload_counter: self.payloads },
            sent_at: self.now,
            ..Payload::new(&self.run.0, &self.run.1, vec![])
        };
        for pending in self.pending.iter().take(count) {
            payload.messages.push(match &pending.event {
                Some((_, draft)) => Message::event(draft.text(self.attempts, is_exact), pending.generated_at),
                None => Message::heartbeat(pending.generated_at),
            });
        }
        let events = self.pending.iter().take(count).enumerate().filter_map(|(i, it)| Some((i, it.event.as_ref()?.0)));
        let sent = events.map(|(i, event)| Sent {
            event,
            generated_at: payload.messages[i].generated_at,
            text: payload.messages[i].content.clone(),
            sequence: payload.sequence(i),
        });
        let sent = sent.collect();
        (payload, sent)
    }

    fn post(&mut self, client: &Client, payload: &Payload) -> Option<u16> {
        let (headers, body) = match (self.habits.uses_gzip, self.random.percent(50)) {
            (false, _) => (vec![], payload.to_json()),
            (true, true) => (vec![("Content-Encoding", "gzip")], payload.to_gzip()),
            (true, false) => (vec![], payload.to_gzip()),
        };
        client.try_post("/collect", &headers, &body).ok().map(|answer| answer.status)
    }

    fn has_failed(&mut self, count: usize) {
        if self.habits.counts_failures && self.habits.instance_id.is_none() {
            self.counted += self.counts(count);
        }
    }
}

/// Agents that live on threads.
#[derive(Debug)]
pub struct Agents {
    pub ledger: Arc<Ledger>,
    pub target: Target,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Agents {
    /// Starts `count` agents, each with habits of its own.
    pub fn start(count: usize, random: &mut Random) -> Self {
        Self::with_habits((0..count).map(|_| Habits::any(random)).collect(), random)
    }

    pub fn with_habits(habits: Vec<Habits>, random: &mut Random) -> Self {
        let ledger = Arc::new(Ledger::default());
        let (target, stop) = (Target::default(), Arc::new(AtomicBool::new(false)));
        let start = |(i, habits)| {
            let agent = Agent::new(&format!("agent {i}/é"), habits, random.fork(), &ledger);
            let (target, stop) = (target.clone(), stop.clone());
            std::thread::spawn(move || agent.live(&target, &stop))
        };
        let threads = habits.into_iter().enumerate().map(start).collect();
        Self { ledger, target, stop, threads }
    }

    /// Ends them orderly: each sends all that it still has.
    ///
    /// # Panics
    /// If an agent did.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}
