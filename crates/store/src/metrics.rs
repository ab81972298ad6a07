//! RocksDB's own figures, read when Prometheus asks.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Opts};
use rocksdb::statistics::Ticker;

use crate::Reader;
use crate::database::Database;

/// Figures of the served store. Register it once; it follows a change of generation.
#[derive(Debug)]
pub struct RocksDb {
    reader: Reader,
    gauges: Vec<(&'static str, IntGauge)>,
    files: IntGauge,
    tickers: Vec<(Ticker, IntCounter)>,
}

impl RocksDb {
    pub fn new(reader: Reader) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| IntGauge::with_opts(Opts::new(format!("emberlog_rocksdb_{name}"), help));
        let counter =
            |name: &str, help: &str| IntCounter::with_opts(Opts::new(format!("emberlog_rocksdb_{name}"), help));
        Ok(Self {
            reader,
            gauges: vec![
                ("rocksdb.total-sst-files-size", gauge("sst_bytes", "Bytes of all table files.")?),
                (
                    "rocksdb.cur-size-all-mem-tables",
                    gauge("memtable_bytes", "Bytes of the memtables not yet flushed.")?,
                ),
                ("rocksdb.block-cache-usage", gauge("block_cache_bytes", "Bytes in the block cache.")?),
                (
                    "rocksdb.estimate-table-readers-mem",
                    gauge("table_reader_bytes", "Bytes of indexes and filters in memory.")?,
                ),
                ("rocksdb.estimate-num-keys", gauge("keys", "Keys, estimated.")?),
                ("rocksdb.num-running-flushes", gauge("running_flushes", "Flushes that run now.")?),
                ("rocksdb.num-running-compactions", gauge("running_compactions", "Compactions that run now.")?),
                (
                    "rocksdb.estimate-pending-compaction-bytes",
                    gauge("pending_compaction_bytes", "Bytes that compactions still have to rewrite, estimated.")?,
                ),
                (
                    "rocksdb.num-files-at-level0",
                    gauge("level0_files", "Files in level 0; writes slow down at 24 and stop at 40.")?,
                ),
                ("rocksdb.is-write-stopped", gauge("write_stopped", "1 while RocksDB lets nobody write.")?),
                (
                    "rocksdb.actual-delayed-write-rate",
                    gauge(
                        "delayed_write_rate_bytes",
                        "Bytes a second that writes are slowed down to; 0 when they are not.",
                    )?,
                ),
                ("rocksdb.background-errors", gauge("background_errors", "Errors of flushes and compactions.")?),
            ],
            files: gauge("files", "Table files, each of which is held open.")?,
            tickers: vec![
                (Ticker::BytesWritten, counter("written_bytes_total", "Bytes of all write batches.")?),
                (Ticker::FlushWriteBytes, counter("flush_written_bytes_total", "Bytes written by flushes.")?),
                (Ticker::CompactReadBytes, counter("compaction_read_bytes_total", "Bytes read by compactions.")?),
                (
                    Ticker::CompactWriteBytes,
                    counter("compaction_written_bytes_total", "Bytes written by compactions.")?,
                ),
                (Ticker::BlockCacheHit, counter("block_cache_hits_total", "Blocks found in the cache.")?),
                (Ticker::BlockCacheMiss, counter("block_cache_misses_total", "Blocks not found in the cache.")?),
                (
                    Ticker::StallMicros,
                    counter(
                        "stall_microseconds_total",
                        "Microseconds that writes had to wait for flushes and compactions.",
                    )?,
                ),
            ],
        })
    }
}

impl Collector for RocksDb {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges
            .iter()
            .flat_map(|(_, it)| it.desc())
            .chain(self.files.desc())
            .chain(self.tickers.iter().flat_map(|(_, it)| it.desc()))
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Some(database) = self.reader.database() {
            self.read(&database);
        }
        let gauges = self.gauges.iter().flat_map(|(_, it)| it.collect());
        let tickers = self.tickers.iter().flat_map(|(_, it)| it.collect());
        gauges.chain(self.files.collect()).chain(tickers).collect()
    }
}

impl RocksDb {
    fn read(&self, database: &Database) {
        for (property, gauge) in &self.gauges {
            if let Ok(Some(value)) = database.db.property_int_value(*property) {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        self.files.set(i64::try_from(database.files()).unwrap_or(i64::MAX));
        for (ticker, counter) in &self.tickers {
            // A new generation counts from 0: a counter's reset, as Prometheus expects of a restart.
            let now = database.options.get_ticker_count(*ticker);
            if now < counter.get() {
                counter.reset();
            }
            counter.inc_by(now - counter.get());
        }
    }
}
