//! What somebody shows: looked at where it lies for each request, kept only for answers that last.

use std::{fmt, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use rollcall_transport::{Peer, PeerCertificate};

/// What a request shows. A token counts before a certificate: who shows one wants to be judged by it.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    /// A bearer token.
    Token(&'a str),
    /// A certificate that the handshake found good.
    Certificate(&'a Arc<PeerCertificate>),
    /// Nothing.
    Nothing,
}

/// The same, kept.
#[derive(Clone)]
pub(super) enum Credential {
    Token(Arc<str>),
    Certificate(Arc<PeerCertificate>),
    Nothing,
}

/// An `authorization` that is no bearer token.
#[derive(Debug)]
pub(super) struct Malformed;

impl<'a> Shown<'a> {
    /// What these headers on this connection show.
    pub(super) fn of(headers: &'a HeaderMap, peer: Option<&'a Peer>) -> Result<Self, Malformed> {
        let Some(value) = headers.get(AUTHORIZATION) else {
            let certificate = peer.and_then(|peer| peer.certificate.as_ref());
            return Ok(certificate.map_or(Self::Nothing, Self::Certificate));
        };
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Malformed)?;
        if scheme.eq_ignore_ascii_case("bearer") { Ok(Self::Token(token.trim())) } else { Err(Malformed) }
    }

    /// For as long as an answer lasts.
    pub(super) fn keep(self) -> Credential {
        match self {
            Self::Token(token) => Credential::Token(token.into()),
            Self::Certificate(certificate) => Credential::Certificate(Arc::clone(certificate)),
            Self::Nothing => Credential::Nothing,
        }
    }
}

impl Credential {
    pub(super) fn shown(&self) -> Shown<'_> {
        match self {
            Self::Token(token) => Shown::Token(token),
            Self::Certificate(certificate) => Shown::Certificate(certificate),
            Self::Nothing => Shown::Nothing,
        }
    }
}

/// Tokens are secrets.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Certificate(_) => "Certificate",
            Self::Nothing => "Nothing",
        })
    }
}
