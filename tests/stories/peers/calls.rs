//! Each way in which a caller or a backend breaks its side of an exchange: what is sent, what must come of it, and what
//! the access log must say.

use std::ops::RangeInclusive;
use std::sync::Arc;

use harness::Api;
use harness::kept::trusting;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::backend::{Backend, LARGE, PART, WHOLE, hello};
use super::wire::Wire;
use crate::billed::caller::{counted, field, status, unchunked};

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Good,
    GoodWithBody,
    // The backend:
    ShorterThanSaid,
    LongerThanSaid,
    ChunksWithoutEnd,
    ResetInItsAnswer,
    SilentInItsAnswer,
    EarlyAnswer,
    EarlyRefusal,
    ClosesWithoutAnswer,
    NeverAnswers,
    Garbage,
    EndlessHead,
    // The caller:
    ResetInItsBody,
    ClosesInItsBody,
    HalfClosesInItsBody,
    LeavesBeforeTheAnswer,
    HalfClosesBeforeTheAnswer,
    ResetInTheAnswer,
}

use Kind::{
    ChunksWithoutEnd, ClosesInItsBody, ClosesWithoutAnswer, EarlyAnswer, EarlyRefusal, EndlessHead,
    Garbage, Good, GoodWithBody, HalfClosesBeforeTheAnswer, HalfClosesInItsBody,
    LeavesBeforeTheAnswer, LongerThanSaid, NeverAnswers, ResetInItsAnswer, ResetInItsBody,
    ResetInTheAnswer, ShorterThanSaid, SilentInItsAnswer,
};

pub(super) const ALL: [Kind; 19] = [
    Good,
    GoodWithBody,
    ShorterThanSaid,
    LongerThanSaid,
    ChunksWithoutEnd,
    ResetInItsAnswer,
    SilentInItsAnswer,
    EarlyAnswer,
    EarlyRefusal,
    ClosesWithoutAnswer,
    NeverAnswers,
    Garbage,
    EndlessHead,
    ResetInItsBody,
    ClosesInItsBody,
    HalfClosesInItsBody,
    LeavesBeforeTheAnswer,
    HalfClosesBeforeTheAnswer,
    ResetInTheAnswer,
];

/// A line of the access log, as far as the kind of a call says it.
pub(super) type Told = (u64, Option<String>, bool);

pub(super) fn told(line: &Value) -> Told {
    let code = line["code"].as_str().map(str::to_owned);
    (line["status"].as_u64().unwrap(), code, line["aborted"].as_bool().unwrap())
}

/// Of an answer to who is gone already.
const REFUSAL_BYTES_MAX: usize = 500;

/// Who calls, and how.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) backend: Arc<Backend>,
    host: String,
    address: std::net::SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

/// Bytes that the log may say; more than came may have been on their way to who left.
pub(super) struct Bytes {
    pub(super) came_in: RangeInclusive<usize>,
    pub(super) went_out: RangeInclusive<usize>,
}

impl Kind {
    fn method(self) -> &'static str {
        let body = [GoodWithBody, EarlyAnswer, EarlyRefusal, ClosesWithoutAnswer];
        if body.contains(&self) || self.breaks_off_its_body() { "POST" } else { "GET" }
    }

    fn breaks_off_its_body(self) -> bool {
        matches!(self, ResetInItsBody | ClosesInItsBody | HalfClosesInItsBody)
    }

    /// The stage's path.
    fn path(self) -> &'static str {
        match self {
            Good | GoodWithBody | ResetInItsBody | ClosesInItsBody | HalfClosesInItsBody => "/good",
            ShorterThanSaid => "/short",
            LongerThanSaid => "/long",
            ChunksWithoutEnd => "/unended",
            ResetInItsAnswer => "/reset",
            SilentInItsAnswer => "/silent",
            EarlyAnswer => "/early",
            EarlyRefusal => "/refuse",
            ClosesWithoutAnswer => "/close",
            NeverAnswers => "/never",
            Garbage => "/garbage",
            EndlessHead => "/endless",
            LeavesBeforeTheAnswer | HalfClosesBeforeTheAnswer => "/take",
            ResetInTheAnswer => "/large",
        }
    }

    /// How many bytes its body has, and how many of them it sends before it looks for an answer.
    fn body(self) -> (usize, usize) {
        match self {
            GoodWithBody => (WHOLE, WHOLE),
            EarlyAnswer | EarlyRefusal => (WHOLE, PART),
            ClosesWithoutAnswer => (PART, PART),
            _ if self.breaks_off_its_body() => (WHOLE, PART),
            _ => (0, 0),
        }
    }

    /// What the log must say of it.
    pub(super) fn told(self, tls: bool) -> Told {
        let (status, code, aborted) = match self {
            Good | GoodWithBody | LongerThanSaid | EarlyAnswer => (200, None, false),
            ShorterThanSaid | ChunksWithoutEnd | ResetInItsAnswer | SilentInItsAnswer
            | ResetInTheAnswer => (200, None, true),
            EarlyRefusal => (413, None, false),
            ClosesWithoutAnswer | Garbage | EndlessHead => {
                (504, Some("INTEGRATION_FAILURE"), false)
            }
            NeverAnswers => (504, Some("INTEGRATION_TIMEOUT"), false),
            // TLS has a word for an end that is meant.
            ClosesInItsBody if tls => (0, None, true),
            ClosesInItsBody | HalfClosesInItsBody => (400, Some("BAD_REQUEST_BODY"), false),
            ResetInItsBody | LeavesBeforeTheAnswer | HalfClosesBeforeTheAnswer => (0, None, true),
        };
        (status, code.map(str::to_owned), aborted)
    }
}

