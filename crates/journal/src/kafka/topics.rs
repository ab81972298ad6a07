//! Topics: created with what the promise needs, and examined before, and while, they are used.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaRespErr;

use super::block_on::block_on;
use super::context::Context;
use super::{PATIENCE, Settings, refused};
use crate::Error;

/// The most bytes that a record has by default, compressed, with all that Kafka adds.
pub const MAX_MESSAGE_BYTES: usize = 16_000_000;

/// What Kafka adds to a record that is alone in its batch, generously.
const OVERHEAD: usize = 1000;

/// How long librdkafka's lines about a failure are waited for.
const LINES: Duration = Duration::from_millis(20);

/// What a topic is created with.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Fixed for the topic's life.
    pub partitions: u32,
    pub replication_factor: u16,
    /// `None`: for ever.
    pub retention: Option<Duration>,
}

impl Default for Layout {
    fn default() -> Self {
        Self { partitions: 12, replication_factor: 3, retention: None }
    }
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub partitions: u32,
    pub replication_factor: usize,
    /// Bytes of key, header and value that one record may have.
    pub max_record_bytes: usize,
    /// The topic's `max.message.bytes`, as far as it can be read.
    pub max_message_bytes: usize,
    /// What should be changed, or could not be read.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    New,
    Existed,
}

/// For creating and for configurations.
fn admin(settings: &Settings) -> Result<AdminClient<Context>, Error> {
    AdminClient::from_config_and_context(&settings.admin(), Context::quiet()).map_err(|error| refused(&error))
}

/// For metadata: other than an admin client, it can be polled for what went wrong.
fn client(settings: &Settings) -> Result<BaseProducer<Context>, Error> {
    BaseProducer::from_config_and_context(&settings.admin(), Context::quiet()).map_err(|error| refused(&error))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// Creates the topic if there is none of that name. One that exists is left as it is: `check` judges it.
pub fn create(settings: &Settings, layout: &Layout) -> Result<Created, Error> {
    let in_sync = layout.replication_factor.saturating_sub(1).max(1).to_string();
    let retention = layout.retention.map_or_else(|| "-1".to_owned(), |it| it.as_millis().to_string());
    let partitions = i32::try_from(layout.partitions)
        .map_err(|_| Error::Configuration(format!("{} partitions are too many", layout.partitions)))?;
    let max_message_bytes = MAX_MESSAGE_BYTES.to_string();
    let topic = NewTopic::new(&settings.topic, partitions, TopicReplication::Fixed(layout.replication_factor.into()))
        .set("min.insync.replicas", &in_sync)
        .set("cleanup.policy", "delete")
        .set("message.timestamp.type", "LogAppendTime")
        .set("max.message.bytes", &max_message_bytes)
        .set("unclean.leader.election.enable", "false")
        .set("retention.ms", &retention)
        .set("retention.bytes", "-1");
    let doing = format!("creating the topic {}", settings.topic);
    // Says why, when the brokers cannot be reached.
    cluster_answers(settings, &doing)?;
    let results = block_on(admin(settings)?.create_topics([&topic], &options()));
    let result = results.map_err(|error| Error::Unavailable(format!("{doing}: {error}")))?.pop();
    match result {
        Some(Ok(_)) => Ok(Created::New),
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Created::Existed),
        Some(Err((_, code @ RDKafkaErrorCode::InvalidReplicationFactor))) => Err(Error::Configuration(format!(
            "{doing}: {code}: the cluster has fewer than {} brokers; say --replication-factor 1 for one broker",
            layout.replication_factor
        ))),
        Some(Err((_, code @ (RDKafkaErrorCode::InvalidPartitions | RDKafkaErrorCode::InvalidTopic)))) => {
            Err(Error::Configuration(format!("{doing}: {code}")))
        }
        Some(Err((_, code))) => Err(Error::Unavailable(format!("{doing}: {code}"))),
        None => Err(Error::Unavailable(format!("{doing}: no answer"))),
    }
}

/// Examines the topic. What breaks the promise is an error with advice; a topic that is not there, or brokers that
/// do not answer, are errors that may pass.
pub fn check(settings: &Settings) -> Result<Topic, Error> {
    let mut topic = describe(settings)?;
    match configuration(settings) {
        Ok(config) => judge(settings, &config, &mut topic)?,
        Err(why) => topic.warnings.push(format!(
            "the configuration of the topic {} cannot be read ({why}), so it is not checked; the right DescribeConfigs \
             on the topic allows it",
            settings.topic
        )),
    }
    Ok(topic)
}

fn cluster_answers(settings: &Settings, doing: &str) -> Result<(), Error> {
    let client = client(settings)?;
    let answer = client.client().fetch_metadata(Some(&settings.topic), PATIENCE);
    answer.map(drop).map_err(|error| explain(&client, doing, &error))
}

