//! Whole exchanges over a connection whose other end the test is.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::{AnswerError, BoxError, Connection, Error, Length, Sending, request};

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The other end: what it says, piece by piece, and what it was sent, write by write.
#[derive(Debug, Default)]
struct Script {
    /// `None`: nothing comes for a moment. At its end the connection is closed.
    says: VecDeque<Option<Vec<u8>>>,
    writes: Vec<Vec<u8>>,
    /// How much it takes at once; 0: it takes nothing any more.
    takes: Option<usize>,
    /// Says nothing at its end, instead of closing.
    stays: bool,
}

impl Script {
    fn saying(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let says = pieces.into_iter().map(|piece| Some(piece.as_ref().to_vec())).collect();
        Self { says, stays: true, ..Self::default() }
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&self.writes.concat()).into_owned()
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.says.pop_front() {
            Some(Some(mut piece)) => {
                let rest = piece.split_off(piece.len().min(buffer.remaining()));
                buffer.put_slice(&piece);
                if !rest.is_empty() {
                    self.says.push_front(Some(rest));
                }
                Poll::Ready(Ok(()))
            }
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.stays => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = bytes.len().min(self.takes.unwrap_or(usize::MAX));
        self.writes.push(bytes[..taken].to_vec());
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let joined = parts.iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>();
        self.as_mut().poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn sending(body: Body, length: Length) -> Sending<Body> {
    let mut head = BytesMut::new();
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("h"))]);
    request::encode(&mut head, &Method::POST, &PathAndQuery::from_static("/"), &headers, length);
    Sending::new(head, body, length)
}

fn empty() -> Sending<Body> {
    sending(Full::default().map_err(Into::into).boxed_unsync(), Length::None)
}

fn pieces(pieces: &[&'static [u8]], length: Length) -> Sending<Body> {
    let frames: Vec<_> = pieces
        .iter()
        .map(|piece| Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(piece))))
        .collect();
    sending(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync(), length)
}

/// What came: status, body, trailers.
type Came = (u16, Vec<u8>, HeaderMap);

fn exchange(
    connection: &mut Connection<Script>,
    mut request: Sending<Body>,
) -> Result<Came, Error> {
    connection.begin(BytesMut::new());
    let whole = async {
        let answer = poll_fn(|cx| connection.poll_answer(cx, &mut request, false)).await?;
        let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
            match frame?.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        Ok((answer.status.as_u16(), body, trailers))
    };
    // Each pause of the script is one `Pending`, after which it goes on.
    let mut whole = std::pin::pin!(whole);
    (0..100_000).find_map(|_| whole.as_mut().now_or_never()).expect("it comes to an end")
}

