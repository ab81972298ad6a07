//! `/metrics`: a registry as Prometheus text, and what the process itself uses.

use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Encoder, Gauge, Registry, TextEncoder};
use rustix::time::{ClockId, clock_gettime};

use crate::{Error, Problem, limits};

/// The process's CPU time, memory and open files, by the names that Prometheus' own clients use.
///
/// What `/proc` does not tell (other systems than Linux) keeps its last value.
#[derive(Debug)]
pub struct Process {
    cpu: Counter,
    resident: Gauge,
    open_files: Gauge,
    max_open_files: Gauge,
    threads: Gauge,
    started: Gauge,
}

impl Process {
    pub fn register(registry: &Registry) -> Result<(), Error> {
        let process = Self {
            cpu: Counter::new("process_cpu_seconds_total", "CPU time of the process, user and system")?,
            resident: Gauge::new("process_resident_memory_bytes", "Memory of the process that is in RAM")?,
            open_files: Gauge::new("process_open_fds", "Open files and sockets")?,
            max_open_files: Gauge::new("process_max_fds", "The limit of open files and sockets")?,
            threads: Gauge::new("process_threads", "Threads of the process")?,
            started: Gauge::new("process_start_time_seconds", "When the process started, since the Unix epoch")?,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        process.started.set(now.as_secs_f64());
        registry.register(Box::new(process))?;
        Ok(())
    }

    fn collectors(&self) -> [&dyn Collector; 6] {
        [&self.cpu, &self.resident, &self.open_files, &self.max_open_files, &self.threads, &self.started]
    }

    fn read(&self) {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        self.max_open_files.set(limits::open_files() as f64);
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            self.open_files.set(files.count().saturating_sub(1) as f64);
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
            let number = |name| field(name).and_then(|text| text.parse::<f64>().ok());
            if let Some(kibibytes) = number("VmRSS:") {
                self.resident.set(kibibytes * 1024.0);
            }
            if let Some(threads) = number("Threads:") {
                self.threads.set(threads);
            }
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}

/// What the process measures, as Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "All metrics in Prometheus' text format", content_type = "text/plain", body = String),
))]
pub(crate) async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    // Collectors may ask the store, which may wait for the disk.
    let gathered = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).map(|()| text)
    });
    match gathered.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        failed => {
            tracing::error!(?failed, "cannot write the metrics");
            let message = "The metrics could not be gathered; the log says why.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", message).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(registry: &Registry, name: &str) -> f64 {
        let families = registry.gather();
        let metric = &families.iter().find(|f| f.name() == name).unwrap().get_metric()[0];
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    #[test]
    fn the_process_reports_what_it_uses() {
        let registry = Registry::new();
        Process::register(&registry).unwrap();
        assert!(value(&registry, "process_max_fds") > 0.0 && value(&registry, "process_threads") > 0.0);
        assert!(value(&registry, "process_start_time_seconds") > 1.7e9);
        let cpu = value(&registry, "process_cpu_seconds_total");
        let spin = std::time::Instant::now();
        // On a busy machine, other processes have most of the time.
        while value(&registry, "process_cpu_seconds_total") < cpu + 0.05 {
            assert!(spin.elapsed().as_secs() < 120);
        }
        // Other tests of this process may give memory and files back meanwhile, but not each time.
        let names = ["process_resident_memory_bytes", "process_open_fds"];
        let grown = (0..100).any(|_| {
            let [memory, files] = names.map(|name| value(&registry, name));
            let block = std::hint::black_box(vec![1_u8; 64 << 20]);
            let opened: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
            let now = names.map(|name| value(&registry, name));
            drop((block, opened));
            now[0] > memory + (50 << 20) as f64 && now[1] >= files + 40.0
        });
        assert!(grown);
    }
}
