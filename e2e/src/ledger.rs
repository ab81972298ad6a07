//! The judge: it knows what was sent and what was acknowledged, and says what is wrong with what is served.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::wait;

/// A job name and a run id.
pub type RunName = (String, String);

/// All runs of a test. Shared by its agents and its judge.
#[derive(Debug, Default)]
pub struct Ledger {
    runs: Mutex<BTreeMap<RunName, Run>>,
}

#[derive(Debug, Default)]
struct Run {
    events: Vec<Event>,
    /// The event of each text that was ever sent.
    by_text: HashMap<Vec<u8>, usize>,
}

#[derive(Debug)]
struct Event {
    generated_at: i64,
    /// In the order in which they were sent.
    copies: Vec<Copy>,
    /// How many copies had been sent when the first 200 came: one of them was stored.
    acknowledged: Option<usize>,
    /// The text as it was served before.
    served: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Copy {
    text: Vec<u8>,
    sequence: i64,
}

/// One event as it is sent now.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its place among the events of its run as they happened, from 0.
    pub event: usize,
    pub generated_at: i64,
    pub text: String,
    pub sequence: i64,
}

/// What is wrong with the events that a run serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledged and not served.
    Lost(usize),
    /// Served before and no longer.
    Vanished(usize),
    /// Served more than once.
    Double(usize),
    /// Nobody sent this.
    Unknown(String),
    /// Not behind what is served before it.
    OutOfOrder(usize),
    /// The text of a copy that was sent after the event had been acknowledged.
    LaterCopy(usize),
    /// Served with another text than before.
    Changed(usize),
    /// The last line has no end.
    Cut,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(event) => write!(f, "event {event} is lost"),
            Self::Vanished(event) => write!(f, "event {event} was served and is no more"),
            Self::Double(event) => write!(f, "event {event} is served twice"),
            Self::Unknown(text) => write!(f, "nobody sent {text:.200}"),
            Self::OutOfOrder(event) => write!(f, "event {event} is out of order"),
            Self::LaterCopy(event) => write!(f, "of event {event} a copy is served that came after the stored one"),
            Self::Changed(event) => write!(f, "event {event} is served with other bytes than before"),
            Self::Cut => write!(f, "the last line is cut"),
        }
    }
}

/// How much was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub runs: usize,
    pub sent: usize,
    pub acknowledged: usize,
    pub served: usize,
    /// Served with a text of which other copies were sent too.
    pub resent: usize,
}

impl Ledger {
    /// To be called before a payload leaves.
    pub fn sending(&self, name: &RunName, messages: &[Sent]) {
        let mut runs = self.runs.lock().unwrap();
        let run = runs.entry(name.clone()).or_default();
        for sent in messages {
            if sent.event == run.events.len() {
                let event = Event { generated_at: sent.generated_at, copies: vec![], acknowledged: None, served: None };
                run.events.push(event);
            }
            run.events[sent.event].copies.push(Copy { text: sent.text.clone().into(), sequence: sent.sequence });
            let before = run.by_text.insert(sent.text.clone().into(), sent.event);
            assert!(before.is_none_or(|before| before == sent.event), "two events with one text cannot be told apart");
        }
    }

    /// To be called when a payload was answered 200.
    pub fn acknowledged(&self, name: &RunName, events: impl Iterator<Item = usize>) {
        let mut runs = self.runs.lock().unwrap();
        let run = runs.get_mut(name).unwrap();
        for event in events {
            let event = &mut run.events[event];
            event.acknowledged.get_or_insert(event.copies.len());
        }
    }

    pub fn runs(&self) -> Vec<RunName> {
        self.runs.lock().unwrap().keys().cloned().collect()
    }

    pub fn count(&self) -> Count {
        let runs = self.runs.lock().unwrap();
        let mut count = Count { runs: runs.len(), ..Count::default() };
        for event in runs.values().flat_map(|run| &run.events) {
            count.sent += 1;
            count.acknowledged += usize::from(event.acknowledged.is_some());
            count.served += usize::from(event.served.is_some());
            count.resent += usize::from(event.served.is_some() && event.copies.len() > 1);
        }
        count
    }

    /// The events that must be served from now on.
    fn must(&self, name: &RunName) -> Vec<usize> {
        let runs = self.runs.lock().unwrap();
        let events = &runs[name].events;
        let is_due = |event: &Event| event.acknowledged.is_some() || event.served.is_some();
        (0..events.len()).filter(|i| is_due(&events[*i])).collect()
    }

    /// Judges what a run serves, again and again until all that was acknowledged before this call is there or `patience`
    /// is over; any other fault is final. Agents may go on meanwhile. One judge for a run at a time.
    pub fn judge(&self, client: &Client, name: &RunName, patience: Duration) -> Vec<Fault> {
        let deadline = Instant::now() + patience;
        let must = self.must(name);
        loop {
            let served = client.events(&name.0, &name.1).unwrap_or_else(|error| panic!("{name:?}: {error}"));
            let faults = self.compare(name, &must, &served);
            let is_final = faults.iter().any(|fault| !matches!(fault, Fault::Lost(_)));
            if faults.is_empty() || is_final || Instant::now() > deadline {
                return faults;
            }
            wait::pause();
        }
    }

