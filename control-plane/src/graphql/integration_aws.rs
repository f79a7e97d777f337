//! How an integration calls AWS.

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
}

impl From<&domain::integration::AwsSettings> for AwsSettings {
    fn from(aws: &domain::integration::AwsSettings) -> Self {
        Self {
            secret_id: Kind::Secret.id(aws.secret_id),
            endpoint_url: aws.endpoint_url.clone(),
            invocation_type: aws.invocation_type.into(),
        }
    }
}

impl TryFrom<AwsSettingsInput> for domain::integration::AwsSettings {
    type Error = Error;

    fn try_from(input: AwsSettingsInput) -> Result<Self, Error> {
        Ok(Self {
            secret_id: Kind::Secret.parse(&input.secret_id, "aws.secretId")?,
            endpoint_url: input.endpoint_url.unwrap_or_default(),
            invocation_type: input.invocation_type.map(Into::into).unwrap_or_default(),
        })
    }
}
