//! Making a store anew, from the journal and from the store before it.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bench::Workload;
use materializer::rebuild::{self, Source};

use super::{Context, per_second};
use crate::client::{Body, post_all};
use crate::machine;
use crate::report::Figure;
use crate::server::{Role, Server};

pub fn run(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let workload = Workload {
        seed: context.seed + 4,
        runs: 50,
        events_per_run: context.requests / 50,
        concurrent: 50,
        ..Workload::default()
    };
    let bodies: Vec<Body> = workload.payloads().map(|payload| Body::of(&payload)).collect();
    let dir = context.dir.join("rebuild");
    let server = Server::start(Role::Emberlog, &dir)?;
    post_all(&server.url, &bodies, 8, None)?;
    // A server that stops applies what it has taken in when it starts again, or the rebuild does.
    server.stop()?;
    let mut figures = Vec::new();
    for (source, name) in [(Source::Journal, "from the journal"), (Source::Store, "from the store")] {
        let options = rebuild::Options { source, accept_loss: false, restart: false, store: store::Options::default() };
        let mut subscriber = journal::local::open_reader(&dir.join("journal"))?;
        let (begin, before) = (Instant::now(), machine::process_cpu());
        let store = dir.join("store");
        let generation = rebuild::make(&store, &mut subscriber, &options, &AtomicBool::new(false), &mut |_| {})?;
        let (wall, cpu) = (begin.elapsed(), machine::process_cpu() - before);
        anyhow::ensure!(
            rebuild::adopt(&store, generation, &options.store, Duration::from_secs(10))?,
            "generation {generation} is not served"
        );
        let figure = |what: &str, time| {
            Figure::new("rebuild", format!("{name}, {what}"), per_second(workload.events(), time), "events/s")
        };
        figures.extend([figure("on one core", cpu), figure("by the clock", wall)]);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(figures)
}
