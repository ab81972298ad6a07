//! Standard output. Its reader may go before the end (`emberlog dlq list | head`), which is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

/// Nobody reads any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output")]
struct Closed;

/// Tells a reader who has gone from everything else that breaks.
pub struct Output(StdoutLock<'static>);

impl Output {
    pub fn lock() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe { io::Error::new(ErrorKind::BrokenPipe, Closed) } else { error }
}

/// A command whose output nobody reads any more has nothing more to do.
pub(crate) fn until_closed(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let is_closed = |error: &anyhow::Error| {
        let errors = error.chain().filter_map(|it| it.downcast_ref::<io::Error>());
        errors.filter_map(io::Error::get_ref).any(|it| it.is::<Closed>())
    };
    match result {
        Err(error) if is_closed(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

/// Prints a line of a command that goes on when nobody reads.
pub fn line(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// `1 line`, `2 lines`.
pub fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
