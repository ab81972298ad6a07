//! The events of one application: a beginning, queries of two stages each, an end.

use std::collections::VecDeque;

use super::random::Random;
use super::stage::{Kind, Stage};
use super::template::{Number, Template, Values};
use super::templates::TEMPLATES;

/// When the first run starts, in milliseconds of the Unix epoch.
const FIRST_START: u64 = 1_795_268_210_000;
/// What a query has besides its tasks.
const OF_A_QUERY: u64 = 12;
const TASKS_OF_A_QUERY: u64 = 1_500;

/// One run. The same seed, number and length give the same bytes.
#[derive(Debug)]
pub struct Run {
    random: Random,
    values: Values,
    cores: usize,
    steps: VecDeque<Step>,
    stage: Option<Stage>,
    /// Jobs so far. Each has one stage, so that they share their ids.
    jobs: u64,
    tasks: u64,
    left: u64,
}

#[derive(Debug)]
enum Step {
    Event(&'static Template),
    /// A new job with so many tasks.
    Job(u64),
    /// All tasks of the current job.
    Tasks(Kind),
    /// Milliseconds in which nothing happens.
    Wait(u64),
}

impl Run {
    /// A run has at least a beginning and an end.
    pub const MIN_EVENTS: u64 = 7;

    /// The run of that number, with `events` events. Ten jobs have runs in turn.
    pub fn new(seed: u64, number: u64, events: u64) -> Self {
        let mut random = Random::new(seed, number);
        let started = FIRST_START + number * 137;
        let mut values = Values::default();
        values.job_name = format!("nightly-{:02}", number % 10);
        values.run_id = format!("application_{started}_{number:04}");
        values.set(Number::Started, started);
        values.set(Number::Now, started + 2_500 + random.below(3_000));
        values.set(Number::Port, 32_768 + random.below(28_000));
        let steps = TEMPLATES.beginning.iter().map(Step::Event).collect();
        let cores = 2 << random.below(4);
        Self { random, values, cores, steps, stage: None, jobs: 0, tasks: 0, left: events.max(Self::MIN_EVENTS) }
    }

    pub fn job_name(&self) -> &str {
        &self.values.job_name
    }

    pub fn run_id(&self) -> &str {
        &self.values.run_id
    }

    /// How many events are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Appends the next event's bytes to `out`, and returns its `generated_at`; none behind the last event.
    ///
    /// `generated_at` never goes back, and many events share theirs with the one before, as with a real listener.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Option<i64> {
        if self.left == 0 {
            return None;
        }
        loop {
            if let Some(stage) = &mut self.stage {
                if stage.next(&mut self.values, &mut self.random, out) {
                    break;
                }
                self.stage = None;
            }
            match self.steps.pop_front() {
                Some(Step::Event(template)) => {
                    template.render(&self.values, out);
                    break;
                }
                Some(Step::Job(tasks)) => self.begin_job(tasks),
                Some(Step::Tasks(kind)) => self.begin_tasks(kind),
                Some(Step::Wait(time)) => self.values.set(Number::Now, self.values.get(Number::Now) + time),
                None => self.plan(),
            }
        }
        self.left -= 1;
        i64::try_from(self.values.get(Number::Now)).ok()
    }

    /// Decides what comes next, so that the run ends with its last event.
    fn plan(&mut self) {
        let before_end = self.left - 1;
        let tasks = (before_end.saturating_sub(OF_A_QUERY) / 2).min(TASKS_OF_A_QUERY);
        if before_end == 0 {
            self.steps.push_back(Step::Event(&TEMPLATES.application_end));
        } else if tasks < 2 {
            self.steps.push_back(Step::Event(&TEMPLATES.driver_accum_updates));
        } else {
            self.plan_query(tasks);
        }
    }

    fn plan_query(&mut self, tasks: u64) {
        let shuffles = (tasks / 30).max(1);
        self.values.set(Number::ExecutionId, self.values.accumulators / 1000);
        self.values.accumulators += 1000;
        self.steps.extend([Step::Wait(20 + self.random.below(200)), Step::Event(&TEMPLATES.sql_execution_start)]);
        self.plan_job(Kind::Scan, tasks - shuffles);
        self.steps.push_back(Step::Event(&TEMPLATES.sql_adaptive_update));
        self.steps.push_back(Step::Event(&TEMPLATES.driver_accum_updates));
        self.plan_job(Kind::Shuffle, shuffles);
        self.steps.push_back(Step::Event(&TEMPLATES.sql_execution_end));
    }

    fn plan_job(&mut self, kind: Kind, tasks: u64) {
        let templates = kind.templates();
        self.steps.extend([
            Step::Wait(1 + self.random.below(40)),
            Step::Job(tasks),
            Step::Event(&templates.job_start),
            Step::Event(&templates.submitted),
            Step::Tasks(kind),
            Step::Wait(self.random.below(3)),
            Step::Event(&templates.completed),
            Step::Event(&TEMPLATES.job_end),
        ]);
    }

    fn begin_job(&mut self, tasks: u64) {
        self.values.set(Number::JobId, self.jobs);
        self.values.set(Number::StageId, self.jobs);
        self.values.set(Number::Tasks, tasks);
        self.values.set(Number::Submitted, self.values.get(Number::Now));
        self.values.clear_totals();
        self.jobs += 1;
    }

    fn begin_tasks(&mut self, kind: Kind) {
        let tasks = self.values.get(Number::Tasks);
        self.stage = Some(Stage::new(kind, self.tasks, tasks, self.cores));
        self.tasks += tasks;
    }
}
