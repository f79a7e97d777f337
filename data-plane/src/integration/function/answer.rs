//! What a function answers, as AWS reads it: a status, fields and a body in JSON. It is a stranger's: every part is checked,
//! and no more is kept of it than an answer over HTTP may have.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use upstream::answer::{FIELDS_MAX, HEAD_BYTES_MAX};

use crate::{response::headers, snapshot::served::PayloadFormatVersion as Format};

/// Answers of these have no body.
pub(super) const BODYLESS: [StatusCode; 3] =
    [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];

/// Why it is none; a sentence's end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) Cow<'static, str>);

/// The parts, each to be read by itself, so that what is wrong has a name. Others are AWS's to ignore.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    multi_value_headers: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    is_base64_encoded: Option<&'a RawValue>,
}

/// Why a body that says so is no base64.
const NOT_BASE64: &str = "body is not base64";

impl Malformed {
    pub(super) fn is_of_base64(&self) -> bool {
        self.0 == NOT_BASE64
    }
}

/// `decodes`: a body that is base64 becomes the bytes that it stands for; else it stays.
pub(crate) fn read(
    format: Format,
    decodes: bool,
    bytes: &[u8],
) -> Result<Response<Bytes>, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("it is not UTF-8".into()))?;
    if !text.trim_start().starts_with('{') {
        return match format {
            Format::V1 => Err(Malformed("it is not a JSON object".into())),
            Format::V2 => inferred(text),
        };
    }
    let parts: Parts<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    match (parts.status_code, format) {
        (Some(status), _) => answer(status, &parts, format, decodes),
        (None, Format::V1) => Err(Malformed("statusCode is missing".into())),
        (None, Format::V2) => inferred(text),
    }
}

/// AWS's reading of 2.0 where no `statusCode` stands: the value is the body, a string without its quotes.
fn inferred(text: &str) -> Result<Response<Bytes>, Malformed> {
    let text = text.trim();
    let body = if text.starts_with('"') {
        serde_json::from_str::<String>(text).map_err(|error| not_json(&error))?
    } else {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
        text.to_owned()
    };
    let mut response = Response::new(Bytes::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn answer(
    status: &RawValue,
    parts: &Parts<'_>,
    format: Format,
    decodes: bool,
) -> Result<Response<Bytes>, Malformed> {
    let status = self::status(status)?;
    let fields = fields(parts, format == Format::V2)?;
    let body = body(parts, decodes)?;
    let body = if BODYLESS.contains(&status) { Bytes::new() } else { body };
    Ok(made(status, fields, body, Bytes::is_empty, format))
}

/// What a streamed answer begins with: its status, 200 where it does not say, and its fields. Cookies have a place of their own
/// in both formats.
pub(crate) fn head(format: Format, bytes: &[u8]) -> Result<Response<()>, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("it is not UTF-8".into()))?;
    let parts: Parts<'_> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let status = parts.status_code.map_or(Ok(StatusCode::OK), status)?;
    let fields = fields(&parts, true)?;
    let has_none = BODYLESS.contains(&status);
    Ok(made(status, fields, (), |()| has_none, format))
}

