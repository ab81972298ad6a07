//! A whole Emberlog with its data: one process with the embedded journal, or three processes on a topic. The tests of
//! `tests/kafka.rs` are those of other programs, on three processes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::parts::{self, Part, Parts};
use crate::process::{Memory, Process, command_of, said};
use crate::security::{authority_of, trusting};
use crate::topic::Topic;

/// Partitions of a topic of three processes.
const PARTITIONS: u32 = 3;

/// `emberlog` with its arguments.
pub fn command(arguments: &[&str]) -> Command {
    command_of("emberlog", arguments)
}

/// Runs a command of `emberlog` on a data folder to its end.
pub fn tool(data: &Path, arguments: &[&str]) -> Output {
    command(arguments).arg("--data-dir").arg(data).output().unwrap()
}

/// A folder for data that is removed at the end.
pub fn data_dir() -> TempDir {
    tempfile::Builder::new().prefix("emberlog-e2e-").tempdir().unwrap()
}

/// Where a deployment keeps what it was given. It outlives its processes.
#[derive(Debug)]
pub struct Site {
    data: TempDir,
    /// None: the journal is in the data folder.
    topic: Option<Topic>,
}

impl Site {
    /// The one that a test program is about, by its name: `kafka` is on Kafka.
    pub fn of(test_program: &str) -> Self {
        let topic = (test_program == "kafka").then(|| Topic::new(PARTITIONS));
        Self { data: data_dir(), topic }
    }

    pub fn path(&self) -> &Path {
        self.data.path()
    }

    pub fn is_on_kafka(&self) -> bool {
        self.topic.is_some()
    }

    pub fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// Starts it and waits until it is ready.
    pub fn start(&self, flags: &[&str]) -> Server {
        match &self.topic {
            None => Server::start(self.path(), flags),
            Some(topic) => {
                let mut parts = Parts::started(topic, self.path(), flags);
                let (url, reads_url) = (parts.url(Part::Collector), parts.url(Part::Api));
                let authority = authority_of(flags);
                Server { processes: Processes::Three(Box::new(parts)), authority, url, reads_url, admin_url: None }
            }
        }
    }

    /// Starts it and does not wait.
    pub fn spawn(&self, flags: &[&str]) -> Server {
        let Some(topic) = &self.topic else { return Server::spawn(self.path(), flags) };
        let mut parts = Parts::new(topic, self.path(), flags);
        Part::ALL.iter().for_each(|part| parts.spawn(*part));
        Server {
            processes: Processes::Three(Box::new(parts)),
            authority: authority_of(flags),
            url: String::new(),
            reads_url: String::new(),
            admin_url: None,
        }
    }

    /// The store, checked.
    ///
    /// # Panics
    /// If it is not sound.
    pub fn check(&self) -> Value {
        match &self.topic {
            None => check(self.path()),
            Some(_) => parts::check(self.path()),
        }
    }

    /// `rebuild` from `journal` or `store`.
    pub fn rebuild(&self, source: &str, more: &[&str]) -> Command {
        match &self.topic {
            None => {
                let mut command = command(&["rebuild", "--from", source, "--data-dir"]);
                command.arg(self.path()).args(["--patience", parts::PATIENCE]).args(more);
                command
            }
            Some(topic) => {
                let source = if source == "journal" { "topic" } else { source };
                parts::rebuild(self.path(), topic, source, more)
            }
        }
    }

    /// `emberlog dlq`.
    pub fn dead_letters(&self, arguments: &[&str]) -> Output {
        self.dead_letters_command(arguments).output().unwrap()
    }

    pub fn dead_letters_command(&self, arguments: &[&str]) -> Command {
        let arguments = [&["dlq"], arguments].concat();
        match &self.topic {
            None => {
                let mut command = command(&arguments);
                command.arg("--data-dir").arg(self.path());
                command
            }
            Some(topic) => topic.tool_command(&arguments),
        }
    }
}

