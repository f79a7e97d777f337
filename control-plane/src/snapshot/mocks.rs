//! A MOCK of a draft as nodes get it.

use std::collections::BTreeMap;

use proto::config::v1::{self, Header, IntegrationResponse, Mock, MockExample};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::integration as domain;
use crate::domain::media::ContentHandling;
use crate::store::draft::IntegrationRow;

/// None where it answers nothing, or what cannot be read: [`super::validate`] refuses it.
pub(super) fn mock(row: &IntegrationRow) -> Option<Mock> {
    let content_handling = content_handling(row)?;
    if let Some(fixed) = &row.mock_response {
        return Some(Mock {
            status: fixed.status.into(),
            headers: headers(&fixed.headers),
            body: fixed.body.clone().into_bytes(),
            content_handling,
            ..Mock::default()
        });
    }
    let responses: Vec<domain::IntegrationResponse> = read(&row.responses)?;
    let request_templates: BTreeMap<String, String> = read(&row.request_templates)?;
    let examples = &row.mock_examples.0;
    if responses.is_empty() && examples.is_empty() {
        return None;
    }
    Some(Mock {
        examples: examples.iter().map(example).collect(),
        request_templates,
        responses: responses.into_iter().map(response).collect(),
        content_handling,
        ..Mock::default()
    })
}

/// What becomes of callers' bodies; None where it cannot be read.
pub(super) fn content_handling(row: &IntegrationRow) -> Option<i32> {
    ContentHandling::stored(&row.content_handling).ok().map(handling)
}

/// Those of the row; None where they cannot be read.
pub(super) fn responses(row: &IntegrationRow) -> Option<Vec<IntegrationResponse>> {
    let responses: Vec<domain::IntegrationResponse> = read(&row.responses)?;
    Some(responses.into_iter().map(response).collect())
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn handling(of: Option<ContentHandling>) -> i32 {
    match of {
        Some(ContentHandling::ConvertToBinary) => v1::ContentHandling::ConvertToBinary,
        Some(ContentHandling::ConvertToText) => v1::ContentHandling::ConvertToText,
        None => v1::ContentHandling::Unspecified,
    }
    .into()
}

fn example(of: &domain::MockExample) -> MockExample {
    MockExample {
        name: of.name.clone(),
        status: of.status.into(),
        headers: headers(&of.headers),
        media_type: of.media_type.clone(),
        body: of.body.clone().into_bytes(),
    }
}

fn response(of: domain::IntegrationResponse) -> IntegrationResponse {
    IntegrationResponse {
        status_code: of.status_code.into(),
        headers: headers(&of.headers),
        selection_pattern: of.selection_pattern,
        templates: of.response_templates,
        content_handling: handling(of.content_handling),
    }
}

fn headers(of: &[domain::Header]) -> Vec<Header> {
    let header = |it: &domain::Header| Header { name: it.name.clone(), value: it.value.clone() };
    of.iter().map(header).collect()
}
