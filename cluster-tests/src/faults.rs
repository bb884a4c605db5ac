//! The file by which a node's faults are switched, and what the node has understood of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rollcall_registry::faults::{FILE_VARIABLE, Switch};

use crate::{limits, wait_until};

/// The file of one node.
#[derive(Debug, Clone)]
pub(crate) struct FaultFile(PathBuf);

impl FaultFile {
    /// The file at this path; it need not exist.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The variable that tells a node of it.
    pub(crate) fn variable(&self) -> (&'static str, &Path) {
        (FILE_VARIABLE, &self.0)
    }

    /// Says that these are on, and no others. Whole or not at all: the node may read at any time.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write(&self, on: &[Switch]) -> anyhow::Result<()> {
        let draft = self.0.with_extension("draft");
        std::fs::write(&draft, words(on)).with_context(|| format!("cannot write {}", draft.display()))?;
        std::fs::rename(&draft, &self.0).with_context(|| format!("cannot write {}", self.0.display()))
    }

    /// Waits until the node has understood just that.
    ///
    /// # Errors
    /// It does not in time.
    pub(crate) async fn heard(&self, on: &[Switch]) -> anyhow::Result<()> {
        let mut seen = self.0.clone().into_os_string();
        seen.push(".seen");
        let wanted = words(on);
        wait_until("its faults are switched", limits::SPREAD_PATIENCE, async || {
            let heard = std::fs::read_to_string(&seen).context("it has heard of none")?;
            ensure!(heard == wanted, "it has heard {heard:?}, not {wanted:?}");
            Ok(())
        })
        .await
    }
}

fn words(on: &[Switch]) -> String {
    on.iter().map(|switch| switch.word()).collect::<Vec<_>>().join(" ")
}
