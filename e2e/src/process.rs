//! The real programs: started, stopped, killed, and what they say.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait;

/// A program beside this test's executable.
///
/// # Panics
/// If it was not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    let wanted = "the tests run the real programs: cargo build --release --workspace first";
    assert!(program.is_file(), "{} is missing; {wanted}", program.display());
    program
}

/// A program with its arguments, and nothing that the environment of the tests would tell it.
pub fn command_of(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("EMBERLOG_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// What both outputs of a tool say, for messages of tests.
pub fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{} out: {out} err: {err}", output.status)
}

type Text = Arc<Mutex<String>>;

/// A running program. Dropped, it is killed; in a failed test its output is shown.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    outputs: Vec<JoinHandle<()>>,
    stdout: Text,
    stderr: Text,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

impl Process {
    pub fn spawn(name: &'static str, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Text::default(), Text::default());
        let outputs =
            vec![collect(child.stdout.take().unwrap(), &stdout), collect(child.stderr.take().unwrap(), &stderr)];
        Self { name, child, outputs, stdout, stderr }
    }

    /// Asks until there is an answer.
    ///
    /// # Panics
    /// If the process ends before, or takes too long.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        wait::until(&format!("{what} of {}", self.name), || {
            let ended = self.child.try_wait().unwrap();
            let answer = ask(self);
            assert!(answer.is_some() || ended.is_none(), "{} ended: {}", self.name, self.stderr());
            answer
        })
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The first line of its log with this message.
    pub fn logged(&self, message: &str) -> Option<Value> {
        let log = self.stderr();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|line| line["message"] == message)
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.end();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn send_term(&self) {
        self.signal(Signal::TERM);
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
        let status = wait::until(&format!("the end of {}", self.name), || self.child.try_wait().unwrap());
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

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (name, stdout, stderr) = (self.name, self.stdout(), self.stderr());
            eprintln!("--- stdout of {name}\n{stdout}--- stderr of {name}\n{stderr}---");
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
