//! Which answers may be compressed at all.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE},
};

use super::Offer;

/// Digests of the very bytes: true only while those stay (RFC 9530, RFC 3230, RFC 1864).
pub(crate) const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];
/// Compressed in themselves, or opaque.
const DENSE: [&str; 17] = [
    "application/octet-stream",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/x-bzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/x-7z-compressed",
    "application/x-rar-compressed",
    "application/vnd.rar",
    "application/x-compress",
    "application/java-archive",
    "application/pdf",
    "application/font-woff",
    "font/woff",
    "font/woff2",
];
/// The same of all that begins so, but for [`LOOSE`].
const DENSE_PREFIXES: [&str; 5] = [
    "image/",
    "audio/",
    "video/",
    "application/vnd.openxmlformats-officedocument",
    "application/vnd.oasis.opendocument",
];
const LOOSE: [&str; 4] = ["image/svg+xml", "image/bmp", "image/x-icon", "audio/midi"];

pub(super) fn may_be_coded(status: StatusCode, headers: &HeaderMap, offer: &Offer) -> bool {
    let whole = !status.is_informational()
        && ![
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            StatusCode::PARTIAL_CONTENT,
            StatusCode::NOT_MODIFIED,
        ]
        .contains(&status);
    whole
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !DIGESTS.iter().any(|digest| headers.contains_key(digest))
        && !is_kept(headers)
        && !headers.get(CONTENT_TYPE).is_some_and(|media_type| is_left(media_type, offer))
}

/// Whether its sender asked that nobody on the way changes it (RFC 9111 §5.2.2.6).
fn is_kept(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|value| {
        let mut directives = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
    })
}

/// Whether a body of this media type stays as it is. Messages of gRPC are compressed one by one, by their own fields.
fn is_left(media_type: &HeaderValue, offer: &Offer) -> bool {
    let Ok(media_type) = media_type.to_str() else { return false };
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let begins = |prefix: &&str| essence.starts_with(*prefix);
    let grpc = begins(&"application/grpc");
    let dense = || {
        DENSE.contains(&&*essence) || essence.ends_with("+zip") || DENSE_PREFIXES.iter().any(begins)
    };
    grpc || offer.careful && dense() && !LOOSE.contains(&&*essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(fields: &[(&'static str, &'static str)], offer: &Offer) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        may_be_coded(StatusCode::OK, &headers, offer)
    }

    #[test]
    fn only_a_whole_answer_may_be_coded() {
        for (status, expected) in [
            (200, true),
            (404, true),
            (500, true),
            (204, false),
            (205, false),
            (206, false),
            (304, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(may_be_coded(status, &HeaderMap::new(), &Offer::AWS), expected, "{status}");
        }
    }

    #[test]
    fn what_its_sender_coded_or_wants_kept_stays_as_it_is() {
        for offer in [Offer::NATIVE, Offer::AWS] {
            assert!(may(&[], &offer));
            assert!(may(&[("cache-control", "no-store, private")], &offer));
            for field in [
                ("content-encoding", "br"),
                ("content-encoding", "identity"),
                ("content-range", "bytes 0-1/2"),
                ("cache-control", "max-age=1, No-Transform"),
                ("content-digest", "sha-256=:AA==:"),
                ("content-type", "application/grpc+proto"),
            ] {
                assert!(!may(&[field], &offer), "{field:?}");
            }
        }
    }

    #[test]
    fn media_types_that_are_compressed_in_themselves_stay_so_but_in_aws() {
        for (media_type, expected) in [
            ("application/json", true),
            ("text/html; charset=utf-8", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("VIDEO/mp4", false),
            ("application/zip ; a=b", false),
            ("application/epub+zip", false),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", false),
            ("font/woff2", false),
        ] {
            assert_eq!(
                may(&[("content-type", media_type)], &Offer::NATIVE),
                expected,
                "{media_type}"
            );
            assert!(may(&[("content-type", media_type)], &Offer::AWS), "{media_type}");
        }
    }
}
