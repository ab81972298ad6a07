//! A Kafka topic as a journal. Publishing is idempotent and acknowledged by all in-sync replicas; reading follows all
//! partitions without a group, and tells when the topic is no longer the one that was read.

mod audit;
mod block_on;
mod budget;
mod context;
mod deferred_publisher;
mod deferred_subscriber;
mod flags;
mod health;
mod inbox;
mod intake;
mod metrics;
mod offsets;
mod opening;
mod producer;
mod properties;
mod publisher;
mod reader;
mod record;
mod subscriber;
mod ticket;
pub mod topics;
mod track;

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

pub use deferred_publisher::DeferredPublisher;
pub use deferred_subscriber::DeferredSubscriber;
pub use flags::{DlqFlags, Flags, OptionalFlags, TopicFlags, masked};
pub use metrics::{PublisherMetrics, SubscriberMetrics};
pub use properties::Properties;
pub use publisher::{Options as PublisherOptions, Publisher};
pub use subscriber::{Committer, Options as SubscriberOptions, Subscriber};

use crate::Error;

/// The name of the one header of a record.
pub const HEADER: &str = "emberlog";

/// How long a stop waits for a thread that may be asking brokers that are away.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// How long one question to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One topic of one cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `HOST:PORT`, comma separated.
    pub brokers: String,
    pub topic: String,
    /// Whether its records may expire, as dead letters do; of others it is said that what has expired cannot be replayed.
    pub expires: bool,
    /// librdkafka's own, from the user.
    pub properties: Properties,
}

/// An error that stays until somebody changes the configuration.
fn refused(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, why, key, value) => {
            let value = if properties::is_secret(key) { "***" } else { value };
            Error::Configuration(format!("Kafka property {key}={value}: {why}"))
        }
        error => Error::Configuration(format!("Kafka client: {error}")),
    }
}

/// Waits for a thread that was told to end, but not for long: a question cannot be broken off, and has no consequence.
fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() {
        if Instant::now() > deadline {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let _ = thread.join();
}

/// Kafka counts partitions in `i32`.
fn native(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
