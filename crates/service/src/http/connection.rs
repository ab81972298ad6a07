//! One connection, from its first byte to a close that lets the client read its last answer.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::Limits;
use super::handshake::handshake;
use super::socket::{Socket, State};
use super::stream::Stream;
use crate::tls::Tls;

#[derive(Debug)]
pub(super) struct Server {
    http: http1::Builder,
    router: Router,
    tls: Option<Tls>,
    header_read: Duration,
    handshake: Duration,
    write_stall: Duration,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    pub fn new(router: Router, tls: Option<Tls>, limits: &Limits, shutdown: CancellationToken) -> Self {
        // hyper's minimum; also its buffer for a body on its way in and for an answer on its way out.
        let buffer = limits.header_bytes.max(64 << 10);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // hyper counts the time between two requests as time of the next one's headers.
            .header_read_timeout(limits.idle.max(limits.header_read))
            .max_header_size(limits.header_bytes)
            .max_buf_size(buffer);
        let Limits { header_read, handshake, write_stall, .. } = *limits;
        Self { http, router, tls, header_read, handshake, write_stall, shutdown, cut: CancellationToken::new() }
    }

    /// Ends every connection where it is.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    pub fn connection(&self, stream: TcpStream, remote: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let (http, router, tls) = (self.http.clone(), self.router.clone(), self.tls.clone());
        let (header_read, within, write_stall) = (self.header_read, self.handshake, self.write_stall);
        let (shutdown, cut) = (self.shutdown.clone(), self.cut.clone());
        async move {
            // Without a byte read there is no buffer yet: connections that say nothing cost next to nothing.
            let mut byte = [0];
            let spoke = tokio::select! {
                // Not `readable`, which is true of a new connection before anything came.
                peeked = timeout(header_read, stream.peek(&mut byte)) => matches!(peeked, Ok(Ok(1))),
                () = shutdown.cancelled() => false,
            };
            if !spoke || stream.set_nodelay(true).is_err() {
                return;
            }
            let stream = match tls {
                None => Stream::Plain(stream),
                Some(tls) => {
                    let [first] = byte;
                    let shaken = tokio::select! {
                        shaken = Box::pin(handshake(&tls, stream, first, remote, within)) => shaken,
                        () = shutdown.cancelled() => None,
                    };
                    let Some(stream) = shaken else { return };
                    Stream::Tls(stream)
                }
            };
            let state = State::default();
            let socket = Socket::new(stream, state.clone(), header_read, write_stall);
            let served = run(&http, socket, router, state, remote, &shutdown);
            let rest = async {
                if let Some(socket) = Box::pin(served).await {
                    linger(socket).await;
                }
            };
            tokio::select! {
                () = rest => {}
                () = cut.cancelled() => {}
            }
        }
    }
}

async fn run(
    http: &http1::Builder,
    socket: Socket,
    router: Router,
    state: State,
    remote: SocketAddr,
    shutdown: &CancellationToken,
) -> Option<Socket> {
    let service = service_fn(|mut request: Request<Incoming>| {
        state.answering();
        request.extensions_mut().insert(ConnectInfo(remote));
        let request = request.map(|body| Body::new(Question { body, ended: false, state: state.clone() }));
        let answer = router.clone().call(request);
        let state = state.clone();
        async move {
            let mut response: Response<Body> = answer.await?;
            if state.is_unread() {
                // Else the client takes the connection for one that it can use again, and its next request fails.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| Answer { body, state }))
        }
    });
    let mut connection = http.serve_connection(TokioIo::new(socket), service);
    let result = tokio::select! {
        result = Pin::new(&mut connection) => result,
        () = shutdown.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            Pin::new(&mut connection).await
        }
    };
    if let Err(error) = &result {
        tracing::debug!(%remote, %error, "connection ended early");
    }
    let socket = connection.into_parts().io.into_inner();
    let unread = result.map_or_else(|error| error.is_parse(), |()| state.is_unread());
    (unread && !socket.ended).then_some(socket)
}

/// Takes what the client still sends. A close with unread bytes becomes a reset, and a client that is sending a body
/// too large would lose the very answer that says so.
async fn linger(mut socket: Socket) {
    const AT_MOST: Duration = Duration::from_secs(5);
    let drain = async {
        socket.shutdown().await?;
        let mut rest = vec![0; 16 << 10];
        while socket.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Whatever comes of it, the connection is over.
    drop(timeout(AT_MOST, drain).await);
}

/// A request's body that tells the socket if it was not read to its end.
#[derive(Debug)]
struct Question {
    body: Incoming,
    ended: bool,
    state: State,
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.state.set_unread();
        }
    }
}

impl HttpBody for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body that tells the socket when it is over.
#[derive(Debug)]
struct Answer {
    body: Body,
    state: State,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.state.idle();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
