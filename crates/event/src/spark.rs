//! What Emberlog knows of Spark's events. `Event` is an open set: an unknown one is an event like any other.
//!
//! Facts of the members: Spark's `JsonProtocol`, 3.4 to 4.3.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What Spark writes at the start of every event.
const EVENT_PREFIX: &[u8] = b"{\"Event\":\"";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the event is not JSON: {0}")]
    NotJson(String),
    #[error("the event is not a JSON object with a text member `Event`")]
    NoEvent,
    #[error("the event holds a raw line break, which would cut it in a file of one event a line")]
    LineBreak,
}

/// The name in `Event` if the text starts as Spark writes it, without parsing the rest.
pub fn quick_name(event: &[u8]) -> Option<&str> {
    let rest = event.strip_prefix(EVENT_PREFIX)?;
    let end = rest.iter().position(|b| *b == b'"' || *b == b'\\')?;
    if rest[end] == b'\\' {
        return None;
    }
    std::str::from_utf8(&rest[..end]).ok()
}

/// Checks that a text can be served as one line of an event log: JSON (RFC 8259), an object, with a text
/// member `Event`, without a raw line break. Depth is not limited: plans nest hundreds of levels.
pub fn validate(event: &str) -> Result<(), Invalid> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(rename = "Event", borrow)]
        _event: Cow<'a, str>,
    }
    if memchr::memchr2(b'\n', b'\r', event.as_bytes()).is_some() {
        return Err(Invalid::LineBreak);
    }
    if quick_name(event.as_bytes()).is_some() {
        return serde_json::from_str::<serde::de::IgnoredAny>(event)
            .map(|_| ())
            .map_err(|e| Invalid::NotJson(e.to_string()));
    }
    match serde_json::from_str::<Named>(event) {
        // serde reads a struct from an array too, by position.
        Ok(_) if !event.trim_start().starts_with('{') => Err(Invalid::NoEvent),
        Ok(_) => Ok(()),
        Err(e) if e.is_data() => Err(Invalid::NoEvent),
        Err(e) => Err(Invalid::NotJson(e.to_string())),
    }
}

/// The members that name an event whose object Spark goes on changing after it was posted, as a text;
/// none for all other events.
pub fn occurrence(event: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Task {
        #[serde(rename = "Stage ID")]
        stage: Option<i64>,
        #[serde(rename = "Stage Attempt ID")]
        attempt: Option<i64>,
        #[serde(rename = "Task Info")]
        info: TaskInfo,
    }
    #[derive(Deserialize)]
    struct TaskInfo {
        #[serde(rename = "Task ID")]
        id: i64,
        #[serde(rename = "Launch Time")]
        launched: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Stage {
        #[serde(rename = "Stage Info")]
        info: StageInfo,
    }
    #[derive(Deserialize)]
    struct StageInfo {
        #[serde(rename = "Stage ID")]
        id: i64,
        #[serde(rename = "Stage Attempt ID")]
        attempt: Option<i64>,
        #[serde(rename = "Submission Time")]
        submitted: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Job {
        #[serde(rename = "Job ID")]
        id: i64,
        #[serde(rename = "Submission Time")]
        submitted: Option<i64>,
        #[serde(rename = "Completion Time")]
        completed: Option<i64>,
    }
    fn text<const N: usize>(name: &str, parts: [Option<i64>; N]) -> String {
        let mut text = name.to_owned();
        for part in parts {
            text.push('|');
            if let Some(part) = part {
                text.push_str(&part.to_string());
            }
        }
        text
    }
    let name = quick_name(event)?;
    match name {
        "SparkListenerTaskStart" => {
            let task: Task = serde_json::from_slice(event).ok()?;
            Some(text(name, [task.stage, task.attempt, Some(task.info.id), task.info.launched]))
        }
        // Sent once a task's result starts to be fetched; it carries the task but no stage.
        "SparkListenerTaskGettingResult" => {
            let task: Task = serde_json::from_slice(event).ok()?;
            Some(text(name, [Some(task.info.id), task.info.launched]))
        }
        "SparkListenerStageSubmitted" => {
            let stage: Stage = serde_json::from_slice(event).ok()?;
            Some(text(name, [Some(stage.info.id), stage.info.attempt, stage.info.submitted]))
        }
        "SparkListenerJobStart" => {
            let job: Job = serde_json::from_slice(event).ok()?;
            Some(text(name, [Some(job.id), job.submitted]))
        }
        // Of a failed one, Spark goes on adding the callers' stack traces to its exception (seen with 3.5.9).
        "SparkListenerJobEnd" => {
            let job: Job = serde_json::from_slice(event).ok()?;
            Some(text(name, [Some(job.id), job.completed]))
        }
        _ => None,
    }
}

/// The start of an application, from `SparkListenerApplicationStart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationStart {
    #[serde(rename = "App Name")]
    pub name: Option<String>,
    #[serde(rename = "App ID")]
    pub app_id: Option<String>,
    /// Milliseconds of the Unix epoch.
    #[serde(rename = "Timestamp")]
    pub timestamp: Option<i64>,
    #[serde(rename = "User")]
    pub user: Option<String>,
    #[serde(rename = "App Attempt ID")]
    pub attempt: Option<String>,
}

/// The end of an application, from `SparkListenerApplicationEnd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationEnd {
    /// Milliseconds of the Unix epoch.
    #[serde(rename = "Timestamp")]
    pub timestamp: Option<i64>,
    /// Spark 4.x. Seen 0 although the process ended with 1.
    #[serde(rename = "ExitCode")]
    pub exit_code: Option<i64>,
}