    /// Judges all runs, within `patience` for all together.
    pub fn judge_all(&self, client: &Client, patience: Duration) -> Vec<(RunName, Fault)> {
        let deadline = Instant::now() + patience;
        let judge = |name: RunName| {
            let faults = self.judge(client, &name, deadline.saturating_duration_since(Instant::now()));
            faults.into_iter().map(move |fault| (name.clone(), fault))
        };
        self.runs().into_iter().flat_map(judge).collect()
    }

    /// # Panics
    /// If anything is wrong.
    pub fn assert_sound(&self, client: &Client) {
        let faults = self.judge_all(client, wait::PATIENCE);
        let some: Vec<_> = faults.iter().take(10).map(|(run, fault)| format!("{run:?}: {fault}")).collect();
        assert!(faults.is_empty(), "{} faults: {}", faults.len(), some.join("; "));
    }

    fn compare(&self, name: &RunName, must: &[usize], served: &[u8]) -> Vec<Fault> {
        let mut runs = self.runs.lock().unwrap();
        let run = runs.get_mut(name).unwrap();
        let mut faults = Vec::new();
        let mut times = vec![0; run.events.len()];
        let mut last = (i64::MIN, i64::MIN);
        let mut lines: Vec<&[u8]> = served.split(|byte| *byte == b'\n').collect();
        if lines.pop().is_some_and(|rest| !rest.is_empty()) {
            faults.push(Fault::Cut);
        }
        for line in lines {
            let Some(&event) = run.by_text.get(line) else {
                faults.push(Fault::Unknown(String::from_utf8_lossy(line).into_owned()));
                continue;
            };
            times[event] += 1;
            if times[event] > 1 {
                faults.push(Fault::Double(event));
                continue;
            }
            match run.events[event].place(line, last) {
                Ok(place) => last = place,
                Err(fault) => faults.push(fault(event)),
            }
        }
        let missing = must.iter().filter(|event| times[**event] == 0);
        let was_served = |event: usize| run.events[event].served.is_some();
        faults.extend(missing.map(|it| if was_served(*it) { Fault::Vanished(*it) } else { Fault::Lost(*it) }));
        faults
    }
}

impl Event {
    /// The place of this text in the run's order: the first one, behind `last`, of those under which it was sent.
    fn place(&mut self, line: &[u8], last: (i64, i64)) -> Result<(i64, i64), fn(usize) -> Fault> {
        let candidates = self.acknowledged.unwrap_or(self.copies.len());
        let mut copies = self.copies[..candidates].iter().filter(|copy| copy.text == line).peekable();
        if copies.peek().is_none() {
            return Err(Fault::LaterCopy);
        }
        let places = copies.map(|copy| (self.generated_at, copy.sequence));
        let place = places.filter(|place| *place >= last).min().ok_or(Fault::OutOfOrder as fn(usize) -> Fault)?;
        if self.served.as_ref().is_some_and(|served| served != line) {
            return Err(Fault::Changed);
        }
        self.served.get_or_insert_with(|| line.to_vec());
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> RunName {
        ("job".into(), "run".into())
    }

    fn sent(event: usize, text: &str, sequence: i64) -> Sent {
        Sent { event, generated_at: 5, text: text.into(), sequence }
    }

    /// Three events of one millisecond: `a`, `b` sent twice with other bytes and then acknowledged, `c` never.
    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        ledger.sending(&name(), &[sent(0, "a", 0), sent(1, "b", 1)]);
        ledger.sending(&name(), &[sent(0, "a", 2), sent(1, "b2", 3), sent(2, "c", 4)]);
        ledger.acknowledged(&name(), [0, 1].into_iter());
        ledger.sending(&name(), &[sent(1, "b3", 6), sent(2, "c", 7)]);
        ledger
    }

    fn faults(served: &[&str]) -> Vec<Fault> {
        let ledger = ledger();
        ledger.compare(&name(), &ledger.must(&name()), served.concat().as_bytes())
    }

    #[test]
    fn what_keeps_the_promise_is_sound() {
        for served in [&["a\n", "b\n"][..], &["a\n", "b2\n"], &["a\n", "b\n", "c\n"]] {
            assert_eq!(faults(served), [], "{served:?}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        assert_eq!(faults(&[]), [Fault::Lost(0), Fault::Lost(1)]);
        assert_eq!(faults(&["a\n"]), [Fault::Lost(1)]);
        assert_eq!(faults(&["a\n", "b\n", "c\n", "c\n"]), [Fault::Double(2)]);
        assert_eq!(faults(&["a\n", "b\n", "b2\n"]), [Fault::Double(1)]);
        assert_eq!(faults(&["a\n", "x\n", "b\n"]), [Fault::Unknown("x".into())]);
        assert_eq!(faults(&["a\n", "\n", "b\n"]), [Fault::Unknown(String::new())]);
        assert_eq!(faults(&["a\n", "b"]), [Fault::Cut, Fault::Lost(1)]);
        assert_eq!(faults(&["a\n", "b3\n"]), [Fault::LaterCopy(1)]);
        assert_eq!(faults(&["c\n", "b2\n", "a\n"]), [Fault::OutOfOrder(1), Fault::OutOfOrder(0)]);
    }

    #[test]
    fn what_was_served_must_stay_as_it_is() {
        let ledger = ledger();
        let compare = |served: &str| ledger.compare(&name(), &ledger.must(&name()), served.as_bytes());
        assert_eq!(compare("a\nb\nc\n"), []);
        assert_eq!(compare("a\nb2\nc\n"), [Fault::Changed(1)]);
        assert_eq!(compare("a\nb\n"), [Fault::Vanished(2)]);
    }
}
