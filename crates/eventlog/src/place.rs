//! Where files are: a path of this machine, or a bucket that speaks S3's protocol. Names inside come from outside, so that
//! [`Place::child`] takes none that leads elsewhere.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::buffered::BufWriter;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use crate::{Error, Result};

/// Cheap to clone.
#[derive(Clone)]
pub enum Place {
    Path(PathBuf),
    Bucket(Bucket),
}

#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    name: Arc<str>,
    key: Key,
    runtime: Arc<Runtime>,
}

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub size: u64,
    pub is_dir: bool,
    pub modified: Option<SystemTime>,
}

impl Place {
    /// `s3://bucket/prefix`, else a path. Credentials, region and endpoint of S3 are taken from the usual variables
    /// (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL` and so on) or from the machine that this runs on.
    pub fn parse(text: &str) -> Result<Self> {
        let rest = ["s3://", "s3a://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let Some(rest) = rest else {
            return match text.split_once("://") {
                Some(("file", path)) => Ok(Self::Path(path.into())),
                Some((scheme, _)) => Err(Error::Place(format!("{text}: {scheme}:// is not supported; s3:// is"))),
                None => Ok(Self::Path(text.into())),
            };
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let bad = |e: &dyn fmt::Display| Error::Place(format!("{text}: {e}"));
        // Whoever set up a provider before has chosen the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let endpoints = [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint];
        let is_http = |it: &AmazonS3ConfigKey| builder.get_config_value(it).is_some_and(|it| it.starts_with("http:"));
        if endpoints.iter().any(is_http) {
            builder = builder.with_allow_http(true);
        }
        Ok(Self::Bucket(Bucket {
            store: Arc::new(builder.build().map_err(|e| bad(&e))?),
            name: bucket.into(),
            key: Key::parse(key.trim_matches('/')).map_err(|e| bad(&e))?,
            runtime: Arc::new(Runtime::new().map_err(|e| bad(&e))?),
        }))
    }

    pub fn is_path(&self) -> bool {
        matches!(self, Self::Path(_))
    }

    /// The last part of its name.
    pub fn name(&self) -> Option<String> {
        match self {
            // `.` and `..` have a name elsewhere.
            Self::Path(path) => match path.file_name() {
                Some(name) => Some(name.to_string_lossy().into_owned()),
                None => Some(path.canonicalize().ok()?.file_name()?.to_string_lossy().into_owned()),
            },
            Self::Bucket(bucket) => bucket.key.filename().map(str::to_owned),
        }
    }

    /// What is called `name` in this folder.
    pub fn child(&self, name: &str) -> Result<Self> {
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
            return Err(Error::Place(format!("{name:?} is no name of a file")));
        }
        Ok(match self {
            Self::Path(path) => Self::Path(path.join(name)),
            Self::Bucket(bucket) => Self::Bucket(Bucket { key: bucket.key.clone().join(name), ..bucket.clone() }),
        })
    }

