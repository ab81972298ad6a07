//! No byte that leaves the collector holds a secret, on whichever path.

use collector::Options;
use event::{Header, Redaction};
use serde_json::json;

use crate::support::{Mode, Server, gzip, options, start};

const SECRET: &str = "hunter2";

fn environment() -> String {
    json!({"Event": "SparkListenerEnvironmentUpdate",
        "Spark Properties": {"spark.hadoop.fs.s3a.secret.key": SECRET, "spark.executorEnv.DB_PASSWORD": SECRET},
        "System Properties": {"sun.java.command": format!("x --conf spark.a.token={SECRET} y")}})
    .to_string()
}

fn job_start(more: usize) -> String {
    let properties = json!({"spark.password": SECRET, "more": "x".repeat(more)});
    json!({"Event": "SparkListenerJobStart", "Job ID": 1, "Properties": properties}).to_string()
}

fn payload() -> String {
    let good = |content: String| json!({"content": content, "generated_at": 1, "message_type": "spark-event"});
    let bad = [
        json!({"content": job_start(0), "generated_at": "soon", "message_type": "spark-event"}),
        json!({"content": &environment()[..150], "generated_at": 1, "message_type": "spark-event"}),
        json!({"content": {"spark.password": SECRET}, "generated_at": 1, "message_type": "spark-event"}),
        json!([["token", SECRET]]),
    ];
    let messages: Vec<_> =
        [good(environment()), good(job_start(0)), good(job_start(9000))].into_iter().chain(bad).collect();
    json!({"job_name": "j", "run_id": "r", "messages": messages}).to_string()
}

/// All that the collector gave away, and how many dead letters.
async fn everything(server: &Server) -> (String, usize) {
    let (events, letters) = (server.events.records(), server.dead_letters.records());
    let count = letters.len();
    let records = events.into_iter().chain(letters).flat_map(|it| [it.header, it.value]);
    let mut all: String = records.map(|it| String::from_utf8_lossy(&it).into_owned() + "\n").collect();
    all += &server.metrics();
    (all, count)
}

async fn posted(options: Options) -> (String, Server) {
    let server = start(options).await;
    *server.events.mode.lock().unwrap() = Mode::TakesUpTo(5_000);
    let answer = server.post(&gzip(payload().as_bytes())).await;
    assert_eq!(answer.status, 200, "{:?}", answer);
    let cut = &payload()[..payload().len() - 9];
    for body in [cut.as_bytes(), &gzip(cut.as_bytes()), &gzip(payload().as_bytes())[..300], b"spark.password=hunter2"] {
        let kept = server.dead_letters.records().len();
        let answer = server.post(body).await;
        assert_eq!(answer.status, 400, "{:?}", answer);
        assert!(!answer.body.to_string().contains(SECRET));
        server.until("a sample", |it| it.dead_letters.records().len() > kept).await;
        // At most one sample a second is kept.
        tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
    }
    let (all, letters) = everything(&server).await;
    assert_eq!(letters, 4 + 1 + 4);
    (all, server)
}

#[tokio::test]
async fn no_secret_leaves_the_collector() {
    let (all, server) = posted(options()).await;
    assert!(!all.contains(SECRET), "{all}");
    // Events: 3, 1 and 1; rejected messages: 1, 2, 1, and 2 of a pair without an event around it.
    assert_eq!(server.metric("emberlog_collector_redactions_total"), 11.0);
    // What is stored is found again by who sends it again.
    let records = server.events.records();
    let identity = |record: &journal::Record| Header::parse(&record.header).unwrap().identity.unwrap();
    assert_eq!(identity(&records[0]), event::Identity::of_occurrence(&records[0].value));
    assert_eq!(
        records[0].value,
        environment()
            .replace(&format!("x --conf spark.a.token={SECRET} y"), SECRET)
            .replace(SECRET, event::redact::REPLACEMENT)
    );
    let replay = server.dead_letters.letters()[0].replay().unwrap();
    assert!(String::from_utf8(replay.body.to_vec()).unwrap().contains(r#"\"Job ID\":1"#));
}

#[tokio::test]
async fn without_redaction_everything_is_kept() {
    let (all, server) = posted(Options { redaction: Redaction::off(), ..options() }).await;
    assert!(all.contains(SECRET));
    assert_eq!(server.metric("emberlog_collector_redactions_total"), 0.0);
}
