//! Speaking to a server: its address, the token for it, and whom to trust.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// A collector sends readers on to an API once; more than this is a circle.
const MAX_REDIRECTS: usize = 5;
/// Answers are small, except events, which are streamed.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// Read from a connection at once: with less, a stream of events waits for the reader more than for the server.
const READ_BYTES: usize = 1 << 20;
/// A server answers within five seconds, and a stream goes on or is cut by it.
const SILENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "EMBERLOG_TOKEN";

/// The flags of every command that speaks to a server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Flags {
    /// The server
    #[arg(long, env = "EMBERLOG_URL", value_name = "URL", default_value = "http://127.0.0.1:5000")]
    pub url: String,
    /// A file that holds the token for the server; or set EMBERLOG_TOKEN to the token itself
    #[arg(long, env = "EMBERLOG_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Trust the certificates that are signed by these (PEM), and no others
    #[arg(long, env = "EMBERLOG_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// One server. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: Uri,
    authorization: Option<String>,
}

/// What a server said that is not an answer to go on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot reach {url}: {}", reason(cause))]
    Unreachable { url: String, cause: ureq::Error },
    #[error("{url} answered {status}: {message}")]
    Refused { url: String, status: StatusCode, message: String, retry_after: Option<Duration> },
    #[error("{url} redirects to {location:?}: {why}")]
    Redirect { url: String, location: String, why: &'static str },
    #[error("{url} answered what cannot be understood: {why}")]
    Garbled { url: String, why: String },
}

