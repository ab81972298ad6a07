//! Where dead letters lie, and reading them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use event::dead_letter::{DeadLetter, Error};
use journal::patient::{self, Patient};
use journal::{Extent, Position, Record, Subscriber, kafka, local};
use prometheus::Registry;

use crate::cli::DlqSource as Source;

/// Where a dead letter lies. Topics and folders that Emberlog makes have one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    partition: u32,
    offset: u64,
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (partition, offset) = text.split_once(':').unwrap_or(("0", text));
        let id = partition.parse().ok().zip(offset.parse().ok());
        let (partition, offset) = id.ok_or("not the number of a dead letter, as `list` prints it first")?;
        Ok(Self { partition, offset })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => write!(f, "{}", self.offset),
            partition => write!(f, "{partition}:{}", self.offset),
        }
    }
}

/// A record among the dead letters.
#[derive(Debug)]
pub struct Letter {
    pub id: Id,
    pub key: bytes::Bytes,
    /// What others have written to the topic is an error, and no reason to stop.
    pub read: Result<DeadLetter, Error>,
}

impl Letter {
    fn new(id: Id, Record { key, header, value }: Record) -> Self {
        Self { id, key, read: DeadLetter::from_parts(&header, value) }
    }
}

impl Source {
    fn open(&self) -> anyhow::Result<Box<dyn Subscriber>> {
        let Some(settings) = self.kafka.dead_letters(&self.dlq)? else {
            self.data_dir.must_exist()?;
            return Ok(Box::new(local::open_reader(&self.data_dir.dead_letters())?));
        };
        let metrics = kafka::SubscriberMetrics::register(&Registry::new(), &settings.topic)?;
        let subscriber = kafka::Subscriber::open(settings, kafka::SubscriberOptions::default(), metrics)?;
        Ok(Box::new(Patient::new(subscriber, patient::PATIENCE)))
    }
}

/// Visits the dead letters that are there now from `first` on, oldest first in each partition, until told to stop.
pub fn each(
    from: &Source,
    first: Option<Id>,
    mut visit: impl FnMut(Letter) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut subscriber = from.open()?;
    let extents = subscriber.extents()?;
    anyhow::ensure!(
        first.is_none_or(|first| extents.iter().any(|it| it.partition == first.partition)),
        "there is no dead letter of that number"
    );
    for extent in extents.into_iter().filter(|it| first.is_none_or(|first| first.partition == it.partition)) {
        let offset = first.map_or(extent.start, |first| first.offset);
        anyhow::ensure!(
            (extent.start..=extent.end).contains(&offset),
            "there is no dead letter {offset}; there are {} to {}",
            extent.start,
            extent.end
        );
        if !visit_partition(subscriber.as_mut(), extent, offset, &mut visit)? {
            return Ok(());
        }
    }
    Ok(())
}

fn visit_partition(
    subscriber: &mut dyn Subscriber,
    extent: Extent,
    offset: u64,
    visit: &mut dyn FnMut(Letter) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    const PATIENCE: Duration = patient::PATIENCE;
    let Extent { partition, end, .. } = extent;
    subscriber.seek(Position { partition, offset })?;
    let (mut next, mut came) = (offset, Instant::now());
    while next < end {
        anyhow::ensure!(came.elapsed() < PATIENCE, "dead letter {} did not come", Id { partition, offset: next });
        for entry in subscriber.next(Duration::from_millis(100))?.into_iter().filter(|it| it.partition == partition) {
            next = entry.offset + 1;
            if next > end {
                break;
            }
            if !visit(Letter::new(Id { partition, offset: entry.offset }, entry.record))? {
                return Ok(false);
            }
            // Behind the visit, which may take its time.
            came = Instant::now();
        }
    }
    Ok(true)
}

pub fn one(from: &Source, id: Id) -> anyhow::Result<Letter> {
    let mut found = None;
    each(from, Some(id), |letter| {
        found = Some(letter).filter(|it| it.id == id);
        Ok(false)
    })?;
    found.with_context(|| format!("there is no dead letter {id}"))
}
