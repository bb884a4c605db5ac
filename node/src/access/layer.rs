//! Before any service: who asks, and whether they may ask for anything of the kind. What exactly, the service looks at.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response};
use rollcall_router::Reason;
use rollcall_transport::Peer;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{
    audit::{self, Refused},
    control::AccessControl,
    credential::Shown,
    guard::Guarded,
    identity::{Identity, Verb},
    methods::{self, Asks},
    standing::Standing,
};
use crate::api::status::Refusal;

/// Lets in who may come in.
#[derive(Debug, Clone)]
pub struct AccessLayer {
    control: AccessControl,
}

impl AccessLayer {
    /// By these rules.
    pub fn new(control: AccessControl) -> Self {
        Self { control }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admitted { inner, layer: self.clone() }
    }
}

/// What [`AccessLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Admitted<S> {
    inner: S,
    layer: AccessLayer,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B> Service<Request<B>> for Admitted<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Answering<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let asks = methods::asks(request.uri().path());
        if asks == Asks::Nothing {
            return Either::Left(self.inner.call(request));
        }
        let lasts = methods::lasts(request.uri().path()) && !self.layer.control.is_open();
        let admitted = match self.layer.admit(&request, asks, lasts) {
            Ok(admitted) => admitted,
            Err(status) => return Either::Right(Box::pin(async move { Ok(status.into_http()) })),
        };
        let (identity, standing) = admitted;
        request.extensions_mut().insert(identity);
        let Some(standing) = standing else { return Either::Left(self.inner.call(request)) };
        request.extensions_mut().insert(standing.clone());
        let answer = self.inner.call(request);
        Either::Right(Box::pin(async move {
            Ok(answer.await?.map(|body| Body::new(Guarded::new(body, standing, over(asks)))))
        }))
    }
}

/// Who it is, and what an answer rests on that lasts.
type AdmittedAs = (Arc<Identity>, Option<Standing>);

impl AccessLayer {
    fn admit<B>(&self, request: &Request<B>, asks: Asks, lasts: bool) -> Result<AdmittedAs, Box<Status>> {
        let peer = request.extensions().get::<Peer>();
        let (from, what) = (peer.and_then(|peer| peer.address), request.uri().path());
        let refused = |who: &str, why| audit::refused(&Refused { who, from, what, why });
        let shown = Shown::of(request.headers(), peer).map_err(|_malformed| {
            refused("", "malformed");
            unauthenticated()
        })?;
        let identity = self.control.identify(shown).map_err(|unknown| {
            tracing::debug!(?from, what, %unknown, "credentials were not accepted");
            refused("", unknown.why());
            unauthenticated()
        })?;
        if !asks.allows(&identity) {
            refused(&identity.name, "not permitted");
            return Err(Box::new(denied()));
        }
        if asks.is_administrative() {
            audit::act(&identity.name, from, what);
        }
        let rests_on = || Standing::new(self.control.clone(), shown.keep(), Arc::clone(&identity));
        let standing = lasts.then(rests_on);
        Ok((identity, standing))
    }
}

/// The same for whatever is wrong: who guesses learns nothing.
fn unauthenticated() -> Box<Status> {
    let words = "this needs credentials that are accepted here";
    Box::new(Refusal::new(Code::Unauthenticated, Reason::Unauthenticated.as_str(), words).into())
}

/// The same for whatever is not permitted, whether it exists or not.
pub(crate) fn denied() -> Status {
    Refusal::new(Code::PermissionDenied, Reason::PermissionDenied.as_str(), "this is not permitted").into()
}

/// A device comes back by itself, with what its files say then; a service is to look.
fn over(asks: Asks) -> Status {
    let words = "the credentials, or what they permit, have changed: come again";
    let (code, reason) = match asks {
        Asks::Somewhere(Verb::Attach) => (Code::Unavailable, Reason::Unauthenticated),
        _ => (Code::Unauthenticated, Reason::Unauthenticated),
    };
    Refusal::new(code, reason.as_str(), words).into()
}
