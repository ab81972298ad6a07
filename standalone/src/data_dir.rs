//! What lies where under `--data-dir`.

use std::path::{Path, PathBuf};

use clap::Args;

/// The folder of everything that is kept.
#[derive(Debug, Clone, Args)]
pub struct DataDir {
    /// The folder that holds journal, store and dead letters
    #[arg(long = "data-dir", env = "EMBERLOG_DATA_DIR", value_name = "DIR", default_value = "./data")]
    pub path: PathBuf,
}

impl DataDir {
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    pub fn dead_letters(&self) -> PathBuf {
        self.path.join("dlq")
    }

    /// For commands on data that must be there: a mistyped folder is an error, not an empty answer.
    pub fn must_exist(&self) -> anyhow::Result<&Path> {
        anyhow::ensure!(
            self.journal().is_dir(),
            "{} holds no Emberlog data; name the server's folder with --data-dir",
            self.path.display()
        );
        Ok(&self.path)
    }
}
