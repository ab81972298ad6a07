//! A child process that does not outlive the test process, even when that is killed.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Ends the child when its input ends, which it does with the test process.
    watcher: Option<Child>,
}

impl Process {
    pub fn start(mut command: Command, log: &Path) -> Self {
        let out = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let err = out.try_clone().unwrap();
        // A group of its own: a Ctrl-C for the test runner is not meant for it.
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn().unwrap();
        let watcher = at_end(&format!("kill -9 {}", child.id()));
        Self { child, watcher: Some(watcher) }
    }

    /// Runs a shell command when the test process is gone, or this is dropped.
    pub fn at_end_of_test(command: &str) -> Self {
        Self { child: at_end(command), watcher: None }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn kill(mut self) {
        self.end(Signal::KILL);
    }

    pub fn stop(mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        // First the watcher: it knows only a number, which may be another's after the wait.
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.kill();
            let _ = watcher.wait();
            let _ = kill_process(Pid::from_child(&self.child), signal);
        } else {
            drop(self.child.stdin.take());
        }
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.watcher.is_some() || self.child.stdin.is_some() {
            self.end(Signal::KILL);
        }
    }
}

fn at_end(command: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("cat >/dev/null; {command} 2>/dev/null")])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}
