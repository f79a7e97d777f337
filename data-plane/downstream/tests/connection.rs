//! A connection from request to answer to request, over a scripted caller.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use downstream::{
    Asked, BodyError, Buffers, Call, Connection, Length, Limits, Rest, SendError, Sending,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use script::Script;

mod script;

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;
type Caller = Connection<Script>;

const LIMITS: Limits = Limits { line_bytes_max: 1000, head_bytes_max: 4000 };

fn connection(script: Script) -> Caller {
    Connection::new(script, b"", LIMITS, Rc::<Buffers>::default())
}

/// Each pause of the script is one `Pending`, after which it goes on.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    (0..10_000).find_map(|_| work.as_mut().now_or_never()).expect("it comes to an end")
}

fn call(connection: &Caller) -> Call<Script> {
    run(poll_fn(|cx| connection.poll_call(cx))).expect("a head").expect("a request")
}

fn answer(connection: &Caller, asked: Asked, body: Body, keep_alive: bool) {
    let mut headers = HeaderMap::new();
    headers.insert("date", HeaderValue::from_static("D"));
    let mut out = BytesMut::new();
    let length = asked.encode(&mut out, StatusCode::OK, &headers, &body.size_hint(), keep_alive);
    let mut sending = Sending::new(out, body, length).without_trailers();
    let mut writer = connection.writer();
    run(poll_fn(|cx| sending.poll_send(cx, &mut writer))).expect("sent");
}

fn rest(connection: &Caller) -> Rest {
    run(poll_fn(|cx| connection.poll_rest(cx)))
}

fn whole(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync()
}

/// Of no known length, with a trailer.
fn unknown(text: &'static str) -> Body {
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
    let frames = [Frame::data(Bytes::from_static(text.as_bytes())), Frame::trailers(trailers)];
    StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync()
}

const GET: Asked = Asked { is_head: false, version: Version::HTTP_11 };

fn sent(connection: Caller) -> Vec<String> {
    let (script, _) = connection.into_parts().expect("nobody has a body");
    script.writes.iter().map(|write| String::from_utf8_lossy(write).into_owned()).collect()
}

#[test]
fn requests_in_a_row_are_answered_in_their_order_each_with_one_write() {
    let one = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let two = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let connection = connection(Script::saying([format!("{one}{two}{one}")]));
    for (path, body) in [("/1", None), ("/2", Some("hi")), ("/1", None)] {
        let call = call(&connection);
        assert_eq!(call.request.head.uri, path);
        let read = call.body.map(|body| run(body.collect()).unwrap().to_bytes());
        assert_eq!(read.as_deref(), body.map(str::as_bytes));
        answer(&connection, GET, whole("ok"), true);
        assert_eq!(rest(&connection), Rest::Read);
    }
    assert!(run(poll_fn(|cx| connection.poll_call(cx))).unwrap().is_none(), "it left");
    assert_eq!(sent(connection), ["HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 2\r\n\r\nok"; 3]);
}

