//! The user's librdkafka properties: passed through, except those that would break the promise.

use std::fmt;
use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::{Settings, refused};
use crate::Error;

/// Names and values, in the order given; the last of a name wins.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    given: Vec<(String, String)>,
    #[cfg(feature = "faults")]
    weakening: Vec<(String, String)>,
}

/// Name and what to do instead. Aliases are listed as librdkafka has them.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use --kafka-brokers"),
    ("metadata.broker.list", "use --kafka-brokers"),
    ("acks", "an event is acknowledged only when all in-sync replicas have it (acks=all)"),
    ("request.required.acks", "an event is acknowledged only when all in-sync replicas have it (acks=all)"),
    ("enable.idempotence", "without it retries store events twice and out of order"),
    ("enable.gapless.guarantee", "a failed publication is answered 503 and sent again; it need not stop the others"),
    ("transactional.id", "events are published without transactions"),
    ("partitioner", "records are placed as Kafka's Java client does, so that a run stays in one partition"),
    ("retries", "retries are bounded by time only"),
    ("message.send.max.retries", "retries are bounded by time only"),
    ("message.timeout.ms", "it follows from the 5 s within which a request is answered"),
    ("delivery.timeout.ms", "it follows from the 5 s within which a request is answered"),
    ("request.timeout.ms", "it follows from the 5 s within which a request is answered"),
    ("queuing.strategy", "the order of a run would be lost"),
    ("delivery.report.only.error", "an event is acknowledged only after its delivery report"),
    ("queue.buffering.max.messages", "memory is bounded by the publisher's own budget of bytes"),
    ("queue.buffering.max.kbytes", "memory is bounded by the publisher's own budget of bytes"),
    ("message.max.bytes", "it follows the topic's max.message.bytes; change that"),
    ("allow.auto.create.topics", "topics are created with `emberlog init`, which sets what they need"),
    ("auto.offset.reset", "records must never be skipped without a word"),
    ("topic.auto.offset.reset", "records must never be skipped without a word"),
    ("enable.auto.commit", "offsets live in the store, in one write with what was applied"),
    ("auto.commit.enable", "offsets live in the store, in one write with what was applied"),
    ("enable.auto.offset.store", "offsets live in the store, in one write with what was applied"),
    ("enable.partition.eof", "the reader does without"),
    ("group.instance.id", "all partitions are read without joining a group"),
    ("group.protocol", "all partitions are read without joining a group"),
    ("partition.assignment.strategy", "all partitions are read without joining a group"),
    ("isolation.level", "records of aborted transactions were never acknowledged and must not be read"),
    ("fetch.wait.max.ms", "questions to the brokers wait behind it; 100 ms costs next to nothing"),
    ("check.crcs", "damaged records must be noticed"),
    ("log_level", "use RUST_LOG, for example RUST_LOG=librdkafka=debug"),
    ("test.mock.num.brokers", "it acknowledges events and forgets them"),
];

impl Properties {
    /// From `NAME=VALUE` texts, as a command line has them.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let mut properties = Self::default();
        for text in texts {
            let (name, value) = text.as_ref().split_once('=').ok_or_else(|| {
                Error::Configuration(format!("a Kafka property is NAME=VALUE, not {:?}", mask(text.as_ref())))
            })?;
            properties.push(name.trim(), value.trim())?;
        }
        Ok(properties)
    }

    /// From a file of `NAME=VALUE` lines; empty lines and those that begin with `#` are skipped.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Configuration(format!("Kafka properties {}: {error}", path.display())))?;
        Self::parse(text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')))
    }

    /// These, then `more`.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.given.extend(more.given);
        self
    }

    /// Breaks the promise, so that a test can see that it notices.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn weakened(mut self, name: &str, value: &str) -> Self {
        self.weakening.push((name.to_owned(), value.to_owned()));
        self
    }

    fn push(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if let Some((_, advice)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Error::Configuration(format!("the Kafka property {name} cannot be set: {advice}")));
        }
        self.given.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// Whether the user asked for librdkafka's debug lines.
    pub(super) fn is_verbose(&self) -> bool {
        self.get("debug").is_some()
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = self.given.iter().map(|(name, value)| (name, if is_secret(name) { "***" } else { value }));
        f.debug_map().entries(masked).finish()
    }
}

/// Whether a property's value must not be shown.
pub(super) fn is_secret(name: &str) -> bool {
    const SECRETS: [&str; 7] =
        ["password", "secret", "passphrase", "key.pem", "oauthbearer.config", "sasl.username", "token"];
    SECRETS.iter().any(|it| name.contains(it))
}

/// A text that should have been a property may be a password.
fn mask(text: &str) -> String {
    text.chars().take(3).chain("...".chars()).collect()
}

