//! Turns: how many clusters run at once on this machine, over all test processes.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
};

use anyhow::{Context, bail};
use fs4::fs_std::FileExt;

use crate::{limits, wait::wait_until};

/// Permission to run a cluster, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _locked: File,
}

impl Turn {
    /// Waits for a turn.
    ///
    /// # Errors
    /// None came in time.
    pub(crate) async fn take() -> anyhow::Result<Self> {
        wait_until("fewer clusters run", limits::TURN_PATIENCE, async || {
            for number in 0..limits::CLUSTERS_AT_ONCE {
                if let Some(locked) = try_lock(&format!("turn-{number}"))? {
                    return Ok(Self { _locked: locked });
                }
            }
            bail!("all {} turns are taken", limits::CLUSTERS_AT_ONCE)
        })
        .await
    }
}

/// Locks a file that all test processes of this machine share; it is unlocked when dropped, or by the process' end.
pub(crate) fn try_lock(name: &str) -> anyhow::Result<Option<File>> {
    let folder = std::env::temp_dir().join("rollcall-cluster-tests");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path: PathBuf = folder.join(format!("{name}.lock"));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    Ok(file.try_lock_exclusive()?.then_some(file))
}
