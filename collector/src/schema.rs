//! The documented protocol as the OpenAPI document describes it. The decoder is `event::collect`.

use utoipa::ToSchema;

/// A payload as agents send it.
#[derive(Debug, ToSchema)]
pub struct Payload {
    /// The application that runs periodically; 1 to 4,096 bytes of UTF-8.
    pub job_name: String,
    /// One execution of it; 1 to 4,096 bytes of UTF-8.
    pub run_id: String,
    /// Sent by listeners that count exactly: the message i has the sequence `message_counter - len(messages) + i`.
    pub instance_id: Option<String>,
    pub counters: Option<Counters>,
    pub messages: Vec<Message>,
}

#[derive(Debug, ToSchema)]
pub struct Counters {
    /// The run's messages so far, this payload's included.
    pub message_counter: Option<i64>,
}

#[derive(Debug, ToSchema)]
pub struct Message {
    /// The event as Spark writes it into its event log: a JSON object with a member `Event`, on one line.
    pub content: String,
    /// Milliseconds of the Unix epoch.
    pub generated_at: i64,
    /// `spark-event` or `heartbeat`.
    pub message_type: String,
}

/// What the Delight agent posts to `/collector/bulk`. The decoder is `event::delight`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Bulk {
    /// Names the run; without the `-` and UUID at its end the job. 1 to 4,096 bytes of UTF-8.
    pub dm_app_id: String,
    pub counters: Option<BulkCounters>,
    /// Base64 of gzip of events, each a line ended by `\n`.
    pub data: String,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct BulkCounters {
    /// The run's events so far, this payload's included: the line i has the sequence `messageCounter - lines + i`.
    pub message_counter: Option<i64>,
}

/// What the Delight agent posts to `/collector/heartbeat` and `/collector/ack`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct SignOfLife {
    pub dm_app_id: String,
}

/// What the Delight agent posts to `/collector/metrics`.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Metrics {
    pub dm_app_id: String,
    /// Base64 of gzip of samples, each a line ended by `\n`: a JSON object with an integer `timestamp`.
    pub data: String,
}
