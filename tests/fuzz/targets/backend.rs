//! What a backend says.

use bytes::BytesMut;
use data_plane::hostile;
use data_plane::snapshot::served::PayloadFormatVersion;
use http::{HeaderMap, header};
use upstream::{Answer, AnswerError, ChunkError, Chunked, Framing, Piece, answer};

use super::fields;

/// A backend's cookie stays with its Api's host, or below its Api's path, and there is none of ours.
pub(crate) fn response_cookies(bytes: &[u8]) {
    let cookies = fields(&header::SET_COOKIE, bytes);
    for path_of in [None, Some("abc123xyz0")] {
        let confined = hostile::response_cookies(cookies.clone(), path_of);
        for cookie in confined.get_all(header::SET_COOKIE) {
            let cookie = std::str::from_utf8(cookie.as_bytes()).unwrap();
            let mut attributes = cookie.split(';').map(|part| part.trim().to_ascii_lowercase());
            let pair = attributes.next().unwrap_or_default();
            let of = |name: &str, part: &String| {
                part.split('=').next().is_some_and(|it| it.trim() == name)
            };
            let attributes: Vec<String> = attributes.collect();
            assert!(!attributes.iter().any(|part| of("domain", part)), "{cookie:?}");
            if path_of.is_some() {
                let paths: Vec<_> = attributes.iter().filter(|part| of("path", part)).collect();
                assert!(
                    matches!(&*paths, [path] if path.starts_with("path=/_api/abc123xyz0/")),
                    "{cookie:?}"
                );
                assert!(!pair.starts_with("tollgate_") && !paths[0].contains(".."), "{cookie:?}");
            }
        }
    }
}

/// The head of these bytes as they come in such pieces, and what follows it.
fn head(bytes: &[u8], piece: usize) -> Result<Option<(Answer, usize)>, AnswerError> {
    let (mut buffer, mut scanned, mut came) = (BytesMut::new(), 0, 0);
    for piece in bytes.chunks(piece) {
        came += piece.len();
        buffer.extend_from_slice(piece);
        if let Some(answer) = answer::parse(&mut buffer, &mut scanned)? {
            return Ok(Some((answer, buffer.len() + bytes.len() - came)));
        }
    }
    Ok(None)
}

/// A head is the same however it comes, says at most one length, and means the same written out.
pub(crate) fn response_head(bytes: &[u8]) {
    let whole = head(bytes, usize::MAX);
    for piece in [1, 3, 17] {
        let pieces = head(bytes, piece);
        match (&whole, &pieces) {
            (Ok(Some((one, left))), Ok(Some((other, other_left)))) => {
                assert_eq!((one.status, left), (other.status, other_left));
                assert_eq!(one.headers, other.headers);
            }
            (Ok(None), Ok(None)) => {}
            (Err(one), Err(other)) => assert_eq!(one, other),
            _ => panic!("whole {whole:?}, in pieces of {piece} {pieces:?}"),
        }
    }
    let Ok(Some((answer, _))) = whole else { return };
    let framings = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let said = framings.map(|name| answer.headers.get_all(name).iter().count());
    assert!(said[0] + said[1] <= 1, "{answer:?}");
    let framing = answer.framing(false);
    assert!(said[1] == 0 || framing.is_ended() || matches!(framing, Framing::Chunked(_)));
    let mut text = format!("{:?} {}\r\n", answer.version, answer.status.as_str()).into_bytes();
    for (name, value) in &answer.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    let (again, left) = head(&text, usize::MAX).unwrap().unwrap();
    assert_eq!((again.status, left), (answer.status, 0));
    assert_eq!(again.headers, answer.headers);
    assert_eq!(format!("{:?}", again.framing(false)), format!("{framing:?}"));
}

/// A function's answer has a final status, and fields that frame nothing and are of no connection, and no more bytes than
/// it came in.
pub(crate) fn function_answer(bytes: &[u8]) {
    for format in [PayloadFormatVersion::V1, PayloadFormatVersion::V2] {
        let Some(answer) = hostile::function_answer(format, bytes) else { continue };
        assert!((200..=599).contains(&answer.status().as_u16()), "{answer:?}");
        let fields = answer.headers();
        for never in
            [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE]
        {
            assert!(!fields.contains_key(never), "{answer:?}");
        }
        assert!(fields.len() <= answer::FIELDS_MAX + 1 && answer.body().len() <= bytes.len());
        assert!(answer.body().is_empty() || fields.contains_key(header::CONTENT_TYPE));
    }
}

