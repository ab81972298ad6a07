//! What became of each log, and how far an import is.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use service::output::{self, count};

use super::target::{Attempt, Sent};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Sent from this line on.
    Imported {
        from: u64,
        sent: Sent,
        incomplete: bool,
    },
    AlreadyThere {
        incomplete: bool,
    },
    /// For the reason given; nothing was changed.
    LeftAlone(String),
    /// Its application has not been written yet.
    Empty,
    Failed(String),
}

/// Counts of all logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub imported: u64,
    pub already_there: u64,
    pub left_alone: u64,
    pub empty: u64,
    pub failed: u64,
    pub incomplete: u64,
    pub stored: u64,
    pub dead_lettered: u64,
}

impl Summary {
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Imported { sent, incomplete, .. } => {
                self.imported += 1;
                self.incomplete += u64::from(*incomplete);
                self.stored += sent.stored;
                self.dead_lettered += sent.dead_lettered;
            }
            Outcome::AlreadyThere { incomplete } => {
                self.already_there += 1;
                self.incomplete += u64::from(*incomplete);
            }
            Outcome::LeftAlone(_) => self.left_alone += 1,
            Outcome::Empty => self.empty += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    pub fn text(&self, dry_run: bool) -> String {
        let Self { imported, already_there, left_alone, empty, failed, incomplete, stored, dead_lettered } = self;
        let imported_text = if dry_run { "to import" } else { "imported" };
        let (logs, events) = (count(*imported, "log", "logs"), count(*stored, "event", "events"));
        let mut text = format!("{logs} {imported_text} ({events}), {already_there} already there");
        for (number, what) in [
            (left_alone, "left alone"),
            (empty, "without an application yet"),
            (incomplete, "incomplete"),
            (
                dead_lettered,
                if *dead_lettered == 1 { "line among the dead letters" } else { "lines among the dead letters" },
            ),
            (failed, "failed"),
        ] {
            if *number > 0 {
                text.push_str(&format!(", {number} {what}"));
            }
        }
        text
    }

    pub fn json(&self) -> Value {
        let Self { imported, already_there, left_alone, empty, failed, incomplete, stored, dead_lettered } = self;
        json!({
            "imported": imported, "already_there": already_there, "left_alone": left_alone, "empty": empty,
            "failed": failed, "incomplete": incomplete, "stored": stored, "dead_lettered": dead_lettered,
        })
    }
}

/// One log as a line of JSON members.
pub fn json_of(place: &str, attempt: Option<&Attempt>, outcome: &Outcome) -> Value {
    let mut json = match outcome {
        Outcome::Imported { from, sent, incomplete } => json!({
            "outcome": "imported", "from": from, "stored": sent.stored, "dead_lettered": sent.dead_lettered,
            "incomplete": incomplete,
        }),
        Outcome::AlreadyThere { incomplete } => json!({"outcome": "already_there", "incomplete": incomplete}),
        Outcome::LeftAlone(why) => json!({"outcome": "left_alone", "reason": why}),
        Outcome::Empty => json!({"outcome": "empty"}),
        Outcome::Failed(why) => json!({"outcome": "failed", "reason": why}),
    };
    json["log"] = place.into();
    if let Some(Attempt { run, number }) = attempt {
        json["job_name"] = run.job.as_str().into();
        json["run_id"] = run.run.as_str().into();
        json["attempt"] = (*number).into();
    }
    json
}

/// One log as a line of text; names may hold line breaks and worse.
pub fn text_of(place: &str, attempt: Option<&Attempt>, outcome: &Outcome) -> String {
    let run = attempt.map(|Attempt { run, number }| {
        let attempt = if *number == 0 { String::new() } else { format!(", attempt {number}") };
        format!(" ({:?}, {:?}{attempt})", run.job.as_str(), run.run.as_str())
    });
    let incomplete =
        |it: &bool| if *it { "; incomplete: the application has not ended, or the log is cut" } else { "" };
    let what = match outcome {
        Outcome::Imported { from: 0, sent, incomplete: it } => {
            format!("{}{}{}", count(sent.stored, "event", "events"), dead(sent), incomplete(it))
        }
        Outcome::Imported { from, sent, incomplete: it } => {
            let events = count(sent.stored, "more event", "more events");
            format!("{events}, from {from} on{}{}", dead(sent), incomplete(it))
        }
        Outcome::AlreadyThere { incomplete: it } => format!("already there{}", incomplete(it)),
        Outcome::LeftAlone(why) => format!("left alone: {why}"),
        Outcome::Empty => "no application has been written to it yet".to_owned(),
        Outcome::Failed(why) => format!("failed: {why}"),
    };
    format!("{}{}: {what}", place.escape_debug(), run.unwrap_or_default())
}

fn dead(sent: &Sent) -> String {
    match sent.dead_lettered {
        0 => String::new(),
        dead => format!(", {} among the dead letters", count(dead, "line", "lines")),
    }
}

/// A bar on a terminal, else nothing: each log has its line.
pub struct Progress {
    bar: ProgressBar,
    events: Mutex<u64>,
}

impl Progress {
    pub fn new(bytes: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
        let style = "{bar:30} {bytes}/{total_bytes}  {msg}  {elapsed}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, events: Mutex::new(0) }
    }

    pub fn read(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    pub fn sent(&self, events: u64) {
        let mut all = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        *all += events;
        self.bar.set_message(format!("{all} events"));
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| output::line(line));
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
