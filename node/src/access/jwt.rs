//! Tokens of issuers: signed by a key of theirs, for this audience, and not over.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    file::{AccessError, WrittenIssuer},
    provider,
};
use crate::limits::CLOCK_SKEW;

/// Somebody who makes tokens, and by what theirs are known.
pub(super) struct Issuer {
    pub(super) name: String,
    keys: Vec<Key>,
    validation: [Validation; 3],
    roles_claim: Option<String>,
}

/// A key is for one algorithm: a token does not choose.
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What is found of a token.
#[derive(Debug)]
pub(super) enum Judged {
    /// It holds.
    Good(Claims),
    /// It may hold: it names a key that this issuer has not shown.
    OfAnUnknownKey,
    /// It does not, or is another issuer's.
    Bad,
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) roles: Vec<String>,
    pub(super) expires: SystemTime,
}

#[derive(Debug, Deserialize)]
struct WrittenClaims {
    sub: String,
    exp: u64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Issuer {
    /// An issuer with a key set; an empty text: its keys are not known yet, and nothing of it holds.
    pub(super) fn read(written: WrittenIssuer, keys: &[u8]) -> Result<Self, AccessError> {
        provider::install();
        let problem = |what| AccessError::Entry(format!("issuer `{}`: {what}", written.name));
        let keys = if keys.is_empty() { Vec::new() } else { usable_keys(keys).map_err(problem)? };
        let validation = ALGORITHMS.map(|algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_issuer(&[&written.issuer]);
            validation.set_audience(&[&written.audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            validation.leeway = CLOCK_SKEW.as_secs();
            validation.validate_nbf = true;
            validation
        });
        Ok(Self { name: written.name, keys, validation, roles_claim: written.roles_claim })
    }

    /// What becomes of a token.
    pub(super) fn judge(&self, token: &str) -> Judged {
        let Ok(header) = decode_header(token) else { return Judged::Bad };
        let Some(validation) = self.validation.iter().find(|one| one.algorithms.contains(&header.alg)) else {
            return Judged::Bad;
        };
        let is_named = |key: &Key| header.kid.is_none() || key.id.is_none() || key.id == header.kid;
        let mut mine = self.keys.iter().filter(|key| key.algorithm == header.alg && is_named(key)).peekable();
        if mine.peek().is_none() {
            return Judged::OfAnUnknownKey;
        }
        let judged = |key: &Key| decode::<WrittenClaims>(token, &key.key, validation).ok();
        let found = mine.find_map(judged).and_then(|found| self.claims(found.claims));
        found.map_or(Judged::Bad, Judged::Good)
    }

    fn claims(&self, claims: WrittenClaims) -> Option<Claims> {
        let roles = self.roles_claim.as_ref().and_then(|claim| claims.others.get(claim)?.as_array());
        let roles = roles.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp))?;
        Some(Claims { subject: claims.sub, roles, expires: end.checked_add(CLOCK_SKEW)? })
    }
}

/// The keys of a set by which a token may be signed.
///
/// # Errors
/// It is no key set, or has none.
pub(super) fn usable_keys(text: &[u8]) -> Result<Vec<Key>, &'static str> {
    let set: JwkSet = serde_json::from_slice(text).map_err(|_| "`keys` is no JSON Web Key Set")?;
    let keys: Vec<Key> = set.keys.iter().filter_map(Key::read).collect();
    if keys.is_empty() { Err("`keys` has no key for EdDSA, ES256 or RS256") } else { Ok(keys) }
}

impl Key {
    /// `None`: a key for something else, which issuers publish beside.
    fn read(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        let said = jwk.common.key_algorithm;
        let is_for_it = match algorithm {
            Algorithm::RS256 => said.is_none_or(|said| said == KeyAlgorithm::RS256),
            Algorithm::ES256 => said.is_none_or(|said| said == KeyAlgorithm::ES256),
            _ => said.is_none_or(|said| said == KeyAlgorithm::EdDSA),
        };
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        if !is_for_it || !signs {
            return None;
        }
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
    }
}
