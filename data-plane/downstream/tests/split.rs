//! However the bytes of a connection are cut into reads, they mean the same.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use downstream::{Buffers, Connection, HeadError, Limits, Rest};
use futures_util::FutureExt;
use http_body::Body;
use proptest::prelude::*;
use script::Script;

mod script;

const LIMITS: Limits = Limits { line_bytes_max: 200, head_bytes_max: 400 };

/// Parts of requests, good and bad; put one after another they are what callers and smugglers send.
const PARTS: [&str; 24] = [
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "POST http://a/ HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "host: a\r\n",
    "host: b\r\n",
    "content-length: 5\r\n",
    "content-length: 0\r\n",
    "content-length: 5, 5\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: identity\r\n",
    "expect: 100-continue\r\n",
    "connection: close\r\n",
    "\r\n",
    "\n",
    "\r",
    " x\r\n",
    "x : y\r\n",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n",
    "ffffffffffffffff1\r\n",
    "x: \0\r\n",
];

/// All that comes of these reads: each request with its body, and how the connection ended.
fn came(reads: &[Vec<u8>]) -> Vec<String> {
    let connection = Connection::new(
        Script::saying(reads.iter().cloned()),
        b"",
        LIMITS,
        Rc::<Buffers>::default(),
    );
    let mut came = Vec::new();
    let all = async {
        loop {
            let call = match poll_fn(|cx| connection.poll_call(cx)).await {
                Ok(Some(call)) => call,
                Ok(None) => return came.push("left".to_owned()),
                Err(HeadError::Refused(error)) => return came.push(format!("{error:?}")),
                Err(HeadError::CutOff(_)) => return came.push("cut off".to_owned()),
            };
            let head = &call.request.head;
            came.push(format!("{} {} {:?}", head.method, head.uri, head.headers));
            let (mut bytes, mut ended) = (Vec::new(), "");
            if let Some(mut body) = call.body {
                while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    match frame.map(http_body::Frame::into_data) {
                        Ok(Ok(data)) => bytes.extend_from_slice(&data),
                        Ok(Err(trailers)) => came.push(format!("{trailers:?}")),
                        Err(error) => {
                            ended = if error.to_string().contains("refused") {
                                "refused"
                            } else {
                                "cut"
                            };
                            break;
                        }
                    }
                }
            }
            came.push(format!("{:?} {ended}", String::from_utf8_lossy(&bytes)));
            if poll_fn(|cx| connection.poll_rest(cx)).await == Rest::Unread {
                return;
            }
        }
    };
    {
        let mut all = std::pin::pin!(all);
        let ended = (0..100_000).find_map(|_| all.as_mut().now_or_never());
        assert!(ended.is_some(), "it does not come to an end");
    }
    came
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_requests(
        parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 1..14),
        cuts in prop::collection::vec(0_usize..200, 0..8),
    ) {
        let bytes = parts.concat().into_bytes();
        let whole = came(&[bytes.clone()]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Vec<u8>> = cuts
            .windows(2)
            .map(|cut| bytes[cut[0]..cut[1]].to_vec())
            .filter(|piece| !piece.is_empty())
            .collect();
        prop_assert_eq!(came(&pieces), whole.clone());
        let single: Vec<Vec<u8>> = bytes.iter().map(|byte| vec![*byte]).collect();
        prop_assert_eq!(came(&single), whole);
    }
}

#[test]
fn nothing_is_read_of_a_caller_between_two_polls() {
    let script = Script { stays: true, ..Script::default() };
    let connection = Connection::new(script, b"", LIMITS, Rc::<Buffers>::default());
    let waits = poll_fn(|cx| Poll::Ready(connection.poll_call(cx).is_pending()));
    assert!(waits.now_or_never().unwrap() && !connection.has_begun());
}
