//! `rollcall snapshot save`: a backup of a running cluster.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_proto::api::{
    SaveSnapshotRequest, SaveSnapshotResponse, cluster_service_client::ClusterServiceClient,
};
use rollcall_registry::backup::BackupFile;
use tempfile::NamedTempFile;
use tonic::Streaming;

use super::{blocking, print_backup};
use crate::cli::{CliError, client, output::Output};

/// `rollcall snapshot save`.
#[derive(Debug, Args)]
pub struct Save {
    /// The file to write; one that is there is replaced once the new one is complete and checked
    file: PathBuf,
    /// Save what the asked node has, without asking the leader: works without a quorum, and may lack the last changes
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Save {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut client = ClusterServiceClient::new(self.nodes.connect().await?);
        let request = SaveSnapshotRequest { stale: self.stale };
        let mut parts = client.save_snapshot(request).await?.into_inner();
        let named = self.file.parent().filter(|path| !path.as_os_str().is_empty());
        let folder = named.unwrap_or(Path::new(".")).to_owned();
        let mut file =
            tempfile::Builder::new().prefix(".rollcall-").suffix(".partial").tempfile_in(&folder)?;
        receive(&mut parts, &mut file).await?;
        let saved = blocking(move || publish(file, &self.file, &folder)).await??;
        print_backup(&saved, self.output.output)
    }
}

async fn receive(
    parts: &mut Streaming<SaveSnapshotResponse>,
    file: &mut NamedTempFile,
) -> Result<(), CliError> {
    let cut = || CliError::Io("the node ended the backup before it was complete".to_owned());
    let manifest = parts.message().await?.and_then(|first| first.manifest).ok_or_else(cut)?;
    // Drawn on stderr, and only if that is a terminal.
    let progress = ProgressBar::new(manifest.file_bytes).with_style(style());
    let mut bytes = 0;
    while let Some(part) = parts.message().await? {
        file.write_all(&part.data)?;
        bytes += part.data.len() as u64;
        progress.set_position(bytes);
    }
    progress.finish_and_clear();
    if bytes == manifest.file_bytes { Ok(()) } else { Err(cut()) }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("saving {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Checks what arrived as `inspect` does, then gives it its name, durably. Blocks.
fn publish(file: NamedTempFile, target: &Path, folder: &Path) -> Result<BackupFile, CliError> {
    file.as_file().sync_all()?;
    let checked = BackupFile::open(file.path())?;
    file.persist(target).map_err(|error| CliError::Io(error.to_string()))?;
    File::open(folder)?.sync_all()?;
    Ok(checked.moved_to(target))
}
