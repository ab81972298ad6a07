//! Files that version 1 wrote: they open for ever.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::{metrics, publish, read, record};
use crate::Record;
use crate::local::{Local, Options};

fn written() -> Vec<Record> {
    let run = |n: u32, value: &'static [u8]| Record {
        key: Bytes::from_static(b"[\"nightly\",\"local-1\"]"),
        header: format!("1 event collect 179522968325{n} {n} 00000000000000{n:02x} 1795229683500 -").into(),
        value: Bytes::from_static(value),
    };
    let end = br#"{"Event":"SparkListenerApplicationEnd","Timestamp":1795229709392}"#;
    let heartbeat = Record {
        key: Bytes::from_static("[\"täglich\",\"local-2\"]".as_bytes()),
        header: Bytes::from_static(b"1 heartbeat delight - - - 1795229683501 -"),
        value: Bytes::new(),
    };
    vec![
        run(1, br#"{"Event":"SparkListenerLogStart","Spark Version":"3.5.9"}"#),
        run(2, end),
        heartbeat,
        run(3, b"\0\n\xff"),
    ]
}

#[test]
fn a_segment_of_version_1_opens_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    for file in fs::read_dir(fixtures).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let open = || Local::open(dir.path(), Options::default(), metrics()).unwrap();
    let local = open();
    assert_eq!(read(&local).unwrap(), written());
    publish(&local, vec![record(4)]).unwrap();
    drop(local);
    assert_eq!(read(&open()).unwrap().len(), written().len() + 1);
}

/// Makes the fixture anew, for a new version of the format: `cargo test -p journal -- --ignored fixture`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(dir.path(), Options::default(), metrics()).unwrap();
    publish(&local, written()[..3].to_vec()).unwrap();
    publish(&local, written()[3..].to_vec()).unwrap();
    drop(local);
    let name = "00000000000000000000.segment";
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    fs::create_dir_all(&fixtures).unwrap();
    fs::copy(dir.path().join(name), fixtures.join(name)).unwrap();
}
