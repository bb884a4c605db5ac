//! How a call is named in the whole cluster: by the node that took it, that node's incarnation, and a number of its own.

use bytes::{BufMut, Bytes, BytesMut};
use rollcall_registry::model::ids::{Incarnation, NodeId};

/// Names a call in the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallToken {
    /// The node that took the call, where its caller waits.
    pub(crate) origin: NodeId,
    /// That node's incarnation then.
    pub(crate) incarnation: Incarnation,
    /// Which of its calls.
    pub(crate) call: u64,
}

impl CallToken {
    const BYTES: usize = 24;

    /// As a device knows it.
    pub(crate) fn to_bytes(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Self::BYTES);
        bytes.put_u64(self.origin.0);
        bytes.put_u64(self.incarnation.0);
        bytes.put_u64(self.call);
        bytes.freeze()
    }

    /// The reverse; `None`: it is none of ours.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let part: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(part))
        };
        (bytes.len() == Self::BYTES).then_some(())?;
        Some(Self { origin: NodeId(number(0)?), incarnation: Incarnation(number(8)?), call: number(16)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_way_to_the_device_and_back() {
        let token = CallToken { origin: NodeId(1), incarnation: Incarnation(2), call: u64::MAX };
        assert_eq!(CallToken::from_bytes(&token.to_bytes()), Some(token));
        assert_eq!(CallToken::from_bytes(&token.to_bytes()[1..]), None);
        assert_eq!(CallToken::from_bytes(b""), None);
    }
}
