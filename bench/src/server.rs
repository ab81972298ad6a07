//! Servers in processes of their own, so that what they use is told from what their clients use.
//!
//! This program starts itself anew: the child is told by an environment variable what to be.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use collector::Collector;
use journal::local::{self, Local};
use prometheus::Registry;
use rustix::process::{Pid, Signal, kill_process};
use service::http;

use crate::machine;

const ROLE: &str = "EMBERLOG_BENCH_ROLE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The product.
    Emberlog,
    /// Only the collector and the journal: nothing applies.
    Collector,
    /// The three programs on Kafka.
    KafkaCollector,
    Materializer,
    Api,
}

impl Role {
    const ALL: [(Self, &str); 5] = [
        (Self::Emberlog, "emberlog"),
        (Self::Collector, "collector"),
        (Self::KafkaCollector, "emberlog-collector"),
        (Self::Materializer, "emberlog-materializer"),
        (Self::Api, "emberlog-api"),
    ];

    fn text(self) -> &'static str {
        Self::ALL.iter().find(|(it, _)| *it == self).map_or("", |(_, text)| text)
    }
}

/// What this process is to be, if it is a child.
pub fn role() -> Option<Role> {
    let text = std::env::var(ROLE).ok()?;
    Role::ALL.iter().find(|(_, it)| *it == text).map(|(role, _)| *role)
}

/// Runs the child. Its arguments are those of the program that it is.
pub fn be(role: Role) -> ExitCode {
    match role {
        Role::Emberlog => standalone::main(),
        Role::KafkaCollector => collector::main(),
        Role::Materializer => materializer::program::main(),
        Role::Api => api::main(),
        Role::Collector => match collect() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench collector: {}", service::chain(error.as_ref()));
                ExitCode::FAILURE
            }
        },
    }
}

fn collect() -> anyhow::Result<()> {
    let dir = std::env::args().next_back().ok_or_else(|| anyhow!("no folder"))?;
    let dir = Path::new(&dir);
    tokio::runtime::Runtime::new()?.block_on(async {
        let shutdown = service::shutdown::on_signals()?;
        let registry = Registry::new();
        let open = |name: &str| {
            Local::open(&dir.join(name), local::Options::default(), local::Metrics::register(&registry, name)?)
                .map_err(anyhow::Error::from)
        };
        let (events, letters) = (open("journal")?, open("dlq")?);
        let publishers = (Arc::new(events.publisher()), Arc::new(letters.publisher()));
        let collector = Collector::new(collector::Options::default(), publishers.0, publishers.1, &registry)?;
        let router = service::openapi::assemble([collector::router(collector)]);
        let listener = http::listen("127.0.0.1:0", "--listen").await?;
        println!("listening http://{}", listener.local_addr()?);
        http::serve(listener, router, http::Limits::default(), shutdown).await;
        Ok(())
    })
}

/// A command of the product, without what it prints.
pub fn tool() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.env(ROLE, Role::Emberlog.text()).env("EMBERLOG_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    command
}

/// A running child.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub url: String,
    /// Kept open: a child whose output nobody can read would fail.
    _output: Option<BufReader<ChildStdout>>,
}

impl Server {
    pub fn start(role: Role, dir: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .env(ROLE, role.text())
            .env("EMBERLOG_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("the server has no output"))?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                return Ok(Self { child, url: url.to_owned(), _output: Some(output) });
            }
            line.clear();
        }
        bail!("the server ended: {}", child.wait()?)
    }

    /// Starts a program on an address that was chosen for it, and does not wait.
    pub fn spawn(role: Role, arguments: &[&str], address: &str) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env(ROLE, role.text())
            .env("EMBERLOG_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start a program")?;
        Ok(Self { child, url: format!("http://{address}"), _output: None })
    }

    pub fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu_of(self.child.id())
    }

    /// Resident bytes now, and at the highest.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        machine::memory_of(self.child.id())
    }

    /// Ends the server in order, and sees that it says so.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or_else(|| anyhow!("no process"))?, signal)?)
    }
}

impl Drop for Server {
    /// Nothing outlives a bench that fails.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
