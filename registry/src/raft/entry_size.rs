//! How large an entry may be, judged before it is proposed: one that the log cannot take would stop the leader, and one
//! whose record no snapshot can hold would stop every node later.

use prost::Message;

use super::{
    entry_codec::membership_to_proto,
    logged_command::LoggedCommand,
    type_config::{Member, Membership},
};
use crate::{
    limits::{BATCH_BYTES, LOG_ENTRY_BYTES, LOG_ENTRY_HEAD_BYTES, MEMBER_TEXT_BYTES},
    model::command::{Command, SessionChange},
};

/// A change that is too large to be written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the change takes {bytes} bytes of the log, at most {limit} are possible")]
pub(crate) struct TooLarge {
    /// What it would take.
    pub(crate) bytes: usize,
    /// What is possible.
    pub(crate) limit: usize,
}

/// Refuses what takes more than `limit`.
fn at_most(bytes: usize, limit: usize) -> Result<(), TooLarge> {
    if bytes > limit { Err(TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Judges a command.
///
/// # Errors
/// The whole does not fit into an entry, or one record in it is larger than [`BATCH_BYTES`].
pub(super) fn judge(logged: &LoggedCommand) -> Result<(), TooLarge> {
    let limit = match logged.command() {
        Command::Batch(batch) => {
            batch.changes.iter().try_for_each(judge_change)?;
            LOG_ENTRY_BYTES
        }
        Command::RemoveExpired(_) | Command::Sweep(_) => LOG_ENTRY_BYTES,
        Command::FoundCluster(_)
        | Command::AdmitNode(_)
        | Command::NodeUp(_)
        | Command::NodeDown(_)
        | Command::NodeDraining(_)
        | Command::RemoveNode(_)
        | Command::SetSuffrage(_)
        | Command::PutDevice(_)
        | Command::DeleteDevice(_)
        | Command::SetPolicy(_)
        | Command::SetGroupPolicy(_)
        | Command::SetAccessRules(_)
        | Command::RaiseLevel(_) => BATCH_BYTES,
    };
    at_most(logged.bytes().len() + LOG_ENTRY_HEAD_BYTES, limit)
}

/// Judges one change of a session.
pub(crate) fn judge_change(change: &SessionChange) -> Result<(), TooLarge> {
    at_most(change.encoded_bytes(), BATCH_BYTES)
}

/// Judges what Raft's membership is to remember of a node, beside what it remembers already.
///
/// # Errors
/// A text of the member's is longer than [`MEMBER_TEXT_BYTES`], or there are so many members that a change of them, which
/// names all of them, comes near the largest entry.
pub(super) fn judge_member(member: &Member, beside: &Membership) -> Result<(), TooLarge> {
    at_most(member.name.len().max(member.peer_addr.len()), MEMBER_TEXT_BYTES)?;
    let known = membership_to_proto(beside).encoded_len();
    at_most(known + member.name.len() + member.peer_addr.len(), LOG_ENTRY_BYTES / 2)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        command::{Batch, ChangeKind, Expect, OpenSession, PutDevice},
        feature_level::FeatureLevel,
        ids::{AttachNumber, BatchNumber, DeviceKey, Etag, Incarnation, InstanceId, NodeId, UnixMillis},
        profile::Profile,
    };

    /// With a group of its own, or batches would name it once for all.
    fn opening(number: usize, name_bytes: usize) -> SessionChange {
        let group = format!("{}{number}", "g".repeat(name_bytes));
        let profile = Profile::new(vec![group], Vec::<(String, String)>::new(), Vec::new(), 1);
        let open = OpenSession {
            instance: InstanceId(u64::MAX),
            attach_number: AttachNumber(u64::MAX),
            profile: Arc::new(profile),
            remote_addr: "".into(),
            only_if: None,
        };
        SessionChange { device: DeviceKey::new("default", "d"), kind: ChangeKind::Open(open) }
    }

    fn batch(changes: usize, name_bytes: usize, level: FeatureLevel) -> LoggedCommand {
        let changes = (0..changes).map(|number| opening(number, name_bytes)).collect();
        let batch = Batch {
            node: NodeId(u64::MAX),
            incarnation: Incarnation(u64::MAX),
            number: BatchNumber(u64::MAX),
            changes,
            at: UnixMillis(u64::MAX),
        };
        LoggedCommand::new(Arc::new(Command::Batch(batch)), level)
    }

    #[test]
    fn what_is_let_through_fits_into_the_log() {
        let levels = [FeatureLevel::FIRST, FeatureLevel::NEWEST];
        let batches = [(1, 0), (1, 200_000), (4, 250_000), (4_096, 120), (1_000, 990)];
        for ((changes, name_bytes), level) in
            batches.into_iter().flat_map(|it| levels.map(|level| (it, level)))
        {
            let command = batch(changes, name_bytes, level);
            let entry_bytes = command.bytes().len() + LOG_ENTRY_HEAD_BYTES;
            assert_eq!(
                judge(&command).is_ok(),
                entry_bytes <= LOG_ENTRY_BYTES,
                "{changes} of {name_bytes} take {entry_bytes}"
            );
        }
        for level in levels {
            assert!(judge(&batch(1_000, 100, level)).is_ok());
            assert!(judge(&batch(5, 250_000, level)).is_err());
        }
    }

    #[test]
    fn one_record_is_bounded_whatever_the_entry_could_take() {
        assert!(judge(&batch(1, BATCH_BYTES, FeatureLevel::NEWEST)).is_err());
        let labels = vec![("k".into(), "v".repeat(BATCH_BYTES).into())];
        let put = PutDevice {
            device: DeviceKey::new("default", "d"),
            expect: Expect::NoRecord,
            new_etag: Etag(1),
            groups: None,
            labels: Some(labels),
            enabled: None,
        };
        let refused = judge(&Command::PutDevice(put).into()).unwrap_err();
        assert!(refused.bytes > BATCH_BYTES && refused.limit == BATCH_BYTES);
    }

    #[test]
    fn a_member_of_endless_name_is_refused() {
        let member = |bytes: usize| Member { name: "n".into(), peer_addr: "a".repeat(bytes) };
        assert!(judge_member(&member(300), &Membership::default()).is_ok());
        assert!(judge_member(&member(MEMBER_TEXT_BYTES + 1), &Membership::default()).is_err());
    }
}
