//! The file that says who may do what, as it is written. Everything else is denied.

use std::{io, path::PathBuf};

use http::Uri;
use rollcall_registry::model::ids::DEFAULT_NAMESPACE;
use serde::Deserialize;
use thiserror::Error;

use super::{
    identity::{Rule, Verb},
    jwt::Issuer,
    pattern::Pattern,
    policy::{Policy, Role, StaticToken},
};

/// What is wrong with the file.
#[derive(Debug, Error)]
pub enum AccessError {
    /// It, or a file that it names, cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is no TOML, or has other fields.
    #[error("the file of `access` is malformed: {0}")]
    Malformed(String),
    /// An entry says what cannot be.
    #[error("the file of `access`: {0}")]
    Entry(String),
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    pub(super) issuers: Vec<WrittenIssuer>,
    #[serde(default)]
    tokens: Vec<WrittenToken>,
    #[serde(default)]
    roles: Vec<WrittenRole>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenIssuer {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) audience: String,
    keys: String,
    #[serde(default)]
    pub(super) keys_ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) roles_claim: Option<String>,
}

/// Where an issuer's keys are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keys<'a> {
    /// Beside the file.
    File(&'a str),
    /// To be fetched.
    Url(&'a str),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenToken {
    name: String,
    sha256: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRole {
    name: String,
    members: Vec<String>,
    allow: Vec<WrittenRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    may: Vec<Verb>,
    #[serde(default = "default_namespace")]
    namespaces: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    devices: Vec<String>,
}

fn default_namespace() -> Vec<String> {
    vec![DEFAULT_NAMESPACE.to_owned()]
}

/// Reads the file. What the parser quotes of it is not passed on: it may be next to a secret.
pub(super) fn read(text: &[u8]) -> Result<Written, AccessError> {
    let text = std::str::from_utf8(text).map_err(|error| AccessError::Malformed(error.to_string()))?;
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
        AccessError::Malformed(format!("{}{}", line.unwrap_or_default(), error.message()))
    })
}

/// Whether a file of this text can be used, whose issuers all have this key set; an empty one was not fetched yet.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &[u8], keys: &[u8]) -> Result<(), AccessError> {
    let written = read(text)?;
    let keys = vec![keys; written.issuers.len()];
    policy(written, &keys).map(drop)
}

/// The rules of the file, with the contents of its issuers' key sets in the same order; an empty one was not fetched
/// yet.
pub(super) fn policy(written: Written, keys: &[impl AsRef<[u8]>]) -> Result<Policy, AccessError> {
    let issuers = written.issuers.into_iter().zip(keys);
    Ok(Policy {
        issuers: issuers
            .map(|(issuer, keys)| Issuer::read(issuer, keys.as_ref()))
            .collect::<Result<_, _>>()?,
        tokens: written.tokens.into_iter().map(StaticToken::read).collect::<Result<_, _>>()?,
        roles: written.roles.into_iter().map(Role::read).collect::<Result<_, _>>()?,
    })
}

impl WrittenIssuer {
    /// Where the keys are.
    ///
    /// # Errors
    /// Behind a URL that anybody on the way may answer.
    pub(super) fn keys(&self) -> Result<Keys<'_>, AccessError> {
        if !self.keys.contains("://") {
            return Ok(Keys::File(&self.keys));
        }
        let problem =
            |what: &str| AccessError::Entry(format!("issuer `{}`: the URL of `keys` {what}", self.name));
        let uri: Uri = self.keys.parse().map_err(|_| problem("is malformed"))?;
        let is_here = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match uri.scheme_str() {
            Some("https") => Ok(Keys::Url(&self.keys)),
            // A proxy of the node's own machine.
            Some("http") if is_here => Ok(Keys::Url(&self.keys)),
            _ => Err(problem("is not https: whoever is on the way could make tokens")),
        }
    }
}

impl StaticToken {
    fn read(written: WrittenToken) -> Result<Self, AccessError> {
        let problem = || AccessError::Entry(format!("token `{}`: sha256 has 64 hex digits", written.name));
        let text = written.sha256.as_bytes();
        if text.len() != 64 || !text.iter().all(u8::is_ascii_hexdigit) {
            return Err(problem());
        }
        let mut sha256 = [0; 32];
        for (byte, digits) in sha256.iter_mut().zip(text.chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| problem())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| problem())?;
        }
        Ok(Self { name: written.name, sha256 })
    }
}

impl Role {
    fn read(written: WrittenRole) -> Result<Self, AccessError> {
        let rules: Vec<_> = written.allow.into_iter().map(Rule::read).collect::<Result<_, _>>()?;
        Ok(Self { name: written.name, members: patterns(&written.members)?, rules: rules.into() })
    }
}

impl Rule {
    fn read(written: WrittenRule) -> Result<Self, AccessError> {
        Ok(Self {
            may: written.may,
            namespaces: patterns(&written.namespaces)?,
            groups: patterns(&written.groups)?,
            actions: patterns(&written.actions)?,
            devices: patterns(&written.devices)?,
        })
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, AccessError> {
    texts.iter().map(|text| Pattern::read(text)).collect()
}
