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

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: &str = include_str!("../../docs/protocol.md");

    /// The verdict that the document's words stand for.
    fn told(what: &str, how: &str) -> Verdict {
        match (what, how) {
            ("**do not**", how) if how.starts_with("not for a minute") => Verdict::Minute,
            ("**do not**", how) if how.starts_with("stop: ") => Verdict::Stop,
            ("resume" | "reconnect", how) if how.starts_with("on another ") => Verdict::Elsewhere,
            ("resume" | "reconnect", how)
                if how.starts_with("with back-off") || how.starts_with("come back") =>
            {
                Verdict::Retry
            }
            other => panic!("no verdict: {other:?}"),
        }
    }

    #[test]
    fn the_documents_table_of_codes_is_what_the_agent_does() {
        let mut rows = 0;
        for row in PROTOCOL.lines().skip_while(|line| !line.starts_with("| code |")).skip(2) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [code, _, what, how] = cells[..] else { break };
            let name = format!("CLOSE_CODE_{}", code.trim_matches('`'));
            let code = CloseCode::from_str_name(&name).unwrap_or_else(|| panic!("no code {name}"));
            assert_eq!(Verdict::from(code), told(what, how), "{name}");
            rows += 1;
        }
        let codes = (0..).map_while(|number| CloseCode::try_from(number).ok()).count();
        assert_eq!(rows, codes, "each code has a row");
    }
}
