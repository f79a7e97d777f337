//! Parsers of a stranger's bytes that nothing outside has to know of but `tests/fuzz`: each here takes and gives what
//! a property can be said about.

use std::{net::IpAddr, time::Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, request::Parts};
use ipnet::IpNet;
use prost::Message;
use proto::config::v1::{Delta, Signed, SnapshotChunk, Update, update::Kind};
use redis::FromRedisValue;

use crate::integration::decompress;
use crate::integration::function::{
    self,
    stream::{
        Head,
        events::{Event, Events},
    },
};
use crate::listener::{Peer, streams::Streams};
use crate::policies::limiter::{Limit, Taken};
use crate::policies::spending::{QuotaAnswer, Spending};
use crate::policies::throttle::Throttle;
use crate::response::compress::accept::{self, Offer};
use crate::response::{cookies, rate_limit};
use crate::router::{self, Addressing};
use crate::snapshot::last_good::LastGood;
use crate::snapshot::resources::Resources;
use crate::snapshot::served::{Bucket, PayloadFormatVersion};
use crate::snapshot::signature::Verifier;
use crate::trace::{self, Propagator, Trace};

/// Where a request is taken to go.
#[derive(Debug)]
pub struct Addressed {
    pub api_id: String,
    pub path: String,
    /// Whether the path named the Api, and not the host.
    pub by_path: bool,
}

pub fn address(head: &Parts, zone: &str) -> Option<Addressed> {
    let address = router::address(head, zone, true).ok()?;
    let by_path = matches!(address.addressing(), Addressing::Path { .. });
    Some(Addressed { api_id: address.api_id.to_string(), path: address.path.to_owned(), by_path })
}

/// The fields that a backend gets for these of a caller, as far as its trace goes, told of in this way.
pub fn traced(mut headers: HeaderMap, way: Propagator) -> HeaderMap {
    let parent = trace::parent(&[way], &mut headers);
    if let Some(mut trace) = Trace::begin(None, parent, None, Instant::now()) {
        let authority = HeaderValue::from_static("backend");
        trace.forward(None, &[way], &authority, &Method::GET, &mut headers);
    }
    headers
}

/// The fields that a backend gets for these of a caller, as far as cookies go.
pub fn request_cookies(mut headers: HeaderMap) -> HeaderMap {
    cookies::drop_own(&mut headers);
    headers
}

/// The fields that a caller gets for these of a backend, as far as cookies go. `path_of`: the Api, where it shares
/// its host.
pub fn response_cookies(mut headers: HeaderMap, path_of: Option<&str>) -> HeaderMap {
    let addressing =
        path_of.map_or(Addressing::Host, |api_id| Addressing::Path { api_id: api_id.to_owned() });
    cookies::confine_all(&mut headers, &addressing);
    headers
}

/// What a caller gets for this answer of a function.
pub fn function_answer(format: PayloadFormatVersion, bytes: &[u8]) -> Option<Response<Bytes>> {
    function::read(format, true, bytes).ok()
}

/// The coding that these fields of `Accept-Encoding` ask a native Api for, and an Api of AWS's dialects.
pub fn coding(fields: &[&[u8]]) -> [Option<&'static str>; 2] {
    let chosen = |offer| accept::choose(fields.iter().copied(), offer).map(accept::Coding::name);
    [chosen(&Offer::NATIVE), chosen(&Offer::AWS)]
}

/// What this body unpacks to whose `Content-Encoding` names these, in pieces of so many bytes, as far as it is right, and whether
/// it is; `None`: its codings are not undone.
pub fn unpack(names: &[u8], bytes: &[u8], piece: usize, bytes_max: u64) -> Option<(Vec<u8>, bool)> {
    decompress::unpack(names, bytes, piece, bytes_max)
}

