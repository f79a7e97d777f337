//! An integration that answers by itself: always the same; as AWS chooses integration responses; or with the example that
//! the caller prefers (RFC 7240).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use plan::{Preferences, accept, media::Conversion};

use super::{AnswerBody, media};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    snapshot::served::{Mock, MockAnswer, MockBody, MockExample, MockResponse},
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

pub(super) fn call(
    exchange: &Exchange,
    mock: &Mock,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let headers = &exchange.head.headers;
    match mock {
        Mock::Fixed(answer) => fixed(exchange, answer),
        Mock::Examples(examples) => preferred(exchange, examples),
        Mock::Responses { choice, responses } => {
            let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let response = choice.response(content_type).and_then(|index| responses.get(index));
            let response = response.ok_or_else(|| {
                Kind::ApiConfigurationError.because(
                    "No integration response takes the mock's status, and none is the default.",
                )
            })?;
            chosen(exchange, response)
        }
    }
}

fn fixed(
    exchange: &Exchange,
    answer: &MockAnswer,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let mut response = Response::new(AnswerBody::whole(bytes(exchange, &answer.body)?));
    *response.status_mut() = answer.status;
    response.headers_mut().clone_from(&answer.headers);
    Ok(response)
}

/// What the caller gets of a body, by the Api's binary media types and what becomes of it.
fn bytes(exchange: &Exchange, body: &MockBody) -> Result<Bytes, GatewayResponse> {
    if media::of_text(exchange, body.handling) != Conversion::Decode {
        return Ok(body.text.clone());
    }
    body.decoded.clone().ok_or_else(|| {
        Kind::ApiConfigurationError
            .because("The answer's body is to be decoded, and is not base64.")
    })
}

/// In the media type that the caller likes best; in the first where it likes none.
pub(super) fn chosen(
    exchange: &Exchange,
    of: &MockResponse,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let asked = &exchange.head.headers;
    let types = of.bodies.iter().map(|(name, _)| name.to_str().unwrap_or_default());
    let body = of.bodies.get(accept::best(accepted(asked), types).unwrap_or(0));
    let sent = body.map(|(_, body)| bytes(exchange, body)).transpose()?.unwrap_or_default();
    let mut response = Response::new(AnswerBody::whole(sent));
    *response.status_mut() = of.status;
    let fields = response.headers_mut();
    fields.clone_from(&of.headers);
    if let Some((media_type, _)) = body {
        fields.entry(CONTENT_TYPE).or_insert_with(|| media_type.clone());
    }
    Ok(response)
}

/// The example that the caller prefers, of those of one status in the media type that it likes best. A wish that cannot be
/// met is left out of account, and out of `Preference-Applied`.
fn preferred(
    exchange: &Exchange,
    examples: &[MockExample],
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let asked = &exchange.head.headers;
    let prefer = Preferences::parse(asked.get_all(&PREFER).iter().map(HeaderValue::as_bytes));
    let named = |it: &&MockExample| prefer.example.as_deref().is_none_or(|name| *it.name == *name);
    let coded = |it: &&MockExample| prefer.code.is_none_or(|code| it.answer.status == code);
    let both = examples.iter().filter(coded).find(|it| named(it));
    // Where both cannot be met the status counts: what is tried with it is how an error is taken.
    let found = both.or_else(|| examples.iter().filter(|_| prefer.code.is_some()).find(coded));
    let found = found.or_else(|| examples.iter().filter(|_| prefer.example.is_some()).find(named));
    let first = found.or_else(|| examples.first());
    let first =
        first.ok_or_else(|| Kind::ApiConfigurationError.because("The mock has no example."))?;

    let applied = Preferences {
        code: prefer.code.filter(|_| coded(&first)),
        example: prefer.example.clone().filter(|_| named(&first)),
    };
    let alike: Vec<_> = examples
        .iter()
        .filter(|it| it.answer.status == first.answer.status)
        .filter(|it| applied.example.is_none() || it.name == first.name)
        .collect();
    let types = alike.iter().map(|it| {
        let media_type = it.answer.headers.get(CONTENT_TYPE);
        media_type.and_then(|value| value.to_str().ok()).unwrap_or_default()
    });
    let best = accept::best(accepted(asked), types);
    let example = best.and_then(|index| alike.get(index).copied()).unwrap_or(first);
    let mut response = fixed(exchange, &example.answer)?;
    if let Some(applied) = told(&applied) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

fn told(applied: &Preferences) -> Option<HeaderValue> {
    let code = applied.code.map(|code| format!("code={code}"));
    let example = applied.example.as_ref().map(|name| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !name.is_empty() && name.bytes().all(token) {
            return format!("example={name}");
        }
        format!("example=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    });
    let told: Vec<_> = code.into_iter().chain(example).collect();
    HeaderValue::try_from(told.join(", ")).ok().filter(|value| !value.is_empty())
}

fn accepted(asked: &HeaderMap) -> impl Iterator<Item = &str> {
    asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok())
}
