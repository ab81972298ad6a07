//! What the API tells of runs.

use anyhow::{Context, bail};
use event::RunName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;

/// As much of a run as exporting needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its place in the paths of `/v1`; made here from its names.
    pub id: String,
    pub job_name: String,
    pub run_id: String,
    pub is_finished: bool,
    /// Milliseconds of the Unix epoch.
    pub ended_at: Option<i64>,
    /// Files that it makes.
    pub applications: usize,
    pub events: u64,
    /// Without line breaks.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Body {
    job_name: String,
    run_id: String,
    status: String,
    ended_at: Option<i64>,
    applications: Vec<Value>,
    events: u64,
    bytes: u64,
}

impl Run {
    pub fn get(client: &Client, name: &RunName) -> anyhow::Result<Self> {
        match client.get(&format!("/v1/runs/{}", name.hash())) {
            Err(error) if error.status().is_some_and(|it| it == 404) => {
                bail!("the job {:?} has no run {:?}", name.job.as_str(), name.run.as_str())
            }
            answer => Self::read(answer?.json()?),
        }
    }

    fn read(json: Value) -> anyhow::Result<Self> {
        let body: Body = serde_json::from_value(json).context("the server's answer is no run")?;
        let Body { job_name, run_id, status, ended_at, applications, events, bytes } = body;
        Ok(Self {
            id: RunName::new(&job_name, &run_id)?.hash().to_string(),
            is_finished: status == "finished",
            applications: applications.len().max(1),
            job_name,
            run_id,
            ended_at,
            events,
            bytes,
        })
    }

    pub fn name(&self) -> anyhow::Result<RunName> {
        Ok(RunName::new(&self.job_name, &self.run_id)?)
    }
}

/// Shows every run of every job, or of one, page by page.
pub fn each(
    client: &Client,
    job: Option<&str>,
    visit: &mut dyn FnMut(Run) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(job) = job {
        return each_of(client, job, visit);
    }
    pages(client, "/v1/jobs?limit=1000", "jobs", &mut |job| match job["job_name"].as_str() {
        Some(job) => each_of(client, job, visit),
        None => bail!("the server's answer is no list of jobs: {job}"),
    })
}

fn each_of(client: &Client, job: &str, visit: &mut dyn FnMut(Run) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let path = format!("/v1/runs?limit=100&job={}", utf8_percent_encode(job, NON_ALPHANUMERIC));
    pages(client, &path, "runs", &mut |run| visit(Run::read(run)?))
}

fn pages(
    client: &Client,
    path: &str,
    member: &str,
    visit: &mut dyn FnMut(Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut next: Option<String> = None;
    loop {
        let cursor = next.as_deref().map(|it| utf8_percent_encode(it, NON_ALPHANUMERIC).to_string());
        let cursor = cursor.map(|it| format!("&cursor={it}")).unwrap_or_default();
        let mut page = match client.get(&format!("{path}{cursor}")) {
            // The last run of a job may go while its runs are listed.
            Err(error) if error.status().is_some_and(|it| it == 404) => return Ok(()),
            answer => answer?.json()?,
        };
        for entry in page[member].as_array_mut().map(std::mem::take).unwrap_or_default() {
            visit(entry)?;
        }
        match page["next"].as_str() {
            Some(cursor) => next = Some(cursor.to_owned()),
            None => return Ok(()),
        }
    }
}
