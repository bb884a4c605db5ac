//! The table of close codes: what each tells an agent to do. `docs/protocol.md` tells the same to people.

use rollcall_proto::device::CloseCode;

/// What to do after a refusal or an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again with back-off, the last good server first.
    Retry,
    /// Try again with back-off, another server first.
    Elsewhere,
    /// Not for a minute.
    Minute,
    /// Never: something must be changed first.
    Stop,
}

impl From<CloseCode> for Verdict {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Unspecified
            | CloseCode::Heartbeat
            | CloseCode::Overloaded
            | CloseCode::Disconnected
            | CloseCode::TooLarge
            | CloseCode::TooSlow => Self::Retry,
            CloseCode::GoingAway | CloseCode::Unavailable => Self::Elsewhere,
            CloseCode::Superseded | CloseCode::Forbidden => Self::Minute,
            CloseCode::ProtocolError
            | CloseCode::Version
            | CloseCode::Invalid
            | CloseCode::Unauthenticated => Self::Stop,
        }
    }
}