/// The events that a run's record is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    LogStart { spark_version: Option<String> },
    ApplicationStart(ApplicationStart),
    ApplicationEnd(ApplicationEnd),
    JobEnd { succeeded: bool },
}

/// Reads the events that open and close applications and jobs; none of all others costs a parse.
/// A member of a wrong type makes the event one like any other, since it is stored all the same.
pub fn lifecycle(event: &[u8]) -> Option<Lifecycle> {
    #[derive(Deserialize)]
    struct LogStart {
        #[serde(rename = "Spark Version")]
        spark_version: Option<String>,
    }
    #[derive(Deserialize)]
    struct JobEnd {
        #[serde(rename = "Job Result")]
        result: JobResult,
    }
    #[derive(Deserialize)]
    struct JobResult {
        #[serde(rename = "Result")]
        result: String,
    }
    match quick_name(event)? {
        "SparkListenerLogStart" => serde_json::from_slice::<LogStart>(event)
            .ok()
            .map(|e| Lifecycle::LogStart { spark_version: e.spark_version }),
        "SparkListenerJobEnd" => serde_json::from_slice::<JobEnd>(event)
            .ok()
            .map(|e| Lifecycle::JobEnd { succeeded: e.result.result == "JobSucceeded" }),
        "SparkListenerApplicationStart" => serde_json::from_slice(event).ok().map(Lifecycle::ApplicationStart),
        "SparkListenerApplicationEnd" => serde_json::from_slice(event).ok().map(Lifecycle::ApplicationEnd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_one_line_of_an_event_log_is_refused() {
        let cases: [(&str, bool); 14] = [
            (r#"{"Event":"SparkListenerApplicationEnd","Timestamp":1}"#, true),
            (r#"{"Timestamp":1,"Event":"X"}"#, true),
            (r#" {"Event":"X"} "#, true),
            ("{\"Event\":\"X\",\"d\":\"\u{2028}\"}", true),
            ("", false),
            ("heartbeat", false),
            (r#"{"Event":"X""#, false),
            (r#"{"Event":"X"}{}"#, false),
            (r#"{"Timestamp":1}"#, false),
            (r#"{"Event":1}"#, false),
            (r#"["Event"]"#, false),
            ("{\"Event\":\"X\",\n\"a\":1}", false),
            ("{\"Event\":\"X\",\r\"a\":1}", false),
            (r#"{"Event":"X","a":"\x"}"#, false),
        ];
        for (event, valid) in cases {
            assert_eq!(validate(event).is_ok(), valid, "{event}");
        }
    }

    #[test]
    fn a_plan_two_thousand_levels_deep_is_valid() {
        let deep = format!(r#"{{"Event":"X","plan":{}{}}}"#, r#"{"children":["#.repeat(2000), "]}".repeat(2000));
        assert_eq!(validate(&deep), Ok(()));
    }

    #[test]
    fn lifecycle_reads_only_the_events_that_open_and_close_an_application() {
        let start = br#"{"Event":"SparkListenerApplicationStart","App Name":"pi","App ID":"local-1","Timestamp":5,"User":"root"}"#;
        let Some(Lifecycle::ApplicationStart(start)) = lifecycle(start) else { panic!("not read") };
        assert_eq!((start.timestamp, start.app_id.as_deref(), start.attempt), (Some(5), Some("local-1"), None));
        assert_eq!(lifecycle(br#"{"Event":"SparkListenerTaskEnd","Timestamp":5}"#), None);
    }
}
