//! Collector, materializer and API as three processes on a topic and one data folder, each started, killed and stopped
//! by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use serde_json::Value;

use crate::client::{Answer, Client};
use crate::process::{Memory, Process, command_of, said};
use crate::security::{authority_of, trusting};
use crate::topic::Topic;
use crate::wait;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Collector,
    Materializer,
    Api,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Collector, Self::Materializer, Self::Api];

    pub fn program(self) -> &'static str {
        match self {
            Self::Collector => "emberlog-collector",
            Self::Materializer => "emberlog-materializer",
            Self::Api => "emberlog-api",
        }
    }

    /// Whether a flag of the one process is one of this part.
    fn takes(self, flag: &str) -> bool {
        let flags: &[&str] = match self {
            Self::Collector => &[
                "--max-body",
                "--max-decompressed",
                "--max-in-flight",
                "--max-connections",
                "--redact-pattern",
                "--kafka-property",
            ],
            Self::Materializer => &[
                "--block-cache",
                "--memtable",
                "--poison-limit",
                "--lost-after",
                "--retain-age",
                "--retain-size",
                "--retain-runs",
                "--retain-interval",
                "--serve",
                "--kafka-property",
            ],
            Self::Api => &["--block-cache", "--lost-after", "--max-connections"],
        };
        flags.contains(&flag) || ["--tokens", "--tls-cert", "--tls-key"].contains(&flag)
    }
}

/// Some of the three, running.
#[derive(Debug)]
pub struct Parts {
    pub topic: Topic,
    data: PathBuf,
    authority: Option<PathBuf>,
    flags: Vec<(String, String)>,
    running: [Option<Process>; 3],
}

impl Parts {
    /// `flags` go to those parts that have them.
    pub fn new(topic: &Topic, data: &Path, flags: &[&str]) -> Self {
        let authority = authority_of(flags);
        let flags: Vec<_> = flags.chunks_exact(2).map(|it| (it[0].to_owned(), it[1].to_owned())).collect();
        let is_known = |flag: &str| Part::ALL.iter().any(|part| part.takes(flag));
        assert!(flags.iter().all(|(flag, _)| is_known(flag)), "no part takes all of {flags:?}");
        Self { topic: topic.clone(), data: data.to_owned(), authority, flags, running: [None, None, None] }
    }

    /// All of them, ready.
    pub fn started(topic: &Topic, data: &Path, flags: &[&str]) -> Self {
        let mut parts = Self::new(topic, data, flags);
        [Part::Materializer, Part::Api].into_iter().for_each(|part| parts.spawn(part));
        // Tools know only the collector, which sends them on.
        let reads = parts.url(Part::Api);
        parts.spawn_with(Part::Collector, &["--reads-url", &reads]);
        Part::ALL.iter().for_each(|part| parts.await_ready(*part));
        parts
    }

    /// Starts a part and does not wait.
    pub fn spawn(&mut self, part: Part) {
        self.spawn_with(part, &[]);
    }

    /// With more flags, for this start.
    pub fn spawn_with(&mut self, part: Part, more: &[&str]) {
        let mut command = command_of(part.program(), if part == Part::Materializer { &["run"] } else { &[] });
        command.args(["--listen", "127.0.0.1:0"]);
        if part != Part::Collector {
            command.arg("--data-dir").arg(&self.data);
        }
        if part != Part::Api {
            command.args(self.topic.flags());
        }
        let own = self.flags.iter().filter(|(flag, _)| part.takes(flag));
        for (flag, value) in own {
            command.args([flag, value]);
        }
        command.args(more);
        let before = self.running[part as usize].replace(Process::spawn(part.program(), command));
        assert!(before.is_none(), "{part:?} runs already");
    }

    /// Starts a part and waits until it listens.
    pub fn start(&mut self, part: Part) {
        self.spawn(part);
        self.url(part);
    }

    pub fn is_up(&self, part: Part) -> bool {
        self.running[part as usize].is_some()
    }

