//! What a MOCK answers.

use std::collections::BTreeMap;

use async_graphql::{InputObject, SimpleObject};

use super::integration::ContentHandling;
use crate::domain::integration as domain;
use crate::error::{Error, Result};

/// The fixed answer of a MOCK.
#[derive(SimpleObject)]
pub struct MockResponse {
    status: u16,
    headers: Vec<Header>,
    body: String,
}

#[derive(SimpleObject)]
struct Header {
    name: String,
    value: String,
}

/// A constant for a media type.
#[derive(SimpleObject)]
pub struct BodyTemplate {
    media_type: String,
    template: String,
}

/// What answers where its pattern takes the status that the request's template gives.
#[derive(SimpleObject)]
pub struct IntegrationResponse {
    /// The status that callers get.
    status_code: u16,
    /// A regular expression for the whole of a status; empty: this one answers where no other does.
    selection_pattern: String,
    headers: Vec<Header>,
    /// Bodies, of which a caller gets the one that its `Accept` likes best.
    response_templates: Vec<BodyTemplate>,
    /// What becomes of the bodies; null: they are text.
    content_handling: Option<ContentHandling>,
}

/// An answer that a caller may prefer: `Prefer: code=404, example=unknown`.
#[derive(SimpleObject)]
pub struct MockExample {
    name: String,
    status: u16,
    headers: Vec<Header>,
    /// Such as `application/json`; empty where there is no body.
    media_type: String,
    body: String,
}

#[derive(InputObject)]
pub struct MockResponseInput {
    /// 200 to 599.
    status: i32,
    headers: Option<Vec<HeaderInput>>,
    /// At most 256 KiB.
    body: Option<String>,
}

#[derive(InputObject)]
struct HeaderInput {
    name: String,
    value: String,
}

/// A constant for a media type.
#[derive(InputObject)]
pub struct BodyTemplateInput {
    media_type: String,
    template: String,
}

/// What answers where its pattern takes the status that the request's template gives.
#[derive(InputObject)]
pub struct IntegrationResponseInput {
    /// 200 to 599: the status that callers get.
    status_code: i32,
    /// A regular expression for the whole of a status; left out: this one answers where no other does.
    selection_pattern: Option<String>,
    headers: Option<Vec<HeaderInput>>,
    /// Bodies, of which a caller gets the one that its `Accept` likes best.
    response_templates: Option<Vec<BodyTemplateInput>>,
    /// What becomes of the bodies; left out: they are text.
    content_handling: Option<ContentHandling>,
}

/// An answer that a caller may prefer: `Prefer: code=404, example=unknown`.
#[derive(InputObject)]
pub struct MockExampleInput {
    /// 1 to 128 characters. Examples of one name and one status differ in their media types.
    name: String,
    /// 200 to 599.
    status: i32,
    headers: Option<Vec<HeaderInput>>,
    /// Such as `application/json`; left out where there is no body.
    media_type: Option<String>,
    /// All the bodies together have at most 256 KiB.
    body: Option<String>,
}

fn told_headers(of: &[domain::Header]) -> Vec<Header> {
    let header = |it: &domain::Header| Header { name: it.name.clone(), value: it.value.clone() };
    of.iter().map(header).collect()
}

pub fn told(templates: &BTreeMap<String, String>) -> Vec<BodyTemplate> {
    let template = |(media_type, template): (&String, &String)| BodyTemplate {
        media_type: media_type.clone(),
        template: template.clone(),
    };
    templates.iter().map(template).collect()
}

impl From<&domain::MockResponse> for MockResponse {
    fn from(mock: &domain::MockResponse) -> Self {
        Self { status: mock.status, headers: told_headers(&mock.headers), body: mock.body.clone() }
    }
}

impl From<&domain::IntegrationResponse> for IntegrationResponse {
    fn from(response: &domain::IntegrationResponse) -> Self {
        Self {
            status_code: response.status_code,
            selection_pattern: response.selection_pattern.clone(),
            headers: told_headers(&response.headers),
            response_templates: told(&response.response_templates),
            content_handling: response.content_handling.map(Into::into),
        }
    }
}

impl From<&domain::MockExample> for MockExample {
    fn from(example: &domain::MockExample) -> Self {
        Self {
            name: example.name.clone(),
            status: example.status,
            headers: told_headers(&example.headers),
            media_type: example.media_type.clone(),
            body: example.body.clone(),
        }
    }
}

fn headers(input: Option<Vec<HeaderInput>>) -> Vec<domain::Header> {
    let header = |it: HeaderInput| domain::Header { name: it.name, value: it.value };
    input.unwrap_or_default().into_iter().map(header).collect()
}

pub fn status(param: &str, number: i32) -> Result<u16> {
    u16::try_from(number).map_err(|_| Error::bad_request(param, "must be from 200 to 599"))
}

pub fn templates(param: &str, input: Vec<BodyTemplateInput>) -> Result<BTreeMap<String, String>> {
    let mut templates = BTreeMap::new();
    for (at, BodyTemplateInput { media_type, template }) in input.into_iter().enumerate() {
        if templates.insert(media_type, template).is_some() {
            let param = format!("{param}[{at}].mediaType");
            return Err(Error::bad_request(param, "an earlier one has this media type"));
        }
    }
    Ok(templates)
}

pub fn responses(input: Vec<IntegrationResponseInput>) -> Result<Vec<domain::IntegrationResponse>> {
    let response = |(at, it): (usize, IntegrationResponseInput)| {
        let within = |error: Error| error.within(&format!("integrationResponses[{at}]"));
        Ok(domain::IntegrationResponse {
            status_code: status("statusCode", it.status_code).map_err(within)?,
            selection_pattern: it.selection_pattern.unwrap_or_default(),
            headers: headers(it.headers),
            response_templates: templates(
                "responseTemplates",
                it.response_templates.unwrap_or_default(),
            )
            .map_err(within)?,
            content_handling: it.content_handling.map(Into::into),
        })
    };
    input.into_iter().enumerate().map(response).collect()
}

pub fn examples(input: Vec<MockExampleInput>) -> Result<Vec<domain::MockExample>> {
    let example = |(at, it): (usize, MockExampleInput)| {
        let within = |error: Error| error.within(&format!("examples[{at}]"));
        Ok(domain::MockExample {
            name: it.name,
            status: status("status", it.status).map_err(within)?,
            headers: headers(it.headers),
            media_type: it.media_type.unwrap_or_default(),
            body: it.body.unwrap_or_default(),
        })
    };
    input.into_iter().enumerate().map(example).collect()
}

impl TryFrom<MockResponseInput> for domain::MockResponse {
    type Error = Error;

    fn try_from(input: MockResponseInput) -> Result<Self> {
        Ok(Self {
            status: status("mockResponse.status", input.status)?,
            headers: headers(input.headers),
            body: input.body.unwrap_or_default(),
        })
    }
}