/// `emberlog check --json`.
///
/// # Panics
/// If the store is not sound.
pub fn check(data: &Path) -> Value {
    let output = tool(data, &["check", "--json"]);
    assert!(output.status.success(), "the store is not sound: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A running deployment. Dropped, it is killed; in a failed test its output is shown.
#[derive(Debug)]
pub struct Server {
    processes: Processes,
    authority: Option<PathBuf>,
    /// Where it takes events in.
    pub url: String,
    /// Where it serves them.
    pub reads_url: String,
    pub admin_url: Option<String>,
}

#[derive(Debug)]
enum Processes {
    One(Process),
    Three(Box<Parts>),
}

impl Server {
    /// Starts the one process on a free port, and waits until it says where it listens.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        let mut server = Self::spawn(data, flags);
        let Processes::One(process) = &mut server.processes else { unreachable!() };
        let [url, admin] = process.until("the welcome", |it| {
            let welcome = it.stdout();
            let url = |what| {
                welcome
                    .lines()
                    .find_map(|line| line.trim().strip_prefix(what)?.split_whitespace().next().map(str::to_owned))
            };
            // The line behind those of the addresses.
            url("try ")?;
            Some([url("listening "), url("admin ")])
        });
        server.url = url.unwrap();
        server.reads_url.clone_from(&server.url);
        server.admin_url = admin;
        server
    }

    /// Starts the one process and does not wait.
    pub fn spawn(data: &Path, flags: &[&str]) -> Self {
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(data).args(flags).stdin(Stdio::null());
        let processes = Processes::One(Process::spawn("emberlog", command));
        let authority = authority_of(flags);
        Self { processes, authority, url: String::new(), reads_url: String::new(), admin_url: None }
    }

    pub fn client(&self) -> Client {
        trusting(Client::of_two(&self.url, &self.reads_url), self.authority.as_deref())
    }

    /// Of the one process.
    pub fn stdout(&self) -> String {
        match &self.processes {
            Processes::One(process) => process.stdout(),
            Processes::Three(_) => String::new(),
        }
    }

    /// What its processes have said to stderr so far.
    pub fn logs(&mut self) -> String {
        match &mut self.processes {
            Processes::One(process) => process.stderr(),
            Processes::Three(parts) => Part::ALL.iter().map(|part| parts.process(*part).stderr()).collect(),
        }
    }

    /// SIGKILL, at once.
    pub fn kill(self) {
        match self.processes {
            Processes::One(process) => process.kill(),
            Processes::Three(mut parts) => parts.kill_all(),
        }
    }

    /// SIGTERM, and how it ended.
    pub fn stop(self) -> ExitStatus {
        match self.processes {
            Processes::One(process) => process.stop(),
            Processes::Three(mut parts) => parts.stop_all(),
        }
    }

    /// Waits until the one process ends by itself; then what it said to stderr.
    pub fn ended(self) -> (ExitStatus, String) {
        match self.processes {
            Processes::One(process) => process.ended(),
            Processes::Three(_) => unreachable!("three processes do not end by themselves"),
        }
    }

    pub fn is_running(&mut self) -> bool {
        match &mut self.processes {
            Processes::One(process) => process.is_running(),
            Processes::Three(parts) => Part::ALL.iter().all(|part| parts.process(*part).is_running()),
        }
    }

    /// Of the process that takes events in.
    pub fn memory(&self) -> Memory {
        match &self.processes {
            Processes::One(process) => process.memory(),
            Processes::Three(parts) => parts.memory(Part::Collector),
        }
    }

    /// The clients whose metrics together are those of the deployment.
    pub fn metrics(&mut self) -> Vec<Client> {
        match &mut self.processes {
            Processes::One(_) => vec![self.client()],
            Processes::Three(parts) => Part::ALL.iter().map(|part| parts.client_of(*part)).collect(),
        }
    }
}