fn status(status: &RawValue) -> Result<StatusCode, Malformed> {
    let status = serde_json::from_str::<u16>(status.get()).ok();
    let status = status.filter(|status| (200..=599).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or(Malformed("statusCode must be an integer from 200 to 599".into()))
}

/// What framing does not say.
fn fields(parts: &Parts<'_>, with_cookies: bool) -> Result<HeaderMap, Malformed> {
    let Fields(mut fields) = part("multiValueHeaders", parts.multi_value_headers, Values::Many)?;
    let Fields(single) = part("headers", parts.headers, Values::One)?;
    for (name, value) in &single {
        if !fields.contains_key(name) {
            fields.append(name, value.clone());
        }
    }
    if with_cookies {
        for cookie in part_of::<Cookies>("cookies", parts.cookies)?.0 {
            fields.append(SET_COOKIE, cookie);
        }
    }
    let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if fields.len() > FIELDS_MAX || bytes.sum::<usize>() > HEAD_BYTES_MAX {
        let rule =
            format!("it has more than {FIELDS_MAX} fields or {HEAD_BYTES_MAX} bytes of them");
        return Err(Malformed(rule.into()));
    }
    headers::remove_hop_by_hop(&mut fields);
    fields.remove(CONTENT_LENGTH); // the body says that itself
    Ok(fields)
}

fn made<B>(
    status: StatusCode,
    mut fields: HeaderMap,
    body: B,
    is_empty: impl FnOnce(&B) -> bool,
    format: Format,
) -> Response<B> {
    if !is_empty(&body) && !fields.contains_key(CONTENT_TYPE) {
        let usual = match format {
            Format::V1 => "application/json",
            Format::V2 => "text/plain;charset=UTF-8",
        };
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(usual));
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

fn body(parts: &Parts<'_>, decodes: bool) -> Result<Bytes, Malformed> {
    let body = part_of::<Option<String>>("body", parts.body)?.unwrap_or_default();
    if !part_of::<bool>("isBase64Encoded", parts.is_base64_encoded)? || !decodes {
        return Ok(body.into());
    }
    let bytes = STANDARD.decode(body);
    bytes.map(Bytes::from).map_err(|_| Malformed(NOT_BASE64.into()))
}

fn not_json(error: &serde_json::Error) -> Malformed {
    let (line, column) = (error.line(), error.column());
    Malformed(
        format!("it is not the JSON that it should be, at line {line} column {column}").into(),
    )
}

fn part_of<'a, T: Deserialize<'a> + Default>(
    name: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<T, Malformed> {
    let Some(raw) = raw else { return Ok(T::default()) };
    serde_json::from_str(raw.get()).map_err(|error| unfit(name, &error))
}

fn part(name: &'static str, raw: Option<&RawValue>, values: Values) -> Result<Fields, Malformed> {
    let Some(raw) = raw else { return Ok(Fields::default()) };
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    reader.deserialize_map(FieldsOf(values)).map_err(|error| unfit(name, &error))
}

fn unfit(name: &str, error: &serde_json::Error) -> Malformed {
    // Only what stands in this file, and serde_json's own words: none of the function's.
    let why = match error.classify() {
        serde_json::error::Category::Data => "is of the wrong type, or holds what a field cannot",
        _ => "is not JSON",
    };
    Malformed(format!("{name} {why}").into())
}

#[derive(Clone, Copy)]
enum Values {
    One,
    Many,
}

#[derive(Default)]
struct Fields(HeaderMap);

/// Reads an object of fields.
struct FieldsOf(Values);

impl<'de> Visitor<'de> for FieldsOf {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of header fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = HeaderMap::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(A::Error::custom)?;
            match self.0 {
                // Of two spellings of a name the last, as of two of one.
                Values::One => drop(fields.insert(name, map.next_value::<FieldValue>()?.0)),
                Values::Many => {
                    for FieldValue(value) in map.next_value::<FieldValues>()?.0 {
                        fields.append(&name, value);
                    }
                }
            }
            bounded(fields.len())?;
        }
        Ok(Fields(fields))
    }
}

fn bounded<E: serde::de::Error>(fields: usize) -> Result<(), E> {
    if fields > FIELDS_MAX { Err(E::custom("too many fields")) } else { Ok(()) }
}

/// A string, or a number or a boolean as JSON writes it.
struct FieldValue(HeaderValue);

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = FieldValue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a number or a boolean")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FieldValue, E> {
                HeaderValue::from_bytes(text.trim().as_bytes()).map(FieldValue).map_err(E::custom)
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<FieldValue, E> {
                self.visit_str(if value { "true" } else { "false" })
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<FieldValue, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<FieldValue, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<FieldValue, E> {
                self.visit_str(&value.to_string())
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

/// A list of them, no longer than an answer's fields may be.
#[derive(Default)]
struct FieldValues(Vec<FieldValue>);

impl<'de> Deserialize<'de> for FieldValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = FieldValues;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FieldValues, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                    bounded(values.len())?;
                }
                Ok(FieldValues(values))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[derive(Default)]
struct Cookies(Vec<HeaderValue>);

impl<'de> Deserialize<'de> for Cookies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let FieldValues(values) = FieldValues::deserialize(deserializer)?;
        Ok(Self(values.into_iter().map(|value| value.0).collect()))
    }
}

#[cfg(test)]
mod tests;
