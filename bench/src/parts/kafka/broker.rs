//! A broker: the one that `EMBERLOG_KAFKA_BROKERS` names, or one of our own by `scripts/kafka`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use journal::kafka::topics::{self, Layout};
use journal::kafka::{Properties, Settings};

use crate::machine;

const SCRIPT: &str = "scripts/kafka";

#[derive(Debug)]
pub struct Broker {
    pub address: String,
    /// Of our own: its data and port.
    own: Option<(PathBuf, u16)>,
}

impl Broker {
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        if let Ok(address) = std::env::var("EMBERLOG_KAFKA_BROKERS") {
            return Ok(Self { address, own: None });
        }
        let port = free_ports()?;
        let broker = Self { address: format!("127.0.0.1:{port}"), own: Some((dir.to_owned(), port)) };
        broker.script("start")?;
        Ok(broker)
    }

    fn script(&self, command: &str) -> anyhow::Result<()> {
        let Some((dir, port)) = &self.own else { return Ok(()) };
        let output = Command::new(SCRIPT)
            .args([command, "--port", &port.to_string(), "--data-dir"])
            .arg(dir)
            .env("EMBERLOG_KAFKA_HEAP", "1g")
            .output()
            .with_context(|| format!("cannot run {SCRIPT}; run this in the project's folder"))?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// A topic with what Emberlog needs.
    pub fn topic(&self, name: &str) -> anyhow::Result<Settings> {
        let settings = Settings {
            brokers: self.address.clone(),
            topic: name.to_owned(),
            expires: false,
            properties: Properties::default(),
        };
        topics::create(&settings, &Layout { replication_factor: 1, ..Layout::default() })?;
        for _ in 0..100 {
            match topics::check(&settings) {
                Ok(_) => break,
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Ok(settings)
    }

    /// Processor time of a broker of our own.
    pub fn cpu(&self) -> Option<Duration> {
        machine::cpu_of(self.process()?).ok()
    }

    fn process(&self) -> Option<u32> {
        let (dir, _) = self.own.as_ref()?;
        std::fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()
    }

    pub fn is_ours(&self) -> bool {
        self.process().is_some()
    }

    /// SIGKILL, and at once another start, which returns when it serves.
    pub fn kill_and_start(&self) -> anyhow::Result<()> {
        let process = self.process().context("the broker is not ours to kill")?;
        let id = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw).context("no process")?;
        rustix::process::kill_process(id, rustix::process::Signal::KILL)?;
        self.script("start")
    }

    /// The same in order.
    pub fn stop_and_start(&self) -> anyhow::Result<()> {
        self.script("stop")?;
        self.script("start")
    }
}

/// A port that is free together with the next one, which the script takes for the controller.
fn free_ports() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port.checked_add(1).is_some_and(|next| TcpListener::bind(("127.0.0.1", next)).is_ok()) {
            return Ok(port);
        }
    }
    anyhow::bail!("no two ports side by side are free")
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(error) = self.script("stop") {
            eprintln!("bench: the broker was not stopped: {}", service::chain(error.as_ref()));
        }
    }
}
