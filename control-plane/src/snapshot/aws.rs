//! What of a draft is called of AWS, as nodes get it.

use plan::{AwsTarget, AwsUri};
use proto::config::v1::{
    AwsAction, AwsFunction, AwsService, AwsSigning, AwsSubtype, HttpProxy, InvocationType,
    integration,
};

use crate::domain::integration::InvocationType as Invocation;
use crate::snapshot::mocks;
use crate::store::draft::IntegrationRow;

/// None where the row names nothing of AWS.
pub(super) fn kind(row: &IntegrationRow, backend: HttpProxy) -> Option<integration::Kind> {
    let uri = AwsUri::parse(&row.uri).ok()?;
    let responses = mocks::responses(row)?;
    let content_handling = mocks::content_handling(row)?;
    let action = match &uri.target {
        AwsTarget::Function { .. } => {
            return Some(integration::Kind::AwsFunction(AwsFunction {
                backend: Some(backend),
                signing: Some(signing(row)?),
                invocation_type: invocation_type(row)?.into(),
                responses,
                content_handling,
            }));
        }
        AwsTarget::Action(action) => {
            let known = plan::AwsAction::of(&uri.service, action)?;
            let (target, json_version) = known.json.unwrap_or_default();
            let (name, form_version) = known.form.unwrap_or_default();
            Some(AwsAction { target, json_version, name, form_version })
        }
        AwsTarget::Path(_) => None,
    };
    // An action is always POSTed.
    let method = if action.is_some() { "POST".to_owned() } else { backend.method.clone() };
    Some(integration::Kind::AwsService(AwsService {
        backend: Some(HttpProxy { method, ..backend }),
        signing: Some(signing(row)?),
        action,
        responses,
        content_handling,
    }))
}

/// None where it has no subtype.
pub(super) fn subtype(row: &IntegrationRow, backend: HttpProxy) -> Option<AwsSubtype> {
    let aws = row.aws.as_ref()?;
    Some(AwsSubtype {
        backend: Some(backend),
        signing: Some(signing(row)?),
        subtype: aws.subtype.clone(),
        parameters: aws.parameters.clone().into_iter().collect(),
    })
}

/// What the row calls of AWS.
pub(super) fn called(row: &IntegrationRow) -> Option<AwsUri> {
    row.aws.as_ref()?.called(&row.uri)
}

pub(super) fn signing(row: &IntegrationRow) -> Option<AwsSigning> {
    let (uri, aws) = (called(row)?, row.aws.as_ref()?);
    Some(AwsSigning {
        secret_id: aws.secret_id.to_string(),
        region: uri.region,
        service: uri.service,
    })
}

/// The default goes unsaid.
pub(super) fn invocation_type(row: &IntegrationRow) -> Option<InvocationType> {
    Some(match row.aws.as_ref()?.invocation_type {
        Invocation::RequestResponse => InvocationType::Unspecified,
        Invocation::Event => InvocationType::Event,
    })
}
