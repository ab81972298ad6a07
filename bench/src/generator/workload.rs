//! Many runs at once, as a collector sees them.

use super::payload::{Message, Payload};
use super::random::Random;
use super::run::Run;

/// What to make. All of it is the same for the same values.
#[derive(Debug, Clone)]
pub struct Workload {
    pub seed: u64,
    pub runs: u64,
    pub events_per_run: u64,
    /// How many runs send at the same time; another begins when one has ended.
    pub concurrent: usize,
    /// The most events in one payload; each has from half of it.
    pub events_per_payload: u64,
    /// A heartbeat ends every so many payloads of a run; 0: there are none.
    pub heartbeat_every: u64,
    /// Whether heartbeats count as messages: it is not known of all agents.
    pub counts_heartbeats: bool,
    /// Whether payloads name their listener's instance, so that their sequences are exact.
    pub instance_ids: bool,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            seed: 1,
            runs: 10,
            events_per_run: 10_000,
            concurrent: 10,
            events_per_payload: 1_000,
            heartbeat_every: 0,
            counts_heartbeats: true,
            instance_ids: false,
        }
    }
}

/// The payloads of a workload, in the order in which they are sent.
#[derive(Debug)]
pub struct Payloads {
    workload: Workload,
    random: Random,
    active: Vec<Sender>,
    begun: u64,
}

#[derive(Debug)]
struct Sender {
    run: Run,
    instance_id: Option<String>,
    messages: u64,
    payloads: u64,
}

impl Workload {
    pub fn payloads(&self) -> Payloads {
        // The runs are numbered from 0.
        let random = Random::new(self.seed, u64::MAX);
        Payloads { workload: self.clone(), random, active: Vec::new(), begun: 0 }
    }

    /// The run of that number, from 0.
    pub fn run(&self, number: u64) -> Run {
        Run::new(self.seed, number, self.events_per_run)
    }

    /// All events that the payloads hold.
    pub fn events(&self) -> u64 {
        self.runs * self.events_per_run.max(Run::MIN_EVENTS)
    }
}

impl Iterator for Payloads {
    type Item = Payload;

    fn next(&mut self) -> Option<Payload> {
        while self.active.len() < self.workload.concurrent.max(1) && self.begun < self.workload.runs {
            self.begin();
        }
        if self.active.is_empty() {
            return None;
        }
        let chosen = usize::try_from(self.random.below(self.active.len() as u64)).unwrap_or(0);
        let most = self.workload.events_per_payload.max(1);
        let count = most - self.random.below(most.div_ceil(2));
        let payload = self.active[chosen].send(count, &self.workload);
        if self.active[chosen].run.left() == 0 {
            self.active.swap_remove(chosen);
        }
        Some(payload)
    }
}

impl Payloads {
    fn begin(&mut self) {
        let instance_id = self.workload.instance_ids.then(|| {
            let (a, b) = (self.random.next(), self.random.next());
            format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", a >> 32, a & 0xffff, b & 0xfff, a >> 16 & 0xfff, b >> 16)
        });
        self.active.push(Sender { run: self.workload.run(self.begun), instance_id, messages: 0, payloads: 0 });
        self.begun += 1;
    }
}

impl Sender {
    fn send(&mut self, count: u64, workload: &Workload) -> Payload {
        let mut messages = Vec::new();
        let mut sent_at = 0;
        for _ in 0..count {
            let mut content = Vec::new();
            let Some(generated_at) = self.run.next(&mut content) else { break };
            sent_at = generated_at;
            messages.push(Message::Event { generated_at, content });
        }
        self.payloads += 1;
        self.messages += messages.len() as u64;
        if workload.heartbeat_every > 0 && self.payloads.is_multiple_of(workload.heartbeat_every) {
            messages.push(Message::Heartbeat { generated_at: sent_at });
            self.messages += u64::from(workload.counts_heartbeats);
        }
        Payload {
            job_name: self.run.job_name().to_owned(),
            run_id: self.run.run_id().to_owned(),
            instance_id: self.instance_id.clone(),
            message_counter: self.messages,
            payload_counter: self.payloads,
            sent_at,
            messages,
        }
    }
}
