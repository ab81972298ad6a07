//! The files of a node: what formatting would write, without a JVM for it.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub client: u16,
    pub controller: u16,
    /// For clients with TLS and a password.
    pub secure: Option<u16>,
}

pub fn node_dir(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("node-{node}"))
}

pub fn prepare(dir: &Path, shared: &Path, ports: &[Ports], extra: &[(&str, &str)]) {
    for node in 1..=ports.len() {
        let dir = node_dir(dir, node);
        let data = dir.join("data");
        fs::create_dir_all(&data).unwrap();
        fs::copy(shared.join("bootstrap.checkpoint"), data.join("bootstrap.checkpoint")).unwrap();
        fs::write(data.join("meta.properties"), meta(node)).unwrap();
        fs::write(dir.join("server.properties"), properties(node, &data, ports, extra)).unwrap();
    }
}

/// Ids are UUIDs in 22 characters of URL-safe base64.
fn meta(node: usize) -> String {
    format!("version=1\ncluster.id=RW1iZXJsb2dUZXN0MDAwMA\nnode.id={node}\ndirectory.id=RW1iZXJsb2dEaXIwMDAw{node}A\n")
}

fn properties(node: usize, data: &Path, ports: &[Ports], extra: &[(&str, &str)]) -> String {
    let many = ports.len().min(3).to_string();
    let in_sync = if ports.len() >= 3 { "2" } else { "1" };
    let voters: Vec<_> = (1..).zip(ports).map(|(id, it)| format!("{id}@127.0.0.1:{}", it.controller)).collect();
    let Ports { client, controller, secure } = ports[node - 1];
    let secure = secure.map_or_else(String::new, |port| format!(",SASL_SSL://127.0.0.1:{port}"));
    let own = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", node.to_string()),
        ("controller.quorum.voters", voters.join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{client}{secure},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{client}{secure}")),
        ("log.dirs", data.display().to_string()),
        ("default.replication.factor", many.clone()),
        ("offsets.topic.replication.factor", many.clone()),
        ("transaction.state.log.replication.factor", many.clone()),
        ("share.coordinator.state.topic.replication.factor", many),
        ("min.insync.replicas", in_sync.to_owned()),
        ("transaction.state.log.min.isr", in_sync.to_owned()),
        ("share.coordinator.state.topic.min.isr", in_sync.to_owned()),
    ];
    let fixed = [
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"),
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.num.partitions", "4"),
        ("group.initial.rebalance.delay.ms", "0"),
        // By default 128 MB at once.
        ("log.cleaner.dedupe.buffer.size", "2097152"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("num.recovery.threads.per.data.dir", "1"),
        // A killed node is let in again when its registration has expired: by default after 9 s.
        ("broker.session.timeout.ms", "2000"),
        ("broker.heartbeat.interval.ms", "250"),
    ];
    let own = own.iter().map(|(key, value)| (*key, value.as_str()));
    let lines = own.chain(fixed).chain(extra.iter().copied());
    lines.map(|(key, value)| format!("{key}={value}\n")).collect()
}
