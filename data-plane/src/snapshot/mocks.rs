//! What a mock answers, ready to be sent.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, VARY},
};
use plan::mock::Choice;
use proto::config::v1 as message;

use super::{
    messages::Compiled,
    served::{Mock, MockAnswer, MockExample, MockResponse},
};

pub(super) fn mock(message: &message::Mock) -> Compiled<Mock> {
    if !message.examples.is_empty() {
        let examples = message.examples.iter().map(example).collect::<Compiled<_>>()?;
        return Ok(Mock::Examples(examples));
    }
    if !message.responses.is_empty() {
        let patterns = message.responses.iter().map(|it| it.selection_pattern.as_str());
        let choice = Choice::new(&message.request_templates, patterns);
        let choice = choice.map_err(|error| error.to_string())?;
        let responses = message.responses.iter().map(response).collect::<Compiled<_>>()?;
        return Ok(Mock::Responses { choice, responses });
    }
    Ok(Mock::Fixed(MockAnswer {
        status: status(message.status)?,
        headers: headers(&message.headers)?,
        body: Bytes::from(message.body.clone()),
    }))
}

fn example(message: &message::MockExample) -> Compiled<MockExample> {
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
            body: Bytes::from(message.body.clone()),
        },
    })
}

fn response(message: &message::IntegrationResponse) -> Compiled<MockResponse> {
    let body = |(name, text): (&String, &String)| {
        Ok((media_type(name)?, Bytes::from(text.clone().into_bytes())))
    };
    Ok(MockResponse {
        status: status(message.status_code)?,
        headers: headers(&message.headers)?,
        bodies: message.templates.iter().map(body).collect::<Compiled<_>>()?,
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
