//! The event logs of real applications, as Spark writes them with every codec, rolled, running and killed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use e2e::client::{Client, lines, path};
use e2e::process::{Process, said};
use e2e::server::{Server, check, command, data_dir, tool};
use e2e::{spark, wait};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

/// Spark takes both processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const ROLLING: [&str; 2] = ["spark.eventLog.rolling.enabled=true", "spark.eventLog.rolling.maxFileSize=10m"];

#[test]
fn logs_of_spark_3_5_import_to_what_its_listener_sent() {
    logs_import_to_what_the_listener_sent("3.5");
}

#[test]
fn logs_of_spark_4_import_to_what_its_listener_sent() {
    logs_import_to_what_the_listener_sent("4");
}

/// All runs of a server: their events, by job and run.
fn runs(client: &Client) -> BTreeMap<(String, String), Vec<String>> {
    let mut runs = BTreeMap::new();
    for job in client.get("/job").json().as_array().unwrap() {
        let job = job.as_str().unwrap();
        for run in client.get(&path(&["job", job])).json().as_array().unwrap() {
            let run = run.as_str().unwrap();
            runs.insert((job.to_owned(), run.to_owned()), lines(&client.events(job, run).unwrap()));
        }
    }
    runs
}

fn logs_import_to_what_the_listener_sent(version: &str) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (listened, imported) = (data_dir(), data_dir());
    let logs = listened.path().join("logs");
    let server = Server::start(&listened.path().join("data"), &[]);
    for codec in ["zstd", "lz4", "snappy", "lzf"] {
        let codec = format!("spark.eventLog.compression.codec={codec}");
        let ran = spark::run_with(version, &server.url, &logs, &["spark.eventLog.compress=true", &codec], &["pi"]);
        assert!(ran.succeeded, "{}", ran.output);
    }
    let ran = spark::run_with(version, &server.url, &logs, &ROLLING, &["many_tasks:6000"]);
    assert!(ran.succeeded, "{}", ran.output);
    let rolling = std::fs::read_dir(&logs).unwrap().map(|it| it.unwrap().path()).find(|it| it.is_dir()).unwrap();
    assert!(std::fs::read_dir(rolling).unwrap().count() > 3, "the log has rolled");

    let logs = logs.to_str().unwrap();
    let import = || {
        let output = tool(imported.path(), &["import", "--json", logs]);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(import()["imported"], 5);
    let again = import();
    assert_eq!((&again["already_there"], &again["stored"]), (&5.into(), &0.into()), "{again}");
    let digest = check(imported.path())["digest"].clone();
    import();
    assert_eq!(check(imported.path())["digest"], digest);

    let other = Server::start(imported.path(), &[]);
    let (theirs, ours) = (runs(&server.client()), runs(&other.client()));
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    for (run, events) in &theirs {
        spark::assert_same_events(events, &ours[run], &run.0);
    }
    assert!(server.stop().success() && other.stop().success());
}

fn ship(server: &Server, logs: &Path) -> Process {
    let mut command = command(&["ship", "--poll", "100ms", "--url", &server.url]);
    command.arg(logs);
    Process::spawn("emberlog ship", command)
}

/// Waits until more than so many events of the one run are there, and names it.
fn run_of(client: &Client, more_than: usize) -> (String, String) {
    wait::until("events of the run", || {
        let job = client.get("/job").json()[0].as_str()?.to_owned();
        let run = client.get(&path(&["job", &job])).json()[0].as_str()?.to_owned();
        let events = client.events(&job, &run).ok()?;
        (events.iter().filter(|it| **it == b'\n').count() > more_than).then_some((job, run))
    })
}

fn ended(mut application: Child) {
    assert!(application.wait().unwrap().success());
}

#[test]
fn a_log_is_shipped_while_spark_writes_it_by_shippers_that_are_killed() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (version, settings) in [("3.5", &["spark.eventLog.compress=false"][..]), ("4", &ROLLING)] {
        let data = data_dir();
        let logs = data.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let server = Server::start(&data.path().join("data"), &[]);
        let client = server.client();
        let application = spark::submit(version, &logs, settings, &["many_tasks", "6000"]);
        let shipper = ship(&server, &logs);
        run_of(&client, 500);
        shipper.kill();
        let shipper = ship(&server, &logs);
        run_of(&client, 4000);
        shipper.kill();
        let shipper = ship(&server, &logs);
        let (job, run) = run_of(&client, 4000);
        ended(application);
        wait::until("the end of the log", || shipper.logged("all of it is sent").map(|_| ()));
        assert!(shipper.stop().success());
        // Read without any code of the product.
        let mut parts: Vec<_> = std::fs::read_dir(&logs).unwrap().map(|it| it.unwrap().path()).collect();
        parts.retain(|it| !it.file_name().unwrap().to_str().unwrap().starts_with('.'));
        if parts[0].is_dir() {
            parts = std::fs::read_dir(&parts[0]).unwrap().map(|it| it.unwrap().path()).collect();
            let name = |it: &Path| it.file_name().unwrap().to_str().unwrap().to_owned();
            parts.retain(|it| name(it).starts_with("events_"));
            parts.sort_by_key(|it| name(it).split('_').nth(1).unwrap().parse::<u64>().unwrap());
        }
        let mut whole = Vec::new();
        for part in &parts {
            let bytes = std::fs::read(part).unwrap();
            whole.extend(if part.extension().is_some() { zstd::decode_all(&bytes[..]).unwrap() } else { bytes });
        }
        let served = wait::until("all events", || {
            let served = client.events(&job, &run).unwrap();
            (lines(&served).len() >= lines(&whole).len()).then_some(served)
        });
        let differs = lines(&served).into_iter().zip(lines(&whole)).position(|(served, written)| {
            // The server takes out more than Spark 3.5.
            served != written && !written.starts_with(r#"{"Event":"SparkListenerEnvironmentUpdate""#)
        });
        assert_eq!((differs, lines(&served).len()), (None, lines(&whole).len()), "Spark {version}");
        assert!(server.stop().success());
    }
}

#[test]
fn what_a_killed_driver_left_is_imported_as_far_as_it_goes() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let data = data_dir();
    let logs = data.path().join("logs");
    let mut application = spark::submit("4", &logs, &[], &["many_tasks", "20000"]);
    let place = wait::until("the log", || {
        let dir = std::fs::read_dir(&logs).unwrap().map(|it| it.unwrap().path()).find(|it| it.is_dir())?;
        let mut files = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
        files.find(|it| it.metadata().is_ok_and(|it| it.len() > 50_000))
    });
    kill_process_group(Pid::from_child(&application), Signal::KILL).unwrap();
    application.wait().unwrap();
    let output = tool(&data.path().join("data"), &["import", "--json", logs.to_str().unwrap()]);
    let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&imported["imported"], &imported["incomplete"]), (&1.into(), &1.into()), "{}", said(&output));
    // As far as another decoder gets.
    let mut text = Vec::new();
    let mut decoder = zstd::Decoder::new(std::fs::File::open(place).unwrap()).unwrap();
    let _ = std::io::Read::read_to_end(&mut decoder, &mut text);
    let whole = text.iter().filter(|it| **it == b'\n').count();
    assert!(whole > 10 && imported["stored"] == whole, "{whole}: {imported}");
}
