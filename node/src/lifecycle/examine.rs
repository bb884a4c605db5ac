//! What a node measures of its surroundings: its disk, its files, the names that it needs.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::future::join_all;
use rustix::{
    fs::statvfs,
    process::{Resource, getrlimit},
};
use tokio::{net::lookup_host, time::timeout};

use crate::limits::{FSYNC_BYTES, FSYNC_TRIES, NAME_PATIENCE};

/// A disk, as its data folder shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// How long flushing a small write took: the median of [`FSYNC_TRIES`].
    pub fsync: Duration,
    /// What is free.
    pub free_bytes: u64,
    /// How large it is.
    pub bytes: u64,
}

/// Open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// How many there are, sockets included.
    pub open: u64,
    /// How many there may be; `None`: as many as it likes.
    pub limit: Option<u64>,
}

/// Whether a name can be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFound {
    /// `host:port`.
    pub name: String,
    /// Why it cannot be.
    pub error: Option<String>,
    /// How long the answer took.
    pub took: Duration,
}

/// Writes and flushes a file without a name in this folder.
///
/// # Errors
/// The file system's.
pub async fn disk(folder: PathBuf) -> io::Result<Disk> {
    let measured = tokio::task::spawn_blocking(move || measure(&folder)).await;
    measured.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn measure(folder: &Path) -> io::Result<Disk> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(FSYNC_TRIES);
    for _ in 0..FSYNC_TRIES {
        let began = Instant::now();
        file.write_all(&[0; FSYNC_BYTES])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let space = statvfs(folder)?;
    Ok(Disk {
        fsync: times[FSYNC_TRIES / 2],
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        bytes: space.f_blocks.saturating_mul(space.f_frsize),
    })
}

/// The open files of this process, as Linux counts them; elsewhere none.
pub fn open_files() -> OpenFiles {
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    OpenFiles { open, limit: getrlimit(Resource::Nofile).current }
}

/// Resolves all of these `host:port` at once.
pub async fn names(names: impl IntoIterator<Item = String>) -> Vec<NameFound> {
    join_all(names.into_iter().map(find)).await
}

async fn find(name: String) -> NameFound {
    let began = Instant::now();
    let error = match timeout(NAME_PATIENCE, lookup_host(&name)).await {
        Err(_) => Some(format!("no answer within {} s", NAME_PATIENCE.as_secs())),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(mut found)) => found.next().is_none().then(|| "it has no address".to_owned()),
    };
    NameFound { name, error, took: began.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_shows_its_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = disk(folder.path().to_owned()).await.expect("a disk");
        assert!(disk.fsync > Duration::ZERO && disk.free_bytes <= disk.bytes && disk.bytes > 0, "{disk:?}");
        assert_eq!(fs::read_dir(folder.path()).expect("entries").count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_name_without_an_address_says_so() {
        let found = names(["localhost:1".to_owned(), "no-such-name.invalid:1".to_owned()]).await;
        assert_eq!(found[0].error, None);
        assert!(found[1].error.is_some(), "{found:?}");
    }
}
