//! Answers of any length in bounded memory: chunks over a bounded channel, an end that cannot be mistaken, and no place
//! for clients that take next to nothing.

mod events;
mod list;
mod pace;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

pub use self::events::events;
pub use self::list::{Page, json_array};
use self::pace::{Pace, Taken};
use crate::Api;
use crate::error::Error;

/// Chunks between the thread that reads and the connection.
const CHUNKS: usize = 4;
/// What the connection takes at once: what it has taken tells how fast the client is.
const PIECE: usize = 64 << 10;

enum Message {
    Chunk(Bytes),
    /// Without it the answer ends in an error: the client must see that something is missing.
    End,
}

/// The connection's end of the channel.
struct Chunks {
    messages: mpsc::Receiver<Message>,
    /// Of the chunk that is being taken.
    rest: Bytes,
    taken: Taken,
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
        if self.rest.is_empty() {
            match ready!(self.messages.poll_recv(cx)) {
                Some(Message::Chunk(chunk)) => self.rest = chunk,
                Some(Message::End) => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                None => return Poll::Ready(Some(Err(Cut))),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.taken.add(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// The reading end of the channel, with the answer's share of the limits.
struct Sender {
    api: Arc<Api>,
    messages: mpsc::Sender<Message>,
    deadline: Instant,
    pace: Pace,
    _slot: OwnedSemaphorePermit,
}

fn open(api: &Arc<Api>) -> Result<(Sender, Body), Error> {
    let slot = api.streams.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
    let (sender, messages) = mpsc::channel(CHUNKS);
    let deadline = Instant::now() + api.options.stream_time;
    let taken = Taken::default();
    let pace = Pace::new(taken.clone(), api.options.stream_rate, api.options.stream_patience);
    let sender = Sender { api: api.clone(), messages: sender, deadline, pace, _slot: slot };
    Ok((sender, Body::new(Chunks { messages, rest: Bytes::new(), taken, ended: false })))
}

/// The body of an answer to HEAD, whose length is not known: it is not 0, as that of an empty one would be.
pub fn of_head() -> Body {
    let (_, messages) = mpsc::channel(1);
    Body::new(Chunks { messages, rest: Bytes::new(), taken: Taken::default(), ended: true })
}

impl Sender {
    /// False if the answer is over: the client went away or is too slow, or its time is up.
    async fn send(&mut self, message: Message) -> bool {
        let reason = loop {
            let from = Instant::now();
            let until = self.deadline.min(from + self.pace.left());
            let room = timeout_at(until, self.messages.reserve()).await;
            let waited = from.elapsed();
            match room {
                Ok(Ok(room)) => {
                    room.send(message);
                    if self.pace.holds(waited) {
                        return true;
                    }
                    break "slow";
                }
                Ok(Err(_)) => break "client",
                Err(_) if Instant::now() >= self.deadline => break "time",
                Err(_) if self.pace.holds(waited) => {}
                Err(_) => break "slow",
            }
        };
        self.cut(reason);
        false
    }

    fn cut(&self, reason: &'static str) {
        self.api.metrics.cut(reason);
        tracing::info!(reason, "cut a streamed answer");
    }
}
