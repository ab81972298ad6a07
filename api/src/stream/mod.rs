//! Answers of any length in bounded memory: chunks over a bounded channel, and an end that cannot be mistaken.

mod events;
mod list;

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
use crate::Api;
use crate::error::Error;

/// Chunks between the thread that reads and the connection.
const CHUNKS: usize = 4;

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
            Ok(Ok(())) => true,
            Ok(Err(_)) => {
                self.cut("client");
                false
            }
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