impl Caller {
    pub(super) fn new(api: &Api<'_>, backend: Arc<Backend>, tls: bool) -> Self {
        let world = api.world;
        let address = if tls { world.tls_endpoint_address() } else { world.endpoint_address() };
        let tls = tls.then(|| trusting(&world.node_directory(0), false));
        Self { backend, host: api.host(), address, tls }
    }

    pub(super) async fn connect(&self) -> Wire {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(tls) = &self.tls else { return Wire::new(stream) };
        let name = self.host.split(':').next().unwrap().to_owned();
        let connected = TlsConnector::from(tls.clone())
            .connect(ServerName::try_from(name).unwrap(), stream)
            .await;
        Wire::new(connected.unwrap())
    }

    fn head(&self, kind: Kind, number: u64) -> String {
        let (method, path, host) = (kind.method(), kind.path(), &self.host);
        let head = format!("{method} /prod{path}?{number} HTTP/1.1\r\nhost: {host}\r\n");
        let length = match kind.body().0 {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        format!("{head}x-request-id: call-{number}\r\n{length}\r\n")
    }

    /// A good call on a connection that is kept.
    pub(super) async fn call_again(&self, wire: &mut Wire, number: u64) {
        assert!(wire.say(self.head(Good, number).as_bytes()).await, "{number}");
        let answer = wire.head().await.unwrap_or_else(|| panic!("{number}: no answer"));
        assert_eq!(status(&answer), 200, "{number}: {answer}");
        let length = field(&answer, "content-length").unwrap().parse().unwrap();
        assert_eq!(wire.take(length).await, hello(number), "another call's answer");
    }

    /// A call of this kind on a connection of its own.
    ///
    /// # Panics
    /// Where its caller sees anything but what must come of it.
    pub(super) async fn call(&self, kind: Kind, number: u64) -> Bytes {
        let at_backend = self.backend.expect(number);
        let mut wire = self.connect().await;
        let asked = self.head(kind, number);
        let (length, sent) = kind.body();
        let body = vec![b'u'; length];
        assert!(wire.say(&[asked.as_bytes(), &body[..sent]].concat()).await);
        let come_in = |bytes: usize| asked.len() + bytes..=asked.len() + bytes;
        let name = format!("{kind:?} {number}");

        match kind {
            ResetInItsBody | ClosesInItsBody | LeavesBeforeTheAnswer => {
                at_backend.await.unwrap();
                if kind == ResetInItsBody {
                    wire.reset();
                }
                let answer = if kind == ClosesInItsBody { REFUSAL_BYTES_MAX } else { 0 };
                return Bytes { came_in: come_in(sent), went_out: 0..=answer };
            }
            HalfClosesInItsBody | HalfClosesBeforeTheAnswer => {
                at_backend.await.unwrap();
                wire.half_close().await;
            }
            _ => {}
        }
        let Some(head) = wire.head().await else {
            assert_eq!(kind, HalfClosesBeforeTheAnswer, "{name}: no answer");
            return Bytes { came_in: come_in(sent), went_out: 0..=0 };
        };
        let told = kind.told(self.tls.is_some());
        assert_eq!(u64::from(status(&head)), told.0, "{name}: {head}");
        let length_said = field(&head, "content-length").map(|length| length.parse().unwrap());
        let whole = length_said.unwrap_or(usize::MAX);
        let (came, most) = match kind {
            ResetInTheAnswer => {
                let came = wire.take(PART).await.len();
                wire.reset();
                (came, LARGE)
            }
            ShorterThanSaid | ResetInItsAnswer | SilentInItsAnswer => {
                let came = wire.rest().await.len();
                assert!(came < whole, "{name}: it looks whole");
                (came, whole)
            }
            ChunksWithoutEnd => {
                let came = wire.rest().await;
                assert!(!came.ends_with(b"0\r\n\r\n"), "{name}: it looks whole");
                (0, PART)
            }
            _ => {
                let came = match length_said {
                    Some(length) => wire.take(length).await,
                    None => unchunked(&wire.rest().await).into(),
                };
                if kind == EarlyAnswer {
                    assert!(wire.say(&body[sent..]).await, "{name}: the rest is not taken");
                    self.call_again(&mut wire, number).await;
                }
                judge(kind, number, told.1, &came);
                (came.len(), came.len())
            }
        };
        let head = counted(&head);
        Bytes { came_in: come_in(sent), went_out: head + came..=head + most }
    }
}

/// What a whole answer must be.
fn judge(kind: Kind, number: u64, code: Option<String>, body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    match kind {
        Good | GoodWithBody => assert_eq!(text, hello(number), "another call's answer"),
        LongerThanSaid => assert_eq!(text, "hello"),
        EarlyAnswer => assert_eq!(text, "early"),
        EarlyRefusal => assert_eq!(text, "no"),
        _ => {
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(answer["code"], code.unwrap(), "{kind:?}: {text}");
        }
    }
}