    /// # Panics
    /// If it does not run.
    pub fn process(&mut self, part: Part) -> &mut Process {
        self.running[part as usize].as_mut().unwrap_or_else(|| panic!("{part:?} does not run"))
    }

    pub fn memory(&self, part: Part) -> Memory {
        self.running[part as usize].as_ref().unwrap().memory()
    }

    /// Where it listens; waits until it says so.
    pub fn url(&mut self, part: Part) -> String {
        let listening = self.process(part).until("the address", |it| it.logged("listening"));
        listening["url"].as_str().unwrap().to_owned()
    }

    /// A client of one part.
    pub fn client_of(&mut self, part: Part) -> Client {
        let client = Client::new(&self.url(part));
        trusting(client, self.authority.as_deref())
    }

    /// Posts to the collector and reads from the API.
    pub fn client(&mut self) -> Client {
        let client = Client::of_two(&self.url(Part::Collector), &self.url(Part::Api));
        trusting(client, self.authority.as_deref())
    }

    /// `/health/ready`.
    pub fn readiness(&mut self, part: Part) -> Answer {
        self.client_of(part).get("/health/ready")
    }

    pub fn await_ready(&mut self, part: Part) {
        let client = self.client_of(part);
        self.process(part).until("readiness", |_| (client.get("/health/ready").status == 200).then_some(()));
    }

    pub fn kill(&mut self, part: Part) {
        self.running[part as usize].take().unwrap().kill();
    }

    pub fn stop(&mut self, part: Part) -> ExitStatus {
        self.running[part as usize].take().unwrap().stop()
    }

    /// Waits until it ends by itself; then what it said to stderr.
    pub fn ended(&mut self, part: Part) -> (ExitStatus, String) {
        self.running[part as usize].take().unwrap().ended()
    }

    /// SIGKILL for all that run.
    pub fn kill_all(&mut self) {
        self.running.iter_mut().filter_map(Option::take).for_each(Process::kill);
    }

    /// SIGTERM for all that run, at once; how the first of them ended that did not end well, if any.
    pub fn stop_all(&mut self) -> ExitStatus {
        self.running.iter().flatten().for_each(Process::send_term);
        let statuses: Vec<_> = self.running.iter_mut().filter_map(Option::take).map(|it| it.ended().0).collect();
        statuses.iter().find(|it| !it.success()).or(statuses.first()).copied().unwrap()
    }

    /// A value of a part's metrics, by name and labels.
    pub fn metric(&mut self, part: Part, name: &str) -> Option<f64> {
        let text = self.client_of(part).get("/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}

/// How long commands wait for a materializer that runs: as long as the tests do.
pub const PATIENCE: &str = "3m";

/// A command of `emberlog-materializer` on a data folder.
pub fn materializer(data: &Path, arguments: &[&str]) -> Command {
    let mut command = command_of("emberlog-materializer", arguments);
    command.arg("--data-dir").arg(data);
    command
}

/// `emberlog-materializer check --json`.
///
/// # Panics
/// If the store is not sound.
pub fn check(data: &Path) -> Value {
    let output = materializer(data, &["check", "--json"]).output().unwrap();
    assert!(output.status.success(), "the store is not sound: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `emberlog-materializer rebuild`.
pub fn rebuild(data: &Path, topic: &Topic, source: &str, more: &[&str]) -> Command {
    let mut command = materializer(data, &["rebuild", "--from", source]);
    command.args(topic.flags()).args(["--patience", PATIENCE]).args(more);
    command
}

/// `emberlog-materializer resume`.
pub fn resume(data: &Path, more: &[&str]) -> Output {
    materializer(data, &["resume", "--patience", PATIENCE]).args(more).output().unwrap()
}

/// Waits until the materializer has applied what the topic holds, as the store on disk says.
pub fn await_events(data: &Path, events: u64) {
    wait::until("the events in the store", || (check(data)["events"] == events).then_some(()));
}
