//! Real Apache Kafka for tests: a cluster of one or more nodes on free ports, which can be killed, frozen, stopped,
//! started again with its data, and administered. Nothing of it outlives the test process.
//!
//! It is test support: what cannot be done panics.

#![allow(clippy::unwrap_used)]

mod admin;
mod disk;
mod files;
mod process;
mod proxy;
mod raw;
mod security;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use tempfile::TempDir;

use files::Ports;
use process::Process;
pub use proxy::Proxy;
pub use raw::RawRecord;
pub use security::PlainUser;

/// Names a broker of the user's own for the tests that need no more than topics.
pub const EXTERNAL: &str = "EMBERLOG_TEST_KAFKA";

/// A busy machine may keep a node silent for long without it being fenced, if nobody kills it.
const UNDISTURBED: (&str, &str) = ("broker.session.timeout.ms", "60000");

/// A cluster of combined broker and controller nodes, numbered from 1.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    ports: Vec<Ports>,
    processes: Vec<Option<Process>>,
    dir: TempDir,
    _sweeper: Process,
}

/// What `scripts/kafka home` has fetched.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    shared: PathBuf,
    class_path: String,
}

impl Home {
    fn find() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kafka");
        let output = Command::new(script).arg("home").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "there is no Kafka to test with: {error}");
        let dir = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let mut jars: Vec<_> = dir.join("libs").read_dir().unwrap().map(|it| it.unwrap().path()).collect();
        jars.sort();
        let class_path = jars.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(":");
        let version = java_version();
        Self { shared: dir.join(format!("java-{version}")), dir, class_path }
    }

    /// Java with Kafka on its class path, started by little work.
    fn java(&self, heap: &str) -> Command {
        let mut command = Command::new(java());
        command
            .arg(format!("-XX:SharedArchiveFile={}", self.shared.join("broker.jsa").display()))
            .args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", heap])
            .arg(format!("-Dlog4j2.configurationFile={}", self.dir.join("log4j2.yaml").display()))
            .args(["-cp", &self.class_path]);
        command
    }
}

fn java() -> PathBuf {
    std::env::var_os("JAVA_HOME").map_or_else(|| "java".into(), |home| PathBuf::from(home).join("bin/java"))
}

fn java_version() -> String {
    let output = Command::new(java()).args(["-XshowSettings:properties", "-version"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().find_map(|it| it.trim().strip_prefix("java.version = "));
    line.unwrap().to_owned()
}

/// A port on which nobody listens now, and which the system does not give to others until it is needed: those that it
/// gives to connections and to whoever asks for any begin at 32768.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Other test programs may look for some at the same time.
    let mine = std::process::id().wrapping_mul(37);
    let ports = (0..COUNT).map(|_| FIRST + mine.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT);
    let mut ports = ports.filter_map(|it| u16::try_from(it).ok());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

impl Ports {
    fn free() -> Self {
        Self { client: free_port(), controller: free_port(), secure: None }
    }
}

fn new_dir() -> TempDir {
    TempDir::with_prefix("emberlog-kafka-").unwrap()
}

impl Cluster {
    /// Starts that many nodes and waits until all of them serve.
    pub fn start(nodes: usize) -> Self {
        Self::with_properties(nodes, &[])
    }

    /// One node for tests that leave it alone.
    pub fn undisturbed() -> Self {
        Self::with_properties(1, &[UNDISTURBED])
    }

    /// `extra` are broker properties beside, or instead of, those for tests.
    pub fn with_properties(nodes: usize, extra: &[(&str, &str)]) -> Self {
        let ports: Vec<Ports> = (0..nodes).map(|_| Ports::free()).collect();
        Self::launched(new_dir(), ports, extra)
    }

    /// One node that its clients reach through the proxy only.
    pub fn behind(proxy: &Proxy) -> Self {
        let ports = Ports::free();
        proxy.forward(ports.client);
        Self::launched(new_dir(), vec![ports], &[("advertised.listeners", &format!("PLAINTEXT://{}", proxy.address()))])
    }

    fn launched(dir: TempDir, ports: Vec<Ports>, extra: &[(&str, &str)]) -> Self {
        let home = Home::find();
        // A static is never dropped; this removes the data when the test process is gone.
        let sweeper = Process::at_end_of_test(&format!("rm -rf '{}'", dir.path().display()));
        files::prepare(dir.path(), &home.shared, &ports, extra);
        let processes = ports.iter().map(|_| None).collect();
        let mut cluster = Self { home, ports, processes, dir, _sweeper: sweeper };
        for node in 1..=cluster.nodes() {
            cluster.launch(node);
        }
        cluster.await_ready();
        cluster
    }

    pub fn bootstrap(&self) -> String {
        self.ports.iter().map(|it| format!("127.0.0.1:{}", it.client)).collect::<Vec<_>>().join(",")
    }

    pub fn nodes(&self) -> usize {
        self.ports.len()
    }

    /// SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.processes[node - 1].take().unwrap().kill();
    }

    /// SIGTERM, and waits until it has ended in order.
    pub fn stop(&mut self, node: usize) {
        self.processes[node - 1].take().unwrap().stop();
    }

    /// SIGSTOP: connections stay open, and nobody answers.
    pub fn freeze(&self, node: usize) {
        self.processes[node - 1].as_ref().unwrap().signal(Signal::STOP);
    }

    pub fn thaw(&self, node: usize) {
        self.processes[node - 1].as_ref().unwrap().signal(Signal::CONT);
    }

    /// Starts a node that was killed or stopped, with its data and ports; does not wait for it.
    pub fn launch(&mut self, node: usize) {
        let dir = files::node_dir(self.dir.path(), node);
        let mut command = self.home.java("-Xmx256m");
        command.arg("kafka.Kafka").arg(dir.join("server.properties"));
        self.processes[node - 1] = Some(Process::start(command, &dir.join("broker.log")));
    }

    /// Starts a node again and waits until the whole cluster serves.
    pub fn restart(&mut self, node: usize) {
        self.launch(node);
        self.await_ready();
    }

    /// Waits until every node that runs is in the metadata: a port answers long before.
    pub fn await_ready(&self) {
        let running = self.processes.iter().flatten().count();
        let deadline = Instant::now() + Duration::from_secs(300);
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).set_log_level_quiet().create().unwrap();
        while Instant::now() < deadline {
            let metadata = client.fetch_metadata(None, Duration::from_millis(500));
            if metadata.is_ok_and(|it| it.brokers().len() == running) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the brokers are not ready:\n{}", self.logs());
    }

    /// Where a node keeps a partition of a topic.
    pub fn partition_dir(&self, node: usize, topic: &str, partition: u32) -> PathBuf {
        files::node_dir(self.dir.path(), node).join(format!("data/{topic}-{partition}"))
    }

    fn logs(&self) -> String {
        let log = |node| std::fs::read_to_string(files::node_dir(self.dir.path(), node).join("broker.log"));
        (1..=self.nodes()).map(|node| log(node).unwrap_or_default()).collect()
    }
}

trait Quiet {
    fn set_log_level_quiet(&mut self) -> &mut Self;
}

impl Quiet for ClientConfig {
    fn set_log_level_quiet(&mut self) -> &mut Self {
        self.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg)
    }
}
