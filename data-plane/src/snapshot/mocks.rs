//! What a mock answers, ready to be sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, VARY},
};
use plan::{
    media::{BinaryMediaTypes, ContentHandling},
    mock::{Choice, Selection},
};
use proto::config::v1 as message;

use super::{
    messages::Compiled,
    served::{Mapping, Mock, MockAnswer, MockBody, MockExample, MockResponse, Responses},
};

pub(super) fn mock(message: &message::Mock, binary: &BinaryMediaTypes) -> Compiled<Mock> {
    let handling = handling(message.content_handling)?;
    if !message.examples.is_empty() {
        let examples = message.examples.iter().map(|it| example(it, handling, binary));
        let examples = examples.collect::<Compiled<_>>()?;
        return Ok(Mock::Examples(examples));
    }
    if !message.responses.is_empty() {
        let patterns = message.responses.iter().map(|it| it.selection_pattern.as_str());
        let choice = Choice::new(&message.request_templates, patterns);
        let choice = choice.map_err(|error| error.to_string())?;
        let responses = message.responses.iter().map(|it| response(it, binary));
        let responses = responses.collect::<Compiled<_>>()?;
        return Ok(Mock::Responses { choice, responses });
    }
    Ok(Mock::Fixed(MockAnswer {
        status: status(message.status)?,
        headers: headers(&message.headers)?,
        body: body(&message.body, handling, binary),
    }))
}

/// Decoded beforehand, so that no call has that to do.
fn body(text: &[u8], handling: Option<ContentHandling>, binary: &BinaryMediaTypes) -> MockBody {
    let may_decode = handling == Some(ContentHandling::ConvertToBinary) || !binary.is_empty();
    let decoded = may_decode.then(|| STANDARD.decode(text).ok()).flatten();
    MockBody { text: text.to_vec().into(), handling, decoded: decoded.map(Into::into) }
}

fn handling(number: i32) -> Compiled<Option<ContentHandling>> {
    use message::ContentHandling::{ConvertToBinary, ConvertToText, Unspecified};
    match message::ContentHandling::try_from(number) {
        Ok(Unspecified) => Ok(None),
        Ok(ConvertToBinary) => Ok(Some(ContentHandling::ConvertToBinary)),
        Ok(ConvertToText) => Ok(Some(ContentHandling::ConvertToText)),
        Err(_) => Err("its content handling is unknown to this node".to_owned()),
    }
}

fn example(
    message: &message::MockExample,
    handling: Option<ContentHandling>,
    binary: &BinaryMediaTypes,
) -> Compiled<MockExample> {
    let mut headers = headers(&message.headers)?;
    if !message.media_type.is_empty() {
        headers.insert(CONTENT_TYPE, media_type(&message.media_type)?);
    }
    headers.append(VARY, HeaderValue::from_static("accept, prefer"));
    Ok(MockExample {
        name: message.name.as_str().into(),
        answer: MockAnswer {
            status: status(message.status)?,
            headers,
            body: body(&message.body, handling, binary),
        },
    })
}

/// What a custom integration makes of bodies and answers.
pub(super) fn mapping(
    content_handling: i32,
    responses: &[message::IntegrationResponse],
    binary: &BinaryMediaTypes,
) -> Compiled<Mapping> {
    let content_handling = handling(content_handling)?;
    Ok(Mapping { content_handling, responses: self::responses(responses, binary)? })
}

fn responses(
    messages: &[message::IntegrationResponse],
    binary: &BinaryMediaTypes,
) -> Compiled<Responses> {
    let patterns = messages.iter().map(|it| it.selection_pattern.as_str());
    let selection = Selection::new(patterns).map_err(|error| error.to_string())?;
    let responses = messages.iter().map(|it| response(it, binary));
    Ok(Responses::new(selection, responses.collect::<Compiled<_>>()?))
}

fn response(
    message: &message::IntegrationResponse,
    binary: &BinaryMediaTypes,
) -> Compiled<MockResponse> {
    let handling = handling(message.content_handling)?;
    let body = |(name, text): (&String, &String)| {
        Ok((media_type(name)?, body(text.as_bytes(), handling, binary)))
    };
    Ok(MockResponse {
        status: status(message.status_code)?,
        headers: headers(&message.headers)?,
        bodies: message.templates.iter().map(body).collect::<Compiled<_>>()?,
        handling,
    })
}

fn status(number: u32) -> Compiled<StatusCode> {
    let status = u16::try_from(number).ok().filter(|status| (200..=599).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or_else(|| format!("{number} is no status of an answer"))
}

fn headers(fields: &[message::Header]) -> Compiled<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in fields {
        let name = HeaderName::try_from(&header.name);
        let value = HeaderValue::try_from(&header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(format!("the field {:?} cannot be sent", header.name));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn media_type(text: &str) -> Compiled<HeaderValue> {
    HeaderValue::try_from(text).map_err(|_| format!("{text:?} is no media type"))
}
