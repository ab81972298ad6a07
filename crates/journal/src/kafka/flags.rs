//! How a command line names a topic of a cluster.

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use super::Settings;
use super::properties::{Properties, is_secret};
use crate::Error;

/// For programs that cannot do without Kafka.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
#[group(skip)]
pub struct Flags {
    /// Where to ask for the cluster first; comma separated
    #[arg(long, env = "EMBERLOG_KAFKA_BROKERS", value_name = "HOST:PORT,...")]
    pub kafka_brokers: String,
    #[command(flatten)]
    pub topic: TopicFlags,
}

/// For programs that have a journal of their own otherwise.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct OptionalFlags {
    /// Where to ask for the cluster first; comma separated
    #[arg(long, env = "EMBERLOG_KAFKA_BROKERS", value_name = "HOST:PORT,...")]
    pub kafka_brokers: Option<String>,
    #[command(flatten)]
    pub topic: TopicFlags,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct TopicFlags {
    /// The topic of the events
    #[arg(long, env = "EMBERLOG_TOPIC", value_name = "NAME", default_value = "spark-events")]
    pub topic: String,
    /// A property of librdkafka, as for TLS and SASL; repeatable, and stronger than the file (in the environment: one a
    /// line)
    #[arg(
        long = "kafka-property",
        env = "EMBERLOG_KAFKA_PROPERTIES",
        value_name = "NAME=VALUE",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub kafka_properties: Vec<PropertyText>,
    /// A file of such properties, one a line
    #[arg(long, env = "EMBERLOG_KAFKA_CONFIG", value_name = "FILE")]
    pub kafka_config: Option<PathBuf>,
}

/// For programs that use the dead letters.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct DlqFlags {
    /// The topic of the dead letters [default: <TOPIC>.dlq]
    #[arg(long, env = "EMBERLOG_DLQ_TOPIC", value_name = "NAME")]
    pub dlq_topic: Option<String>,
}

/// `NAME=VALUE`, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PropertyText(String);

impl From<String> for PropertyText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for PropertyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", masked(&self.0))
    }
}

/// `NAME=VALUE` without the value if it is a secret.
pub fn masked(text: &str) -> String {
    match text.split_once('=') {
        Some((name, _)) if !is_secret(name) => text.to_owned(),
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    }
}

impl Flags {
    /// The topic of the events.
    pub fn settings(&self) -> Result<Settings, Error> {
        self.topic.settings(&self.kafka_brokers, &self.topic.topic)
    }

    /// The topic of the dead letters.
    pub fn dead_letters(&self, dlq: &DlqFlags) -> Result<Settings, Error> {
        self.topic.dead_letters(&self.kafka_brokers, dlq)
    }
}

impl OptionalFlags {
    /// The topic of the events; `None` without `--kafka-brokers`.
    pub fn settings(&self) -> Result<Option<Settings>, Error> {
        self.kafka_brokers.as_ref().map(|brokers| self.topic.settings(brokers, &self.topic.topic)).transpose()
    }

    /// The topic of the dead letters; `None` without `--kafka-brokers`.
    pub fn dead_letters(&self, dlq: &DlqFlags) -> Result<Option<Settings>, Error> {
        self.kafka_brokers.as_ref().map(|brokers| self.topic.dead_letters(brokers, dlq)).transpose()
    }
}

impl TopicFlags {
    fn settings(&self, brokers: &str, topic: &str) -> Result<Settings, Error> {
        let file = self.kafka_config.as_deref().map(Properties::read).transpose()?.unwrap_or_default();
        let texts = self.kafka_properties.iter().map(|it| it.0.trim()).filter(|it| !it.is_empty());
        let properties = file.and(Properties::parse(texts)?);
        let settings = Settings { brokers: brokers.to_owned(), topic: topic.to_owned(), expires: false, properties };
        settings.validate()?;
        Ok(settings)
    }

    fn dead_letters(&self, brokers: &str, dlq: &DlqFlags) -> Result<Settings, Error> {
        let topic = dlq.dlq_topic.clone().unwrap_or_else(|| format!("{}.dlq", self.topic));
        if topic == self.topic {
            return Err(Error::Configuration(format!("events and dead letters cannot share the topic {topic}")));
        }
        Ok(Settings { expires: true, ..self.settings(brokers, &topic)? })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        kafka: Flags,
        #[command(flatten)]
        dlq: DlqFlags,
    }

    #[derive(Debug, Parser)]
    struct Tool {
        #[command(flatten)]
        kafka: OptionalFlags,
    }

    fn cli(args: &[&str]) -> Cli {
        Cli::try_parse_from(["x", "--kafka-brokers", "a:1,b:2"].iter().chain(args)).unwrap()
    }

    #[test]
    fn topics_have_names_and_properties_of_the_command_line_go_before_those_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kafka.properties");
        std::fs::write(&file, "linger.ms=1\nclient.rack=r\n").unwrap();
        let file = file.to_str().unwrap();
        let cli =
            cli(&["--kafka-property", "linger.ms=2", "--kafka-config", file, "--kafka-property", "client.id=me\n\n"]);
        let settings = cli.kafka.settings().unwrap();
        assert_eq!((settings.brokers.as_str(), settings.topic.as_str()), ("a:1,b:2", "spark-events"));
        let native = settings.producer(1000).create_native_config().unwrap();
        let values = ["linger.ms", "client.rack", "client.id"].map(|it| native.get(it).unwrap());
        assert_eq!(values, ["2", "r", "me"]);
        assert_eq!(cli.kafka.dead_letters(&cli.dlq).unwrap().topic, "spark-events.dlq");
    }

    #[test]
    fn dead_letters_have_a_topic_of_their_own() {
        let other = cli(&["--topic", "t", "--dlq-topic", "d"]);
        let settings = other.kafka.dead_letters(&other.dlq).unwrap();
        assert_eq!((settings.topic.as_str(), settings.expires), ("d", true));
        let same = cli(&["--topic", "t", "--dlq-topic", "t"]);
        assert!(matches!(same.kafka.dead_letters(&same.dlq), Err(Error::Configuration(_))));
    }

    #[test]
    fn wrong_properties_are_refused_and_secrets_not_shown() {
        let error = cli(&["--kafka-property", "acks=1"]).kafka.settings().unwrap_err();
        assert!(error.to_string().contains("all in-sync replicas"), "{error}");
        let shown = format!("{:?}", cli(&["--kafka-property", "sasl.password=hunter2", "--kafka-property", "hunter2"]));
        assert!(!shown.contains("hunter2") && shown.contains("sasl.password"), "{shown}");
    }

    #[test]
    fn brokers_are_named_where_nothing_else_would_do() {
        assert!(Cli::try_parse_from(["x"]).unwrap_err().to_string().contains("--kafka-brokers"));
        let tool = Tool::try_parse_from(["x"]).unwrap();
        assert!(tool.kafka.settings().unwrap().is_none());
        let tool = Tool::try_parse_from(["x", "--kafka-brokers", "a:1", "--topic", "t"]).unwrap();
        assert_eq!(tool.kafka.settings().unwrap().unwrap().topic, "t");
    }
}
