//! The rules, ready to be asked: whose a credential is, and what its owner may do.

use std::{sync::Arc, time::SystemTime};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::{
    credential::Shown,
    identity::{Identity, Rule},
    jwt::{Issuer, Judged},
    pattern::Pattern,
};

/// The rules.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) issuers: Vec<Issuer>,
    pub(super) tokens: Vec<StaticToken>,
    pub(super) roles: Vec<Role>,
}

/// A token that is known by its hash alone.
#[derive(Debug)]
pub(super) struct StaticToken {
    pub(super) name: String,
    pub(super) sha256: [u8; 32],
}

/// Rules, and whose they are.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) members: Vec<Pattern>,
    pub(super) rules: Arc<[Rule]>,
}

/// Why nobody is known by what was shown. For the record; whoever asks is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Unknown {
    #[error("no credentials")]
    Nothing,
    #[error("expired")]
    Expired,
    #[error("a token of nobody, or one that does not hold")]
    Token,
    #[error("a token by a key that its issuer does not show")]
    Key,
    #[error("a certificate without a common name")]
    Nameless,
}

impl Unknown {
    /// A word for the metric.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Nothing => "no credentials",
            Self::Expired => "expired",
            Self::Token => "bad token",
            Self::Key => "unknown key",
            Self::Nameless => "nameless certificate",
        }
    }
}

/// Somebody: a name by kind, what `{name}` is, roles that the credential itself gives, and its end.
struct Somebody {
    name: String,
    own: String,
    roles: Vec<String>,
    expires: Option<SystemTime>,
}

impl Policy {
    /// Who shows this, and what they may do.
    pub(super) fn judge(&self, shown: Shown<'_>) -> Result<Identity, Unknown> {
        let somebody = match shown {
            Shown::Token(token) => self.by_token(token)?,
            Shown::Certificate(certificate) => {
                let own = certificate.common_name.clone().ok_or(Unknown::Nameless)?;
                let expires = Some(certificate.not_after);
                Somebody { name: format!("certificate:{own}"), own, roles: Vec::new(), expires }
            }
            Shown::Nothing => {
                Somebody { name: ANYONE.to_owned(), own: String::new(), roles: Vec::new(), expires: None }
            }
        };
        let Somebody { name, own, roles, expires } = somebody;
        let is_mine = |role: &&Role| {
            roles.contains(&role.name)
                || role.members.iter().any(|member| member.matches(&name, "") || member.matches(ANYONE, ""))
        };
        let rules: Vec<_> = self.roles.iter().filter(is_mine).map(|role| Arc::clone(&role.rules)).collect();
        if rules.is_empty() && name == ANYONE {
            return Err(Unknown::Nothing);
        }
        Ok(Identity { name, own, rules, expires })
    }

    fn by_token(&self, token: &str) -> Result<Somebody, Unknown> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // All are compared: the time it takes tells nothing.
        let is_it = |one: &StaticToken| bool::from(one.sha256.ct_eq(&digest));
        let known = self.tokens.iter().fold(None, |known, one| if is_it(one) { Some(one) } else { known });
        if let Some(known) = known {
            let (name, own) = (format!("token:{}", known.name), known.name.clone());
            return Ok(Somebody { name, own, roles: Vec::new(), expires: None });
        }
        let mut unknown = Unknown::Token;
        for issuer in &self.issuers {
            match issuer.judge(token) {
                Judged::Good(claims) => {
                    return Ok(Somebody {
                        name: format!("jwt:{}/{}", issuer.name, claims.subject),
                        own: claims.subject,
                        roles: claims.roles,
                        expires: Some(claims.expires),
                    });
                }
                Judged::OfAnUnknownKey => unknown = Unknown::Key,
                Judged::Bad => {}
            }
        }
        Err(unknown)
    }
}

/// Who shows nothing; everybody is it too.
pub(super) const ANYONE: &str = "anyone";