fn explain(client: &BaseProducer<Context>, doing: &str, error: &KafkaError) -> Error {
    client.poll(LINES);
    client.context().unavailable(doing, error)
}

fn describe(settings: &Settings) -> Result<Topic, Error> {
    let name = &settings.topic;
    let doing = format!("asking for the topic {name}");
    let client = client(settings)?;
    let metadata = client.client().fetch_metadata(Some(name), PATIENCE);
    let metadata = metadata.map_err(|error| explain(&client, &doing, &error))?;
    let found = metadata.topics().first();
    match found.and_then(|it| it.error()) {
        None => {}
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => {
            return Err(Error::Unavailable(format!("there is no topic {name}; create it with `emberlog init`")));
        }
        Some(code) => {
            let error = KafkaError::MetadataFetch(code.into());
            return Err(explain(&client, &doing, &error));
        }
    }
    let partitions = found.map(|it| it.partitions()).unwrap_or_default();
    let count = u32::try_from(partitions.len()).unwrap_or_default();
    if count == 0 {
        return Err(Error::Unavailable(format!("the topic {name} has no partitions yet")));
    }
    Ok(Topic {
        partitions: count,
        replication_factor: partitions.iter().map(|it| it.replicas().len()).min().unwrap_or_default(),
        max_record_bytes: MAX_MESSAGE_BYTES - OVERHEAD,
        max_message_bytes: MAX_MESSAGE_BYTES,
        warnings: Vec::new(),
    })
}

fn configuration(settings: &Settings) -> Result<ConfigResource, String> {
    let resource = ResourceSpecifier::Topic(&settings.topic);
    let client = admin(settings).map_err(|error| error.to_string())?;
    let mut results = block_on(client.describe_configs([&resource], &options())).map_err(|error| error.to_string())?;
    match results.pop() {
        // A missing right is no error in the answer: it has no entries.
        Some(Ok(config)) if config.entries.is_empty() => Err("the answer is empty".to_owned()),
        Some(Ok(config)) => Ok(config),
        Some(Err(code)) => Err(code.to_string()),
        None => Err("no answer".to_owned()),
    }
}

fn judge(settings: &Settings, config: &ConfigResource, topic: &mut Topic) -> Result<(), Error> {
    let values: HashMap<&str, &str> =
        config.entries.iter().filter_map(|it| Some((it.name.as_str(), it.value.as_deref()?))).collect();
    let name = &settings.topic;
    let get = |key: &str| values.get(key).copied().unwrap_or_default();
    let refuse = |key: &str, why: &str, instead: &str| {
        Err(Error::Configuration(format!(
            "the topic {name} has {key}={}: {why}. Change it: kafka-configs.sh --alter --entity-type topics \
             --entity-name {name} --add-config {key}={instead}",
            get(key)
        )))
    };
    if get("cleanup.policy").contains("compact") {
        let why = "compaction deletes all events of a run but the last";
        return refuse("cleanup.policy", why, "delete");
    }
    if get("message.timestamp.type") == "CreateTime" {
        let why = "a collector whose clock is wrong would have its events refused, or deleted at once; a topic that was \
                   created automatically has it, better create topics with `emberlog init`";
        return refuse("message.timestamp.type", why, "LogAppendTime");
    }
    if get("unclean.leader.election.enable") == "true" {
        return refuse("unclean.leader.election.enable", "acknowledged events may be lost", "false");
    }
    let in_sync: usize = get("min.insync.replicas").parse().unwrap_or(1);
    if in_sync > topic.replication_factor {
        let why = format!("it has {} replicas, so nothing can be published", topic.replication_factor);
        return refuse("min.insync.replicas", &why, &topic.replication_factor.to_string());
    }
    warn(settings, &get, in_sync, topic);
    Ok(())
}

fn warn<'a>(settings: &Settings, get: &impl Fn(&str) -> &'a str, in_sync: usize, topic: &mut Topic) {
    let name = &settings.topic;
    if in_sync < 2 {
        topic.warnings.push(format!(
            "the topic {name} acknowledges an event when {in_sync} of {} replicas has it: the loss of one broker's disk \
             may lose events",
            topic.replication_factor
        ));
    }
    if let Ok(bytes) = get("max.message.bytes").parse::<usize>() {
        topic.max_message_bytes = bytes;
        topic.max_record_bytes = bytes.saturating_sub(OVERHEAD);
        if bytes < MAX_MESSAGE_BYTES {
            topic.warnings.push(format!(
                "the topic {name} has max.message.bytes={bytes}: larger events go to the dead letters; {MAX_MESSAGE_BYTES} \
                 is advised"
            ));
        }
    }
    for key in ["retention.ms", "retention.bytes"] {
        if !settings.expires && get(key).parse::<i64>().is_ok_and(|it| it >= 0) {
            topic.warnings.push(format!(
                "the topic {name} has {key}={}: what is older cannot be replayed, and a materializer that is down for \
                 longer misses it",
                get(key)
            ));
        }
    }
}
