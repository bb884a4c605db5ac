//! A command with the bytes that stand for it in the log.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use prost::Message;
use rollcall_proto::storage as proto;

use super::entry_codec::EntryCodecError;
use crate::{
    codec::{command_from_proto, command_to_proto, level_of},
    model::{command::Command, feature_level::FeatureLevel},
};

/// A command, encoded once, by the node that proposes it: the same bytes go into every log and to every follower.
///
/// Cheap to clone. Each node reads it once, when it receives it, and applies what it read then.
#[derive(Clone)]
pub struct LoggedCommand {
    command: Arc<Command>,
    bytes: Bytes,
    level: FeatureLevel,
}

impl LoggedCommand {
    /// A command of this node, encoded for a cluster at this level.
    pub fn new(command: Arc<Command>, level: FeatureLevel) -> Self {
        let written = command_to_proto(&command, level);
        Self { command, bytes: written.encode_to_vec().into(), level: level_of(&written) }
    }

    /// A command that another node, or an earlier life of this one, encoded. Keeps the bytes, and what they are a part of.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub fn read(bytes: Bytes) -> Result<Self, EntryCodecError> {
        let written = proto::Command::decode(bytes.clone())?;
        let level = level_of(&written);
        Ok(Self { command: Arc::new(command_from_proto(written)?), bytes, level })
    }

    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// The level that a node must know to read these bytes.
    pub fn level(&self) -> FeatureLevel {
        self.level
    }

    /// Its bytes: an encoded `rollcall.storage.v1.Command`.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// In the form that members of any level read.
impl From<Command> for LoggedCommand {
    fn from(command: Command) -> Self {
        Self::new(Arc::new(command), FeatureLevel::FIRST)
    }
}

impl PartialEq for LoggedCommand {
    fn eq(&self, other: &Self) -> bool {
        self.command == other.command
    }
}

impl Eq for LoggedCommand {}

impl fmt::Debug for LoggedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.command.fmt(f)
    }
}

impl fmt::Display for LoggedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.command.fmt(f)
    }
}
