//! What a `MOCK` answers: always the same; one of AWS's integration responses, by the status that a request template names;
//! or one of some examples, by what the caller prefers.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, StatusCode};
use plan::mock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Settings, openapi};
use crate::domain::media::ContentHandling;
use crate::error::{Error, Result};

/// The largest body of a fixed answer, in bytes. All the examples of an integration together have no more either.
pub const MOCK_BODY_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of all the MOCK answers of one Api together, headers and bodies: its draft is read whole, and deployed whole.
pub const MOCKS_BYTES_MAX: usize = 8 << 20;
/// The most headers of an answer.
pub const MOCK_HEADERS_MAX: usize = 100;
/// The most examples of a mock, as of its integration responses.
pub const ANSWERS_MAX: usize = 100;
/// The most request templates, and templates of a response.
pub const TEMPLATES_MAX: usize = 20;
/// The longest request template, in bytes: it is a constant that names a status.
pub const REQUEST_TEMPLATE_BYTES_MAX: usize = 4096;
/// The longest name of an example, in characters; and of a media type.
pub const NAME_CHARS_MAX: usize = 128;

/// Headers that belong to one connection (RFC 9110 §7.6.1) or say where a body ends: never a tenant's to set.
const CONNECTION_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MockResponse {
    /// 200 to 599.
    pub status: u16,
    #[serde(default)]
    pub headers: Vec<Header>,
    /// At most 256 KiB.
    #[serde(default)]
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// What answers where its pattern takes the status that the request's template gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntegrationResponse {
    /// 200 to 599: the status that callers get.
    pub status_code: u16,
    /// A regular expression for the whole of a status; empty: this one answers where no other does.
    #[serde(default)]
    pub selection_pattern: String,
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Bodies by media type, constants. A caller gets the one that its `Accept` likes best.
    #[serde(default)]
    pub response_templates: BTreeMap<String, String>,
    /// What becomes of the bodies, which are text where it is absent, or of the backend's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_handling: Option<ContentHandling>,
}

/// An answer that a caller may prefer: `Prefer: code=404, example=unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MockExample {
    /// 1 to 128 characters. Examples of one name and one status differ in their media types.
    pub name: String,
    /// 200 to 599.
    pub status: u16,
    #[serde(default)]
    pub headers: Vec<Header>,
    /// Such as `application/json`; empty where there is no body.
    #[serde(default)]
    pub media_type: String,
    #[serde(default)]
    pub body: String,
}

