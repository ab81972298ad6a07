//! The three programs on a real broker, against what librdkafka and RocksDB take for the same records.

mod apply;
mod bare;
mod broker;
mod collect;
mod parts;
mod recovery;
mod visible;

use bench::Workload;

use super::Context;
use crate::client::Body;
use crate::report::Figure;
use broker::Broker;

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let broker = Broker::start(&context.dir.join("kafka"))?;
    let mut figures = collect::run(context, &broker)?;
    figures.extend(apply::run(context, &broker)?);
    figures.extend(visible::run(context, &broker)?);
    figures.extend(recovery::run(context, broker)?);
    Ok(figures)
}

/// What is sent over HTTP: fifty runs at the same time.
fn workload(context: &Context, seed: u64) -> Workload {
    Workload {
        seed: context.seed + seed,
        runs: 50,
        events_per_run: context.requests / 50,
        concurrent: 50,
        ..Workload::default()
    }
}

fn bodies(workload: &Workload) -> Vec<Body> {
    workload.payloads().map(|payload| Body::of(&payload)).collect()
}
