//! What lies where under `--data-dir`.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
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

    /// Makes the store's folder if it is not there, for its owner only, as the journals' are made.
    pub fn create_store(&self) -> anyhow::Result<PathBuf> {
        let store = self.store();
        let failed = || format!("cannot make the folder {}", store.display());
        fs::create_dir_all(&self.path).with_context(failed)?;
        match DirBuilder::new().mode(0o700).create(&store) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).with_context(failed),
            _ => Ok(store),
        }
    }

    /// What is there already keeps its permissions, which may be too wide.
    pub fn warn_if_open(&self) {
        let dir = self.dead_letters();
        if dir.metadata().is_ok_and(|it| it.mode() & 0o077 != 0) {
            tracing::warn!(
                "{} is open to other users of this machine, and dead letters may hold secrets: chmod -R go= {}",
                dir.display(),
                self.path.display()
            );
        }
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
