//! Tokens and TLS of a whole deployment: who gets in, what is exchanged while it runs, and where no token may be.
#![allow(clippy::unwrap_used)]

mod leaks;
mod tls;
mod tokens;

use std::path::PathBuf;

use e2e::security::new_token;
use e2e::server::{Site, data_dir};
use tempfile::TempDir;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

/// What an operator keeps apart from the data.
struct Secrets {
    dir: TempDir,
    tokens: PathBuf,
    ingest: String,
    read: String,
    admin: String,
}

impl Secrets {
    fn new() -> Self {
        let dir = data_dir();
        let tokens = dir.path().join("tokens");
        let [ingest, read, admin] = ["ingest", "read", "admin"].map(|scope| new_token(&tokens, scope, scope));
        Self { dir, tokens, ingest, read, admin }
    }

    fn flags(&self) -> [&str; 2] {
        ["--tokens", self.tokens.to_str().unwrap()]
    }
}
