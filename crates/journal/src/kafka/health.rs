//! Whether every partition moves, and whether the topic is still the one that was read.

use std::time::{Duration, Instant};

use super::audit::{Known, audit};
use super::reader::{RETRY, Reader};
use super::track::{Track, count};
use super::{PATIENCE, offsets};
use crate::Extent;

/// The longest time between two consumers made anew in vain.
const MAX_STALL_PATIENCE: Duration = Duration::from_secs(600);

/// What makes the thread look closer.
pub struct Health {
    /// Something has happened that may have changed the topic; nothing is handed out until it was examined.
    pub suspicious: bool,
    /// Halted until a seek.
    pub failed: bool,
    /// librdkafka had nothing more since the last look.
    pub drained: bool,
    /// Where every partition was when the consumer could not even ask for the ends of the log.
    pub unanswered: Option<Vec<Option<u64>>>,
    pub last_forbidden: Option<Instant>,
    pub unreadable: u32,
    pub last_unreadable: Instant,
    pub last_look: Instant,
    pub last_audit: Instant,
    pub last_connect: Option<Instant>,
    /// Of an examination that could not be completed.
    pub last_try: Option<Instant>,
    pub last_rebuild: Instant,
}

impl Health {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            suspicious: false,
            failed: false,
            drained: false,
            unanswered: None,
            last_forbidden: None,
            unreadable: 0,
            last_unreadable: now,
            last_look: now,
            last_audit: now,
            last_connect: None,
            last_try: None,
            last_rebuild: now,
        }
    }
}

impl Reader {
    /// Compares positions with the ends of the log. A partition that has not moved since the last look, though records
    /// were there and librdkafka had nothing to give, stands still. At the end of a log may be what is never handed out
    /// (a transaction's marker), so that a new consumer changes nothing: each in vain doubles the patience.
    pub(super) fn look(&mut self) {
        let interval = self.options.watch_interval;
        if self.health.last_look.elapsed() < interval {
            return;
        }
        self.health.last_look = Instant::now();
        let idle = std::mem::take(&mut self.health.drained) && self.held.is_empty();
        let Some(consumer) = &self.consumer else { return };
        let Ok(extents) = offsets::extents(consumer, &self.settings.topic, count(&self.tracks), PATIENCE) else {
            // A consumer that cannot even ask may be the one that is stuck; a fresh client will see.
            self.health.suspicious = true;
            self.health.unanswered = idle.then(|| self.tracks.iter().map(|it| it.position).collect());
            return;
        };
        let since_rebuild = self.health.last_rebuild.elapsed();
        let mut stalled = None;
        for (track, Extent { partition, start, end }) in self.tracks.iter_mut().zip(extents) {
            let Some(position) = track.position else { continue };
            self.health.suspicious |= position < start || position > end;
            if track.stands_still(position, end) && idle && since_rebuild >= track.patience {
                track.patience = (track.patience * 2).clamp(interval * 2, MAX_STALL_PATIENCE.max(interval * 2));
                stalled = Some(format!("partition {partition} stands still at offset {position} of {end}"));
            }
        }
        if let Some(why) = stalled {
            self.rebuild(&why);
        }
    }

    pub(super) fn examine_if_due(&mut self) {
        let due = self.health.last_audit.elapsed() >= self.options.audit_interval;
        let waited = self.health.last_try.is_none_or(|it| it.elapsed() >= RETRY);
        if self.health.failed || !(due || self.health.suspicious) || !waited {
            return;
        }
        let suspicious = self.health.suspicious;
        let began = Instant::now();
        let result = audit(&self.settings, count(&self.tracks), &self.known(suspicious));
        tracing::debug!(took = ?began.elapsed(), is_complete = result.is_ok(), "the topic was examined");
        match result {
            Ok(extents) => {
                self.health.suspicious = false;
                self.health.last_audit = Instant::now();
                self.health.last_try = None;
                self.metrics.audits.inc();
                let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
                self.metrics.last_audit.set(i64::try_from(now).unwrap_or(i64::MAX));
                if !suspicious {
                    self.tracks.iter_mut().for_each(|it| it.anchor = it.last);
                }
                self.give_up_a_mute_consumer(&extents);
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, topic = self.settings.topic, "the topic cannot be examined now; it is tried again");
                self.health.last_try = Some(Instant::now());
            }
            Err(error) => self.fail(error),
        }
    }

    /// A fresh client was answered: a consumer that was not, and gave nothing of what is there, has no excuse.
    fn give_up_a_mute_consumer(&mut self, extents: &[Extent]) {
        let Some(positions) = self.health.unanswered.take() else { return };
        let is_behind = |it: &&Extent| {
            let partition = it.partition as usize;
            let before = positions.get(partition).copied().flatten();
            let now = self.tracks.get(partition).and_then(|track| track.position);
            before.is_some() && before == now && before < Some(it.end)
        };
        if self.held.is_empty()
            && let Some(Extent { partition, end, .. }) = extents.iter().find(is_behind)
        {
            let why = format!("it answers no question and gives nothing, though partition {partition} goes to {end}");
            self.rebuild(&why);
        }
    }

    /// After a fault the newest record is looked at again; from time to time an older one, as the newest would not tell
    /// of a change before it.
    fn known(&self, newest: bool) -> Vec<Known> {
        let known = |(partition, track): (u32, &Track)| {
            let mark = if newest { track.last } else { track.anchor.or(track.last) };
            Some(Known { partition, position: track.position?, mark })
        };
        (0..).zip(&self.tracks).filter_map(known).collect()
    }
}
