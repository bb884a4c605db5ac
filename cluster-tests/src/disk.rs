//! A small file system of one's own, to be filled.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

/// A file system in memory of a few MiB; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one on a new folder; nothing where that is not permitted.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn mount(path: &Path, mebibytes: u32) -> anyhow::Result<Option<Self>> {
        fs::create_dir_all(path)?;
        let size = format!("size={mebibytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "rollcall-test"]).arg(path).output();
        let permitted = mounted.is_ok_and(|output| output.status.success());
        Ok(permitted.then(|| Self { path: path.to_owned() }))
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// It could not be begun.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = fs::File::create(self.ballast()).context("cannot begin to fill the disk")?;
        for piece in [vec![0; 64 * 1024], vec![0; 1]] {
            while ballast.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// It was not full.
    pub fn relieve(&self) -> anyhow::Result<()> {
        fs::remove_file(self.ballast()).context("the disk was not full")
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
