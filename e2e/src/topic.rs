//! Topics of a real broker: one broker for all tests of a program, topics of its own for each test.

use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use kafka_broker::Cluster;

use crate::process::{command_of, said};

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::undisturbed);

/// The broker of this test program, for tests that administer it; none if the user named one of theirs.
pub fn own() -> Option<&'static Cluster> {
    external().is_none().then(|| &*CLUSTER)
}

fn external() -> Option<String> {
    std::env::var(kafka_broker::EXTERNAL).ok()
}

/// An address on which nobody listens now.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", kafka_broker::free_port())
}

/// A topic of events, and beside it that of its dead letters.
#[derive(Debug, Clone)]
pub struct Topic {
    pub brokers: String,
    pub name: String,
}

impl Topic {
    /// New topics on the broker of this test program, or on the user's own.
    pub fn new(partitions: u32) -> Self {
        let topic = Self::named(&external().unwrap_or_else(|| CLUSTER.bootstrap()));
        topic.create(partitions, 1);
        topic
    }

    /// New topics on a cluster that a test has to itself.
    pub fn on(cluster: &Cluster, partitions: u32) -> Self {
        let topic = Self::named(&cluster.bootstrap());
        topic.create(partitions, cluster.nodes().min(3));
        topic
    }

    /// A fresh name, and nothing created.
    pub fn named(brokers: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { brokers: brokers.to_owned(), name: format!("e2e-{process}-{count}") }
    }

    /// # Panics
    /// If `emberlog init` fails.
    pub fn create(&self, partitions: u32, replication_factor: usize) {
        let (partitions, factor) = (partitions.to_string(), replication_factor.to_string());
        let patience = ["--patience", "5m"];
        let layout = ["--partitions", &partitions, "--replication-factor", &factor];
        let output = self.tool(&[&["init"], &layout[..], &patience].concat());
        assert!(output.status.success(), "{}", said(&output));
    }

    pub fn dead_letters(&self) -> String {
        format!("{}.dlq", self.name)
    }

    pub fn flags(&self) -> [&str; 4] {
        ["--kafka-brokers", &self.brokers, "--topic", &self.name]
    }

    /// Runs a command of `emberlog` on these topics to its end.
    pub fn tool(&self, arguments: &[&str]) -> Output {
        self.tool_command(arguments).output().unwrap()
    }

    pub fn tool_command(&self, arguments: &[&str]) -> Command {
        let mut command = command_of("emberlog", arguments);
        command.args(self.flags());
        command
    }
}