#[test]
fn a_body_of_unknown_length_is_chunked_and_its_trailers_stay_out_unless_they_are_taken() {
    let connection = connection(Script::saying(["GET / HTTP/1.1\r\nhost: a\r\n\r\n"]));
    drop(call(&connection));
    answer(&connection, GET, unknown("hello"), true);
    assert_eq!(
        sent(connection).concat(),
        "HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
}

#[test]
fn who_waits_to_be_told_is_told_when_its_body_is_first_read() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    let connection = connection(Script::saying([head, "hi"]));
    let body = call(&connection).body.expect("a body");
    assert!(!connection.may_follow(), "unread, it may come or not");
    assert_eq!(run(body.collect()).unwrap().to_bytes(), "hi");
    assert!(connection.may_follow());
    answer(&connection, GET, whole("ok"), true);
    let written = sent(connection);
    assert_eq!(written[0], "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(written.len() == 2 && written[1].starts_with("HTTP/1.1 200 OK\r\n"), "{written:?}");

    // With the body here already, or the answer begun, there is nothing to tell.
    for (pieces, early) in
        [(vec![format!("{head}hi")], false), (vec![head.into(), "hi".into()], true)]
    {
        let connection = self::connection(Script::saying(pieces));
        let body = call(&connection).body.expect("a body");
        if early {
            answer(&connection, GET, whole("ok"), false);
        }
        assert_eq!(run(body.collect()).unwrap().to_bytes(), "hi");
        if !early {
            answer(&connection, GET, whole("ok"), false);
        }
        assert_eq!(sent(connection).len(), 1);
    }
}

#[test]
fn what_nobody_wants_of_a_body_is_read_if_it_is_little_or_ends_the_connection() {
    let next = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";
    let large = "x".repeat(100_000);
    for (fields, body, follows) in [
        ("content-length: 5", "hello".to_owned(), true),
        ("content-length: 60000", "x".repeat(60_000), true),
        ("content-length: 100000", large.clone(), false),
        ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n".to_owned(), true),
        ("transfer-encoding: chunked", "5\r\nhelloX\r\n0\r\n\r\n".to_owned(), false),
        ("transfer-encoding: chunked", format!("186a0\r\n{large}\r\n0\r\n\r\n"), false),
        ("content-length: 5\r\nexpect: 100-continue", String::new(), false),
    ] {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n");
        let next = if body.is_empty() { "" } else { next };
        let connection = connection(Script::saying([head + &body + next]));
        let unwanted = call(&connection);
        assert!(unwanted.body.is_some() && connection.is_held());
        drop(unwanted);
        let may_follow = connection.may_follow();
        assert_eq!(may_follow, follows, "{fields}");
        answer(&connection, GET, whole("no"), may_follow);
        if may_follow {
            assert_eq!(rest(&connection), Rest::Read, "{fields}");
            assert_eq!(call(&connection).request.head.uri, "/next");
        } else {
            assert!(connection.has_unread(), "{fields}");
            run(poll_fn(|cx| connection.poll_linger(cx)));
        }
    }
}

#[test]
fn an_earlier_body_reads_nothing_of_the_next_requests() {
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    let connection = connection(Script::saying([post, post]));
    let mut first = call(&connection).body.expect("a body");
    let frame = run(poll_fn(|cx| Pin::new(&mut first).poll_frame(cx))).unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hi");
    answer(&connection, GET, whole("ok"), true);
    assert_eq!(rest(&connection), Rest::Read, "it was read, whoever still has it");
    let second = call(&connection).body.expect("a body");
    assert!(first.is_end_stream() && first.size_hint().exact() == Some(0));
    assert!(run(poll_fn(|cx| Pin::new(&mut first).poll_frame(cx))).is_none());
    drop(first);
    assert!(connection.is_held(), "the second is another's");
    assert_eq!(run(second.collect()).unwrap().to_bytes(), "hi");
}

#[test]
fn the_next_request_waits_until_the_body_was_read_or_let_go() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    let connection = connection(Script { stays: true, ..Script::saying([head, "he"]) });
    let body = call(&connection).body.expect("a body");
    answer(&connection, GET, whole("early"), true);
    let waits = || poll_fn(|cx| Poll::Ready(connection.poll_rest(cx).is_pending())).now_or_never();
    assert_eq!(waits(), Some(true));
    drop(body);
    assert!(!connection.is_held());
}

