//! A connection's socket with the deadlines that hyper does not keep: of headers, apart from idling, and of a client
//! that does not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::stream::Stream;

/// What a connection is about; its service and its socket share it.
#[derive(Debug, Clone, Default)]
pub(super) struct State(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    unread: AtomicBool,
}

impl State {
    const HEADERS: u8 = 0;
    const ANSWERING: u8 = 1;
    const IDLE: u8 = 2;

    pub fn answering(&self) {
        self.0.unread.store(false, Relaxed);
        self.0.phase.store(Self::ANSWERING, Relaxed);
    }

    pub fn idle(&self) {
        self.0.phase.store(Self::IDLE, Relaxed);
    }

    /// A request's body was given up before its end.
    pub fn set_unread(&self) {
        self.0.unread.store(true, Relaxed);
    }

    pub fn is_unread(&self) -> bool {
        self.0.unread.load(Relaxed)
    }

    fn phase(&self) -> u8 {
        self.0.phase.load(Relaxed)
    }
}

/// A deadline that exists only while something is waited for.
#[derive(Debug, Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn set(&mut self, after: Duration) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + after),
            None => self.0 = Some(Box::pin(sleep(after))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, what: &'static str) -> Poll<io::Result<()>> {
        let Some(sleep) = &mut self.0 else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    state: State,
    header_read: Duration,
    write_stall: Duration,
    header_deadline: Deadline,
    write_deadline: Deadline,
    /// The client will send no more, or the connection is broken.
    pub ended: bool,
}

impl Socket {
    pub fn new(stream: Stream, state: State, header_read: Duration, write_stall: Duration) -> Self {
        let mut header_deadline = Deadline::default();
        header_deadline.set(header_read);
        let write_deadline = Deadline::default();
        Self { stream, state, header_read, write_stall, header_deadline, write_deadline, ended: false }
    }

    fn wrote<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_deadline.0 = None;
            return result;
        }
        if self.write_deadline.0.is_none() {
            self.write_deadline.set(self.write_stall);
        }
        let timed_out = ready!(self.write_deadline.poll(cx, "the client does not read"));
        self.ended = true;
        Poll::Ready(timed_out.and(Err(io::ErrorKind::TimedOut.into())))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        match (&result, self.state.phase()) {
            (Poll::Ready(Ok(())), State::IDLE) if buf.filled().len() > before => {
                self.state.0.phase.store(State::HEADERS, Relaxed);
                let header_read = self.header_read;
                self.header_deadline.set(header_read);
            }
            (Poll::Ready(Ok(())), _) if buf.filled().len() > before => {}
            (Poll::Ready(_), _) => self.ended = true,
            (Poll::Pending, State::HEADERS) => {
                let timed_out = ready!(self.header_deadline.poll(cx, "the client does not end its headers"));
                self.ended = true;
                return Poll::Ready(timed_out);
            }
            (Poll::Pending, _) => self.header_deadline.0 = None,
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// TLS holds what it has encrypted until the client takes it.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wrote(cx, result)
    }
}