/// What a caller gets of a function's answer that streams in pieces of so many bytes: its head, its body as far as it comes, and
/// whether it ends.
pub fn function_stream(bytes: &[u8], piece: usize) -> Option<(Response<()>, Vec<u8>, bool)> {
    let (mut events, mut head) = (Events::default(), Head::default());
    let (mut told, mut body, mut broken) = (None, Vec::new(), false);
    'all: for piece in bytes.chunks(piece) {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match (events.next(&mut input), &told) {
                (Ok(Some(Event::Chunk(bytes))), None) => {
                    if let Some((head, rest)) = head.push(bytes).ok()? {
                        body.extend_from_slice(&rest);
                        told = Some(function::head(PayloadFormatVersion::V1, &head).ok()?);
                    }
                }
                (Ok(Some(Event::Chunk(bytes))), Some(_)) => body.extend_from_slice(&bytes),
                (Ok(Some(Event::Complete)), _) => {}
                (Ok(None), _) => break,
                (Err(_), _) => {
                    broken = true;
                    break 'all;
                }
            }
        }
    }
    told.map(|head| (head, body, !broken && events.is_complete()))
}

/// Who called, by the fields of whoever has this address.
pub fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let trusted = proxies.iter().any(|range| range.contains(&peer));
    Peer { address: peer, trusted, tls: false }.client(headers, proxies)
}

/// What an answer of Redis about a throttle, a quota and the nodes makes of `RateLimit`.
pub fn redis_answer(bytes: &[u8]) -> Option<HeaderMap> {
    let value = redis::parse_redis_value(bytes).ok()?;
    let mut limits = Vec::new();
    if let Ok(taken) = Taken::from_redis_value(value.clone()) {
        let _ = taken.refused_for_ms();
        let bucket = Bucket { rate: 2.5, burst: 10 };
        let throttle = Throttle::alone("key", String::new(), bucket);
        limits.push(Limit::of_bucket(&throttle, &taken));
    }
    if let Ok(QuotaAnswer::Spent(Spending(spent, _))) = QuotaAnswer::from_redis_value(value.clone())
    {
        limits.push(Limit::of_quota(&spent));
    }
    let _ = u32::from_redis_value(value);
    let mut headers = HeaderMap::new();
    rate_limit::insert(&mut headers, &limits);
    (!limits.is_empty()).then_some(headers)
}

/// How many requests of an HTTP/2 connection were never answered, and how many were reset, when these bytes came and
/// went in turn, in pieces of so many bytes.
pub fn missed_streams(came: &[u8], went: &[u8], piece: usize) -> (u64, u64) {
    let mut streams = Streams::new(0);
    came.chunks(piece).for_each(|bytes| streams.came(bytes));
    went.chunks(piece).for_each(|bytes| streams.went(bytes));
    let missed = streams.end();
    (missed.answered, missed.reset)
}

/// A cell's last good file with a snapshot, version 1, and deltas up to version 4.
pub struct ConfigFile {
    pub content: Vec<u8>,
    files: LastGood,
    verifier: Verifier,
}

impl ConfigFile {
    const CELL: &str = "default";

    #[expect(clippy::new_without_default, reason = "it draws keys")]
    pub fn new() -> Self {
        let signer = Ed25519KeyPair::generate().expect("there is randomness");
        let sign = |version, kind| {
            let update = Update { cell: Self::CELL.to_owned(), version, kind: Some(kind) };
            let update = update.encode_to_vec();
            Signed { signature: signer.sign(&update).as_ref().to_vec(), update }
        };
        let files = LastGood::new("/nonexistent".as_ref(), Self::CELL, b"a secret".to_vec().into());
        let whole = SnapshotChunk { index: 0, last: true, resources: Vec::new() };
        let mut messages = vec![sign(1, Kind::Snapshot(whole))];
        messages.extend((2..=4).map(|version| sign(version, Kind::Delta(Delta::default()))));
        let (_, content) = files.sealed(&messages).expect("short messages can be encrypted");
        Self { content, files, verifier: Verifier::new(signer.public_key().as_ref()) }
    }

    /// Up to which version such a file is believed, and whether it is all there; nothing of one without a snapshot.
    pub fn read(&self, content: &[u8]) -> Option<(u64, bool)> {
        let mut resources = Resources::default();
        let read = self.files.read(content, &mut resources, &self.verifier)?;
        Some((resources.version(Self::CELL), read.whole))
    }
}
