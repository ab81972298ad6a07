//! The command line, and what it, the environment and the defaults set, in one line for the log.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

/// `name=value` for each flag that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration(String);

impl Configuration {
    /// Says it, once, at the start.
    pub fn log(&self) {
        tracing::info!(configuration = self.0, "starting");
    }
}

/// Reads the command line, or ends the process with what is wrong with it. Values that `--help` must not show are shown
/// as `mask` makes them.
pub fn parse<C: CommandFactory + FromArgMatches>(mask: fn(&str) -> String) -> (C, Configuration) {
    let mut command = C::command();
    let matches = command.get_matches_mut();
    let cli = C::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    (cli, Configuration(text(&command, &matches, mask)))
}

/// For programs without secrets among their values.
pub fn plain(text: &str) -> String {
    text.to_owned()
}

fn text(command: &Command, matches: &ArgMatches, mask: fn(&str) -> String) -> String {
    let mut values = BTreeMap::new();
    let (mut command, mut matches) = (command, matches);
    loop {
        for arg in command.get_arguments() {
            let Ok(Some(raw)) = matches.try_get_raw(arg.get_id().as_str()) else { continue };
            let name = arg.get_long().unwrap_or(arg.get_id().as_str());
            let shown = raw.map(|value| {
                let value = value.to_string_lossy();
                quoted(&if arg.is_hide_env_values_set() { mask(&value) } else { value.into_owned() })
            });
            // Those of a command go before those of the program.
            values.insert(name, shown.collect::<Vec<_>>());
        }
        let Some((name, inner)) = matches.subcommand() else { break };
        let Some(found) = command.find_subcommand(name) else { break };
        (command, matches) = (found, inner);
    }
    let pairs = values.iter().flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")));
    pairs.collect::<Vec<_>>().join(" ")
}

fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
    if is_plain { value.to_owned() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Parser, Subcommand};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: Option<Commands>,
        #[command(flatten)]
        own: Flags,
    }

    #[derive(Subcommand)]
    enum Commands {
        Serve(Flags),
    }

    #[derive(Args)]
    #[group(skip)]
    struct Flags {
        #[arg(long, default_value = "./data")]
        data_dir: String,
        #[arg(long)]
        limit: Option<u64>,
        #[arg(long, hide_env_values = true)]
        property: Vec<String>,
    }

    #[test]
    fn every_value_is_told_once_and_secrets_are_not() {
        let told = |line: &str| {
            let mut command = Cli::command();
            let matches = command.try_get_matches_from_mut(line.split('|')).unwrap();
            text(&command, &matches, |it| it.replace("secret", "***"))
        };
        assert_eq!(told("x"), "data-dir=./data");
        assert_eq!(told("x|--data-dir|a b|--limit|7"), "data-dir=\"a b\" limit=7");
        let line = "x|serve|--data-dir|/d|--property|a=secret|--property|b=1";
        assert_eq!(told(line), "data-dir=/d property=a=*** property=b=1");
    }
}
