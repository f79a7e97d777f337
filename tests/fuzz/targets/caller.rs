//! What a caller says.

use std::io::Read;

use bytes::BytesMut;
use downstream::{Limits, Request, RequestError, request};
use http::header;
use http1::{ChunkError, Framing, Piece};

const LIMITS: Limits = Limits { line_bytes_max: 2048, head_bytes_max: 8192 };

/// The head of these bytes as they come in such pieces, and what follows it.
fn head(bytes: &[u8], piece: usize) -> Result<Option<(Request, usize)>, RequestError> {
    let (mut buffer, mut progress, mut came) = (BytesMut::new(), request::Progress::default(), 0);
    for piece in bytes.chunks(piece) {
        came += piece.len();
        buffer.extend_from_slice(piece);
        if let Some(request) = request::parse(&mut buffer, &mut progress, LIMITS)? {
            return Ok(Some((request, buffer.len() + bytes.len() - came)));
        }
    }
    Ok(None)
}

/// A head is the same however it comes, says the end of its body once and names one host, and means the same written
/// out.
pub(crate) fn request_head(bytes: &[u8]) {
    let whole = head(bytes, usize::MAX);
    for piece in [1, 3, 17] {
        match (&whole, &head(bytes, piece)) {
            (Ok(Some((one, left))), Ok(Some((other, other_left)))) => {
                assert_eq!(
                    (&one.head.method, &one.head.uri),
                    (&other.head.method, &other.head.uri)
                );
                assert_eq!((&one.head.headers, left), (&other.head.headers, other_left));
            }
            (Ok(None), Ok(None)) => {}
            (Err(one), Err(other)) => assert_eq!(one, other),
            (_, pieces) => panic!("whole {whole:?}, in pieces of {piece} {pieces:?}"),
        }
    }
    let Ok(Some((request, _))) = whole else { return };
    let head = &request.head;
    let said = |name| head.headers.get_all(name).iter().count();
    assert!(said(header::CONTENT_LENGTH) + said(header::TRANSFER_ENCODING) <= 1, "{request:?}");
    assert!(said(header::HOST) <= 1, "{request:?}");
    assert!(!head.uri.to_string().contains(['#', ' ', '\t', '\r', '\n']), "{request:?}");
    let framing = request.framing();
    assert!(said(header::TRANSFER_ENCODING) == 0 || matches!(framing, Framing::Chunked(_)));
    let target = head.uri.to_string();
    let mut text = format!("{} {target} {:?}\r\n", head.method, head.version).into_bytes();
    for (name, value) in &head.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    if text.len() >= LIMITS.line_bytes_max {
        return; // a URI without a path was given one, which may be too much
    }
    let (again, left) = self::head(&text, usize::MAX).unwrap().unwrap();
    assert_eq!((&again.head.uri, left), (&head.uri, 0));
    assert_eq!(again.head.headers, head.headers);
    assert_eq!(format!("{:?}", again.framing()), format!("{framing:?}"));
}

/// All requests of these bytes with their bodies, and why they ended, read in such pieces.
fn requests(bytes: &[u8], piece: usize) -> (Vec<(String, Vec<u8>)>, String) {
    let (mut buffer, mut progress) = (BytesMut::new(), request::Progress::default());
    let (mut requests, mut framing) = (Vec::<(String, Vec<u8>)>::new(), Framing::Length(0));
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            if framing.is_ended() {
                match request::parse(&mut buffer, &mut progress, LIMITS) {
                    Ok(Some(request)) => {
                        framing = request.framing();
                        let head = &request.head;
                        requests.push((format!("{} {}", head.method, head.uri), Vec::new()));
                        continue;
                    }
                    Ok(None) => break,
                    Err(error) => return (requests, format!("{error:?}")),
                }
            }
            let taken: Result<_, ChunkError> = framing.take(&mut buffer);
            match taken {
                Ok(Some(Piece::Data(data))) => {
                    requests.last_mut().expect("it is its body").1.extend_from_slice(&data);
                }
                Ok(Some(Piece::Trailers(_))) => {}
                Ok(None) if framing.is_ended() => {}
                Ok(None) => break,
                Err(error) => return (requests, format!("{error:?}")),
            }
        }
    }
    (requests, String::new())
}

/// Requests in a row are the same ones however they come: no body reaches into the next head.
pub(crate) fn pipeline(bytes: &[u8]) {
    let whole = requests(bytes, usize::MAX);
    for piece in [1, 2, 7] {
        assert_eq!(requests(bytes, piece), whole, "in pieces of {piece}");
    }
    let bodies: usize = whole.0.iter().map(|(_, body)| body.len()).sum();
    assert!(bodies <= bytes.len());
}

/// The first line of these bytes as `Content-Encoding` and the rest as the body: what it unpacks to is bounded, whatever it comes
/// in, and the same; and another reader of gzip finds the same too.
pub(crate) fn content_encoding(bytes: &[u8]) {
    const UNPACKED_BYTES_MAX: u64 = 4 << 20;
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (names, body) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let unpack = |piece| data_plane::hostile::unpack(names, body, piece, UNPACKED_BYTES_MAX);
    let Some((whole, is_right)) = unpack(usize::MAX) else { return };
    let most = (body.len() * 100).clamp(1 << 20, 4 << 20) + (64 << 10);
    assert!(whole.len() <= most, "{} of {}", whole.len(), body.len());
    for piece in [1, 7, 1000] {
        let (unpacked, also) = unpack(piece).expect("known codings");
        // In pieces more of it may unpack to too much of what came so far, and never less.
        assert!(is_right || !also, "in pieces of {piece}");
        assert!(!also || unpacked == whole, "in pieces of {piece}");
    }
    if is_right && !body.is_empty() && names.eq_ignore_ascii_case(b"gzip") {
        let mut other = Vec::new();
        flate2::read::MultiGzDecoder::new(body).read_to_end(&mut other).expect("it is gzip");
        assert!(other == whole);
    }
}

/// What is chosen was named, or was among all that `*` stands for, and the same fields in one line ask for the same.
pub(crate) fn accept_encoding(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let chosen = data_plane::hostile::coding(&lines);
    assert_eq!(chosen, data_plane::hostile::coding(&[&lines.join(&b','), b""]));
    let lower = bytes.to_ascii_lowercase();
    let says = |word: &str| lower.windows(word.len()).any(|part| part == word.as_bytes());
    let [native, aws] = chosen;
    assert!(native.is_none_or(|coding| says(coding) || says("*")), "{native:?}");
    assert!(
        aws.is_none_or(|coding| ["gzip", "deflate"].contains(&coding) && says(coding)),
        "{aws:?}"
    );
}
