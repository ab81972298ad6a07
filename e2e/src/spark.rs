//! Real Apache Spark: applications that run with the listener, and the History Server that opens what is served.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::client::{Client, lines, path};
use crate::wait;

/// The repository's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What an example said, and Spark's own event log of it.
#[derive(Debug)]
pub struct Ran {
    pub output: String,
    pub succeeded: bool,
}

/// Runs examples against a server as `make run_one_app` does; Spark writes its own event logs to `logs`.
pub fn run(version: &str, url: &str, logs: &Path, applications: &[&str]) -> Ran {
    run_with(version, url, logs, &[], applications)
}

/// The same with more settings.
pub fn run_with(version: &str, url: &str, logs: &Path, settings: &[&str], applications: &[&str]) -> Ran {
    std::fs::create_dir_all(logs).unwrap();
    let directory = format!("spark.eventLog.dir=file://{}", logs.display());
    let mut command = Command::new(root().join("examples/run"));
    command.args(["--spark", version, "--url", url, "--conf", "spark.eventLog.enabled=true", "--conf", &directory]);
    command.args(["--conf", "spark.eventLog.compress=false", "--conf", "spark.eventLog.rolling.enabled=false"]);
    // A machine that stands still is no reason to give up what is not sent yet.
    command.args(["--conf", "spark.ui.enabled=false", "--conf", "spark.emberlog.drain.timeout=3m"]);
    settings.iter().for_each(|it| _ = command.args(["--conf", it]));
    command.args(applications).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    Ran { output: text, succeeded: output.status.success() }
}

