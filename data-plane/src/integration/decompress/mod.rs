//! Undoes the codings of requests' bodies (`Content-Encoding`) on their way to who cannot read them, or where an Api asks for it
//! by `decompressRequests`. The counterpart of `response::compress`.
//!
//! - [`decode`], [`gzip`]: the codings, a piece at a time.
//! - [`chain`]: all of a body's, within what it may unpack to.
//! - here: whose bodies, and what is said of them then.
//!
//! Whose piece a data thread unpacks next is told by the same desk as for answers that are compressed, within bounds of memory
//! for all and for each tenant.

mod chain;
mod decode;
mod gzip;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH},
};
use http_body::{Body, Frame};

pub(crate) use self::chain::Fault;
use self::chain::{Chain, Pulled};
use super::{BoxError, http_proxy, upload::Came};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    listener::limits,
    response::compress::{Coding, DIGESTS, Place},
    snapshot::served::{Asked, Integration},
};

/// Nobody applies more to one body; `identity` counts.
const CODINGS_MAX: usize = 3;

/// What a dialect undoes.
#[derive(Debug)]
pub(crate) struct Undoes {
    pub(crate) codings: &'static [Coding],
    /// Whether for backends, where the Api does not say.
    pub(crate) for_backends: bool,
    /// Whether for what this node makes of bodies itself, such as functions' events, where the Api does not say.
    pub(crate) for_itself: bool,
    /// What a body gets that is not of the coding that it is said to be of.
    pub(crate) malformed: Kind,
    /// Whether who sends another coding is told by `Accept-Encoding` which there are (RFC 9110 §12.5.3).
    pub(crate) tells: bool,
}

impl Undoes {
    /// Backends get the bytes that came. A function's event has room for text, and not for what compresses it.
    pub(crate) const NATIVE: Self = Self {
        codings: &[Coding::Zstd, Coding::Brotli, Coding::Gzip, Coding::Deflate],
        for_backends: false,
        for_itself: true,
        malformed: Kind::BadRequestBody,
        tells: true,
    };
    /// In REST APIs always, whatever `minimumCompressionSize` is; 415 for bytes of another coding too. AWS: "Call an API method
    /// with a compressed payload".
    pub(crate) const AWS_REST: Self = Self {
        codings: &[Coding::Gzip, Coding::Deflate],
        for_backends: true,
        for_itself: true,
        malformed: Kind::UnsupportedMediaType,
        tells: false,
    };
    /// HTTP APIs pass all on.
    pub(crate) const AWS_HTTP: Self =
        Self { for_backends: false, for_itself: false, ..Self::AWS_REST };
}

/// Finds what is to be undone for the integration, refuses what cannot be, and says of the body what is so afterwards.
pub(super) fn prepare(
    exchange: &mut Exchange,
    integration: &Integration,
) -> Result<Option<Box<Decompress>>, GatewayResponse> {
    if !exchange.head.headers.contains_key(CONTENT_ENCODING)
        || exchange.body.as_ref().is_none_or(Body::is_end_stream)
    {
        return Ok(None);
    }
    let undoes = exchange.dialect().undoes;
    let by_default = match integration {
        Integration::HttpProxy(_) | Integration::Http(_) => undoes.for_backends,
        // Services are told the coding, as backends are; a function's event is what its body says.
        Integration::Aws(call) => match &call.shared.asked {
            Asked::Path | Asked::Action(_) => undoes.for_backends,
            // Parameters are taken out of what a body says.
            Asked::Function(_) | Asked::Subtype(..) => undoes.for_itself,
        },
        Integration::Function(_) | Integration::Mock(_) => undoes.for_itself,
    };
    let said = exchange.deployment().and_then(|deployment| deployment.decompresses_requests);
    if !said.unwrap_or(by_default) {
        return Ok(None);
    }
    let codings = codings(&exchange.head.headers, undoes)?;
    // Nobody reads the body of what answers by itself.
    if codings.is_empty() || matches!(integration, Integration::Mock(_)) {
        return Ok(None);
    }
    let stage = exchange.stage.as_ref();
    let tenant = stage.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
    let chain = Chain::new(codings.into_iter(), limits::body_bytes_max(exchange));
    let place = exchange.node.codecs.enter(&tenant.tenant_id, chain.held_bytes());
    let place = place.ok_or_else(full)?;
    unsay(&mut exchange.head.headers);
    Ok(Some(Box::new(Decompress { chain, state: State::Hungry, trailers: None, place })))
}

