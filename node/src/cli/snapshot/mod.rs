//! `rollcall snapshot`: backups of the registry.

mod inspect;
mod restore;
mod save;

use std::time::SystemTime;

use clap::Subcommand;
use rollcall_registry::backup::{BackupFile, NewCluster};
use serde_json::{Value, json};

use super::{
    CliError,
    output::{self, Form},
};

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Save the registry of a running cluster to a file.
    Save(save::Save),
    /// Check a backup from end to end, and print what it holds.
    Inspect(inspect::Inspect),
    /// Make a new cluster from a backup, in an empty data folder, without any node running.
    Restore(restore::Restore),
}

impl Snapshot {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Save(command) => command.run().await,
            Self::Inspect(command) => command.run().await,
            Self::Restore(command) => command.run().await,
        }
    }
}

/// Does what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| CliError::Io(panic.to_string()))
}

/// Prints what a backup holds.
fn print_backup(backup: &BackupFile, form: Form) -> Result<(), CliError> {
    let manifest = backup.manifest();
    let sha256: String = manifest.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    let created_at = manifest.created_at().map(rfc3339).unwrap_or_default();
    match form {
        Form::Json => output::print_json(&json!({
            "file": backup.path().display().to_string(),
            "format": manifest.format(),
            "cluster_id": manifest.cluster().to_string(),
            "index": manifest.index().0,
            "term": manifest.term(),
            "voters": manifest.voters(),
            "learners": manifest.learners(),
            "nodes": manifest.nodes(),
            "devices": manifest.devices(),
            "sessions": manifest.sessions(),
            "created_at": created_at,
            "version": manifest.version(),
            "saved_by": manifest.saved_by(),
            "file_bytes": backup.file_bytes(),
            "sha256": sha256,
        }))?,
        Form::Text => output::print(&output::facts([
            ("file", format!("{}, {} bytes", backup.path().display(), backup.file_bytes())),
            ("cluster", manifest.cluster().to_string()),
            ("index", format!("{} (term {})", manifest.index(), manifest.term())),
            ("voters", manifest.voters().join(", ")),
            ("learners", manifest.learners().join(", ")),
            ("nodes", manifest.nodes().to_string()),
            ("devices", format!("{} known, {} connected", manifest.devices(), manifest.sessions())),
            ("saved", format!("{created_at} by {}, Rollcall {}", manifest.saved_by(), manifest.version())),
            ("format", manifest.format().to_string()),
            ("sha256", sha256),
        ]))?,
    }
    Ok(())
}

fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// Prints a new cluster, and what to do with it.
pub(super) fn print_new_cluster(new: &NewCluster, data_dir: &str, form: Form) -> Result<(), CliError> {
    let archive = new.archive.as_ref().map(|path| path.display().to_string());
    match form {
        Form::Json => output::print_json(&as_json(new, data_dir, archive.as_deref()))?,
        Form::Text => {
            let facts = output::facts([
                ("cluster", new.cluster.to_string()),
                ("founder", format!("{} (node {})", new.name, new.node)),
                ("index", new.index.to_string()),
                ("epochs", format!("above {}", new.epoch_base)),
                ("devices", new.devices.to_string()),
                ("former", archive.unwrap_or_default()),
            ]);
            output::print(&format!(
                "{facts}\n\nStart it with: rollcall serve --name {} --data-dir {data_dir}\n\
                 The other nodes join it with empty data folders: rollcall serve --join PEER_ADDR ...",
                new.name
            ))?;
        }
    }
    Ok(())
}

fn as_json(new: &NewCluster, data_dir: &str, archive: Option<&str>) -> Value {
    json!({
        "cluster_id": new.cluster.to_string(),
        "name": new.name,
        "node_id": new.node.0,
        "index": new.index.0,
        "epoch_base": new.epoch_base.0,
        "devices": new.devices,
        "data_dir": data_dir,
        "archive": archive,
    })
}
