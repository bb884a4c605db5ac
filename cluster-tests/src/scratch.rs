//! A test's folder: data and logs; kept when the test fails, removed when it passes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context;

use crate::warden;

/// A folder that vanishes only on success: dropped before [`Scratch::discard`], it stays, and says where it is.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    discarded: AtomicBool,
}

impl Scratch {
    /// Makes a new folder whose name begins with `name`.
    ///
    /// # Errors
    /// The temporary folder is not writable.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("rollcall-{name}-"))
            .tempdir()
            .context("cannot make a temporary folder")?;
        Ok(Self { path: folder.keep(), discarded: AtomicBool::new(false) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder inside.
    ///
    /// # Errors
    /// The file system's.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// The test has passed: removes the folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn discard(&self) -> anyhow::Result<()> {
        self.discarded.store(true, Ordering::Relaxed);
        fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }

    /// Removes the folder when this process ends, unless [`Scratch::keep`] is called before.
    pub(crate) fn discard_at_exit(&self) {
        warden::discard(&self.path);
    }

    /// A test has failed: leaves the folder, and says where it is.
    pub(crate) fn keep(&self) {
        warden::keep(&self.path);
        eprintln!("logs and data are kept in {}", self.path.display());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.discarded.load(Ordering::Relaxed) {
            self.keep();
        }
    }
}