static LARGE: [u8; 100_000] = [b'x'; 100_000];
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_head_and_a_small_body_are_one_write_and_a_large_piece_is_not_copied_to_them() {
    let cases: [(&[&'static [u8]], _, usize, &str); 4] = [
        (&[], Length::None, 1, "POST / HTTP/1.1\r\nhost: h\r\n\r\n"),
        (
            &[b"hello"],
            Length::Exact(5),
            1,
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello",
        ),
        (
            &[b"hel", b"", b"lo"],
            Length::Chunked,
            1,
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ),
        (&[&LARGE], Length::Chunked, 2, "x\r\n0\r\n\r\n"),
    ];
    for (body, length, writes, end) in cases {
        let mut script = Script::saying([OK]);
        script.says.push_front(None); // the request goes first
        let mut connection = Connection::new(script);
        assert_eq!(exchange(&mut connection, pieces(body, length)).unwrap().1, b"ok");
        assert!(connection.is_reusable());
        let script = connection.into_io();
        assert!(script.sent().ends_with(end), "{:?}", script.sent());
        assert_eq!(script.writes.len(), writes);
    }
}

#[test]
fn a_body_that_is_not_as_long_as_it_said_is_not_completed() {
    for (body, said) in [("hello", 4), ("hello", 6)] {
        let mut connection = Connection::new(Script { stays: true, ..Script::default() });
        let request = pieces(&[body.as_bytes()], Length::Exact(said));
        let error = exchange(&mut connection, request).unwrap_err();
        assert!(matches!(error, Error::Upload(_)), "{error:?}");
        assert!(!connection.is_reusable());
    }
}

#[test]
fn one_connection_takes_one_request_after_another_while_each_leaves_it_clean() {
    let mut script = Script::saying([OK, OK, &OK.replace("ok", "okHTTP")]);
    script.says.insert(2, None);
    script.says.insert(1, None);
    let mut connection = Connection::new(script);
    for _ in 0..2 {
        assert_eq!(exchange(&mut connection, empty()).unwrap().1, b"ok");
        assert!(connection.is_reusable() && connection.rest().is_empty() && connection.is_quiet());
    }
    assert_eq!(exchange(&mut connection, empty()).unwrap().1, b"ok");
    assert!(!connection.is_reusable(), "something followed the answer");
}

#[test]
fn a_request_that_no_connection_took_a_byte_of_can_be_sent_on_another() {
    let mut request = pieces(&[b"hello"], Length::Exact(5));
    let mut dead = Connection::new(Script { takes: Some(0), ..Script::default() });
    dead.begin(BytesMut::new());
    let error = poll_fn(|cx| dead.poll_answer(cx, &mut request, false)).now_or_never().unwrap();
    assert!(matches!(error, Err(Error::Unanswered(Some(_)))), "{error:?}");
    assert!(request.is_unsent() && request.rewind());

    let mut connection = Connection::new(Script::saying([OK]));
    assert_eq!(exchange(&mut connection, request).unwrap().1, b"ok");
    assert!(connection.into_io().sent().ends_with("\r\n\r\nhello"));

    let mut begun = pieces(&[b"hello"], Length::Exact(5));
    let mut half = Connection::new(Script { takes: Some(3), stays: true, ..Script::default() });
    half.begin(BytesMut::new());
    assert!(poll_fn(|cx| half.poll_answer(cx, &mut begun, false)).now_or_never().is_none());
    assert!(!begun.is_unsent() && !begun.rewind(), "its body is gone");
}

#[test]
fn an_answer_is_heard_although_the_request_could_not_be_sent() {
    let script = Script { takes: Some(0), ..Script::saying([OK]) };
    let mut connection = Connection::new(script);
    assert_eq!(exchange(&mut connection, empty()).unwrap().1, b"ok");
    assert!(!connection.is_reusable());
}

#[test]
fn interim_answers_are_passed_over_and_have_an_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let mut connection = Connection::new(Script::saying([interim.repeat(32) + OK]));
    assert_eq!(exchange(&mut connection, empty()).unwrap().1, b"ok");
    let mut connection = Connection::new(Script::saying([interim.repeat(33) + OK]));
    let error = exchange(&mut connection, empty()).unwrap_err();
    assert!(matches!(error, Error::Answer(AnswerError::TooManyInterim)), "{error:?}");
}

#[test]
fn where_a_connection_ended_is_told() {
    let ends = |said: &str| {
        let mut connection = Connection::new(Script { stays: false, ..Script::saying([said]) });
        exchange(&mut connection, empty()).map(|came| came.1)
    };
    assert!(matches!(ends("HTTP/1.1 200"), Err(Error::CutOff(None))));
    assert!(matches!(ends("HTTP/1.1 100 X\r\n\r\n"), Err(Error::CutOff(None))));
    assert!(matches!(ends("HTTP/1.1 200 X\r\ncontent-length: 3\r\n\r\nok"), Err(Error::CutOff(_))));
    assert_eq!(ends("HTTP/1.1 200 X\r\n\r\nok").unwrap(), b"ok");
    let mut silent = Connection::new(Script::default());
    assert!(matches!(exchange(&mut silent, empty()), Err(Error::Unanswered(None))));
}

/// An answer, and what is to come of it.
fn answer() -> impl Strategy<Value = (Vec<u8>, Came)> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..60), "[0]{0,3}", "(;[a-z]{1,9}){0,2}");
    let chunked = prop::collection::vec(chunk, 0..8).prop_map(|chunks| {
        let mut text = b"HTTP/1.1 201 X\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let mut body = Vec::new();
        for (data, zeros, extension) in chunks {
            text.extend_from_slice(format!("{zeros}{:X}{extension}\r\n", data.len()).as_bytes());
            text.extend_from_slice(&data);
            text.extend_from_slice(b"\r\n");
            body.extend(data);
        }
        text.extend_from_slice(b"0\r\nx-sum: 7\r\n\r\n");
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("x-sum"),
            HeaderValue::from_static("7"),
        )]);
        (text, (201, body, trailers))
    });
    let length = prop::collection::vec(any::<u8>(), 0..300).prop_map(|body| {
        let head = format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        ([head.as_bytes(), &body].concat(), (200, body, HeaderMap::new()))
    });
    prop_oneof![chunked, length]
}

