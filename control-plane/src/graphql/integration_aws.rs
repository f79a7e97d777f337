//! How an integration calls AWS.

use std::collections::BTreeMap;

use async_graphql::{Enum, ID, InputObject, SimpleObject};

use crate::domain;
use crate::error::Error;
use crate::graphql::node::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::integration::InvocationType")]
pub enum InvocationType {
    /// The function's answer is the caller's.
    RequestResponse,
    /// Callers are answered at once, with nothing: 202, or 200 in the AWS dialects. The event has 1 MiB at most.
    Event,
}

/// What an integration whose `uri` is an ARN needs beside it.
#[derive(SimpleObject)]
pub struct AwsSettings {
    /// Requests are signed by this secret, with AWS's Signature Version 4.
    secret_id: ID,
    /// Scheme, host and port of what is called in the place of AWS; empty: AWS itself.
    endpoint_url: String,
    /// `AWS_PROXY`: whether callers wait for the function.
    invocation_type: InvocationType,
    /// `AWS_PROXY`: an action of a service, such as `SQS-SendMessage`; null: a function.
    subtype: Option<String>,
    /// The subtype's.
    parameters: Vec<AwsParameter>,
}

/// A parameter of a subtype, by AWS's name.
#[derive(SimpleObject)]
pub struct AwsParameter {
    name: String,
    /// A constant, or what it takes of a call, such as `$request.body.message`.
    value: String,
}

/// A parameter of a subtype, by AWS's name.
#[derive(InputObject)]
pub struct AwsParameterInput {
    name: String,
    /// A constant, or what it takes of a call: `$request.header.name`, `$request.querystring.name`, `$request.path.name`,
    /// `$request.body`, `$request.body.a.b`, `$context.name`, `$stageVariables.name`, or those in braces within text.
    value: String,
}

/// What an integration whose `uri` is an ARN needs beside it.
#[derive(InputObject)]
pub struct AwsSettingsInput {
    /// A secret of kind `AWS_CREDENTIALS`: requests are signed by it, with AWS's Signature Version 4.
    secret_id: ID,
    /// Scheme, host and port of what is called in the place of AWS, such as an emulator; left out: AWS itself.
    endpoint_url: Option<String>,
    /// `AWS_PROXY`: whether callers wait for the function; left out: they do.
    invocation_type: Option<InvocationType>,
    /// `AWS_PROXY`, in the place of a `uri`: an action of a service, such as `SQS-SendMessage`; AWS's `integrationSubtype`.
    subtype: Option<String>,
    /// The subtype's. `Region` is one of each.
    parameters: Option<Vec<AwsParameterInput>>,
}

impl From<&domain::integration::AwsSettings> for AwsSettings {
    fn from(aws: &domain::integration::AwsSettings) -> Self {
        Self {
            secret_id: Kind::Secret.id(aws.secret_id),
            endpoint_url: aws.endpoint_url.clone(),
            invocation_type: aws.invocation_type.into(),
            subtype: Some(aws.subtype.clone()).filter(|subtype| !subtype.is_empty()),
            parameters: aws
                .parameters
                .iter()
                .map(|(name, value)| AwsParameter { name: name.clone(), value: value.clone() })
                .collect(),
        }
    }
}

impl TryFrom<AwsSettingsInput> for domain::integration::AwsSettings {
    type Error = Error;

    fn try_from(input: AwsSettingsInput) -> Result<Self, Error> {
        let mut parameters = BTreeMap::new();
        for AwsParameterInput { name, value } in input.parameters.unwrap_or_default() {
            if parameters.insert(name.clone(), value).is_some() {
                let rule = "there are two of this name";
                return Err(Error::bad_request(format!("aws.parameters.{name}"), rule));
            }
        }
        Ok(Self {
            secret_id: Kind::Secret.parse(&input.secret_id, "aws.secretId")?,
            endpoint_url: input.endpoint_url.unwrap_or_default(),
            invocation_type: input.invocation_type.map(Into::into).unwrap_or_default(),
            subtype: input.subtype.unwrap_or_default(),
            parameters,
        })
    }
}
