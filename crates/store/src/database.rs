//! RocksDB, opened and tuned for Spark events.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, LogLevel, ReadOptions, statistics::StatsLevel,
};

use crate::table::meta;
use crate::whole::{Finding, Seen};
use crate::{Error, Result};

/// What a deployment may want to change.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for decompressed blocks, bytes.
    pub block_cache: usize,
    /// Size of one memtable, bytes of events; up to three of them are in memory.
    pub memtable: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { block_cache: 64 << 20, memtable: 64 << 20 }
    }
}

/// An open RocksDB with what its options share.
pub(crate) struct Database {
    pub(crate) db: DB,
    pub(crate) options: rocksdb::Options,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.db.path()).finish()
    }
}

impl Database {
    /// Opens for writing; creates what is not there.
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Arc<Self>> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Io { path: dir.into(), source })?;
        let options = rocksdb_options(options);
        let db = DB::open(&options, dir).map_err(|e| locked(e, dir))?;
        match db.get(meta::FORMAT_KEY)? {
            None => db.put(meta::FORMAT_KEY, meta::FORMAT)?,
            Some(format) => check_format(&format)?,
        }
        // A secondary can keep an old memtable of a primary that opened again (facebook/rocksdb#14444).
        db.flush()?;
        Ok(Arc::new(Self { db, options }))
    }

    /// Opens as it is now, beside a process that writes to it; later writes stay invisible.
    ///
    /// RocksDB reads the MANIFEST before the WALs: a flush between the two would hide batches in the middle, so a
    /// view that may lack one is opened again.
    pub(crate) fn open_frozen(dir: &Path, options: &Options) -> Result<Arc<Self>> {
        const ATTEMPTS: usize = 20;
        let options = rocksdb_options(options);
        let (mut seen, mut failure) = (Seen::default(), None);
        for _ in 0..ATTEMPTS {
            let db = match DB::open_for_read_only(&options, dir, false) {
                Ok(db) => db,
                // A compaction may remove a file between its listing and its opening.
                Err(error) => {
                    failure = Some(error);
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            has_format(&db, dir)?;
            if let Finding::Whole(_) = seen.judge(&db, true)? {
                return Ok(Arc::new(Self { db, options }));
            }
        }
        Err(match failure {
            Some(error) => error.into(),
            None => Error::Damaged(format!("{}: no whole view in {ATTEMPTS} attempts", dir.display())),
        })
    }

    /// Opens to follow a process that writes to it. RocksDB's own files of this instance are in `own`.
    pub(crate) fn open_secondary(dir: &Path, own: &Path, options: &Options) -> Result<Arc<Self>> {
        // The crate would make the folder.
        if !dir.join("CURRENT").exists() {
            return Err(Error::NotYet(format!("{} holds no store", dir.display())));
        }
        std::fs::create_dir_all(own).map_err(|source| Error::Io { path: own.into(), source })?;
        let mut options = rocksdb_options(options);
        options.set_max_file_opening_threads(opening_threads());
        let db = DB::open_as_secondary(&options, dir, own)?;
        has_format(&db, dir)?;
        Ok(Arc::new(Self { db, options }))
    }

    /// Table files in use.
    pub(crate) fn files(&self) -> u64 {
        let level = |level: i32| self.db.property_int_value(&*format!("rocksdb.num-files-at-level{level}"));
        (0..self.options.get_num_levels()).filter_map(|it| level(it).ok().flatten()).sum()
    }

    /// For scans of events: they would push everything else out of the cache.
    pub(crate) fn scan_options() -> ReadOptions {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(1 << 20);
        options
    }
}

/// RocksDB starts and joins as many threads less one in every catch-up, new files or not: 1.6 ms instead of 0.15 with its
/// default of 16. It does so between the MANIFEST and the WALs, where a flush makes a view torn.
#[cfg(not(test))]
fn opening_threads() -> i32 {
    1
}

#[cfg(test)]
use crate::secondary::truth::opening_threads;

/// Another format, or none, is no store to read.
fn has_format(db: &DB, dir: &Path) -> Result<()> {
    match db.get(meta::FORMAT_KEY)? {
        Some(format) => check_format(&format),
        None => Err(Error::NotYet(format!("{} holds no store", dir.display()))),
    }
}

fn check_format(found: &[u8]) -> Result<()> {
    if found == meta::FORMAT.as_bytes() {
        return Ok(());
    }
    Err(Error::Format { found: String::from_utf8_lossy(found).into_owned(), expected: meta::FORMAT })
}

fn locked(error: rocksdb::Error, dir: &Path) -> Error {
    if error.kind() == rocksdb::ErrorKind::IOError && error.to_string().contains("lock") {
        return Error::Locked(dir.into());
    }
    error.into()
}

/// The options that every store is opened with, for measuring what RocksDB alone can do with them.
pub fn rocksdb_options(chosen: &Options) -> rocksdb::Options {
    let mut table = BlockBasedOptions::default();
    // Spark events repeat each other: at 64 KiB a block takes 78 bytes an event, at 256 KiB 58, and a block is
    // still decompressed in a tenth of a millisecond.
    table.set_block_size(256 << 10);
    table.set_block_cache(&Cache::new_lru_cache(chosen.block_cache));
    table.set_bloom_filter(10.0, false);
    table.set_format_version(6);
    table.set_index_type(BlockBasedIndexType::BinarySearch);

    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Zstd);
    // At this block size level 1 makes files no larger than level 3, for less processor time.
    options.set_compression_options(-14, 1, 0, 0);
    // There is one writer.
    options.set_allow_concurrent_memtable_write(false);
    options.set_write_buffer_size(chosen.memtable);
    options.set_max_write_buffer_number(3);
    // Sizes of files are compressed sizes: a memtable of 64 MiB becomes a file of some 3 MB.
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_level_zero_file_num_compaction_trigger(8);
    options.set_level_zero_slowdown_writes_trigger(24);
    options.set_level_zero_stop_writes_trigger(40);
    options.set_max_bytes_for_level_base(64 << 20);
    options.set_target_file_size_base(32 << 20);
    options.set_max_background_jobs(2);
    options.set_max_open_files(-1);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(4 << 20);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_log_level(LogLevel::Warn);
    options.enable_statistics();
    options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    options
}
