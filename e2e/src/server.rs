//! The real program: started, stopped, killed, and its tools run.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::wait;

/// The program beside this test's executable.
///
/// # Panics
/// If it was not built.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("emberlog");
    let wanted = "the tests run the real program: cargo build --release --workspace first";
    assert!(program.is_file(), "{} is missing; {wanted}", program.display());
    program
}

/// The program with its arguments, and nothing that the environment of the tests would tell it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("EMBERLOG_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a tool on a data folder to its end.
pub fn tool(data: &Path, arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.arg("--data-dir").arg(data).output().unwrap()
}

/// What both outputs of a tool say, for messages of tests.
pub fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{} out: {out} err: {err}", output.status)
}

/// `emberlog check --json`.
///
/// # Panics
/// If the store is not sound.
pub fn check(data: &Path) -> Value {
    let output = tool(data, &["check", "--json"]);
    assert!(output.status.success(), "the store is not sound: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder for data that is removed at the end.
pub fn data_dir() -> TempDir {
    tempfile::Builder::new().prefix("emberlog-e2e-").tempdir().unwrap()
}

/// A running server. Dropped, it is killed; in a failed test its output is shown.
#[derive(Debug)]
pub struct Server {
    child: Child,
    outputs: Vec<JoinHandle<()>>,
    stdout: Text,
    stderr: Text,
    pub url: String,
    pub admin_url: Option<String>,
}

type Text = Arc<Mutex<String>>;

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

impl Server {
    /// Starts a server on a free port, and waits until it says where it listens.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(data: &Path, flags: &[&str]) -> Self {
        let mut server = Self::spawn(data, flags);
        wait::until("the server's start", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the server ended at its start with {status}: {}", server.stderr());
            }
            server.is_welcome()
        });
        server
    }

    /// Starts a server and does not wait.
    pub fn spawn(data: &Path, flags: &[&str]) -> Self {
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(data).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Text::default(), Text::default());
        let outputs =
            vec![collect(child.stdout.take().unwrap(), &stdout), collect(child.stderr.take().unwrap(), &stderr)];
        Self { child, outputs, stdout, stderr, url: String::new(), admin_url: None }
    }

    fn is_welcome(&mut self) -> Option<()> {
        let welcome = self.stdout();
        let url = |what| welcome.lines().find_map(|line| line.trim().strip_prefix(what)?.split_whitespace().next());
        // The line behind those of the addresses.
        url("try ")?;
        self.url = url("listening ")?.to_owned();
        self.admin_url = url("admin ").map(str::to_owned);
        Some(())
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.end();
    }

    pub fn send_term(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> ExitStatus {
        self.send_term();
        self.end()
    }

    /// Waits until it ends by itself; then what it said to stderr.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = self.end();
        (status, self.stderr())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) -> ExitStatus {
        let status = wait::until("the server's end", || self.child.try_wait().unwrap());
        for output in self.outputs.drain(..) {
            output.join().unwrap();
        }
        status
    }

    pub fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        Memory { resident: bytes("VmRSS:"), peak: bytes("VmHWM:") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stdout of the server\n{}--- stderr of the server\n{}---", self.stdout(), self.stderr());
        }
    }
}

fn collect(pipe: impl Read + Send + 'static, text: &Text) -> JoinHandle<()> {
    let text = text.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            text.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