impl Settings {
    /// The ways of a `MOCK`, by their fields.
    fn ways(&self) -> [(&'static str, bool); 3] {
        [
            ("mockResponse", self.mock_response.is_some()),
            ("integrationResponses", !self.integration_responses.is_empty()),
            ("examples", !self.examples.is_empty()),
        ]
    }

    pub(super) fn refuse_mocks(&self) -> Result<()> {
        let others = [
            ("requestTemplates", !self.request_templates.is_empty()),
            ("openapiOperation", self.openapi_operation.is_some()),
        ];
        for (param, set) in self.ways().into_iter().chain(others) {
            if set {
                return Err(Error::bad_request(param, "belongs to type MOCK"));
            }
        }
        Ok(())
    }

    /// What of them belongs to `MOCK` alone.
    pub(super) fn refuse_mocks_but_responses(&self) -> Result<()> {
        let others = Self { integration_responses: Vec::new(), ..self.clone() };
        others.refuse_mocks()
    }

    pub(super) fn check_answers(&mut self) -> Result<()> {
        if let Some(operation) = self.openapi_operation.take() {
            if !self.examples.is_empty() {
                let rule = "gives the examples: give examples or openapiOperation, not both";
                return Err(Error::bad_request("openapiOperation", rule));
            }
            self.examples = openapi::examples(&operation)
                .map_err(|why| Error::bad_request("openapiOperation", why))?;
        }
        if !self.request_templates.is_empty() && self.integration_responses.is_empty() {
            let rule = "chooses among integrationResponses, of which there are none";
            return Err(Error::bad_request("requestTemplates", rule));
        }
        let mut ways = self.ways().into_iter().filter(|(_, set)| *set);
        match (ways.next(), ways.next()) {
            (None, _) => {
                let rule =
                    "MOCK needs a mockResponse, integrationResponses or examples: what it answers";
                return Err(Error::bad_request("mockResponse", rule));
            }
            (_, Some((second, _))) => {
                let rule = "a MOCK has a mockResponse, integrationResponses or examples, and not two of them";
                return Err(Error::bad_request(second, rule));
            }
            _ => {}
        }
        if self.content_handling.is_some() && !self.integration_responses.is_empty() {
            let rule = "belongs to each of the integrationResponses where there are some";
            return Err(Error::bad_request("contentHandling", rule));
        }
        if let Some(mock) = &self.mock_response {
            let checked =
                mock.check().and_then(|()| base64("body", self.content_handling, &mock.body));
            checked.map_err(|error| error.within("mockResponse"))?;
        }
        self.check_responses()?;
        self.check_examples()
    }

    pub(super) fn check_responses(&self) -> Result<()> {
        at_most(TEMPLATES_MAX, "requestTemplates", self.request_templates.len())?;
        for (media_type, template) in &self.request_templates {
            check_media_type("requestTemplates", media_type)?;
            let wrong = |rule: String| {
                Error::bad_request("requestTemplates", format!("of {media_type}: {rule}"))
            };
            if template.len() > REQUEST_TEMPLATE_BYTES_MAX {
                return Err(wrong(format!("must have at most {REQUEST_TEMPLATE_BYTES_MAX} bytes")));
            }
            mock::status(template).map_err(|why| wrong(why.to_string()))?;
        }
        at_most(ANSWERS_MAX, "integrationResponses", self.integration_responses.len())?;
        for (at, response) in self.integration_responses.iter().enumerate() {
            let within = |error: Error| error.within(&format!("integrationResponses[{at}]"));
            response.check().map_err(within)?;
            let same =
                |other: &IntegrationResponse| other.selection_pattern == response.selection_pattern;
            if self.integration_responses[..at].iter().any(same) {
                let rule = "an earlier one has this pattern";
                return Err(within(Error::bad_request("selectionPattern", rule)));
            }
        }
        Ok(())
    }

    fn check_examples(&self) -> Result<()> {
        at_most(ANSWERS_MAX, "examples", self.examples.len())?;
        let bytes: usize = self.examples.iter().map(|example| example.body.len()).sum();
        if bytes > MOCK_BODY_BYTES_MAX {
            let rule = format!("must have at most {MOCK_BODY_BYTES_MAX} bytes of bodies together");
            return Err(Error::bad_request("examples", rule));
        }
        for (at, example) in self.examples.iter().enumerate() {
            let within = |error: Error| error.within(&format!("examples[{at}]"));
            let checked = example.check();
            let checked =
                checked.and_then(|()| base64("body", self.content_handling, &example.body));
            checked.map_err(within)?;
            let same = |other: &MockExample| {
                (&other.name, other.status, &other.media_type)
                    == (&example.name, example.status, &example.media_type)
            };
            if self.examples[..at].iter().any(same) {
                let rule = "an earlier one has this name, status and media type";
                return Err(within(Error::bad_request("name", rule)));
            }
        }
        Ok(())
    }
}

impl MockResponse {
    fn check(&self) -> Result<()> {
        check_answer("status", self.status, &self.headers)?;
        check_body("body", self.status, &self.body)
    }
}

impl IntegrationResponse {
    fn check(&self) -> Result<()> {
        check_answer("statusCode", self.status_code, &self.headers)?;
        mock::pattern(&self.selection_pattern)
            .map_err(|why| Error::bad_request("selectionPattern", why.to_string()))?;
        at_most(TEMPLATES_MAX, "responseTemplates", self.response_templates.len())?;
        for (media_type, body) in &self.response_templates {
            check_media_type("responseTemplates", media_type)?;
            check_body("responseTemplates", self.status_code, body)?;
            base64("responseTemplates", self.content_handling, body)?;
            if !mock::is_constant(body) {
                let rule = format!(
                    "of {media_type}: mapping templates are not served yet: give the body as it is"
                );
                return Err(Error::bad_request("responseTemplates", rule));
            }
        }
        Ok(())
    }
}

impl MockExample {
    fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::bad_request("name", "must not be empty"));
        }
        crate::domain::text::line("name", &self.name, NAME_CHARS_MAX)?;
        check_answer("status", self.status, &self.headers)?;
        check_body("body", self.status, &self.body)?;
        match (self.media_type.is_empty(), self.body.is_empty()) {
            (true, false) => Err(Error::bad_request("mediaType", "must be given with a body")),
            (true, true) => Ok(()),
            (false, _) => check_media_type("mediaType", &self.media_type),
        }
    }
}

