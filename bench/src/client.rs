//! What agents and readers do, over real HTTP.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use ureq::Agent;

/// A body to post, and the events in it.
#[derive(Debug)]
pub struct Body {
    pub gzip: Vec<u8>,
    pub events: u64,
}

impl Body {
    pub fn of(payload: &bench::Payload) -> Self {
        Self { gzip: payload.to_gzip(), events: payload.messages.len() as u64 }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
        Self { agent: config.build().into(), url: url.to_owned() }
    }

    /// Posts until it is answered 200; waits when the server asks to come back.
    pub fn collect(&self, body: &Body) -> anyhow::Result<()> {
        loop {
            let request = self.agent.post(format!("{}/collect", self.url)).header("content-encoding", "gzip");
            let mut response = request.send(&body.gzip[..]).context("POST /collect")?;
            let text = response.body_mut().read_to_string()?;
            match response.status().as_u16() {
                200 => return Ok(()),
                503 => std::thread::sleep(Duration::from_millis(50)),
                status => bail!("POST /collect: {status} {text}"),
            }
        }
    }

    /// A small answer; none of a 404.
    pub fn get(&self, path: &str) -> anyhow::Result<Option<String>> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call()?;
        let text = response.body_mut().read_to_string()?;
        match response.status().as_u16() {
            200 => Ok(Some(text)),
            404 => Ok(None),
            status => bail!("GET {path}: {status} {text}"),
        }
    }

    /// Reads an answer of any length, and returns its bytes' count.
    pub fn drain(&self, path: &str) -> anyhow::Result<u64> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call()?;
        anyhow::ensure!(response.status().as_u16() == 200, "GET {path}: {}", response.status());
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; 256 << 10];
        let mut bytes = 0;
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(bytes),
                read => bytes += read as u64,
            }
        }
    }
}

/// Posts all bodies over so many connections, each body at `rate` events a second at most, and returns the time it took.
pub fn post_all(url: &str, bodies: &[Body], connections: usize, rate: Option<f64>) -> anyhow::Result<Duration> {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    // When each body is due.
    let mut due = Vec::with_capacity(bodies.len());
    let mut events = 0;
    for body in bodies {
        due.push(rate.map(|rate| begin + Duration::from_secs_f64(events as f64 / rate)));
        events += body.events;
    }
    std::thread::scope(|scope| {
        let send = || {
            let client = Client::new(url);
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(i) else { return anyhow::Ok(()) };
                if let Some(due) = due[i] {
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                client.collect(body)?;
            }
        };
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(begin.elapsed())
}