impl Error {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { cause, .. } => {
                !matches!(cause, ureq::Error::BadUri(_) | ureq::Error::Tls(_) | ureq::Error::Rustls(_))
            }
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Redirect { .. } | Self::Garbled { .. } => false,
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Without the name of its kind, which is for programs.
fn reason(cause: &ureq::Error) -> String {
    match cause {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// An answer of status 200.
pub struct Answer {
    url: String,
    response: Response<Body>,
}

impl Client {
    pub fn new(flags: &Flags) -> anyhow::Result<Self> {
        let base: Uri = flags.url.trim_end_matches('/').parse().with_context(|| format!("--url {}", flags.url))?;
        ensure!(
            matches!(base.scheme_str(), Some("http" | "https")) && base.authority().is_some(),
            "--url {} is no http or https URL, such as http://127.0.0.1:5000",
            flags.url
        );
        let authorization = token(flags.token_file.as_deref())?.map(|token| format!("Bearer {token}"));
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .input_buffer_size(READ_BYTES)
            .user_agent(concat!("emberlog/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &flags.ca_file {
            config = config.tls_config(TlsConfig::builder().root_certs(roots(file)?).build());
        }
        Ok(Self { agent: config.build().into(), base, authorization })
    }

    /// Whether the server is on this machine, so that compressing what is sent costs more than it saves.
    pub fn is_local(&self) -> bool {
        matches!(self.base.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.to_string().trim_end_matches('/'))
    }

    /// Follows redirects: a collector sends readers on to an API.
    pub fn get(&self, path: &str) -> Result<Answer, Error> {
        let mut url = self.url(path);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&url);
            if let Some(authorization) = &self.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call().map_err(|cause| Error::Unreachable { url: url.clone(), cause })?;
            if !response.status().is_redirection() {
                return answer(url, response);
            }
            url = self.redirect(url, response.headers())?;
        }
        Err(Error::Redirect { location: url.clone(), url, why: "there is no end to it" })
    }

    /// Whoever listens to plain HTTP must not get the token of an encrypted server.
    fn redirect(&self, url: String, headers: &HeaderMap) -> Result<String, Error> {
        let location = headers.get(header::LOCATION).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let location = location.unwrap_or_default();
        let refuse = |why| Err(Error::Redirect { url: url.clone(), location: location.clone(), why });
        match location.parse::<Uri>().ok().as_ref().and_then(Uri::scheme_str) {
            Some("https") => Ok(location),
            Some("http") if !url.starts_with("https:") => Ok(location),
            Some("http") => refuse("from https to http, where the token would not be safe"),
            _ => refuse("that is no http or https URL"),
        }
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Error> {
        let url = self.url(path);
        let mut request = self.agent.post(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        match request.send(body) {
            Ok(response) => answer(url, response),
            Err(cause) => Err(Error::Unreachable { url, cause }),
        }
    }

    pub fn delete(&self, path: &str) -> Result<Answer, Error> {
        let url = self.url(path);
        let mut request = self.agent.delete(&url);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        match request.call() {
            Ok(response) => answer(url, response),
            Err(cause) => Err(Error::Unreachable { url, cause }),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body of a known, small size.
    pub fn json(mut self) -> Result<serde_json::Value, Error> {
        let body = self.response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|cause| Error::Unreachable { url: self.url.clone(), cause })?;
        serde_json::from_slice(&body).map_err(|e| Error::Garbled { url: self.url, why: e.to_string() })
    }

    /// The body as it comes. A stream that the server cuts ends with an error.
    pub fn into_reader(self) -> impl Read + Send + 'static {
        self.response.into_body().into_with_config().limit(u64::MAX).reader()
    }
}

fn answer(url: String, mut response: Response<Body>) -> Result<Answer, Error> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(Answer { url, response });
    }
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|it| it.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let message = service::problem::bounded(json["message"].as_str().unwrap_or(&body));
    Err(Error::Refused { url, status, message, retry_after })
}

fn token(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let token = match file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => match std::env::var(TOKEN) {
            Ok(token) => token,
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => bail!("{TOKEN} is not a text"),
        },
    };
    let token = token.trim().to_owned();
    let is_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    // The text may be a secret in a wrong place: it is not repeated.
    ensure!(is_token, "what {} holds is no token", file.map_or(TOKEN.into(), |it| it.display().to_string()));
    Ok(Some(token))
}

fn roots(file: &Path) -> anyhow::Result<RootCerts> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item.with_context(|| format!("{} is no PEM file", file.display()))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => continue,
        }
    }
    ensure!(!certificates.is_empty(), "{} holds no certificate", file.display());
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Shutdown, TcpListener};

    use super::*;

    fn client(url: &str, token: &str) -> Client {
        let file = std::env::temp_dir().join(format!("emberlog-token-{}-{}", std::process::id(), token.len()));
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let client = Client::new(&Flags { url: url.to_owned(), token_file: Some(file.clone()), ca_file: None });
        std::fs::remove_file(file).unwrap();
        client.unwrap()
    }

    /// Answers one request with the text, and gives the request's head.
    fn serve_once(answer: String) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).unwrap() > 0);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            // What is closed before a body has come is reset, and the answer with it.
            stream.shutdown(Shutdown::Write).unwrap();
            drop(reader.read_to_end(&mut Vec::new()));
            head
        });
        (url, thread)
    }

    fn redirect_to(location: &str) -> String {
        format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    }

    #[test]
    fn readers_follow_a_redirect_and_take_their_token_along() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{\"a\":[1]}";
        let (api, second) = serve_once(ok.to_owned());
        let (collector, first) = serve_once(redirect_to(&format!("{api}/v1/runs/x")));
        let answer = client(&collector, "secret-1").get("/v1/runs/x").unwrap().json().unwrap();
        assert_eq!(answer["a"][0], 1);
        for head in [first.join().unwrap(), second.join().unwrap()] {
            assert!(head.to_lowercase().contains("authorization: bearer secret-1\r\n"), "{head}");
        }
    }

    #[test]
    fn a_token_does_not_go_from_https_to_http() {
        let client = client("https://127.0.0.1:1", "secret-12");
        let headers = |location: &str| HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        let error = client.redirect("https://a/x".to_owned(), &headers("http://a/x")).unwrap_err();
        assert!(error.to_string().contains("from https to http"), "{error}");
        assert_eq!(client.redirect("https://a/x".to_owned(), &headers("https://b/x")).unwrap(), "https://b/x");
        assert!(client.redirect("http://a/x".to_owned(), &headers("/elsewhere")).is_err());
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn what_a_server_refuses_is_told_with_its_message() {
        let body = r#"{"title":"x","message":"a token is needed"}"#;
        let (url, _) = serve_once(format!(
            "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ));
        let error = client(&url, "secret-123").post("/collect", &[], b"{}").err().unwrap();
        assert!(error.to_string().ends_with("answered 503 Service Unavailable: a token is needed"), "{error}");
        assert!(error.is_retryable());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_token_that_is_none_is_refused_and_not_repeated() {
        let file = std::env::temp_dir().join(format!("emberlog-no-token-{}", std::process::id()));
        std::fs::write(&file, "pass word").unwrap();
        let flags = Flags { url: "http://a".to_owned(), token_file: Some(file.clone()), ca_file: None };
        let error = Client::new(&flags).unwrap_err().to_string();
        std::fs::remove_file(file).unwrap();
        assert!(error.contains("no token") && !error.contains("pass"), "{error}");
        for url in ["ftp://a", "127.0.0.1:5000", ""] {
            assert!(Client::new(&Flags { url: url.to_owned(), token_file: None, ca_file: None }).is_err(), "{url}");
        }
    }
}