/// A function's streamed answer is the same however it comes, no longer than its coding, and its fields frame nothing.
pub(crate) fn function_stream(bytes: &[u8]) {
    let whole = hostile::function_stream(bytes, bytes.len().max(1));
    for piece in [1, 5, 300] {
        let cut = hostile::function_stream(bytes, piece);
        assert_eq!(format!("{cut:?}"), format!("{whole:?}"), "in pieces of {piece}");
    }
    let Some((head, body, _)) = whole else { return };
    assert!((200..=599).contains(&head.status().as_u16()), "{head:?}");
    for never in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        assert!(!head.headers().contains_key(never), "{head:?}");
    }
    assert!(body.len() <= bytes.len() && head.headers().len() <= answer::FIELDS_MAX + 1);
}

/// The body of these bytes as they come in such pieces, its trailers, and how much follows; `None`: it has not ended.
type Body = (Vec<u8>, HeaderMap, Result<Option<usize>, ChunkError>);

fn body(bytes: &[u8], piece: usize) -> Body {
    let (mut chunked, mut buffer, mut came) = (Chunked::default(), BytesMut::new(), 0);
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    for piece in bytes.chunks(piece) {
        came += piece.len();
        buffer.extend_from_slice(piece);
        loop {
            match chunked.take(&mut buffer) {
                Ok(Some(Piece::Data(data))) => body.extend_from_slice(&data),
                Ok(Some(Piece::Trailers(fields))) => trailers = fields,
                Ok(None) => break,
                Err(error) => return (body, trailers, Err(error)),
            }
        }
        if chunked.is_ended() {
            return (body, trailers, Ok(Some(buffer.len() + bytes.len() - came)));
        }
    }
    (body, trailers, Ok(None))
}

/// A body is the same however it comes, is no longer than its coding, and frames nothing after it.
pub(crate) fn chunked_body(bytes: &[u8]) {
    let whole = body(bytes, usize::MAX);
    for piece in [1, 2, 7] {
        assert_eq!(body(bytes, piece), whole, "in pieces of {piece}");
    }
    let (decoded, trailers, end) = whole;
    assert!(decoded.len() <= bytes.len());
    for never in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST] {
        assert!(!trailers.contains_key(never));
    }
    if let (Ok(Some(left)), false) = (end, decoded.is_empty()) {
        assert!(left < bytes.len());
        let size = format!("{:x}\r\n", decoded.len());
        let again = [size.as_bytes(), &decoded, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(body(&again, usize::MAX), (decoded, HeaderMap::new(), Ok(Some(0))));
    }
}

/// Authorities are certificates within their bounds, or refused; those that are taken are trusted the same again.
pub(crate) fn tls_authorities(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (name, authorities) = text.split_once('\n').unwrap_or(("", text));
    let settings = egress::TlsSettings {
        server_name_to_verify: name.to_owned(),
        authorities: authorities.to_owned(),
        ..egress::TlsSettings::default()
    };
    let Ok(identity) = egress::Identity::new(settings.clone()) else { return };
    assert!(authorities.trim().is_empty() || authorities.contains("-----BEGIN CERTIFICATE-----"));
    assert!(authorities.len() <= egress::AUTHORITIES_BYTES_MAX);
    assert!(egress::Identity::new(settings).is_ok_and(|again| again == identity));
}

/// A chain and its private key belong together within their bounds, or are refused; what is taken can be shown.
pub(crate) fn tls_client(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // The chain, and behind the last certificate its key.
    let end = text.rfind("-----END CERTIFICATE-----").map_or(0, |at| at + 25);
    let (chain, key) = text.split_at(end);
    let Ok(pem) = egress::ClientPem::parse(chain, key) else { return };
    assert!((1..=egress::CHAIN_MAX).contains(&pem.chain.len()));
    assert!(chain.len() <= egress::CHAIN_BYTES_MAX && key.len() <= egress::PRIVATE_KEY_BYTES_MAX);
    let shown = egress::ClientIdentity::new(pem.chain.clone(), &pem.private_key);
    let again = egress::ClientIdentity::new(pem.chain, &pem.private_key);
    assert!(shown.is_ok_and(|shown| again.is_ok_and(|again| shown == again)));
}
