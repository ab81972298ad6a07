//! Structured logs on standard error: for people on a terminal, JSON elsewhere.

use std::io::{IsTerminal, stderr};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// `human` on a terminal, `json` elsewhere.
    #[default]
    Auto,
    /// One line of text for each message.
    Human,
    /// One JSON object for each message.
    Json,
}

impl Format {
    fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Human => false,
            Self::Json => true,
        }
    }
}

/// The flags of every binary, to be flattened into its own.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logs")]
#[group(skip)]
pub struct Options {
    /// How logs are written
    #[arg(long, env = "EMBERLOG_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: Format,
    /// What is logged: a level (`info`) or levels of parts (`info,collector=debug`) [default: RUST_LOG, else info, for people without what every start says]
    #[arg(long, env = "EMBERLOG_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
}

/// What people are told unless they ask for a level: not what every start says, which is there to be looked up later.
const FOR_PEOPLE: &str = "info,service::configuration=warn,service::health=warn,service::limits=warn";

/// Sets the process's logger, once.
pub fn init(options: &Options) -> Result<(), Error> {
    let terminal = stderr().is_terminal();
    let default = if options.log_format.is_json(terminal) { "info" } else { FOR_PEOPLE };
    let filter = filter(options.log.as_deref(), std::env::var("RUST_LOG").ok().as_deref(), default)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let result = if options.log_format.is_json(terminal) {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(terminal).try_init()
    };
    result.map_err(|_| Error::LogTwice)
}

fn filter(own: Option<&str>, rust_log: Option<&str>, default: &str) -> Result<EnvFilter, Error> {
    let text = [own, rust_log].into_iter().flatten().find(|text| !text.trim().is_empty()).unwrap_or(default);
    let filter = EnvFilter::try_new(text).map_err(|e| Error::LogFilter(format!("{text:?} ({e})")))?;
    // It warns of what any client may do as often as it likes. Failures of handshakes are logged by ourselves.
    let quiet = "rustls=error".parse().ok().filter(|_| !text.contains("rustls"));
    Ok(quiet.into_iter().fold(filter, EnvFilter::add_directive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_level_goes_before_rust_log_and_nonsense_is_an_error() {
        let filter = |own, rust_log| filter(own, rust_log, "info");
        assert_eq!(filter(Some("debug"), Some("warn")).unwrap().to_string(), "rustls=error,debug");
        assert_eq!(filter(None, Some("warn")).unwrap().to_string(), "rustls=error,warn");
        assert_eq!(filter(Some(""), None).unwrap().to_string(), "rustls=error,info");
        assert_eq!(filter(Some("info,rustls=debug"), None).unwrap().to_string(), "rustls=debug,info");
        let error = filter(Some("collector=loud"), None).unwrap_err().to_string();
        assert!(error.contains("\"collector=loud\"") && error.contains("info,collector=debug"), "{error}");
    }

    #[test]
    fn people_are_spared_what_every_start_says() {
        let filter = filter(None, None, FOR_PEOPLE).unwrap().to_string();
        assert!(filter.contains("service::configuration=warn") && filter.ends_with(",info"), "{filter}");
    }

    #[test]
    fn json_is_for_programs_unless_told_otherwise() {
        assert!(Format::Auto.is_json(false) && !Format::Auto.is_json(true));
        assert!(Format::Json.is_json(true) && !Format::Human.is_json(false));
    }
}
