//! A name, or the beginning of names.

use super::file::AccessError;

/// What a name must be like: `*`, `beginning*`, or the name itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Any,
    Beginning(String),
    Exactly(String),
    /// `{name}`: the name of whoever asks.
    OwnName,
}

impl Pattern {
    pub(super) fn read(text: &str) -> Result<Self, AccessError> {
        let (beginning, is_open) =
            text.strip_suffix('*').map_or((text, false), |beginning| (beginning, true));
        if text.is_empty() || beginning.contains('*') {
            let problem = "is no pattern: a name, or a beginning followed by one `*`";
            return Err(AccessError::Entry(format!("`{text}` {problem}")));
        }
        Ok(match (beginning, is_open) {
            ("", true) => Self::Any,
            (_, true) => Self::Beginning(beginning.to_owned()),
            ("{name}", false) => Self::OwnName,
            (_, false) => Self::Exactly(text.to_owned()),
        })
    }

    /// Whether a name is like that, for whoever is called `own`.
    pub(super) fn matches(&self, name: &str, own: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Beginning(beginning) => name.starts_with(beginning),
            Self::Exactly(exactly) => name == exactly,
            Self::OwnName => !own.is_empty() && name == own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        let matches = |pattern: &str, name: &str| Pattern::read(pattern).unwrap().matches(name, "me");
        assert!(
            matches("*", "x")
                && matches("sign*", "sign")
                && matches("sign*", "sign-2")
                && matches("sign", "sign")
        );
        assert!(!matches("sign", "sign-2") && !matches("sign*", "resign"));
        assert!(matches("{name}", "me") && !matches("{name}", "you"));
        assert!(!Pattern::OwnName.matches("", ""), "nobody is nobody's own");
        assert!(Pattern::read("").is_err() && Pattern::read("a*b").is_err() && Pattern::read("a**").is_err());
    }
}