    /// What is there, if anything.
    pub fn stat(&self) -> Result<Option<Entry>> {
        let name = self.name().unwrap_or_default();
        match self {
            Self::Path(path) => match fs::metadata(path) {
                Ok(meta) => Ok(Some(entry(name, &meta))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(self.io(e)),
            },
            Self::Bucket(it) if it.key.as_ref().is_empty() => {
                Ok(Some(Entry { name, size: 0, is_dir: true, modified: None }))
            }
            Self::Bucket(it) => match it.runtime.block_on(it.store.head(&it.key)) {
                Ok(meta) => {
                    Ok(Some(Entry { name, size: meta.size, is_dir: false, modified: Some(meta.last_modified.into()) }))
                }
                Err(object_store::Error::NotFound { .. }) => {
                    let is_dir = !self.list()?.is_empty();
                    Ok(is_dir.then_some(Entry { name, size: 0, is_dir, modified: None }))
                }
                Err(e) => Err(self.object(e)),
            },
        }
    }

    /// What this folder holds, by name. A folder that is not there is empty in a bucket.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = match self {
            Self::Path(path) => {
                let mut entries = Vec::new();
                for found in fs::read_dir(path).map_err(|e| self.io(e))? {
                    let found = found.map_err(|e| self.io(e))?;
                    // Names that are no text are not Spark's; and files come and go.
                    let (Ok(name), Ok(meta)) = (found.file_name().into_string(), fs::metadata(found.path())) else {
                        continue;
                    };
                    entries.push(entry(name, &meta));
                }
                entries
            }
            Self::Bucket(it) => {
                let listed = it.runtime.block_on(it.store.list_with_delimiter(Some(&it.key)));
                let listed = listed.map_err(|e| self.object(e))?;
                let name = |key: &Key| key.filename().unwrap_or_default().to_owned();
                let dirs = listed.common_prefixes.iter();
                let dirs = dirs.map(|it| Entry { name: name(it), size: 0, is_dir: true, modified: None });
                let files = listed.objects.iter().map(|it| Entry {
                    name: name(&it.location),
                    size: it.size,
                    is_dir: false,
                    modified: Some(it.last_modified.into()),
                });
                dirs.chain(files).collect()
            }
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub fn open(&self) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Path(path) => Ok(Box::new(File::open(path).map_err(|e| self.io(e))?)),
            Self::Bucket(it) => {
                let got = it.runtime.block_on(it.store.get(&it.key)).map_err(|e| self.object(e))?;
                let stream = got.into_stream();
                Ok(Box::new(Download { stream, piece: bytes::Bytes::new(), runtime: it.runtime.clone() }))
            }
        }
    }

    /// A file that appears whole under its name when it is finished, or not at all.
    pub fn create(&self) -> Result<Sink> {
        Ok(Sink(match self {
            Self::Path(path) => Inner::File(NewFile::create(path).map_err(|e| self.io(e))?),
            Self::Bucket(it) => {
                let writer = BufWriter::new(it.store.clone(), it.key.clone());
                Inner::Object { writer: Box::new(writer), runtime: it.runtime.clone(), is_finished: false }
            }
        }))
    }

    pub fn create_dir(&self) -> Result<()> {
        match self {
            Self::Path(path) => fs::create_dir_all(path).map_err(|e| self.io(e)),
            Self::Bucket(_) => Ok(()),
        }
    }

    pub fn io(&self, source: io::Error) -> Error {
        Error::Io { place: self.to_string(), source }
    }

    fn object(&self, source: object_store::Error) -> Error {
        Error::Object { place: self.to_string(), source }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Bucket(it) => write!(f, "s3://{}/{}", it.name, it.key),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn entry(name: String, meta: &fs::Metadata) -> Entry {
    Entry { name, size: meta.len(), is_dir: meta.is_dir(), modified: meta.modified().ok() }
}

struct Download {
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    piece: bytes::Bytes,
    runtime: Arc<Runtime>,
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let len = out.len().min(self.piece.len());
        out[..len].copy_from_slice(&self.piece.split_to(len));
        Ok(len)
    }
}

/// Takes the bytes of a new file. Dropped before it is finished, nothing remains of it.
pub struct Sink(Inner);

enum Inner {
    File(NewFile),
    Object { writer: Box<BufWriter>, runtime: Arc<Runtime>, is_finished: bool },
}

struct NewFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

impl NewFile {
    fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        // The History Server passes over names that begin with a dot.
        let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        Ok(Self { file: File::create(&partial)?, partial, path: path.to_owned(), is_finished: false })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        self.is_finished = true;
        let dir = self.path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }
}

impl Sink {
    /// Makes the file appear, durably.
    pub fn finish(mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::File(file) => file.finish(),
            Inner::Object { writer, runtime, is_finished } => {
                runtime.block_on(writer.shutdown())?;
                *is_finished = true;
                Ok(())
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::File(file) => file.file.write(bytes),
            Inner::Object { writer, runtime, .. } => runtime.block_on(writer.write(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        match &mut self.0 {
            Inner::File(file) if !file.is_finished => {
                // What cannot be removed is hidden by its name.
                let _ = fs::remove_file(&file.partial);
            }
            Inner::Object { writer, runtime, is_finished: false } => {
                // Parts of an upload that is never completed are no object; buckets expire them.
                let _ = runtime.block_on(writer.abort());
            }
            Inner::File(_) | Inner::Object { .. } => {}
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
