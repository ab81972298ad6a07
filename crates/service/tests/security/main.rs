//! Tokens and TLS over real sockets.
#![allow(clippy::unwrap_used)]

mod files;
mod support;
mod tls;
mod tokens;