/// Those of a body, in the order in which they were applied, without `identity`.
fn codings(headers: &HeaderMap, undoes: &Undoes) -> Result<Vec<Coding>, GatewayResponse> {
    let fields = headers.get_all(CONTENT_ENCODING).iter();
    let names = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let mut codings = Vec::new();
    for (index, name) in names.enumerate() {
        if index == CODINGS_MAX {
            return Err(unsupported(undoes, "The request's body has more than 3 codings."));
        }
        if name.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        let known = undoes.codings.iter().find(|coding| coding.is_named(name));
        codings.push(*known.ok_or_else(|| {
            unsupported(undoes, "The request's Content-Encoding is not one that this API takes.")
        })?);
    }
    Ok(codings)
}

fn unsupported(undoes: &Undoes, why: &'static str) -> GatewayResponse {
    let refusal = Kind::UnsupportedMediaType.because(why);
    if !undoes.tells {
        return refusal;
    }
    let names: Vec<_> = undoes.codings.iter().map(|coding| coding.name()).collect();
    refusal.with(ACCEPT_ENCODING, names.join(", "))
}

/// What was so of the body as it came.
fn unsay(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    for digest in &DIGESTS {
        headers.remove(digest);
    }
}

/// Says how long a body is that is whole now, where its fields are told as they are.
pub(super) fn say_length(headers: &mut HeaderMap, bytes: usize) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
}

/// A body's codings while they are undone.
pub(crate) struct Decompress {
    chain: Chain,
    state: State,
    trailers: Option<HeaderMap>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Hungry,
    Works,
    Done,
}

impl Decompress {
    /// What comes out next of what `came` brings. Faults are left there.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        mut came: Came<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.state != State::Done {
            if self.state == State::Hungry {
                match ready!(came.poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.chain.feed(data),
                        Err(frame) => {
                            self.trailers = frame.into_trailers().ok();
                            continue;
                        }
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => self.chain.end(),
                }
                self.state = State::Works;
            }
            ready!(self.place.poll_turn(cx));
            let pulled = self.chain.pull();
            self.place.spend(pulled.as_ref().map_or(0, |(_, work)| *work));
            let held = self.place.hold(self.chain.held_bytes());
            let pulled =
                pulled.and_then(|(pulled, _)| if held { Ok(pulled) } else { Err(Fault::Full) });
            match pulled {
                Ok(Pulled::Piece(bytes)) if bytes.is_empty() => {}
                Ok(Pulled::Piece(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(Pulled::Hungry) => self.state = State::Hungry,
                Ok(Pulled::Done) => self.state = State::Done,
                Err(fault) => {
                    self.state = State::Done;
                    self.trailers = None;
                    return Poll::Ready(Some(Err(came.fail(fault))));
                }
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Done && self.trailers.is_none()
    }
}

impl Fault {
    pub(super) fn refusal(self, exchange: &Exchange) -> GatewayResponse {
        match self {
            Self::TooLarge => http_proxy::too_large(),
            Self::Bomb => Kind::RequestTooLarge
                .because("The request's body unpacks to more than 100 times its size."),
            Self::Malformed => exchange
                .dialect()
                .undoes
                .malformed
                .because("The request's body is not of the coding that it says."),
            Self::Full => full(),
        }
    }
}

fn full() -> GatewayResponse {
    Kind::TenantOverloaded
        .because("The compressed bodies of this API's owner hold as much memory here as may.")
        .with(http::header::RETRY_AFTER, "1")
}

/// What a body of these fields' codings unpacks to that comes in pieces of so many bytes, as far as it is right; whether it is. For
/// `hostile`.
pub(crate) fn unpack(
    names: &[u8],
    bytes: &[u8],
    piece: usize,
    bytes_max: u64,
) -> Option<(Vec<u8>, bool)> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_bytes(names).ok()?);
    let codings = codings(&headers, &Undoes::NATIVE).ok()?;
    let (unpacked, fault) = chain::unpack(codings.into_iter(), bytes, piece, bytes_max);
    Some((unpacked, fault.is_none()))
}
