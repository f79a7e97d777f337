//! Binary media: which payloads of an Api are binary, and what AWS makes of text and binary payloads on their way in and out
//! ([Content type conversions in API Gateway][aws]). The two tables stand here as data.
//!
//! [aws]: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-payload-encodings-workflow.html

use std::fmt;

/// The longest media type that an Api may name, in bytes: RFC 6838 §4.2 has 127 for each half.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// A media type that an Api calls binary: `image/png`, `image/*` or `*/*`. In lower case, without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaTypePattern(Box<str>);

/// Why a text is none; a sentence's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a media type such as image/png, image/* or */*")]
pub struct NoMediaType;

impl MediaTypePattern {
    pub fn parse(text: &str) -> Result<Self, NoMediaType> {
        let token = |part: &str| {
            let letter =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+'%`|~".contains(&byte);
            !part.is_empty() && part.bytes().all(letter)
        };
        let (kind, subtype) = text.split_once('/').ok_or(NoMediaType)?;
        let fits = (token(kind) && (token(subtype) || subtype == "*")) || text == "*/*";
        if !fits || text.len() > MEDIA_TYPE_BYTES_MAX {
            return Err(NoMediaType);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Whether it covers a media type, of which the parameters do not count.
    pub fn covers(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let essence = essence.as_bytes();
        match self.0.strip_suffix('*') {
            Some("*/") => true,
            Some(start) => essence
                .get(..start.len())
                .is_some_and(|begins| begins.eq_ignore_ascii_case(start.as_bytes())),
            None => essence.eq_ignore_ascii_case(self.0.as_bytes()),
        }
    }
}

impl fmt::Display for MediaTypePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An Api's `binaryMediaTypes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BinaryMediaTypes(Vec<MediaTypePattern>);

impl BinaryMediaTypes {
    pub const NONE: Self = Self(Vec::new());

    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, NoMediaType> {
        texts
            .iter()
            .map(|text| MediaTypePattern::parse(text.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a payload of this `Content-Type` is binary. `*/*` covers one that says nothing of itself too.
    pub fn cover(&self, content_type: Option<&str>) -> bool {
        self.0.iter().any(|pattern| pattern.covers(content_type.unwrap_or_default()))
    }

    /// Whether a caller with this `Accept` takes binary payloads: AWS looks at the first media type in it alone.
    pub fn cover_first(&self, accept: Option<&str>) -> bool {
        self.cover(accept.map(|accept| accept.split(',').next().unwrap_or_default()))
    }
}

/// An integration's `contentHandling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentHandling {
    ConvertToBinary,
    ConvertToText,
}

/// What becomes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// It stays, byte for byte.
    Keep,
    /// It becomes UTF-8: bytes that are none are replaced.
    Text,
    /// It is read as base64. One that is none is a fault of the Api's configuration.
    Decode,
    /// It is written as base64.
    Encode,
}

/// What a payload is, by the Api's binary media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// The Api names no binary media type.
    Any,
    Text,
    Binary,
}

use ContentHandling::{ConvertToBinary, ConvertToText};
use Conversion::{Decode, Encode, Keep, Text};

/// The request's payload by its `Content-Type`, `contentHandling`, and the payload for the integration.
type RequestRow = (Data, Option<ContentHandling>, Conversion);
/// The integration's payload by its `Content-Type`, the caller's first `Accept`, `contentHandling`, and the payload for the
/// caller. Without binary media types the first two say nothing.
type ResponseRow = (Data, Data, Option<ContentHandling>, Conversion);

const REQUEST: [RequestRow; 9] = [
    (Data::Any, None, Text),
    (Data::Any, Some(ConvertToBinary), Decode),
    (Data::Any, Some(ConvertToText), Text),
    (Data::Text, None, Keep),
    (Data::Text, Some(ConvertToBinary), Decode),
    (Data::Text, Some(ConvertToText), Keep),
    (Data::Binary, None, Keep),
    (Data::Binary, Some(ConvertToBinary), Keep),
    (Data::Binary, Some(ConvertToText), Encode),
];

const RESPONSE: [ResponseRow; 15] = [
    (Data::Any, Data::Any, None, Text),
    (Data::Any, Data::Any, Some(ConvertToBinary), Decode),
    (Data::Any, Data::Any, Some(ConvertToText), Text),
    (Data::Text, Data::Text, None, Keep),
    (Data::Text, Data::Text, Some(ConvertToBinary), Decode),
    (Data::Text, Data::Text, Some(ConvertToText), Text),
    (Data::Text, Data::Binary, None, Decode),
    (Data::Text, Data::Binary, Some(ConvertToBinary), Decode),
    (Data::Text, Data::Binary, Some(ConvertToText), Text),
    (Data::Binary, Data::Text, None, Encode),
    (Data::Binary, Data::Text, Some(ConvertToBinary), Keep),
    (Data::Binary, Data::Text, Some(ConvertToText), Encode),
    (Data::Binary, Data::Binary, None, Keep),
    (Data::Binary, Data::Binary, Some(ConvertToBinary), Keep),
    (Data::Binary, Data::Binary, Some(ConvertToText), Encode),
];

impl BinaryMediaTypes {
    /// What an integration gets of a request's payload.
    pub fn of_request(
        &self,
        content_type: Option<&str>,
        handling: Option<ContentHandling>,
    ) -> Conversion {
        let data = self.data(self.cover(content_type));
        let row = REQUEST.iter().find(|row| (row.0, row.1) == (data, handling));
        row.map_or(Keep, |row| row.2)
    }

    /// What a caller gets of an integration's payload, which is binary or not.
    pub fn of_response(
        &self,
        is_binary: bool,
        accept: Option<&str>,
        handling: Option<ContentHandling>,
    ) -> Conversion {
        let (data, taken) = (self.data(is_binary), self.data(self.cover_first(accept)));
        let row = RESPONSE.iter().find(|row| (row.0, row.1, row.2) == (data, taken, handling));
        row.map_or(Keep, |row| row.3)
    }

    fn data(&self, is_binary: bool) -> Data {
        match (self.is_empty(), is_binary) {
            (true, _) => Data::Any,
            (false, true) => Data::Binary,
            (false, false) => Data::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(texts: &[&str]) -> BinaryMediaTypes {
        BinaryMediaTypes::parse(texts).unwrap()
    }

    #[test]
    fn a_pattern_is_a_media_type_with_a_star_for_its_subtype_or_for_all_of_it() {
        for right in ["image/png", "Image/PNG", "image/*", "*/*", "application/vnd.x+json"] {
            let pattern = MediaTypePattern::parse(right).unwrap();
            assert_eq!(pattern.to_string(), right.to_lowercase());
        }
        let long = format!("a/{}", "b".repeat(MEDIA_TYPE_BYTES_MAX));
        for wrong in [
            "",
            "image",
            "image/",
            "/png",
            "*/png",
            "*",
            "im age/png",
            "image/p*",
            "a/b/c",
            "a/b;c=d",
            &long,
        ] {
            assert_eq!(MediaTypePattern::parse(wrong), Err(NoMediaType), "{wrong}");
        }
    }

    #[test]
    fn a_payload_is_binary_where_a_pattern_covers_its_media_type() {
        let some = types(&["image/*", "application/pdf"]);
        for (content_type, expected) in [
            (Some("image/png"), true),
            (Some("IMAGE/x; a=b"), true),
            (Some("application/pdf"), true),
            (Some("application/pdfs"), false),
            (Some("imagery/png"), false),
            (Some("*/*"), false),
            (Some("é"), false),
            (None, false),
        ] {
            assert_eq!(some.cover(content_type), expected, "{content_type:?}");
        }
        assert!(types(&["*/*"]).cover(None) && types(&["*/*"]).cover(Some("text/plain")));
        assert!(!types(&[]).cover(Some("image/png")));
        assert!(some.cover_first(Some("image/webp,text/html")));
        assert!(!some.cover_first(Some("text/html, image/webp")), "the first alone counts");
    }

    /// AWS's table, as its page has it.
    #[test]
    fn a_requests_payload_is_converted_as_each_row_says() {
        let (png, json) = (Some("image/png"), Some("application/json"));
        let (none, some) = (types(&[]), types(&["image/png"]));
        for (row, list, content_type, handling, expected) in [
            (1, &none, json, None, Text),
            (2, &none, png, Some(ConvertToBinary), Decode),
            (3, &none, png, Some(ConvertToText), Text),
            (4, &some, json, None, Keep),
            (5, &some, json, Some(ConvertToBinary), Decode),
            (6, &some, json, Some(ConvertToText), Keep),
            (7, &some, png, None, Keep),
            (8, &some, png, Some(ConvertToBinary), Keep),
            (9, &some, png, Some(ConvertToText), Encode),
        ] {
            assert_eq!(list.of_request(content_type, handling), expected, "row {row}");
        }
    }

    /// AWS's table, as its page has it.
    #[test]
    fn a_responses_payload_is_converted_as_each_row_says() {
        let (png, json) = (Some("image/png"), Some("application/json"));
        let (none, some) = (types(&[]), types(&["image/png"]));
        for (row, list, is_binary, accept, handling, expected) in [
            (1, &none, true, json, None, Text),
            (2, &none, false, json, Some(ConvertToBinary), Decode),
            (3, &none, true, json, Some(ConvertToText), Text),
            (4, &some, false, json, None, Keep),
            (5, &some, false, json, Some(ConvertToBinary), Decode),
            (6, &some, false, json, Some(ConvertToText), Text),
            (7, &some, false, png, None, Decode),
            (8, &some, false, png, Some(ConvertToBinary), Decode),
            (9, &some, false, png, Some(ConvertToText), Text),
            (10, &some, true, json, None, Encode),
            (11, &some, true, json, Some(ConvertToBinary), Keep),
            (12, &some, true, json, Some(ConvertToText), Encode),
            (13, &some, true, png, None, Keep),
            (14, &some, true, png, Some(ConvertToBinary), Keep),
            (15, &some, true, png, Some(ConvertToText), Encode),
        ] {
            assert_eq!(list.of_response(is_binary, accept, handling), expected, "row {row}");
        }
    }

    #[test]
    fn no_row_stands_twice() {
        for (at, row) in REQUEST.iter().enumerate() {
            assert!(!REQUEST[..at].iter().any(|other| (other.0, other.1) == (row.0, row.1)));
        }
        for (at, row) in RESPONSE.iter().enumerate() {
            let same = |other: &&ResponseRow| (other.0, other.1, other.2) == (row.0, row.1, row.2);
            assert!(!RESPONSE[..at].iter().any(|other| same(&other)));
        }
    }
}
