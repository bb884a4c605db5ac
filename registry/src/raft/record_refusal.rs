//! Refusals of changes of records, as the leader's answer carries them.

use rollcall_proto::peer::{self, record_refusal::Reason};

use crate::model::{ids::Etag, rejection::RecordRejection};

pub(super) fn to_proto(rejection: RecordRejection) -> peer::RecordRefusal {
    let reason = match rejection {
        RecordRejection::Exists { etag } => Reason::Exists(etag.0),
        RecordRejection::Missing => Reason::Missing(peer::NoSuchRecord {}),
        RecordRejection::EtagMismatch { current } => Reason::Etag(current.0),
    };
    peer::RecordRefusal { reason: Some(reason) }
}

/// `None`: for a reason that this version does not know.
pub(super) fn from_proto(refusal: &peer::RecordRefusal) -> Option<RecordRejection> {
    Some(match refusal.reason.as_ref()? {
        Reason::Exists(etag) => RecordRejection::Exists { etag: Etag(*etag) },
        Reason::Missing(_) => RecordRejection::Missing,
        Reason::Etag(etag) => RecordRejection::EtagMismatch { current: Etag(*etag) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_comes_back() {
        let (etag, current) = (Etag(u64::MAX), Etag(0));
        for rejection in [
            RecordRejection::Exists { etag },
            RecordRejection::Missing,
            RecordRejection::EtagMismatch { current },
        ] {
            assert_eq!(from_proto(&to_proto(rejection)), Some(rejection));
        }
        assert_eq!(from_proto(&peer::RecordRefusal { reason: None }), None);
    }
}
