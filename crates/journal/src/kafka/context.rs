//! What librdkafka calls back: log lines, errors, delivery reports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::ticket::Ticket;
use crate::Error;

#[derive(Debug, Default)]
pub struct Context {
    /// The user asked for librdkafka's debug lines.
    verbose: bool,
    /// What goes wrong is in the answers; lines beside them would repeat it.
    quiet: bool,
    fatal: AtomicBool,
    made_anew: AtomicBool,
    /// Of the last connection that failed: a question that had no answer does not tell.
    cause: Mutex<Option<String>>,
}

impl Context {
    pub fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// An error that may pass: the brokers cannot be reached, or cannot answer now.
    pub fn unavailable(&self, doing: &str, error: &KafkaError) -> Error {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Error::Unavailable(match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => format!("{doing}: {error}: the user lacks a right"),
            // A listener that wants TLS hangs up on who begins without.
            _ if cause.as_ref().is_some_and(|it| it.contains("in state APIVERSION_QUERY")) => {
                let cause = cause.unwrap_or_default();
                format!("{doing}: {error}: {cause}: if the listener wants TLS, set security.protocol")
            }
            _ => cause.map_or_else(|| format!("{doing}: {error}"), |it| format!("{doing}: {error}: {it}")),
        })
    }

    /// The producer can no longer keep its promise, and refuses everything.
    pub fn is_fatal(&self) -> bool {
        self.fatal.load(Ordering::Relaxed)
    }

    /// The topic has another id than before: it was deleted and created again.
    pub fn is_made_anew(&self) -> bool {
        self.made_anew.load(Ordering::Relaxed)
    }
}

/// librdkafka goes on reading a topic that was deleted and created again as if nothing had happened, and says so in
/// this debug line only (2.12, rdkafka_topic.c, "FIXME: an offset reset must be triggered"). The first id is not a change.
fn tells_another_topic_id(facility: &str, line: &str) -> bool {
    const NO_ID: &str = "changed id from AAAAAAAAAAAAAAAAAAAAAA to";
    facility == "METADATA" && line.contains("changed id from") && !line.contains(NO_ID)
}

/// Without `[thrd:NAME]: `.
fn without_thread(line: &str) -> &str {
    line.strip_prefix("[thrd:").and_then(|it| it.split_once("]: ")).map_or(line, |(_, it)| it)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if tells_another_topic_id(facility, line) {
            self.made_anew.store(true, Ordering::Relaxed);
        }
        if facility == "FAIL" {
            *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(without_thread(line).to_owned());
        }
        match level {
            _ if self.quiet => {}
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", facility, "{line}");
            }
            // A producer's property on a consumer is no news: one set serves both.
            RDKafkaLogLevel::Warning if facility == "CONFWARN" => {}
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{line}");
            }
            RDKafkaLogLevel::Debug if self.verbose => tracing::info!(target: "librdkafka", facility, "{line}"),
            RDKafkaLogLevel::Debug => {}
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fatal.store(true, Ordering::Relaxed);
        }
        if self.quiet {
            return;
        }
        tracing::warn!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets for lag tools were not committed");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Arc<Ticket>) {
        ticket.report(match result {
            Ok(message) => {
                let partition = u32::try_from(message.partition()).unwrap_or_default();
                Ok((partition, u64::try_from(message.offset()).ok()))
            }
            Err((error, _)) => Err(error.clone()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_a_known_topic_id_is_one() {
        let first = "[thrd:main]: Topic t changed id from AAAAAAAAAAAAAAAAAAAAAA to X9lrzVV8RHmQ4mG5s2tVuw";
        let second = "[thrd:main]: Topic t changed id from X9lrzVV8RHmQ4mG5s2tVuw to 9KzE1lSnQ5mFSpOzUpdvFg";
        assert!(!tells_another_topic_id("METADATA", first));
        assert!(tells_another_topic_id("METADATA", second));
        assert!(!tells_another_topic_id("FETCH", second));
    }
}
