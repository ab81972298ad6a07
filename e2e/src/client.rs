//! A small HTTP client: every status is an answer, only a broken connection is an error.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::wait;

const NO_VIEW: &str = "No whole view of the store could be taken in time";
const NO_VIEW_FOR: Duration = Duration::from_secs(30);

thread_local! {
    static SENT_AGAIN: Cell<u32> = const { Cell::new(0) };
}

/// Runs a test whose figures are right if each request comes once; again if this thread has sent one again because the
/// answer was late.
///
/// # Panics
/// As the test does, if nothing has disturbed it or something has each time.
pub fn undisturbed(test: impl Fn()) {
    const ATTEMPTS: u32 = 5;
    for attempt in 1..=ATTEMPTS {
        let before = SENT_AGAIN.get();
        let Err(failure) = catch_unwind(AssertUnwindSafe(&test)) else { return };
        if attempt == ATTEMPTS || SENT_AGAIN.get() == before {
            resume_unwind(failure);
        }
        println!("attempt {attempt} was disturbed");
    }
}

/// Of a server, or of two that are one deployment: what is posted goes to `url`, what is got comes from `reads_url`.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    token: Option<String>,
    pub url: String,
    pub reads_url: String,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(url: &str) -> Self {
        Self::of_two(url, url)
    }

    pub fn of_two(url: &str, reads_url: &str) -> Self {
        Self { agent: agent(None), token: None, url: url.to_owned(), reads_url: reads_url.to_owned() }
    }

    /// The same, sending a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same on connections of its own, trusting the authorities in a PEM file and no others.
    #[must_use]
    pub fn trusting(&self, authorities: &Path) -> Self {
        Self { agent: agent(Some(authorities)), ..self.clone() }
    }

    /// Any method, to the address that takes events in.
    pub fn send(&self, method: &str, path: &str) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = self.agent.run(request.body("").unwrap()).and_then(Answer::read);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Again for a while if a server that stood still in the middle of a look at the store asks for that.
    pub fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        let deadline = Instant::now() + NO_VIEW_FOR;
        loop {
            let mut request = self.agent.get(format!("{}{path}", self.reads_url));
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = Answer::read(request.call()?)?;
            if answer.status != 503 || !answer.text().contains(NO_VIEW) || Instant::now() > deadline {
                return Ok(answer);
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// # Panics
    /// If the server does not answer.
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// A read that names the place of a write, again while that is not applied.
    ///
    /// # Panics
    /// If the server does not answer, or answers 503 for too long.
    pub fn get_applied(&self, path: &str) -> Answer {
        accepted(&format!("GET {path}"), || self.get(path))
    }

    /// Again while the answer is 503.
    ///
    /// # Panics
    /// If the server does not answer, or answers 503 for too long.
    pub fn delete(&self, path: &str) -> Answer {
        accepted(&format!("DELETE {path}"), || self.send("DELETE", path))
    }

    pub fn try_post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Answer::read(request.send(body)?)
    }

    /// Once, whatever the answer is.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn post_once(&self, path: &str, body: &[u8]) -> Answer {
        self.try_post(path, &[], body).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// As every agent does: again while the answer is 503, which a journal that stands still for seconds may cause.
    ///
    /// # Panics
    /// If the server does not answer, or answers 503 for too long.
    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.post_with(path, &[], body)
    }

    /// # Panics
    /// If the server does not answer, or answers 503 for too long.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let once = || self.try_post(path, headers, body).unwrap_or_else(|error| panic!("POST {path}: {error}"));
        accepted(&format!("POST {path}"), once)
    }

    /// The lines of a run's events as they are served now; none while the run is unknown.
    pub fn events(&self, job: &str, run: &str) -> Result<Vec<u8>, String> {
        let path = path(&["job", job, run, "events"]);
        let answer = self.try_get(&path).map_err(|error| error.to_string())?;
        match answer.status {
            200 => Ok(answer.body),
            404 => Ok(Vec::new()),
            status => Err(format!("GET {path}: {status} {}", answer.text())),
        }
    }

    /// The same for the side that reads only.
    #[must_use]
    pub fn of_reads(&self) -> Self {
        Self { url: self.reads_url.clone(), ..self.clone() }
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_start_matches("https://")
    }

    /// A connection without any protocol on it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        stream.set_write_timeout(Some(wait::PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes as they are and reads the answer to its end: for what no proper client would send.
    pub fn raw(&self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = self.connect();
        // A server may answer and close before it has read all.
        let sent = stream.write_all(request);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        Answer::parse(&answer).ok_or_else(|| match (sent, read) {
            (Err(error), _) | (_, Err(error)) => error,
            _ => io::Error::other(format!("no answer but {:?}", String::from_utf8_lossy(&answer))),
        })
    }

    /// A GET with the path exactly as given.
    pub fn raw_get(&self, path: &str) -> Answer {
        let client = self.of_reads();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", client.address());
        client.raw(request.as_bytes()).unwrap()
    }
}

/// The first answer that is not a 503.
fn accepted(what: &str, mut ask: impl FnMut() -> Answer) -> Answer {
    wait::until(what, || {
        let answer = ask();
        if answer.status != 503 {
            return Some(answer);
        }
        println!("{what}: {}", answer.text());
        SENT_AGAIN.set(SENT_AGAIN.get() + 1);
        sleep(Duration::from_millis(200));
        None
    })
}

fn agent(authorities: Option<&Path>) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(wait::PATIENCE));
    if let Some(path) = authorities {
        let pem = std::fs::read(path).unwrap();
        let certificates = parse_pem(&pem).map(|it| match it.unwrap() {
            PemItem::Certificate(certificate) => certificate,
            _ => panic!("{} holds something else", path.display()),
        });
        let roots = RootCerts::Specific(Arc::new(certificates.collect()));
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    config.build().into()
}

/// A path of percent-encoded segments, dots included: clients drop bare `..`.
pub fn path(segments: &[&str]) -> String {
    segments.iter().map(|it| format!("/{}", utf8_percent_encode(it, NON_ALPHANUMERIC))).collect()
}

impl Answer {
    fn read(response: ureq::http::Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let (parts, mut body) = response.into_parts();
        let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(Self {
            status: parts.status.as_u16(),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: body.with_config().limit(u64::MAX).read_to_vec()?,
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<_> = headers.split("\r\n").filter_map(header).collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            body = unchunked(&body)?;
        }
        Some(Self { status: status.split(' ').nth(1)?.parse().ok()?, headers, body })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// If the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The text of a problem's `message`.
    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn lines(&self) -> Vec<String> {
        lines(&self.body)
    }
}

/// The lines of a text; each must be ended by `\n`.
pub fn lines(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = text.split(|b| *b == b'\n').map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    let rest = lines.pop();
    assert_eq!(rest.as_deref(), Some(""), "the last line is cut");
    lines
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        if length == 0 {
            return Some(body);
        }
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
