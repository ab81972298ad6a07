//! How soon the full rate is back after the broker was killed; beside it, after it was stopped in order, which is what a new
//! JVM takes to get as fast as the one before.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::broker::Broker;
use super::{Context, bodies, parts, workload};
use crate::client::{Body, Client};
use crate::report::Figure;

const CONNECTIONS: usize = 8;
const WINDOW: Duration = Duration::from_millis(500);

pub fn run(context: &Context, broker: Broker) -> anyhow::Result<Vec<Figure>> {
    let topic = broker.topic("bench-recovery")?;
    broker.topic("bench-recovery.dlq")?;
    let collector = parts::collector(&topic)?;
    let bodies = bodies(&workload(context, 14));
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let figures = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|i| {
                scope.spawn({
                    let (b, s, n, u) = (&bodies, &stop, &sent, &collector.url);
                    move || send(u, b, i, s, n)
                })
            })
            .collect();
        let figures = watch(&broker, &sent);
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        figures
    })?;
    collector.stop()?;
    Ok(figures)
}

/// Sends the same payloads again and again: the collector does not know that.
fn send(url: &str, bodies: &[Body], first: usize, stop: &AtomicBool, sent: &AtomicU64) -> anyhow::Result<()> {
    let client = Client::new(url);
    for body in bodies.iter().cycle().skip(first * 7) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        client.collect(body)?;
        sent.fetch_add(body.events, Ordering::Relaxed);
    }
    Ok(())
}

fn watch(broker: &Broker, sent: &AtomicU64) -> anyhow::Result<Vec<Figure>> {
    if !broker.is_ours() {
        return Ok(Vec::new());
    }
    let window = || {
        let before = sent.load(Ordering::Relaxed);
        std::thread::sleep(WINDOW);
        sent.load(Ordering::Relaxed) - before
    };
    let ways: [(&str, &(dyn Fn() -> anyhow::Result<()> + Sync)); 2] =
        [("SIGKILL", &|| broker.kill_and_start()), ("orderly stop", &|| broker.stop_and_start())];
    let mut figures = Vec::new();
    for (name, restart) in ways {
        for _ in 0..6 {
            window();
        }
        let mut full: Vec<u64> = (0..8).map(|_| window()).collect();
        full.sort_unstable();
        let usual = full[full.len() / 2];
        let begin = Instant::now();
        restart()?;
        let serves = begin.elapsed();
        while window() * 10 < usual * 9 {
            anyhow::ensure!(begin.elapsed() < Duration::from_secs(120), "the rate does not come back");
        }
        let figure = |what: &str, time: Duration| {
            Figure::new("kafka recovery", format!("from the broker's {name} until {what}"), time.as_secs_f64(), "s")
        };
        figures.push(figure("it serves again", serves));
        figures.push(figure("nine tenths of the rate", begin.elapsed()));
    }
    Ok(figures)
}
