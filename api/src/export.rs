//! Spark's event-log files: one for each application, named as the Spark History Server lists them.

use event::EventKey;
use service::problem::bounded;
use store::{Application, Run};

use crate::error::Error;

/// The part of a run that is one application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// None: from the run's first event.
    pub begin: Option<EventKey>,
    /// None: to the run's last event.
    pub end: Option<EventKey>,
}

/// The events of the application chosen, from 1; of the only one if none is.
pub fn part(run: &Run, chosen: Option<usize>) -> Result<(Part, Option<Application>), Error> {
    let applications = run.summary.applications();
    let index = match chosen {
        None if applications.len() > 1 => return Err(Error::BadRequest(choices(&applications))),
        None | Some(1) => 0,
        Some(n) if n >= 1 && n <= applications.len() => n - 1,
        Some(n) => {
            let count = applications.len().max(1);
            return Err(Error::BadRequest(format!("application is {n}; the run has {count}, counted from 1")));
        }
    };
    let left_out = run.summary.applications_left_out;
    if left_out > 0 && index + 2 == applications.len() {
        return Err(Error::BadRequest(format!(
            "The run holds {left_out} applications more than are told apart, and they follow application {}: its events \
             cannot be told from theirs. All events of the run can be read without `application`.",
            index + 1
        )));
    }
    let application = applications.get(index).cloned();
    let begin = if index == 0 { None } else { application.as_ref().map(|it| it.begins_at) };
    let end = applications.get(index + 1).map(|it| it.begins_at);
    Ok((Part { begin, end }, application))
}

fn choices(applications: &[Application]) -> String {
    const SHOWN: usize = 20;
    let describe = |(i, it): (usize, &Application)| {
        let start = it.start.as_ref();
        let id = start.and_then(|it| it.app_id.as_deref()).unwrap_or("no App ID");
        let attempt = start.and_then(|it| it.attempt.as_deref()).map(|it| format!(", attempt {}", bounded(it)));
        format!("application={} ({}{})", i + 1, bounded(id), attempt.unwrap_or_default())
    };
    let listed: Vec<_> = applications.iter().enumerate().take(SHOWN).map(describe).collect();
    let more = if applications.len() > SHOWN { " and so on" } else { "" };
    format!(
        "The run holds {} applications, and an event log is of one. Choose one: {}{more}.",
        applications.len(),
        listed.join(", ")
    )
}

/// `<appId>` or `<appId>_<attempt>`, as Spark names its files. The History Server takes what follows a dot for a
/// codec, and names come from anyone: letters, digits, `-` and `_` are kept.
pub fn file_name(run: &Run, application: Option<&Application>) -> String {
    const MAX: usize = 200;
    let start = application.and_then(|it| it.start.as_ref());
    let id = start.and_then(|it| it.app_id.as_deref()).unwrap_or(&run.run_id);
    let attempt = start.and_then(|it| it.attempt.as_deref()).map(|it| format!("_{it}")).unwrap_or_default();
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' };
    let name: String = format!("{id}{attempt}").chars().map(keep).take(MAX).collect();
    if name.is_empty() { "application".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use event::spark::ApplicationStart;
    use event::{Identity, ReceivedAt, RunName, Sequence};
    use store::RunNumber;

    use super::*;

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let name = RunName::new("hourly", "always the same").unwrap();
        let mut run = Run::new(&name, RunNumber { partition: 0, number: 0 }, 0, ReceivedAt(0));
        for n in 0..300 {
            let at = |order| EventKey { order, sequence: Sequence(0), identity: Identity(0) };
            let start = format!(r#"{{"Event":"SparkListenerApplicationStart","App ID":"{n}","Timestamp":{n}}}"#);
            store::fold(&mut run, at(n * 10), start.as_bytes());
            store::fold(&mut run, at(n * 10 + 5), br#"{"Event":"SparkListenerApplicationEnd","Timestamp":1}"#);
        }
        let id = |chosen| part(&run, Some(chosen)).map(|(_, it)| it.unwrap().start.unwrap().app_id.unwrap());
        assert_eq!([id(254).unwrap(), id(256).unwrap()], ["253", "299"]);
        let refused = id(255).unwrap_err().to_string();
        assert!(refused.contains("44 applications more") && refused.contains("application 255"), "{refused}");
    }

    #[test]
    fn file_names_are_those_of_spark_and_safe() {
        let run = Run::new(
            &RunName::new("etl", "../run.zstd").unwrap(),
            RunNumber { partition: 0, number: 0 },
            0,
            ReceivedAt(0),
        );
        let name = |app_id: Option<&str>, attempt: Option<&str>| {
            let text = |it: &str| it.to_owned();
            let start = ApplicationStart {
                name: None,
                app_id: app_id.map(text),
                timestamp: None,
                user: None,
                attempt: attempt.map(text),
            };
            let begins_at = EventKey { order: 0, sequence: Sequence(0), identity: Identity(0) };
            file_name(&run, Some(&Application { begins_at, start: Some(start), end: None, spark_version: None }))
        };
        assert_eq!(name(Some("local-1571838229751"), None), "local-1571838229751");
        assert_eq!(name(Some("application_1571_0001"), Some("2")), "application_1571_0001_2");
        assert_eq!(name(Some("a\"; rm -rf /\r\n.x"), None), "a---rm--rf-----x");
        assert_eq!(name(None, None), "---run-zstd");
        assert_eq!(name(Some(""), None), "application");
        assert_eq!(name(Some(&"ü".repeat(1000)), None).len(), 200);
        assert_eq!(file_name(&run, None), "---run-zstd");
    }
}
