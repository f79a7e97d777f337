//! Which node calls. Every call of every service needs a client certificate, except `Join`.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use uuid::Uuid;

use super::listener::{Peer, Revoked};

const JOIN: &str = "/tollgate.config.v1.ConfigStream/Join";

/// The node whose certificate the connection showed: an extension of every request but `Join`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticatedNode(pub Uuid);

impl AuthenticatedNode {
    /// The caller of `request`.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let node = request.extensions().get::<Self>().copied();
        node.ok_or_else(|| Status::unauthenticated("this call needs a client certificate"))
    }
}

/// Puts [`AuthenticatedNode`] on requests, or refuses them.
#[derive(Clone)]
pub struct Authenticate {
    pub revoked: Revoked,
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticated { inner, revoked: self.revoked.clone() }
    }
}

#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    revoked: Revoked,
}

impl<S, B> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match request.extensions().get::<Peer>().and_then(|peer| peer.node) {
            Some(node) if self.revoked.borrow().contains(&node) => {
                let refusal = Status::permission_denied("this node was revoked");
                return Either::Left(ready(Ok(refusal.into_http())));
            }
            Some(node) => {
                request.extensions_mut().insert(AuthenticatedNode(node.0));
            }
            None if request.uri().path() == JOIN => {}
            None => {
                let refusal = Status::unauthenticated("this call needs a client certificate");
                return Either::Left(ready(Ok(refusal.into_http())));
            }
        }
        Either::Right(self.inner.call(request))
    }
}
