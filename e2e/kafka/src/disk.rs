//! What happens to the files of a broker that does not run.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::Cluster;

impl Cluster {
    fn log_file(&self, topic: &str) -> PathBuf {
        self.partition_dir(1, topic, 0).join("00000000000000000000.log")
    }

    /// What a power cut does to a log that was never synced: half of partition 0 is gone, and what node 1 noted beside it.
    pub fn cut_back(&self, topic: &str) {
        let log = self.log_file(topic);
        let file = OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        for entry in log.parent().unwrap().read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "snapshot") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// Changes a byte of the last record batch of partition 0 that node 1 holds; again, and it is as before.
    pub fn damage_last_batch(&self, topic: &str) {
        let file = OpenOptions::new().read(true).write(true).open(self.log_file(topic)).unwrap();
        let end = file.metadata().unwrap().len();
        let (mut batch, mut next) = (0, 0);
        while next < end {
            batch = next;
            let mut length = [0; 4];
            file.read_exact_at(&mut length, batch + 8).unwrap();
            next = batch + 12 + u64::from(u32::from_be_bytes(length));
        }
        // A batch's header has 61 bytes, its first 21 without a checksum.
        let mut byte = [0];
        file.read_exact_at(&mut byte, batch + 61).unwrap();
        file.write_all_at(&[!byte[0]], batch + 61).unwrap();
    }
}
