//! What this machine is, and what processes on it use.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    /// Memory in bytes.
    pub memory: u64,
    /// The load average of the last minute: what else ran.
    pub load: f64,
}

impl Machine {
    pub fn look() -> Self {
        let line = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text
                .lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches([' ', '\t', ':']).to_owned()));
            found.unwrap_or_default()
        };
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: line("/proc/cpuinfo", "model name"),
            memory: kilobytes(&line("/proc/meminfo", "MemTotal")),
            load: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok())
                .unwrap_or_default(),
        }
    }
}

fn kilobytes(text: &str) -> u64 {
    text.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// Processor time of all threads of this process.
pub fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread.
pub fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time of all threads of another process, to a hundredth of a second.
pub fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    ticks_of(&process.to_string(), [11, 12])
}

/// The same of all processes that this one has started and that have ended.
pub fn cpu_of_ended() -> anyhow::Result<Duration> {
    ticks_of("self", [13, 14])
}

fn ticks_of(process: &str, places: [usize; 2]) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("the process is gone")?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    let ticks = places.into_iter().map(ticks).sum::<u64>();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Resident memory of a process in bytes: now, and at its highest.
pub fn memory_of(process: u32) -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).context("the process is gone")?;
    let of =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |rest| kilobytes(rest.trim()));
    Ok((of("VmRSS:"), of("VmHWM:")))
}

/// Bytes of the files in a folder and below it whose names end as asked.
pub fn bytes_in(dir: &Path, ending: &str) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes += bytes_in(&entry.path(), ending)?;
        } else if entry.file_name().to_string_lossy().ends_with(ending) {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}