impl Settings {
    /// Checks every name and value, without any broker.
    pub fn validate(&self) -> Result<(), Error> {
        if self.topic.is_empty() || self.brokers.is_empty() {
            return Err(Error::Configuration("Kafka needs brokers (HOST:PORT) and a topic".to_owned()));
        }
        for config in [self.producer(1_000_000), self.consumer()] {
            config.create_native_config().map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "emberlog")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "1000")
            // A frozen broker holds its connections open; by default it is waited for a minute.
            .set("socket.timeout.ms", "10000")
            .set("socket.connection.setup.timeout.ms", "5000")
            .set("socket.keepalive.enable", "true")
            .set_log_level(if self.properties.is_verbose() { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config
    }

    fn with_users(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties.given {
            config.set(name, value);
        }
        config
    }

    /// For questions only.
    pub(super) fn admin(&self) -> ClientConfig {
        self.with_users(self.client())
    }

    /// `max_message_bytes` is the topic's.
    pub(super) fn producer(&self, max_message_bytes: usize) -> ClientConfig {
        let mut config = self.client();
        config.set("compression.type", "zstd").set("linger.ms", "0").set("socket.timeout.ms", "3000");
        let mut config = self.with_users(config);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // A request is answered within 5 s, and librdkafka looks for late messages once a second.
            .set("message.timeout.ms", super::producer::MESSAGE_TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", i32::MAX.to_string())
            .set("message.max.bytes", (max_message_bytes + ENVELOPE).min(1_000_000_000).to_string());
        #[cfg(feature = "faults")]
        for (name, value) in &self.properties.weakening {
            config.set(name, value);
        }
        config
    }

    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", "emberlog-materializer")
            .set("fetch.queue.backoff.ms", "10")
            // A partition just assigned or sought waits for the fetch under way.
            .set("fetch.wait.max.ms", "100")
            // Spark's events decompress to some thirty times of this, and every partition may have as much in memory. A
            // larger batch comes all the same, alone.
            .set("fetch.message.max.bytes", (128 << 10).to_string())
            .set("fetch.max.bytes", (2 << 20).to_string())
            .set("queued.max.messages.kbytes", "16384");
        let mut config = self.with_users(config);
        let debug = self.properties.get("debug").map_or("metadata".to_owned(), |it| format!("{it},metadata"));
        config
            .set("debug", debug)
            .set_log_level(RDKafkaLogLevel::Debug)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true");
        config
    }
}

/// What librdkafka adds to a record for its own limit, generously.
const ENVELOPE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[&str]) -> Result<Settings, Error> {
        let properties = Properties::parse(properties)?;
        Ok(Settings { brokers: "localhost:9092".to_owned(), topic: "t".to_owned(), expires: false, properties })
    }

    fn refusal(properties: &[&str]) -> String {
        let error = settings(properties).and_then(|it| it.validate()).unwrap_err();
        assert!(!error.is_retryable());
        error.to_string()
    }

    #[test]
    fn what_breaks_the_promise_is_refused_with_advice() {
        for (name, advice) in REFUSED {
            let text = refusal(&[&format!("{name}=1")]);
            assert!(text.contains(name) && text.contains(advice), "{text}");
        }
    }

    #[test]
    fn every_refused_name_is_one_that_librdkafka_knows() {
        for (name, _) in REFUSED.iter().filter(|(name, _)| *name != "topic.auto.offset.reset" && *name != "log_level") {
            let mut config = ClientConfig::new();
            let error = config.set(*name, "no such value").create_native_config().err().map(|it| it.to_string());
            assert!(error.is_none_or(|it| !it.contains("No such configuration property")), "{name}");
        }
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused_and_secrets_not_shown() {
        assert!(refusal(&["lingerms=5"]).contains("No such configuration property: \"lingerms\""));
        assert!(refusal(&["linger.ms=soon"]).contains("linger.ms"));
        assert!(refusal(&["sasl.mechanism"]).contains("NAME=VALUE"));
        assert!(!refusal(&["hunter2"]).contains("hunter2"));
        let properties =
            Properties::parse(["sasl.password=hunter2", "ssl.key.password=hunter2", "linger.ms=1"]).unwrap();
        let shown = format!("{properties:?}");
        assert!(!shown.contains("hunter2") && shown.contains("linger.ms"), "{shown}");
    }

    #[test]
    fn tls_and_sasl_pass_through_and_users_values_go_before_ours() {
        let settings = settings(&[
            "security.protocol=sasl_ssl",
            "sasl.mechanism=SCRAM-SHA-512",
            "sasl.username=emberlog",
            "sasl.password=p=q",
            "ssl.ca.location=/etc/ssl/certs/ca-certificates.crt",
            "compression.type=lz4",
            "linger.ms=0",
            "linger.ms=7",
            "group.id=mine",
        ])
        .unwrap();
        settings.validate().unwrap();
        let producer = settings.producer(1000).create_native_config().unwrap();
        let consumer = settings.consumer().create_native_config().unwrap();
        assert_eq!(producer.get("sasl.password").unwrap(), "p=q");
        assert_eq!(producer.get("linger.ms").unwrap(), "7");
        assert_eq!(producer.get("compression.codec").unwrap(), "lz4");
        assert_eq!(producer.get("enable.idempotence").unwrap(), "true");
        assert_eq!(consumer.get("group.id").unwrap(), "mine");
        assert_eq!(consumer.get("security.protocol").unwrap(), "sasl_ssl");
    }

    #[test]
    fn a_file_of_properties_has_comments_and_empty_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kafka.properties");
        std::fs::write(&file, "# TLS\n\nsecurity.protocol = ssl\n  linger.ms=5\n").unwrap();
        let read = Properties::read(&file).unwrap();
        assert_eq!(read, Properties::parse(["security.protocol=ssl", "linger.ms=5"]).unwrap());
        std::fs::write(&file, "acks=1\n").unwrap();
        assert!(Properties::read(&file).is_err());
        assert!(Properties::read(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
