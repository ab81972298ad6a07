//! `emberlog init`: the topics on Kafka.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use journal::kafka::Settings;
use journal::kafka::topics::{self, Created, Layout, Topic};
use service::output;

use crate::cli::InitOptions;

pub fn run(options: &InitOptions) -> anyhow::Result<ExitCode> {
    let InitOptions { partitions, replication_factor, retention, dlq_retention, patience, .. } = *options;
    let deadline = Instant::now() + patience;
    let events = Layout { partitions, replication_factor, retention };
    // One partition: their numbers are plain, and they are few.
    let dead_letters = Layout { partitions: 1, replication_factor, retention: Some(dlq_retention) };
    let settings = Settings { expires: retention.is_some(), ..options.kafka.settings()? };
    make(&settings, &events, deadline)?;
    make(&options.kafka.dead_letters(&options.dlq)?, &dead_letters, deadline)?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a topic unless it is there, and checks it; brokers that are not there yet are waited for.
fn make(settings: &Settings, layout: &Layout, deadline: Instant) -> anyhow::Result<()> {
    let created = patiently(deadline, || topics::create(settings, layout))?;
    // A topic just created is not known everywhere at once.
    let topic = patiently(deadline, || topics::check(settings))?;
    let Topic { partitions, replication_factor, .. } = topic;
    let what = match created {
        Created::New => "was created",
        Created::Existed => "is there",
    };
    output::line(format!("topic {} {what}: {partitions} partitions, {replication_factor} replicas", settings.topic));
    if created == Created::Existed && partitions != layout.partitions {
        output::line(format!("  it keeps its {partitions} partitions: their count is fixed for a topic's life"));
    }
    for warning in &topic.warnings {
        output::line(format!("  warning: {warning}"));
    }
    Ok(())
}

fn patiently<T>(deadline: Instant, mut step: impl FnMut() -> Result<T, journal::Error>) -> anyhow::Result<T> {
    let mut before = None;
    loop {
        match step() {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                let text = error.to_string();
                if before.as_ref() != Some(&text) {
                    tracing::warn!("waiting: {text}");
                    before = Some(text);
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            result => return Ok(result?),
        }
    }
}
