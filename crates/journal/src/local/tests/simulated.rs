//! Files in memory that forget at a power cut what was not synced, and fail on demand.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::local::storage::{File, Storage};

#[derive(Debug, Clone, Default)]
pub struct Simulated(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Clone, Default)]
pub struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    /// Calls that change something, so far.
    pub calls: usize,
    /// The power goes at this call: it and all that follow change nothing and fail.
    pub cut_at: Option<usize>,
    pub ignore_file_sync: bool,
    pub ignore_dir_sync: bool,
    pub fail_sync: bool,
    pub fail_truncate: bool,
    pub fail_rename: Option<ErrorKind>,
    /// Calls of `File::sync` wait while this is set.
    pub hold_sync: bool,
    /// Calls of `File::sync` that have been made.
    pub syncs: usize,
    /// Bytes left on the disk.
    pub space: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

/// What a power cut leaves of bytes that were written and not synced.
#[derive(Debug, Clone, Copy)]
pub enum Unsynced {
    Dropped,
    /// The first half of them.
    Half,
    /// Their length, but zeros in their place.
    Zeros,
}

impl Simulated {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub fn release_sync(&self) {
        self.lock().hold_sync = false;
        self.0.released.notify_all();
    }

    /// The disk as the next process finds it.
    pub fn after_power_cut(&self, unsynced: Unsynced) -> Self {
        let before = self.lock().clone();
        let files = before.files.iter().map(|it| it.after_power_cut(unsynced)).collect();
        let names = before.durable_names;
        let state = State { durable_names: names.clone(), names, files, ..State::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), ..Inner::default() }))
    }

    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.files[state.names[name]].bytes.clone()
    }

    /// Puts a durable file in place of what was there.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        state.files.push(Content { durable: bytes.clone(), bytes });
        let file = state.files.len() - 1;
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    /// Changes a file in place: who has it open sees it.
    pub fn overwrite(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let file = state.names[name];
        state.files[file].bytes = bytes;
    }

    /// A copy that shares nothing.
    pub fn copy(&self) -> Self {
        let state = Mutex::new(self.lock().clone());
        Self(Arc::new(Inner { state, ..Inner::default() }))
    }
}

impl Content {
    fn after_power_cut(&self, unsynced: Unsynced) -> Self {
        let mut bytes = self.durable.clone();
        let rest = self.bytes.get(bytes.len()..).unwrap_or_default();
        match unsynced {
            Unsynced::Dropped => {}
            Unsynced::Half => bytes.extend_from_slice(&rest[..rest.len() / 2]),
            Unsynced::Zeros => bytes.resize(bytes.len() + rest.len(), 0),
        }
        Self { durable: bytes.clone(), bytes }
    }
}

impl State {
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.cut_at {
            Some(cut) if self.calls > cut => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Storage for Simulated {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        state.call()?;
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.names.insert(name.to_owned(), file);
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = *self.lock().names.get(name).ok_or_else(not_found)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        if let Some(kind) = state.fail_rename {
            return Err(kind.into());
        }
        let file = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.names.remove(name).map(|_| ()).ok_or_else(not_found)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        if !state.ignore_dir_sync {
            state.durable_names = state.names.clone();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    file: usize,
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let bytes = &state.files[self.file].bytes;
        let from = (at as usize).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.call()?;
        let count = state.space.unwrap_or(usize::MAX).min(bytes.len());
        state.space = state.space.map(|it| it - count);
        let (from, content) = (at as usize, &mut state.files[self.file].bytes);
        content.resize(content.len().max(from + count), 0);
        content[from..from + count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.call()?;
        if state.fail_truncate {
            return Err(io::Error::other("no truncation"));
        }
        state.files[self.file].bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        while state.hold_sync {
            state = self.disk.0.released.wait(state).unwrap();
        }
        state.call()?;
        state.syncs += 1;
        if state.fail_sync {
            return Err(io::Error::other("no fsync"));
        }
        if !state.ignore_file_sync {
            let content = &mut state.files[self.file];
            content.durable = content.bytes.clone();
        }
        Ok(())
    }
}
