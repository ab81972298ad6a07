//! A publisher for a process that starts before its brokers or its topic.

use std::sync::Arc;

use tokio::sync::watch;

use super::opening::{self, Opening};
use super::{Publisher, PublisherMetrics, PublisherOptions, Settings};
use crate::{Error, Publication};

/// Usable at once: until the topic is open, every publication is answered `Error::Unavailable` with the reason.
#[derive(Debug)]
pub struct DeferredPublisher {
    stage: watch::Receiver<Stage>,
    metrics: PublisherMetrics,
    _opening: Opening,
}

#[derive(Debug, Clone)]
enum Stage {
    Opening(String),
    Open(Arc<Publisher>),
    Failed(Error),
}

impl DeferredPublisher {
    /// Begins to open the topic, and tries again once a second. Fails at once if a property is wrong.
    pub fn start(settings: Settings, options: PublisherOptions, metrics: PublisherMetrics) -> Result<Self, Error> {
        settings.validate()?;
        let (sender, stage) = watch::channel(Stage::Opening("Kafka has not answered yet".to_owned()));
        let topic = settings.topic.clone();
        let own = metrics.clone();
        let report = move |result: Result<Publisher, Error>| {
            let stage = match result {
                Ok(publisher) => Stage::Open(Arc::new(publisher)),
                Err(error) if error.is_retryable() => Stage::Opening(error.to_string()),
                Err(error) => Stage::Failed(error),
            };
            sender.send(stage).is_ok()
        };
        let opening =
            opening::start(topic, move || Publisher::open(settings.clone(), &options, metrics.clone()), report)?;
        Ok(Self { stage, metrics: own, _opening: opening })
    }

    /// Resolves when the topic is open; until then tells again and again why it is not. An error stays until somebody changes
    /// the configuration: the process should end with it.
    pub async fn opened(&self, mut why: impl FnMut(&str)) -> Result<(), Error> {
        let mut stage = self.stage.clone();
        loop {
            match &*stage.borrow_and_update() {
                Stage::Opening(text) => why(text),
                Stage::Open(_) => return Ok(()),
                Stage::Failed(error) => return Err(error.clone()),
            }
            if stage.changed().await.is_err() {
                return Err(Error::Fatal("the thread that opens the topic has ended".to_owned()));
            }
        }
    }

    fn open(&self) -> Result<Arc<Publisher>, Error> {
        let why = match &*self.stage.borrow() {
            Stage::Open(publisher) => return Ok(publisher.clone()),
            Stage::Opening(why) => why.clone(),
            Stage::Failed(error) => error.to_string(),
        };
        self.metrics.failed_publications.inc();
        Err(Error::Unavailable(why))
    }
}

impl crate::Publisher for DeferredPublisher {
    fn publish(&self, records: Vec<crate::Record>) -> Publication<'_> {
        Box::pin(async move { self.open()?.publish(records).await })
    }

    fn publish_to_all(&self, record: crate::Record) -> Publication<'_> {
        Box::pin(async move { self.open()?.publish_to_all(record).await })
    }
}
