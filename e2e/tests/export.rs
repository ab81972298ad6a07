//! Runs written as event logs, and archived: to folders and buckets, whole, and nowhere else.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::client::path;
use e2e::process::said;
use e2e::s3::{BUCKET, S3};
use e2e::server::{Server, Site, command, data_dir};
use e2e::spark::HistoryServer;
use e2e::wait;

const JOB: &str = "fixture é/ x";

fn site() -> Site {
    Site::of(env!("CARGO_CRATE_NAME"))
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/eventlog/tests/fixtures").join(name)
}

/// The log of Spark 4.3 as text, of an application of this name.
fn log(id: &str) -> String {
    let text = zstd::decode_all(&fs::read(fixture("spark-4.3.zstd")).unwrap()[..]).unwrap();
    let text = String::from_utf8(text).unwrap();
    let own = text.split_once(r#""App ID":""#).unwrap().1.split_once('"').unwrap().0.to_owned();
    text.replace(&own, id)
}

fn emberlog(server: &Server, arguments: &[&str]) -> Output {
    let (name, rest) = arguments.split_first().unwrap();
    command(&[&[*name, "--url", &server.url], rest].concat()).output().unwrap()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

fn import(server: &Server, files: &[(&str, &str)]) {
    let logs = data_dir();
    for (name, log) in files {
        fs::write(logs.path().join(name), log).unwrap();
    }
    succeeds(&emberlog(server, &["import", logs.path().to_str().unwrap()]));
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|it| !it.starts_with('.')).collect();
    names.sort();
    names
}

fn assert_same(found: &[u8], expected: &str) {
    assert!(found == expected.as_bytes(), "{} bytes instead of {}, or others", found.len(), expected.len());
}

#[test]
fn a_run_is_exported_as_it_came_and_can_be_imported_again() {
    let site = site();
    let server = site.start(&[]);
    let attempt = |n: u32| {
        log("app-2").replacen(r#""App ID":"app-2""#, &format!(r#""App ID":"app-2","App Attempt ID":"{n}""#), 1)
    };
    import(&server, &[("app-1", &log("app-1")), ("app-2_1", &attempt(1)), ("app-2_2", &attempt(2))]);
    let output = emberlog(&server, &["export", JOB, "app-1"]);
    assert!(output.status.success());
    assert_same(&output.stdout, &log("app-1"));

    let target = data_dir();
    let dir = target.path().join("new");
    let to = format!("{}/", dir.display());
    succeeds(&emberlog(&server, &["export", JOB, "app-1", "--to", &to, "--codec", "zstd"]));
    succeeds(&emberlog(&server, &["export", JOB, "app-2", "--to", &to]));
    assert_eq!(files(&dir), ["app-1.zstd", "app-2_1", "app-2_2"]);
    assert_same(&zstd::decode_all(&fs::read(dir.join("app-1.zstd")).unwrap()[..]).unwrap(), &log("app-1"));
    assert_same(&fs::read(dir.join("app-2_2")).unwrap(), &attempt(2));
    let again = succeeds(&emberlog(&server, &["import", &to]));
    assert!(again.contains("0 logs imported (0 events), 3 already there"), "{again}");

    let one = target.path().join("one.log");
    let two_into_one = emberlog(&server, &["export", JOB, "app-2", "--to", one.to_str().unwrap()]);
    assert!(
        !two_into_one.status.success() && said(&two_into_one).contains("2 applications"),
        "{}",
        said(&two_into_one)
    );
    succeeds(&emberlog(&server, &["export", JOB, "app-1", "--to", one.to_str().unwrap()]));
    assert_same(&fs::read(&one).unwrap(), &log("app-1"));
    let unknown = emberlog(&server, &["export", JOB, "nobody"]);
    let told = format!("the job {JOB:?} has no run \"nobody\"");
    assert!(!unknown.status.success() && said(&unknown).contains(&told), "{}", said(&unknown));
    let packed = target.path().join("one.zstd");
    succeeds(&emberlog(&server, &["export", JOB, "app-1", "--to", packed.to_str().unwrap()]));
    assert_same(&zstd::decode_all(&fs::read(&packed).unwrap()[..]).unwrap(), &log("app-1"));
    let lz4 = target.path().join("one.lz4");
    let refused = emberlog(&server, &["export", JOB, "app-1", "--to", lz4.to_str().unwrap()]);
    assert!(!refused.status.success() && said(&refused).contains(".zstd") && !lz4.exists(), "{}", said(&refused));
    assert!(server.stop().success());
}

#[test]
fn names_of_applications_lead_nowhere() {
    let site = site();
    let server = site.start(&[]);
    let names = ["../../outside", "/etc/outside", "..", "a/b\\c\u{202e}.zstd"];
    for (n, name) in names.iter().enumerate() {
        let name = serde_json::to_string(name).unwrap();
        let start = format!(
            "{{\"Event\":\"SparkListenerApplicationStart\",\"App Name\":{name},\"App ID\":{name},\"Timestamp\":1,\"User\":\"u\",\"App Attempt ID\":\"../{n}\"}}\n\
             {{\"Event\":\"SparkListenerApplicationEnd\",\"Timestamp\":2}}\n"
        );
        import(&server, &[("log", &start)]);
    }
    let target = data_dir();
    let (exported, archived) = (target.path().join("exported"), target.path().join("archived"));
    for dir in [&exported, &archived] {
        fs::create_dir(dir).unwrap();
    }
    for name in names {
        succeeds(&emberlog(&server, &["export", name, name, "--to", exported.to_str().unwrap()]));
    }
    succeeds(&emberlog(&server, &["archive", "--older-than", "1s", "--to", archived.to_str().unwrap()]));
    assert_eq!(files(target.path()), ["archived", "exported"]);
    for dir in [exported, archived] {
        let files = files(&dir);
        let is_safe =
            |it: &String| it.trim_end_matches(".zstd").bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        assert!(files.len() == 4 && files.iter().all(is_safe), "{files:?}");
    }
    assert!(server.stop().success());
}

#[test]
fn an_archive_is_whole_before_anything_is_deleted_and_the_history_server_reads_it() {
    let site = site();
    let server = site.start(&[]);
    let client = server.client();
    let logs = [("app-1", log("app-1")), ("app-2", log("app-2"))];
    import(&server, &[("app-1", &logs[0].1), ("app-2", &logs[1].1), ("app-3.inprogress", &log("app-3")[..150_000])]);
    // The same App ID in another job is another run.
    let other = log("app-1").replace(JOB, "other");
    import(&server, &[("app-1", &other)]);
    let target = data_dir();
    let to = target.path().to_str().unwrap();
    let archive = |more: &[&str]| emberlog(&server, &[&["archive", "--to", to, "--older-than", "1s"], more].concat());
    let nothing = succeeds(&archive(&["--older-than", "10000h"][..0]));
    assert!(nothing.contains("3 runs archived, 0 already there"), "{nothing}");
    let again = succeeds(&archive(&[]));
    assert!(again.contains("0 runs archived, 3 already there"), "{again}");
    let names = files(target.path());
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("app-1-") && names[1..] == ["app-1.zstd", "app-2.zstd"], "{names:?}");
    let text = |name: &str| zstd::decode_all(&fs::read(target.path().join(name)).unwrap()[..]).unwrap();
    assert_same(&text("app-2.zstd"), &logs[1].1);

    let history = HistoryServer::start("4", target.path(), 2);
    let described = history.describe("app-2");
    assert!(described[1].1.as_array().unwrap().len() >= 3, "its jobs: {:?}", described[1]);
    drop(history);

    // One of them is not what it was.
    let whole = fs::read(target.path().join("app-2.zstd")).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    fs::write(target.path().join("app-2.zstd"), damaged).unwrap();
    let output = archive(&["--delete"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("2 deleted here, 1 failed"), "{}", said(&output));
    let run = |job: &str, id: &str| client.get(&path(&["job", job, id, "duration"])).status;
    wait::until("the deletion", || (run(JOB, "app-1") == 404 && run("other", "app-1") == 404).then_some(()));
    assert_eq!((run(JOB, "app-2"), run(JOB, "app-3")), (200, 200));
    fs::write(target.path().join("app-2.zstd"), whole).unwrap();
    assert!(succeeds(&archive(&["--delete"])).contains("1 deleted here, 0 failed"));
    wait::until("the deletion", || (run(JOB, "app-2") == 404).then_some(()));
    assert_eq!(run(JOB, "app-3"), 200, "it has not ended");
    assert!(server.stop().success());
}

#[test]
fn a_bucket_is_a_folder_like_any_other() {
    let site = site();
    let server = site.start(&[]);
    let s3 = S3::start();
    let bucket = |rest: &str| format!("s3://{BUCKET}/{rest}");
    let run = |arguments: &[&str]| {
        let (name, rest) = arguments.split_first().unwrap();
        let mut command = command(&[&[*name, "--url", &server.url], rest].concat());
        s3.known_to(&mut command).output().unwrap()
    };
    for (key, name) in
        [("in/app-1.lz4", "spark-4.3.lz4"), ("in/eventlog_v2_app-2/events_1_app-2.zstd", "spark-3.5.zstd")]
    {
        s3.put(key, &fs::read(fixture(name)).unwrap());
    }
    s3.put("in/notes.txt", b"none");
    s3.put("in/%C3%BC%20%26+%25/app-9", b"in a folder of its own");
    let imported = succeeds(&run(&["import", &bucket("in")]));
    assert!(imported.contains("2 logs imported"), "{imported}");
    assert!(succeeds(&run(&["import", &bucket("in/")])).contains("2 already there"));

    assert!(succeeds(&run(&["archive", "--older-than", "1s", "--to", &bucket("a/b")])).contains("2 runs archived"));
    assert!(succeeds(&run(&["archive", "--older-than", "1s", "--to", &bucket("a/b")])).contains("2 already there"));
    let other = data_dir();
    let mut command = command(&["import", &bucket("a/b"), "--data-dir", other.path().to_str().unwrap()]);
    assert!(succeeds(&s3.known_to(&mut command).output().unwrap()).contains("2 logs imported"));
    let ids = server.client().get(&path(&["job", JOB])).json();
    let id = ids[0].as_str().unwrap();
    succeeds(&run(&["export", JOB, id, "--to", &bucket("out")]));
    let exported = succeeds(&run(&["import", &bucket(&format!("out/{id}"))]));
    assert!(exported.contains("0 logs imported (0 events), 1 already there"), "{exported}");
    assert!(
        succeeds(&run(&["archive", "--older-than", "1s", "--to", &bucket("a/b"), "--delete"])).contains("2 deleted")
    );
    let nowhere = run(&["import", &bucket("nowhere")]);
    assert!(!nowhere.status.success() && said(&nowhere).contains("there is nothing"), "{}", said(&nowhere));
    assert!(server.stop().success());
}
