//! `emberlog token`: tokens for the servers' file.

use std::fmt::Display;
use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use service::auth::{self, Line};

use crate::cli::{TokenCommand, TokenOptions};

/// What people make up is shorter, and can be guessed from its hash.
const MIN_CHARS: usize = 20;
const MAX_CHARS: usize = 1_024;

pub fn run(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::New(options) => {
            let token = auth::generate()?;
            // Before it is shown, nobody can lose it.
            let line = keep(&token, options)?;
            show(&token)?;
            eprintln!("The token is shown only now: keep it where your other secrets are.");
            say(&line, options)?;
        }
        TokenCommand::Hash(options) => say(&keep(&given()?, options)?, options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn keep(token: &str, options: &TokenOptions) -> anyhow::Result<Line> {
    let scopes = options.scopes.iter().copied().collect();
    let line = Line::of(token, options.name.as_deref(), scopes).map_err(service::Error::from)?;
    if let Some(path) = &options.tokens {
        auth::append(path, &line)?;
    }
    Ok(line)
}

/// Standard output is for scripts, standard error for people.
fn say(line: &Line, options: &TokenOptions) -> anyhow::Result<()> {
    match &options.tokens {
        Some(path) => eprintln!("{} has its line, named {}.", path.display(), line.name),
        None => {
            show(line)?;
            eprintln!("The line with sha256 is for the file that servers are started with: --tokens FILE");
        }
    }
    Ok(())
}

/// What nobody reads is lost here, which the caller has to know.
fn show(text: impl Display) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}").context("cannot write to standard output")
}

fn given() -> anyhow::Result<String> {
    if stdin().is_terminal() {
        eprintln!("Type or paste the token, then Enter and Ctrl-D:");
    }
    let mut text = String::new();
    stdin().take(MAX_CHARS as u64 + 3).read_to_string(&mut text).context("cannot read a token from standard input")?;
    let token = text.trim_end_matches(['\r', '\n']);
    ensure!(
        token.len() >= MIN_CHARS,
        "the token has {} bytes, fewer than {MIN_CHARS}: it could be guessed from its hash. `emberlog token new` makes one that cannot",
        token.len()
    );
    ensure!(token.len() <= MAX_CHARS, "the token has more than {MAX_CHARS} bytes");
    ensure!(
        token.bytes().all(|it| it.is_ascii_graphic()),
        "the token must be visible ASCII characters without spaces: it travels in a header"
    );
    Ok(token.to_owned())
}
