//! Who may do what, as administrators stored it: the command, and the record of a snapshot.

use rollcall_proto::storage::{self as proto, set_access_rules};

use super::CodecError;
use crate::model::{
    command::{Expect, SetAccessRules},
    ids::Etag,
    policy::AccessRules,
};

pub(super) fn set_access_rules_to_proto(set: &SetAccessRules) -> proto::SetAccessRules {
    proto::SetAccessRules {
        expect: Some(match set.expect {
            Expect::AnyRecord => set_access_rules::Expect::Any(proto::AnyRecord {}),
            Expect::NoRecord => set_access_rules::Expect::None(proto::NoRecord {}),
            Expect::Etag(etag) => set_access_rules::Expect::Etag(etag.0),
        }),
        new_etag: set.new_etag.0,
        text: set.text.to_string(),
    }
}

pub(super) fn set_access_rules_from_proto(set: proto::SetAccessRules) -> Result<SetAccessRules, CodecError> {
    let expect = match set.expect.ok_or(CodecError::UnknownKind("what must be stored"))? {
        set_access_rules::Expect::Any(_) => Expect::AnyRecord,
        set_access_rules::Expect::None(_) => Expect::NoRecord,
        set_access_rules::Expect::Etag(etag) => Expect::Etag(Etag(etag)),
    };
    Ok(SetAccessRules { expect, new_etag: Etag(set.new_etag), text: set.text.into() })
}

pub(crate) fn access_rules_to_proto(rules: &AccessRules) -> proto::AccessRulesRecord {
    proto::AccessRulesRecord { etag: rules.etag.0, text: rules.text.to_string() }
}

/// # Errors
/// A record without a text: none such is written.
pub(crate) fn access_rules_from_proto(record: proto::AccessRulesRecord) -> Result<AccessRules, CodecError> {
    if record.text.is_empty() {
        return Err(CodecError::Missing("who may do what"));
    }
    Ok(AccessRules { etag: Etag(record.etag), text: record.text.into() })
}
