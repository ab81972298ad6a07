//! A run's events as a stream: read ahead of the client on a thread, which a client that is slow loses.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout};

use super::{Message, Sender, open};
use crate::Api;
use crate::error::Error;
use crate::scan::{Scan, Visit};

/// Events are sent in chunks of this size, each at least one event.
const CHUNK: usize = 256 << 10;
/// A client that takes no chunk for as long costs a scan its thread and its view; it gets both back when it reads on.
const PATIENCE: Duration = Duration::from_millis(50);
/// After as many bytes a scan lets others have its thread.
const TURN: usize = 64 << 20;

/// The events of a scan, one a line.
pub fn events(api: &Arc<Api>, scan: Scan) -> Result<Body, Error> {
    let (sender, body) = open(api)?;
    tokio::spawn(send_events(sender, scan));
    Ok(body)
}

/// How a turn of a scan ended.
enum Turn {
    Done,
    /// It goes on: behind this chunk, if there is one, when the client has taken it.
    Pause(Option<Bytes>),
    Gone,
    /// The client takes too little.
    Slow,
}

async fn send_events(mut sender: Sender, mut scan: Scan) {
    loop {
        let thread = tokio::select! {
            thread = sender.api.scans.clone().acquire_owned() => thread,
            () = sender.messages.closed() => return sender.cut("client"),
        };
        if Instant::now() >= sender.deadline {
            return sender.cut("time");
        }
        let turn = tokio::task::spawn_blocking(move || {
            let turn = turn(&mut sender, &mut scan);
            drop(thread);
            (turn, sender, scan)
        });
        let result;
        (result, sender, scan) = match turn.await {
            Ok(it) => it,
            Err(error) => return tracing::error!(%error, "a scan panicked"),
        };
        match result {
            Ok(Turn::Done) => {
                sender.send(Message::End).await;
                return;
            }
            Ok(Turn::Pause(None)) => {}
            Ok(Turn::Pause(Some(chunk))) => {
                if !sender.send(Message::Chunk(chunk)).await {
                    return;
                }
            }
            Ok(Turn::Gone) => return sender.cut("client"),
            Ok(Turn::Slow) => return sender.cut("slow"),
            Err(error) => {
                tracing::error!(%error, "cannot read events");
                return sender.cut("error");
            }
        }
    }
}

/// Reads and sends until the run ends, the client is too slow, or others want the thread.
fn turn(sender: &mut Sender, scan: &mut Scan) -> Result<Turn, Error> {
    let began = Instant::now();
    let mut waited = Duration::ZERO;
    let (mut events, mut bytes) = (0, 0);
    let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
    let mut stop = None;
    let api = sender.api.clone();
    scan.walk(&api.reader, |event| {
        chunk.extend_from_slice(event);
        chunk.push(b'\n');
        events += 1;
        if chunk.len() < CHUNK {
            return Visit::Taken;
        }
        bytes += chunk.len();
        let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 8));
        stop = hand_over(sender, full.into(), &mut waited);
        if stop.is_none() && (bytes >= TURN || Instant::now() >= sender.deadline) {
            stop = Some(Turn::Pause(None));
        }
        if stop.is_some() { Visit::Last } else { Visit::Taken }
    })?;
    bytes += chunk.len();
    api.metrics.scanned(began.elapsed().saturating_sub(waited), events, bytes);
    Ok(match stop {
        Some(stop) => stop,
        None if chunk.is_empty() => Turn::Done,
        // If it has to wait, the turn behind it finds nothing more.
        None => hand_over(sender, chunk.into(), &mut waited).unwrap_or(Turn::Done),
    })
}

/// Sends a chunk if the client takes it soon; else says how the turn ends.
fn hand_over(sender: &mut Sender, chunk: Bytes, waited: &mut Duration) -> Option<Turn> {
    let chunk = match sender.messages.try_send(Message::Chunk(chunk)) {
        Ok(()) => return None,
        Err(TrySendError::Closed(_) | TrySendError::Full(Message::End)) => return Some(Turn::Gone),
        Err(TrySendError::Full(Message::Chunk(chunk))) => chunk,
    };
    let from = Instant::now();
    let room = Handle::current().block_on(timeout(PATIENCE, sender.messages.reserve()));
    let time = from.elapsed();
    *waited += time;
    match room {
        Ok(Ok(room)) => {
            room.send(Message::Chunk(chunk));
            (!sender.pace.holds(time)).then_some(Turn::Slow)
        }
        Ok(Err(_)) => Some(Turn::Gone),
        Err(_) if sender.pace.holds(time) => Some(Turn::Pause(Some(chunk))),
        Err(_) => Some(Turn::Slow),
    }
}