/// Starts an example without any listener, with Spark's event logs in `logs`. It leads a process group.
pub fn submit(version: &str, logs: &Path, settings: &[&str], example: &[&str]) -> Child {
    std::fs::create_dir_all(logs).unwrap();
    let environment = environment(version);
    let directory = format!("spark.eventLog.dir=file://{}", logs.display());
    let mut command = Command::new(environment.join("spark/bin/spark-submit"));
    command.args(["--master", "local[2]", "--conf", "spark.eventLog.enabled=true", "--conf", &directory]);
    settings.iter().chain(&["spark.ui.enabled=false"]).for_each(|it| _ = command.args(["--conf", it]));
    command.arg(root().join("examples").join(format!("{}.py", example[0]))).args(&example[1..]);
    let python = environment.join("bin/python");
    command.env("SPARK_HOME", environment.join("spark")).env("SPARK_LOCAL_IP", "127.0.0.1");
    command.env("PYSPARK_PYTHON", &python).env("PYSPARK_DRIVER_PYTHON", python).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Where a version of Spark is.
fn environment(version: &str) -> PathBuf {
    let environment = Command::new(root().join("scripts/spark-env")).arg(version).output().unwrap();
    assert!(environment.status.success(), "{}", String::from_utf8_lossy(&environment.stderr));
    PathBuf::from(String::from_utf8(environment.stdout).unwrap().trim())
}

/// The App IDs of the event logs in a folder.
///
/// # Panics
/// If one is not whole.
pub fn applications(logs: &Path) -> Vec<String> {
    let names = std::fs::read_dir(logs).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    assert!(names.iter().all(|name| !name.ends_with(".inprogress")), "{names:?}");
    names
}

/// Whether Spark goes on changing an event's objects after it was posted, or redacts it in its own log: then the
/// texts of two listeners may differ.
fn may_differ(kind: &str) -> bool {
    matches!(
        kind,
        "SparkListenerTaskStart"
            | "SparkListenerTaskGettingResult"
            | "SparkListenerStageSubmitted"
            | "SparkListenerJobStart"
            | "SparkListenerJobEnd"
            | "SparkListenerEnvironmentUpdate"
    )
}

/// Two records of one run by two listeners: each event once in both, with the same text, and those of a job and those
/// of an execution in the same order. Spark gives an event to one listener's queue after the other, so what different
/// threads of the driver post at the same time may stand either way.
///
/// # Panics
/// If they are not the same.
pub fn assert_same_events(ours: &[String], theirs: &[String], what: &str) {
    let (mut ours, mut theirs) = (by_poster(ours), by_poster(theirs));
    let names = |of: &Posted| of.iter().map(|(name, events)| (name.clone(), events.len())).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{what}");
    for (name, ours) in &mut ours {
        let theirs = theirs.get_mut(name).unwrap();
        if name.ends_with("SparkListenerDriverAccumUpdates") {
            // Each exchange of an execution posts its own.
            ours.sort();
            theirs.sort();
        }
        for (place, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let same = ours.1 == theirs.1 || ours.0 == theirs.0 && may_differ(&ours.0);
            assert!(same, "{what}, {name}, event {place}:\n{}\n{}", ours.1, theirs.1);
        }
    }
}

/// The events that one thread of the driver posts, by what it posts them for: their kinds and texts.
type Posted = BTreeMap<String, Vec<(String, String)>>;

fn by_poster(events: &[String]) -> Posted {
    let mut job_of_stage = BTreeMap::new();
    let mut posted = Posted::new();
    for text in events {
        let event: Value = serde_json::from_str(text).unwrap();
        let kind = event["Event"].as_str().unwrap();
        let job = event["Job ID"].as_u64();
        for stage in event["Stage IDs"].as_array().into_iter().flatten() {
            // A stage that a later job uses again runs for the first.
            job_of_stage.entry(stage.as_u64()).or_insert(job);
        }
        let stage = event["Stage ID"].as_u64().or(event["Stage Info"]["Stage ID"].as_u64());
        let poster = if let Some(job) = job.or_else(|| job_of_stage.get(&stage).copied().flatten()) {
            format!("job {job}")
        } else if let Some(execution) = event["executionId"].as_u64().filter(|_| !kind.ends_with("AccumUpdates")) {
            format!("execution {execution}")
        } else {
            kind.to_owned()
        };
        posted.entry(poster).or_default().push((kind.to_owned(), text.clone()));
    }
    posted
}

/// The name in a log's ApplicationStart.
pub fn job_name(log: &[String]) -> String {
    let start = log.iter().find(|line| line.starts_with(r#"{"Event":"SparkListenerApplicationStart""#)).unwrap();
    serde_json::from_str::<Value>(start).unwrap()["App Name"].as_str().unwrap().to_owned()
}

/// The four queries, against Spark's own event log of the run.
pub fn assert_is_served(client: &Client, job: &str, id: &str, log: &[u8]) {
    let duration = wait::until("the run's end", || {
        let answer = client.get(&path(&["job", job, id, "duration"]));
        (answer.status == 200).then(|| answer.json()).filter(|it| it["final"] == true)
    });
    let jobs = client.get("/job").json();
    assert!(jobs.as_array().unwrap().contains(&job.into()), "{jobs}");
    assert_eq!(client.get(&path(&["job", job])).json(), serde_json::json!([id]));

    // Spark may post some behind the application's end.
    let logged = lines(log);
    let served = wait::until("all events", || {
        let served = client.get(&path(&["job", job, id, "events"])).lines();
        (served.len() >= logged.len()).then_some(served)
    });
    assert_same_events(&served, &logged, job);

    let timestamp = |event: &str| {
        let prefix = format!(r#"{{"Event":"{event}""#);
        let line = logged.iter().find(|line| line.starts_with(&prefix)).unwrap();
        serde_json::from_str::<Value>(line).unwrap()["Timestamp"].as_i64().unwrap()
    };
    let expected = timestamp("SparkListenerApplicationEnd") - timestamp("SparkListenerApplicationStart");
    assert_eq!(duration["duration_ms"], expected, "{duration}");
    assert_eq!(duration["status"], "finished", "{duration}");
}

/// What `/v1/runs` says of a run.
pub fn run_of(client: &Client, job: &str, id: &str) -> Value {
    let query = path(&[job]);
    let runs = client.get(&format!("/v1/runs?job={}", query.trim_start_matches('/'))).json();
    runs["runs"].as_array().unwrap().iter().find(|run| run["run_id"] == id).unwrap().clone()
}

/// Spark's History Server on a folder of event logs. Dropped, it is killed.
#[derive(Debug)]
pub struct HistoryServer {
    child: Child,
    client: Client,
}

impl HistoryServer {
    /// Starts one, and waits until it lists `count` applications.
    pub fn start(version: &str, logs: &Path, count: usize) -> Self {
        let home = environment(version).join("spark");
        let port = kafka_broker::free_port();
        let options = format!(
            "-Dspark.history.fs.logDirectory=file://{} -Dspark.history.ui.port={port} -Dspark.history.fs.update.interval=2s",
            logs.display()
        );
        let child = Command::new(home.join("bin/spark-class"))
            .arg("org.apache.spark.deploy.history.HistoryServer")
            .env("SPARK_HOME", &home)
            .env("SPARK_HISTORY_OPTS", options)
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, client: Client::new(&format!("http://127.0.0.1:{port}/api/v1")) };
        wait::until("the History Server's list", || {
            let answer = server.client.try_get("/applications").ok().filter(|it| it.status == 200)?;
            // Before its REST API is mounted it answers every path with its front page.
            let listed: Value = serde_json::from_slice(&answer.body).ok()?;
            (listed.as_array()?.len() == count).then_some(())
        });
        server
    }

    /// What its REST API says of an application: jobs, stages, all tasks, executors and SQL queries.
    pub fn describe(&self, application: &str) -> Vec<(String, Value)> {
        let base = path(&["applications", application]);
        let mut answers = Vec::new();
        for part in ["", "/jobs", "/stages?details=false", "/allexecutors", "/sql?details=true&length=1000"] {
            let answer = self.client.get(&format!("{base}{part}"));
            assert_eq!(answer.status, 200, "{application}{part}: {}", answer.text());
            answers.push((part.to_owned(), answer.json()));
        }
        let stages = answers[2].1.as_array().unwrap().clone();
        for stage in &stages {
            let tasks = format!("/stages/{}/{}/taskList?length=1000000", stage["stageId"], stage["attemptId"]);
            let answer = self.client.get(&format!("{base}{tasks}"));
            // A stage that was skipped has no tasks, and no list of them.
            answers.push((tasks, if answer.status == 200 { answer.json() } else { Value::Null }));
        }
        answers
    }
}

impl Drop for HistoryServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [&str; 6] = [
        r#"{"Event":"SparkListenerJobStart","Job ID":0,"Stage IDs":[0]}"#,
        r#"{"Event":"SparkListenerDriverAccumUpdates","executionId":2,"accumUpdates":[[207,8]]}"#,
        r#"{"Event":"SparkListenerDriverAccumUpdates","executionId":2,"accumUpdates":[[233,8]]}"#,
        r#"{"Event":"SparkListenerTaskEnd","Stage ID":0,"Task Info":{"Task ID":0}}"#,
        r#"{"Event":"SparkListenerTaskEnd","Stage ID":0,"Task Info":{"Task ID":1}}"#,
        r#"{"Event":"SparkListenerJobEnd","Job ID":0}"#,
    ];

    fn in_order(order: &[usize]) -> Vec<String> {
        order.iter().map(|place| EVENTS[*place].to_owned()).collect()
    }

    #[test]
    fn what_threads_post_at_the_same_time_may_stand_either_way() {
        assert_same_events(&in_order(&[0, 2, 3, 1, 4, 5]), &in_order(&[0, 1, 2, 3, 4, 5]), "either way");
    }

    #[test]
    #[should_panic(expected = "event 1")]
    fn what_one_thread_posts_may_not() {
        assert_same_events(&in_order(&[0, 1, 2, 4, 3, 5]), &in_order(&[0, 1, 2, 3, 4, 5]), "not");
    }

    #[test]
    #[should_panic(expected = "twice")]
    fn each_is_there_once() {
        assert_same_events(&in_order(&[0, 1, 2, 2, 3, 4, 5]), &in_order(&[0, 1, 2, 3, 4, 5]), "twice");
    }
}
