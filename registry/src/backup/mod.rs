//! Backups: the registry saved to a file, a new cluster restored from one, and recovery from a lost quorum.
//!
//! All of it works on records of `rollcall.storage.v1`. What a node does with the folder that is made here is no different
//! from any other folder of a single voter.

mod body;
mod error;
mod file;
mod manifest;
mod new_cluster;
mod recover;
mod restore;
mod rewrite;
mod save;
mod survey;
#[cfg(test)]
mod tests;

pub use error::{BackupError, Flaw, SaveError};
pub use file::BackupFile;
pub use manifest::Manifest;
pub use new_cluster::NewCluster;
pub use recover::{Loss, Survivor};
pub use restore::{Place, restore};
pub use save::{About, Backup, Freshness};
