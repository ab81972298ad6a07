use std::sync::Arc;

use tempfile::TempDir;

use super::metrics;
use crate::contract::{Backend, CASES};
use crate::local::{Local, Options, open_reader};
use crate::{Publisher, Subscriber};

/// Read by the process that writes, or by its files alone.
struct Directory {
    dir: TempDir,
    local: Option<Local>,
    by_files: bool,
}

impl Backend for Directory {
    fn open(&mut self) -> (Arc<dyn Publisher>, Box<dyn Subscriber>) {
        self.local = None;
        // Small, so that every case crosses segments.
        let options = Options { segment_bytes: 200, ..Options::default() };
        let local = self.local.insert(Local::open(self.dir.path(), options, metrics()).unwrap());
        let subscriber = if self.by_files { open_reader(self.dir.path()) } else { local.subscriber() };
        (Arc::new(local.publisher()), Box::new(subscriber.unwrap()))
    }

    fn partitions(&self) -> u32 {
        1
    }
}

fn run(by_files: bool) {
    for (name, case) in CASES {
        eprintln!("{name}");
        case(&mut Directory { dir: tempfile::tempdir().unwrap(), local: None, by_files });
    }
}

#[test]
fn the_embedded_journal_keeps_the_contract() {
    run(false);
}

#[test]
fn a_reader_of_the_files_keeps_the_contract() {
    run(true);
}