proptest! {
    /// However an answer is cut into reads, the same comes of it.
    #[test]
    fn an_answer_is_the_same_however_it_comes(
        (text, expected) in answer(),
        cuts in prop::collection::vec((1_usize..40, any::<bool>()), 1..50),
    ) {
        let mut script = Script { stays: true, ..Script::default() };
        let (mut rest, mut cuts) = (&text[..], cuts.into_iter().cycle());
        while let (false, Some((cut, pause))) = (rest.is_empty(), cuts.next()) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            script.says.extend(pause.then_some(None));
            script.says.push_back(Some(piece.to_vec()));
            rest = after;
        }
        let mut connection = Connection::new(script);
        let came = exchange(&mut connection, empty()).unwrap();
        prop_assert_eq!(came, expected);
        prop_assert!(connection.is_reusable());
    }

    /// However a request is cut into pieces and writes, its chunks are its body.
    #[test]
    fn a_chunked_request_is_its_body_however_it_is_taken(
        sizes in prop::collection::vec(1_usize..20_000, 0..6),
        takes in 1_usize..9000,
    ) {
        let frames: Vec<_> = sizes
            .iter()
            .zip(b'a'..)
            .map(|(size, letter)| Ok::<_, BoxError>(http_body::Frame::data(vec![letter; *size].into())))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let script = Script { takes: Some(takes), ..Script::saying([OK]) };
        let mut connection = Connection::new(script);
        exchange(&mut connection, sending(body, Length::Chunked)).unwrap();
        let sent = connection.into_io().sent();
        let chunks: Vec<_> = sizes
            .iter()
            .zip('a'..)
            .map(|(size, letter)| format!("{size:x}\r\n{}\r\n", letter.to_string().repeat(*size)))
            .collect();
        let (_, body) = sent.split_once("\r\n\r\n").unwrap();
        prop_assert_eq!(body, format!("{}0\r\n\r\n", chunks.concat()));
    }
}

/// An answer's head was read, with `hel` of its body.
fn begun(head: &str) -> Connection<Script> {
    let mut connection = Connection::new(Script::saying([format!("{head}\r\n\r\nhel")]));
    connection.begin(BytesMut::new());
    let mut request = empty();
    let answer = poll_fn(|cx| connection.poll_answer(cx, &mut request, false)).now_or_never();
    answer.expect("it came").expect("an answer");
    connection
}

fn take(connection: &mut Connection<Script>, taken: Poll<io::Result<u64>>) -> Poll<Option<u64>> {
    let mut taken = Some(taken);
    let take = poll_fn(|cx| connection.poll_take(cx, |_, _, _| taken.take().expect("asked once")));
    match take.now_or_never() {
        None => Poll::Pending,
        Some(taken) => Poll::Ready(taken.map(|taken| taken.expect("taken"))),
    }
}

#[test]
fn once_nothing_read_waits_a_body_with_a_length_may_be_taken_off_the_connection_itself() {
    let mut connection = begun("HTTP/1.1 200 OK\r\ncontent-length: 9");
    assert_eq!(connection.unread(), 0, "what was read goes first");
    assert_eq!(take(&mut connection, Poll::Ready(Ok(9))), Poll::Ready(None));
    let frame = poll_fn(|cx| connection.poll_frame(cx)).now_or_never().flatten();
    assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "hel");
    assert_eq!(connection.unread(), 6);
    assert_eq!(take(&mut connection, Poll::Ready(Ok(4))), Poll::Ready(Some(4)));
    assert_eq!(take(&mut connection, Poll::Pending), Poll::Pending);
    assert_eq!((connection.unread(), connection.size_hint().exact()), (2, Some(2)));
    assert!(!connection.is_end_stream() && !connection.is_reusable());
    assert_eq!(take(&mut connection, Poll::Ready(Ok(2))), Poll::Ready(Some(2)));
    assert_eq!(take(&mut connection, Poll::Ready(Ok(2))), Poll::Ready(None));
    assert!(connection.is_end_stream() && connection.is_reusable());

    for ended in [Ok(0), Err(io::ErrorKind::ConnectionReset.into())] {
        let mut connection = begun("HTTP/1.1 200 OK\r\ncontent-length: 9");
        drop(poll_fn(|cx| connection.poll_frame(cx)).now_or_never());
        let mut ended = Some(ended);
        let take = poll_fn(|cx| {
            connection.poll_take(cx, |_, _, _| Poll::Ready(ended.take().expect("asked once")))
        });
        assert!(matches!(take.now_or_never(), Some(Some(Err(Error::CutOff(_))))));
        assert!(!connection.is_reusable());
    }
    let mut connection = begun("HTTP/1.1 200 OK");
    drop(poll_fn(|cx| connection.poll_frame(cx)).now_or_never());
    assert_eq!(connection.unread(), 0, "nobody knows how much is to come");
}