/// What is to become bytes must be the base64 of some.
fn base64(param: &'static str, handling: Option<ContentHandling>, body: &str) -> Result<()> {
    if handling == Some(ContentHandling::ConvertToBinary) && STANDARD.decode(body).is_err() {
        let rule = "must be base64 where contentHandling is CONVERT_TO_BINARY";
        return Err(Error::bad_request(param, rule));
    }
    Ok(())
}

impl Header {
    fn check(&self) -> Result<()> {
        let name = HeaderName::from_bytes(self.name.as_bytes())
            .map_err(|_| Error::bad_request("name", "is not a header's name"))?;
        if CONNECTION_HEADERS.contains(&name.as_str()) {
            return Err(Error::bad_request("name", format!("{name} is the gateway's to set")));
        }
        HeaderValue::from_str(&self.value)
            .map_err(|_| Error::bad_request("value", "must be visible ASCII on one line"))?;
        Ok(())
    }
}

fn at_most(max: usize, param: &str, count: usize) -> Result<()> {
    if count > max {
        return Err(Error::bad_request(param, format!("must be at most {max}")));
    }
    Ok(())
}

fn check_answer(param: &str, status: u16, headers: &[Header]) -> Result<()> {
    if !(200..=599).contains(&status) {
        return Err(Error::bad_request(param, "must be from 200 to 599"));
    }
    at_most(MOCK_HEADERS_MAX, "headers", headers.len())?;
    for (at, header) in headers.iter().enumerate() {
        header.check().map_err(|error| error.within(&format!("headers[{at}]")))?;
    }
    Ok(())
}

fn check_body(param: &str, status: u16, body: &str) -> Result<()> {
    if body.len() > MOCK_BODY_BYTES_MAX {
        let rule = format!("must have at most {MOCK_BODY_BYTES_MAX} bytes");
        return Err(Error::bad_request(param, rule));
    }
    if body.contains('\0') {
        return Err(Error::bad_request(param, "must not hold U+0000"));
    }
    let bodyless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    if !body.is_empty() && bodyless.iter().any(|bodyless| *bodyless == status) {
        return Err(Error::bad_request(param, format!("status {status} has no body")));
    }
    Ok(())
}

/// `type/subtype`, with parameters or without.
fn check_media_type(param: &str, text: &str) -> Result<()> {
    let token = |text: &str| {
        let part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !text.is_empty() && text.bytes().all(part)
    };
    let essence = plan::accept::essence(text).split_once('/');
    let good = text.len() <= NAME_CHARS_MAX
        && essence.is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && HeaderValue::from_str(text).is_ok();
    if good {
        return Ok(());
    }
    Err(Error::bad_request(param, "must be a media type, such as application/json"))
}

/// What a request said as JSON, or as text that is JSON.
pub fn operation(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::bad_request("openapiOperation", format!("must be JSON: {error}")))
}