#[test]
fn a_body_that_breaks_its_coding_or_off_ends_its_connection() {
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
    for (text, is_cut) in [
        (format!("{chunked}zz\r\n"), false),
        (format!("{chunked}5\nhello"), false),
        (format!("{chunked}5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(600)), false),
        (format!("{chunked}5\r\nhel"), true),
        (format!("{length}hel"), true),
    ] {
        let connection = connection(Script::saying([&text]));
        let error = run(call(&connection).body.expect("a body").collect()).unwrap_err();
        assert_eq!(matches!(error, BodyError::CutOff(_)), is_cut, "{text}: {error}");
        assert!(!connection.may_follow());
        assert_eq!(rest(&connection), Rest::Unread);
    }
}

#[test]
fn a_caller_who_leaves_is_noticed_and_one_who_asks_on_is_not_taken_for_it() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let connection = self::connection(Script::saying([get]));
    drop(call(&connection));
    run(poll_fn(|cx| connection.poll_gone(cx)));

    let connection = self::connection(Script::saying([get, get]));
    drop(call(&connection));
    for _ in 0..10 {
        assert!(poll_fn(|cx| connection.poll_gone(cx)).now_or_never().is_none());
    }
    assert!(connection.has_begun());
    drop(call(&connection));
}

#[test]
fn what_a_layer_below_has_to_say_leaves_while_a_connection_waits() {
    let connection = connection(Script { stays: true, ..Script::default() });
    assert!(poll_fn(|cx| connection.poll_call(cx)).now_or_never().is_none());
    let (script, _) = connection.into_parts().expect("nobody has a body");
    assert_eq!(script.flushes, 1);
}

#[test]
fn a_connection_is_handed_over_with_what_was_read() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello";
    let connection = connection(Script::saying([get]));
    drop(call(&connection));
    let (_, read) = connection.into_parts().expect("nobody has a body");
    assert_eq!(read, "hello");
}

#[test]
fn a_caller_who_takes_nothing_is_stuck_until_it_does() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let connection = connection(Script { stuck: true, ..Script::saying([get]) });
    drop(call(&connection));
    assert_eq!(connection.stuck_since(), None);
    let mut out = BytesMut::new();
    let body = whole("ok");
    let length = GET.encode(&mut out, StatusCode::OK, &HeaderMap::new(), &body.size_hint(), true);
    let mut sending = Sending::new(out, body, length);
    let mut writer = connection.writer();
    assert!(poll_fn(|cx| sending.poll_send(cx, &mut writer)).now_or_never().is_none());
    assert!(connection.stuck_since().is_some());
}

/// A body of which nobody takes more than its first three bytes: the others go another way.
struct Parted {
    begun: bool,
    left: u64,
}

impl http_body::Body for Parted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        assert!(!std::mem::replace(&mut self.begun, true), "it stops there");
        self.left -= 3;
        Poll::Ready(Some(Ok(Frame::data("hel".into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

#[test]
fn an_answer_whose_bytes_go_another_way_is_as_long_as_it_said_or_fails() {
    for (moved, is_whole) in
        [(vec![6], true), (vec![2, 4], true), (vec![7], false), (vec![5], false)]
    {
        let connection = connection(Script::saying(["GET / HTTP/1.1\r\nhost: a\r\n\r\n"]));
        drop(call(&connection));
        let mut writer = connection.writer();
        let body = Parted { begun: false, left: 9 };
        let mut sending = Sending::new(BytesMut::from("head "), body, Length::Exact(9));
        let sent = || {
            for bytes in moved {
                run(poll_fn(|cx| sending.poll_send_until(cx, &mut writer, |body| body.begun)))?;
                assert!(!sending.is_sent());
                run(poll_fn(|cx| {
                    writer.poll_with(cx, |mut script, _| {
                        script.writes.push(vec![b'x'; bytes]);
                        Poll::Ready(Ok(()))
                    })
                }))
                .map_err(SendError::Connection)?;
                sending.moved(bytes as u64)?;
                let body = sending.body_mut().expect("it has not ended");
                body.left = if bytes == 5 { 0 } else { body.left - bytes as u64 };
            }
            run(poll_fn(|cx| sending.poll_send_until(cx, &mut writer, |body| body.begun)))
        };
        let sent_whole = sent();
        match sent_whole {
            Ok(()) => assert!(is_whole && sending.is_sent()),
            Err(error) => assert!(!is_whole && matches!(error, SendError::Body(_)), "{error:?}"),
        }
        drop(writer);
        let written = self::sent(connection);
        assert_eq!(written[0], "head hel", "what is in memory goes first");
        assert!(!is_whole || written.concat() == "head helxxxxxx", "{written:?}");
    }
}
