//! How a caller or a device comes in: whom it trusts, and as whom it speaks.

use std::{
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use tonic::{
    body::Body,
    transport::{Channel, channel::ResponseFuture},
};
use tower::Service;

use crate::{ClientFiles, Connector, IdentityFiles, TlsError, Trust, token::Token};

/// The files of a caller or a device; each is read again when it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessFiles {
    /// The authorities whose servers are trusted; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Its own certificate; `None`: it shows none.
    pub identity: Option<IdentityFiles>,
    /// A file with its token and nothing else; `None`: it has none.
    pub token: Option<PathBuf>,
}

/// How a caller or a device comes in. By default it trusts as the system does and is nobody in particular.
#[derive(Debug, Clone, Default)]
pub struct Access {
    connector: Connector,
    token: Option<Arc<Token>>,
}

impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read or is not right.
    pub fn load(files: AccessFiles) -> Result<Self, TlsError> {
        let AccessFiles { ca, identity, token } = files;
        let connector = if ca.is_none() && identity.is_none() {
            Connector::system()
        } else {
            Connector::with_tls(ClientFiles {
                trust: ca.map_or(Trust::System, Trust::Authorities),
                identity,
            })?
        };
        Ok(Self { connector, token: token.map(Token::load).transpose()?.map(Arc::new) })
    }

    /// How connections are opened.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The same channel, on which each call carries the token.
    pub fn authorize(&self, channel: Channel) -> AuthorizedChannel {
        AuthorizedChannel { channel, token: self.token.clone() }
    }

    /// The `authorization` header, if there is a token, as the file has it now.
    pub async fn authorization(&self) -> Option<HeaderValue> {
        match &self.token {
            Some(token) => Some(token.fresh_header().await),
            None => None,
        }
    }
}

/// A channel on which each call carries a token, if there is one.
#[derive(Debug, Clone)]
pub struct AuthorizedChannel {
    channel: Channel,
    token: Option<Arc<Token>>,
}

impl Service<Request<Body>> for AuthorizedChannel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        Service::call(&mut self.channel, request)
    }
}
