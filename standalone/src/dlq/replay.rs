//! `emberlog dlq replay`: sends dead letters again. A server that is told so makes no new ones of what is still none.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use event::dead_letter::{DeadLetter, Kind, Replay};
use service::output;
use xxhash_rust::xxh3::Xxh3;

use super::letters::{Id, Letter, each, one};
use super::records::put_back;
use crate::cli::DlqReplayOptions;
use crate::client::{self, Client};

/// Of so many letters it is remembered that they were sent; behind them a double may be sent again, which does no harm.
const REMEMBERED: usize = 1 << 20;

pub fn run(options: &DlqReplayOptions) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(options.with.is_none() || options.ids.len() == 1, "--with takes the bytes of one dead letter");
    let mended = options.with.as_ref().map(std::fs::read).transpose().context("cannot read the file of --with")?;
    let client = Client::new(&options.server)?;
    let mut pass = Pass { options, client, sent: HashSet::new(), counts: Counts::default() };
    if options.all {
        each(&options.source, None, |letter| {
            let outcome = pass.take(letter)?;
            Ok(!matches!(outcome, Outcome::Failed(_)))
        })?;
        output::line(pass.counts.text());
        return Ok(if pass.counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for id in &options.ids {
        let mut letter = one(&options.source, *id)?;
        if let (Ok(letter), Some(mended)) = (&mut letter.read, &mended) {
            letter.truncated_from = None;
            letter.value = mended.clone().into();
        }
        pass.take(letter)?;
    }
    output::line(pass.counts.text());
    let Counts { stored, same, .. } = pass.counts;
    Ok(if stored + same == options.ids.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of a dead letter.
enum Outcome {
    Stored,
    /// Of one that was sent in this pass.
    Same,
    /// The server reads it as before.
    Still(String),
    /// For this reason it is not sent.
    Passed(String),
    /// It says nothing of the letter: the others would fare the same.
    Failed(client::Error),
}

#[derive(Debug, Default)]
struct Counts {
    stored: usize,
    same: usize,
    still: usize,
    passed: usize,
    failed: usize,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Stored => self.stored += 1,
            Outcome::Same => self.same += 1,
            Outcome::Still(_) => self.still += 1,
            Outcome::Passed(_) => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    fn text(&self) -> String {
        let Self { stored, same, still, passed, failed } = self;
        let mut text = format!("{stored} stored, {still} still no events");
        for (count, what) in [(same, "the same as others"), (passed, "passed over"), (failed, "not sent")] {
            if *count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

struct Pass<'a> {
    options: &'a DlqReplayOptions,
    client: Client,
    /// Hashes of requests.
    sent: HashSet<u128>,
    counts: Counts,
}

impl Pass<'_> {
    fn take(&mut self, Letter { id, key, read }: Letter) -> anyhow::Result<Outcome> {
        let outcome = match read {
            Ok(letter) if letter.kind == Kind::Record => self.put_back(key, &letter),
            read => match read.and_then(|letter| letter.replay()) {
                Err(error) => Outcome::Passed(service::chain(&error)),
                Ok(replay) => self.send(id, &replay),
            },
        };
        self.counts.add(&outcome);
        let text = match &outcome {
            Outcome::Stored => "stored".to_owned(),
            Outcome::Same => "the same as one that was sent before it".to_owned(),
            Outcome::Still(why) => format!("still no event: {why}"),
            Outcome::Passed(why) => format!("passed over: {why}"),
            Outcome::Failed(error) => format!("not sent: {}", service::chain(error)),
        };
        output::line(format!("{id}\t{text}"));
        Ok(outcome)
    }

    /// Only what was asked for: of many the materializer may make as many dead letters again, and halt at last.
    fn put_back(&self, key: Bytes, letter: &DeadLetter) -> Outcome {
        if self.options.all {
            return Outcome::Passed("a record of the journal is put back only by its number".to_owned());
        }
        match put_back(&self.options.source, key, letter) {
            Ok(()) => Outcome::Stored,
            Err(error) => Outcome::Passed(service::chain(error.as_ref())),
        }
    }

    fn send(&mut self, id: Id, replay: &Replay) -> Outcome {
        if self.sent.len() >= REMEMBERED {
            self.sent.clear();
        }
        if !self.sent.insert(hash(replay)) {
            return Outcome::Same;
        }
        let number = id.to_string();
        let headers = replay.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = headers.chain([(collector::REPLAY_HEADER, number.as_str())]).collect();
        let answer = self.client.post(&replay.path, &headers, &replay.body).and_then(client::Answer::json);
        match answer {
            Ok(answer) if answer["dead_lettered"] == 0 => Outcome::Stored,
            Ok(_) => Outcome::Still("it stays the dead letter that it is".to_owned()),
            Err(error) if is_of_the_letter(&error) => Outcome::Still(error.to_string()),
            Err(error) => Outcome::Failed(error),
        }
    }
}

fn is_of_the_letter(error: &client::Error) -> bool {
    error.status().is_some_and(|it| [400, 413, 415].contains(&it.as_u16()))
}

fn hash(Replay { path, headers, body }: &Replay) -> u128 {
    let mut hasher = Xxh3::new();
    let texts = headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    for part in [path.as_bytes(), body].into_iter().chain(texts) {
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.digest128()
}
