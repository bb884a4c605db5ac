//! Profiles.

use compact_str::CompactString;
use rollcall_proto::storage as proto;

use crate::model::profile::Profile;

/// A profile as it is written.
pub fn profile_to_proto(profile: &Profile) -> proto::DeviceProfile {
    proto::DeviceProfile {
        groups: profile.groups.iter().map(CompactString::to_string).collect(),
        labels: labels_to_proto(&profile.labels),
        actions: profile.actions.iter().map(CompactString::to_string).collect(),
        capacity: profile.capacity,
    }
}

/// A profile as it was written, brought to its canonical form if it was not in it.
pub fn profile_from_proto(profile: proto::DeviceProfile) -> Profile {
    let compact = |items: Vec<String>| items.into_iter().map(CompactString::from).collect::<Vec<_>>();
    let (groups, actions) = (compact(profile.groups), compact(profile.actions));
    Profile::canonical(groups, labels_from_proto(profile.labels), actions, profile.capacity)
}

pub(super) fn labels_to_proto(labels: &[(CompactString, CompactString)]) -> Vec<proto::Label> {
    labels
        .iter()
        .map(|(key, value)| proto::Label { key: key.to_string(), value: value.to_string() })
        .collect()
}

pub(super) fn labels_from_proto(labels: Vec<proto::Label>) -> Vec<(CompactString, CompactString)> {
    labels.into_iter().map(|label| (label.key.into(), label.value.into())).collect()
}
