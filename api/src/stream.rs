//! Answers of any length in bounded memory: chunks over a bounded channel, and an end that cannot be mistaken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use store::Reader;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Api;
use crate::error::Error;
use crate::scan::{Scan, Visit};

/// Events are sent in chunks of this size, each at least one event.
const CHUNK: usize = 256 << 10;
/// Chunks between the thread that reads and the connection.
const CHUNKS: usize = 4;
/// A client that takes no chunk for as long costs a scan its thread and its view; it gets both back when it reads on.
const PATIENCE: Duration = Duration::from_millis(50);
/// After as many bytes a scan lets others have its thread.
const TURN: usize = 64 << 20;
/// Entries of a list that are read at once.
const PAGE: usize = 1000;

enum Message {
    Chunk(Bytes),
    /// Without it the answer ends in an error: the client must see that something is missing.
    End,
}

/// The connection's end of the channel.
struct Chunks {
    messages: mpsc::Receiver<Message>,
    ended: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
struct Cut;

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.messages.poll_recv(cx)) {
            Some(Message::Chunk(chunk)) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Some(Message::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(Cut))),
        }
    }
}

/// The reading end of the channel, with the answer's share of the limits.
struct Sender {
    api: Arc<Api>,
    messages: mpsc::Sender<Message>,
    deadline: Instant,
    _slot: OwnedSemaphorePermit,
}

fn open(api: &Arc<Api>) -> Result<(Sender, Body), Error> {
    let slot = api.streams.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
    let (sender, messages) = mpsc::channel(CHUNKS);
    let deadline = Instant::now() + api.options.stream_time;
    let sender = Sender { api: api.clone(), messages: sender, deadline, _slot: slot };
    Ok((sender, Body::new(Chunks { messages, ended: false })))
}

impl Sender {
    /// False if the answer is over: the client went away, or its time is up.
    async fn send(&self, message: Message) -> bool {
        match timeout_at(self.deadline, self.messages.send(message)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.cut("time");
                false
            }
        }
    }

    fn cut(&self, reason: &'static str) {
        self.api.metrics.cut(reason);
        tracing::info!(reason, "cut a streamed answer");
    }
}

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
}

async fn send_events(sender: Sender, mut scan: Scan) {
    let mut sender = Arc::new(sender);
    loop {
        let thread = tokio::select! {
            thread = sender.api.scans.clone().acquire_owned() => thread,
            () = sender.messages.closed() => return sender.cut("client"),
        };
        if Instant::now() >= sender.deadline {
            return sender.cut("time");
        }
        let turn = tokio::task::spawn_blocking(move || {
            let turn = turn(&sender, &mut scan);
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
            Err(error) => {
                tracing::error!(%error, "cannot read events");
                return sender.cut("error");
            }
        }
    }
}

/// Reads and sends until the run ends, the client is too slow, or others want the thread.
fn turn(sender: &Sender, scan: &mut Scan) -> Result<Turn, Error> {
    let began = Instant::now();
    let mut waited = Duration::ZERO;
    let (mut events, mut bytes) = (0, 0);
    let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
    let mut stop = None;
    scan.walk(&sender.api.reader, |event| {
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
    sender.api.metrics.scanned(began.elapsed().saturating_sub(waited), events, bytes);
    Ok(match stop {
        Some(stop) => stop,
        None if chunk.is_empty() => Turn::Done,
        // If it has to wait, the turn behind it finds nothing more.
        None => hand_over(sender, chunk.into(), &mut waited).unwrap_or(Turn::Done),
    })
}

/// Sends a chunk if the client takes it soon; else says how the turn ends.
fn hand_over(sender: &Sender, chunk: Bytes, waited: &mut Duration) -> Option<Turn> {
    let chunk = match sender.messages.try_send(Message::Chunk(chunk)) {
        Ok(()) => return None,
        Err(TrySendError::Closed(_) | TrySendError::Full(Message::End)) => return Some(Turn::Gone),
        Err(TrySendError::Full(Message::Chunk(chunk))) => chunk,
    };
    let from = Instant::now();
    let room = Handle::current().block_on(timeout(PATIENCE, sender.messages.reserve()));
    *waited += from.elapsed();
    match room {
        Ok(Ok(room)) => {
            room.send(Message::Chunk(chunk));
            None
        }
        Ok(Err(_)) => Some(Turn::Gone),
        Err(_) => Some(Turn::Pause(Some(chunk))),
    }
}

/// Entries of a list, and where the next ones begin.
pub struct Page<C> {
    pub entries: Vec<String>,
    pub next: Option<C>,
}

/// A list of texts as one JSON array, read page by page. The first page decides the status.
pub async fn json_array<C: Send + Sync + 'static>(
    api: Arc<Api>,
    page: impl Fn(&Reader, Option<&C>, usize) -> Result<Page<C>, Error> + Send + Sync + 'static,
) -> Result<Response, Error> {
    let page = Arc::new(page);
    let ask = async move |api: &Api, after: Option<C>| {
        let page = page.clone();
        api.ask(move |reader| page(reader, after.as_ref(), PAGE)).await
    };
    let first = ask(&api, None).await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut text = b"[".to_vec();
    append(&mut text, &first.entries)?;
    if first.entries.len() < PAGE {
        text.push(b']');
        return Ok((json, text).into_response());
    }
    let (sender, body) = open(&api)?;
    tokio::spawn(async move {
        let mut next = first.next;
        while sender.send(Message::Chunk(std::mem::take(&mut text).into())).await {
            let Some(after) = next.take() else {
                sender.send(Message::End).await;
                return;
            };
            match ask(&sender.api, Some(after)).await.and_then(|page| Ok((append(&mut text, &page.entries)?, page))) {
                Ok(((), page)) if page.entries.len() < PAGE => text.push(b']'),
                Ok(((), page)) => next = page.next,
                Err(error) => {
                    tracing::error!(%error, "cannot read a list");
                    return sender.cut("error");
                }
            }
        }
    });
    Ok((json, body).into_response())
}

/// Appends entries to an array that is open.
fn append(text: &mut Vec<u8>, entries: &[String]) -> Result<(), Error> {
    for entry in entries {
        // Behind the first page the array's beginning has been sent.
        if text.last() != Some(&b'[') {
            text.push(b',');
        }
        serde_json::to_writer(&mut *text, entry).map_err(|e| Error::Failed(e.to_string()))?;
    }
    Ok(())
}
