//! Event logs shipped while they are written, by a shipper that is killed meanwhile.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use e2e::payload::small_run;
use e2e::process::Process;
use e2e::server::{Server, Site, command, data_dir};
use e2e::wait;

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn ship(server: &Server, dir: &Path, flags: &[&str]) -> Process {
    let mut command = command(&["ship", "--poll", "50ms", "--url", &server.url]);
    command.arg(dir).args(flags);
    Process::spawn("emberlog ship", command)
}

fn start(id: &str) -> String {
    format!(r#"{{"Event":"SparkListenerApplicationStart","App Name":"ship","App ID":"{id}","Timestamp":1,"User":"u"}}"#)
        + "\n"
}

fn event(n: usize) -> String {
    format!("{{\"Event\":\"SparkListenerTaskEnd\",\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(n % 500))
}

fn end() -> String {
    "{\"Event\":\"SparkListenerApplicationEnd\",\"Timestamp\":5}\n".to_owned()
}

fn served(server: &Server, id: &str) -> String {
    String::from_utf8(server.client().events("ship", id).unwrap()).unwrap()
}

fn assert_comes(server: &Server, id: &str, expected: &str) {
    wait::until(&format!("{} lines of {id}", expected.lines().count()), || {
        let served = served(server, id);
        assert!(expected.starts_with(&served), "more or other lines than were written");
        (served == expected).then_some(())
    });
}

fn append(file: &mut File, text: &str) {
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_log_that_is_written_renamed_and_shipped_by_two_is_there_once() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let running = logs.path().join("app-1.inprogress");
    fs::write(logs.path().join("old"), start("old") + &end()).unwrap();
    let shipper = ship(&server, logs.path(), &[]);
    assert_comes(&server, "old", &(start("old") + &end()));
    let mut log = start("app-1");
    let mut file = OpenOptions::new().create(true).append(true).open(&running).unwrap();
    append(&mut file, &log);
    for n in 0..300 {
        log += &event(n);
        append(&mut file, &event(n));
    }
    let half = event(300);
    append(&mut file, &half[..20]);
    assert_comes(&server, "app-1", &log);
    shipper.kill();
    append(&mut file, &half[20..]);
    log += &half;
    let shipper = ship(&server, logs.path(), &[]);
    for n in 301..500 {
        log += &event(n);
        append(&mut file, &event(n));
    }
    assert_comes(&server, "app-1", &log);
    append(&mut file, &end());
    fs::rename(&running, logs.path().join("app-1")).unwrap();
    assert_comes(&server, "app-1", &(log + &end()));
    assert!(shipper.stop().success(), "a signal ends it in order");
    assert!(server.stop().success());
    site.check();
}

#[test]
fn parts_that_are_compressed_rolled_and_compacted_meanwhile_are_one_log() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let dir = logs.path().join("eventlog_v2_app-2");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("appstatus_app-2.inprogress"), b"").unwrap();
    let shipper = ship(&server, logs.path(), &[]);
    let mut log = String::new();
    for part in 1..=12 {
        let name = dir.join(format!("events_{part}_app-2.zstd"));
        let mut zstd = zstd::Encoder::new(File::create(name).unwrap(), 1).unwrap();
        let first = if part == 1 { start("app-2") } else { String::new() };
        for lines in [first + &event(part), event(part + 100)] {
            zstd.write_all(lines.as_bytes()).unwrap();
            // As Spark does behind each job: what is flushed can be read.
            zstd.flush().unwrap();
            log += &lines;
            if part % 4 == 0 {
                assert_comes(&server, "app-2", &log);
            }
        }
        zstd.finish().unwrap().sync_all().unwrap();
        if part == 8 {
            // What was sent goes: the History Server leaves only the start.
            let compact = dir.join("events_7_app-2.zstd.compact");
            fs::write(compact, zstd::encode_all(start("app-2").as_bytes(), 1).unwrap()).unwrap();
            (1..=7).for_each(|part| fs::remove_file(dir.join(format!("events_{part}_app-2.zstd"))).unwrap());
        }
    }
    fs::rename(dir.join("appstatus_app-2.inprogress"), dir.join("appstatus_app-2")).unwrap();
    assert_comes(&server, "app-2", &log);
    wait::until("the end", || shipper.logged("all of it is sent").map(|_| ()));
    assert!(shipper.stop().success());
    // A shipper that has not seen the parts go leaves the log alone.
    let shipper = ship(&server, logs.path(), &[]);
    wait::until("the refusal", || shipper.stderr().contains("it was compacted since").then_some(()));
    assert_comes(&server, "app-2", &log);
    assert!(shipper.stop().success());
    assert!(server.stop().success());
}

#[test]
fn what_a_listener_sends_and_what_is_old_is_not_shipped() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    let answer = server.client().post("/collect", &small_run("ship", "app-3", 2).to_gzip());
    assert_eq!(answer.status, 200);
    wait::until("the listener's events", || (!served(&server, "app-3").is_empty()).then_some(()));
    let before = served(&server, "app-3");
    fs::write(logs.path().join("app-3"), start("app-3") + &end()).unwrap();
    fs::write(logs.path().join("app-4"), start("app-4") + &end()).unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    File::options().append(true).open(logs.path().join("app-4")).unwrap().set_modified(hour_ago).unwrap();
    fs::write(logs.path().join("app-5"), start("app-5") + &end()).unwrap();
    let shipper = ship(&server, logs.path(), &["--since", "10m"]);
    assert_comes(&server, "app-5", &(start("app-5") + &end()));
    wait::until("the warning", || shipper.stderr().contains("a listener sends the same").then_some(()));
    assert_eq!((served(&server, "app-3"), served(&server, "app-4")), (before, String::new()));
    assert!(shipper.stop().success());
    assert!(server.stop().success());
}

#[test]
fn a_shipper_waits_for_its_server() {
    let site = site();
    let logs = data_dir();
    fs::write(logs.path().join("app-6"), start("app-6") + &end()).unwrap();
    let mut lost = command(&["ship", "--url", "http://127.0.0.1:1"]);
    lost.arg(logs.path());
    let shipper = Process::spawn("emberlog ship", lost);
    wait::until("the warning", || shipper.stderr().contains("it is tried again").then_some(()));
    assert!(shipper.stop().success(), "a signal ends it while it waits");
    let server = site.start(&[]);
    let shipper = ship(&server, logs.path(), &[]);
    assert_comes(&server, "app-6", &(start("app-6") + &end()));
    assert!(shipper.stop().success());
    assert!(server.stop().success());
}

#[test]
fn lines_at_the_end_that_are_no_events_stop_no_shipper_however_often_it_starts() {
    let site = site();
    let server = site.start(&[]);
    let logs = data_dir();
    fs::write(logs.path().join("app-1"), start("app-1") + &end() + "no event\n").unwrap();
    for _ in 0..2 {
        let mut shipper = ship(&server, logs.path(), &[]);
        shipper.until("all of it to be sent", |it| it.stderr().contains("all of it is sent").then_some(()));
        assert!(!shipper.stderr().contains("ERROR"), "{}", shipper.stderr());
        assert!(shipper.stop().success());
    }
    assert_comes(&server, "app-1", &(start("app-1") + &end()));
}
