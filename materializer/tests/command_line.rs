//! The command line of the real program.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use store::Writer;
use store::generation::Generations;

#[test]
fn commands_do_their_work_although_nobody_reads_what_they_say() {
    let data = tempfile::tempdir().unwrap();
    let generations = Generations::open(&data.path().join("store")).unwrap();
    let served = generations.current_or_first().unwrap();
    for generation in [served, served + 1] {
        drop(Writer::open(&generations.path(generation), &store::Options::default()).unwrap());
    }
    for arguments in [&["check"][..], &["check", "--json"], &["resume"], &["generations", "--drop-old"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_emberlog-materializer"));
        let output = command.args(arguments).arg("--data-dir").arg(data.path()).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(generations.all().unwrap(), [served]);
}
