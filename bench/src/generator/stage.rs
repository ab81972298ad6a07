//! The tasks of one stage on a few cores: a start and an end each, in the order in which they happen.

use super::random::Random;
use super::template::{Metric, Number, Values};
use super::templates::{Stage as Templates, TEMPLATES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Short tasks that read, as of a `count`.
    Scan,
    /// Longer tasks that write shuffle files, with more metrics each.
    Shuffle,
}

impl Kind {
    pub fn templates(self) -> &'static Templates {
        match self {
            Self::Scan => &TEMPLATES.scan,
            Self::Shuffle => &TEMPLATES.shuffle,
        }
    }
}

#[derive(Debug)]
struct Task {
    id: u64,
    index: u64,
    launch: u64,
    finish: u64,
}

#[derive(Debug)]
pub struct Stage {
    kind: Kind,
    first_task: u64,
    tasks: u64,
    started: u64,
    running: Vec<Task>,
    cores: usize,
}

impl Stage {
    pub fn new(kind: Kind, first_task: u64, tasks: u64, cores: usize) -> Self {
        Self { kind, first_task, tasks, started: 0, running: Vec::with_capacity(cores), cores }
    }

    /// Writes the next event; false when all tasks have ended.
    pub fn next(&mut self, values: &mut Values, random: &mut Random, out: &mut Vec<u8>) -> bool {
        if self.started < self.tasks && self.running.len() < self.cores {
            self.start(values, random, out);
            return true;
        }
        let first = (0..self.running.len()).min_by_key(|i| self.running[*i].finish);
        let Some(task) = first.map(|i| self.running.swap_remove(i)) else { return false };
        self.end(&task, values, random, out);
        true
    }

    fn start(&mut self, values: &mut Values, random: &mut Random, out: &mut Vec<u8>) {
        let launch = values.get(Number::Now);
        let took = match self.kind {
            Kind::Scan if random.once_in(16) => 5 + random.below(30),
            Kind::Scan => 1 + random.below(3),
            Kind::Shuffle => 100 + random.below(400),
        };
        let task = Task { id: self.first_task + self.started, index: self.started, launch, finish: launch + took };
        self.started += 1;
        set(values, &task);
        TEMPLATES.task_start.render(values, out);
        self.running.push(task);
    }

    fn end(&self, task: &Task, values: &mut Values, random: &mut Random, out: &mut Vec<u8>) {
        values.set(Number::Now, values.get(Number::Now).max(task.finish));
        set(values, task);
        let mut chosen = random.below(1000);
        for end in &self.kind.templates().task_ends {
            if chosen < end.share {
                self.measure(end.times, values, random);
                end.template.render(values, out);
                break;
            }
            chosen -= end.share;
        }
    }

    /// The ranges are those of recorded tasks.
    fn measure(&self, times: &[Metric], values: &mut Values, random: &mut Random) {
        let scan = self.kind == Kind::Scan;
        for (metric, most) in TIMES {
            let time = if times.contains(&metric) { 1 + random.below(most) } else { 0 };
            values.measure(metric, if scan { time } else { time * 4 });
        }
        let slow = if random.once_in(32) { random.below(500_000) } else { 0 };
        values.measure(Metric::DeserializeCpu, 280_000 + random.below(90_000) + random.below(90_000) + slow);
        let cpu = if scan {
            110_000 + random.below(50_000) + random.below(50_000)
        } else {
            20_000_000 + random.below(16_000_000)
        };
        values.measure(Metric::CpuTime, cpu + slow);
        let resized = if random.once_in(20) { 43 + 43 * random.below(2) } else { 0 };
        values.measure(Metric::ResultSize, if scan { 1182 } else { 2318 } + resized);
        values.measure(Metric::Rows, if scan { 1 } else { 200_000 });
        if !scan {
            values.measure(Metric::WriteBytes, 487_000 + random.below(8_000));
            values.measure(Metric::WriteTime, 4_000_000 + random.below(4_000_000));
            values.measure(Metric::ReadBytes, 487_000 + random.below(8_000));
        }
        values.add_up();
    }
}

/// Times in milliseconds that are often zero, and the most that short tasks have.
const TIMES: [(Metric, u64); 4] =
    [(Metric::DeserializeTime, 3), (Metric::RunTime, 4), (Metric::GcTime, 20), (Metric::SerializeTime, 7)];

fn set(values: &mut Values, task: &Task) {
    values.set(Number::TaskId, task.id);
    values.set(Number::Index, task.index);
    values.set(Number::Launch, task.launch);
    values.set(Number::Finish, task.finish);
}
