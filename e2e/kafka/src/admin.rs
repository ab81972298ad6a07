//! Administration, by the classes of Kafka's own command line.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::NamedTempFile;

use crate::{Cluster, Quiet};

impl Cluster {
    /// Runs one of Kafka's command-line classes against this cluster, and returns what it prints.
    pub fn tool(&self, class: &str, args: &[&str]) -> String {
        let mut command = self.home.java("-Xmx128m");
        command.args([class, "--bootstrap-server", &self.bootstrap()]).args(args).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} {args:?}: {text}");
        text
    }

    /// What Kafka's own Java client publishes: lines of `KEY<tab>VALUE`.
    pub fn produce_by_java(&self, topic: &str, lines: &str) {
        let mut input = NamedTempFile::new().unwrap();
        input.write_all(lines.as_bytes()).unwrap();
        let mut command = self.home.java("-Xmx128m");
        command.args([
            "org.apache.kafka.tools.ConsoleProducer",
            "--bootstrap-server",
            &self.bootstrap(),
            "--topic",
            topic,
        ]);
        command.args(["--reader-property", "parse.key=true"]).stdin(input.reopen().unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn create_topic(&self, topic: &str, partitions: u32, configs: &[(&str, &str)]) {
        let partitions = partitions.to_string();
        let factor = self.nodes().min(3).to_string();
        let configs: Vec<String> = configs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut args = vec!["--create", "--topic", topic, "--partitions", &partitions, "--replication-factor", &factor];
        args.extend(configs.iter().flat_map(|it| ["--config", it.as_str()]));
        self.tool("org.apache.kafka.tools.TopicCommand", &args);
    }

    pub fn delete_topic(&self, topic: &str) {
        self.tool("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", topic]);
    }

    pub fn grow_topic(&self, topic: &str, partitions: u32) {
        let partitions = partitions.to_string();
        let args = ["--alter", "--topic", topic, "--partitions", &partitions];
        self.tool("org.apache.kafka.tools.TopicCommand", &args);
    }

    /// Sets a configuration of a topic.
    pub fn alter_topic(&self, topic: &str, key: &str, value: &str) {
        let config = format!("{key}={value}");
        let args = ["--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", &config];
        self.tool("kafka.admin.ConfigCommand", &args);
    }

    /// Deletes the records of a partition below an offset.
    pub fn delete_records(&self, topic: &str, partition: u32, offset: u64) {
        let file = json(&format!(
            r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":{partition},"offset":{offset}}}]}}"#
        ));
        let args = ["--offset-json-file", file.path().to_str().unwrap()];
        self.tool("org.apache.kafka.tools.DeleteRecordsCommand", &args);
    }

    /// The node that leads a partition; `None` while there is none.
    pub fn leader(&self, topic: &str, partition: u32) -> Option<usize> {
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).set_log_level_quiet().create().unwrap();
        let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
        let topic = metadata.topics().first()?;
        let found = topic.partitions().iter().find(|it| u32::try_from(it.id()) == Ok(partition))?;
        usize::try_from(found.leader()).ok()
    }

    /// Makes a node the leader of a partition in an orderly way.
    pub fn move_leader(&self, topic: &str, partition: u32, node: usize) {
        let others = (1..=self.nodes()).filter(|it| *it != node);
        let replicas: Vec<_> = std::iter::once(node).chain(others).map(|it| it.to_string()).collect();
        let replicas = replicas.join(",");
        let file = json(&format!(
            r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":{partition},"replicas":[{replicas}]}}]}}"#
        ));
        let args = ["--reassignment-json-file", file.path().to_str().unwrap(), "--execute"];
        self.tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", &args);
        let partition = partition.to_string();
        let args = ["--election-type", "preferred", "--topic", topic, "--partition", &partition];
        self.tool("org.apache.kafka.tools.LeaderElectionCommand", &args);
    }
}

fn json(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.flush().unwrap();
    file
}
