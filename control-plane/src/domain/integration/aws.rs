//! How an integration calls AWS, or what speaks like it: by which credentials, and where.

use std::collections::BTreeMap;

use plan::{AwsAction, AwsTarget, AwsUri, MethodMatch};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{IntegrationType, Reach, ResponseTransferMode, Settings};
use crate::access::actor::Actor;
use crate::app::Tx;
use crate::domain::secret::SecretKind;
use crate::error::{Error, Result};
use crate::ids::SecretId;
use crate::store;

/// The longest endpoint, in bytes.
const ENDPOINT_BYTES_MAX: usize = 512;

/// What an integration whose `uri` is an ARN needs beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AwsSettings {
    /// A secret of kind `AWS_CREDENTIALS`: requests are signed by it, with AWS's Signature Version 4.
    #[schema(value_type = String, format = Uuid)]
    pub secret_id: SecretId,
    /// Scheme, host and port of what is called in the place of AWS, such as an emulator; empty: AWS itself.
    #[serde(default)]
    pub endpoint_url: String,
    /// `AWS_PROXY`: whether callers wait for the function.
    #[serde(default)]
    pub invocation_type: InvocationType,
    /// `AWS_PROXY`, in the place of a `uri`: an action of a service, such as `SQS-SendMessage`; AWS's `integrationSubtype`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subtype: String,
    /// The subtype's, by AWS's names: constants, or what they take of a call, such as `$request.body.message`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// AWS's words for whether an invocation is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InvocationType {
    /// The function's answer is the caller's.
    #[default]
    RequestResponse,
    /// Callers are answered at once, with nothing: 202, or 200 in the AWS dialects. The event has 1 MiB at most.
    Event,
}

impl AwsSettings {
    /// Of AWS itself, by this secret.
    pub fn by(secret_id: SecretId) -> Self {
        Self {
            secret_id,
            endpoint_url: String::new(),
            invocation_type: InvocationType::default(),
            subtype: String::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// Where to call, if not at AWS.
    pub fn endpoint(&self) -> Option<&str> {
        Some(&*self.endpoint_url).filter(|url| !url.is_empty())
    }

    /// What is called of AWS, where the integration's URI is this one.
    pub fn called(&self, uri: &str) -> Option<AwsUri> {
        if self.subtype.is_empty() { AwsUri::parse(uri).ok() } else { self.subtype_uri() }
    }

    pub(super) fn check(&self, reach: &Reach) -> Result<()> {
        let Some(endpoint) = self.endpoint() else { return Ok(()) };
        let refused = |rule: String| Err(Error::bad_request("endpointUrl", rule));
        if endpoint.len() > ENDPOINT_BYTES_MAX {
            return refused(format!("must have at most {ENDPOINT_BYTES_MAX} bytes"));
        }
        let after = endpoint.split_once("://").map_or("", |(_, after)| after);
        if after.trim_end_matches('/').contains(['/', '?', '#', '{', '}']) {
            return refused("is a scheme, a host and perhaps a port, without a path".to_owned());
        }
        reach.check(endpoint).or_else(refused)
    }
}

impl Settings {
    /// What the ARN names, where the URI is one.
    pub(crate) fn aws_uri(&self) -> Option<Result<AwsUri>> {
        AwsUri::looks_like(&self.uri).then(|| {
            AwsUri::parse(&self.uri).map_err(|why| Error::bad_request("uri", why.to_string()))
        })
    }

    /// Where requests go: the URI, or what its ARN means. It is checked already.
    pub(crate) fn backend_uri(&self) -> String {
        let streams = self.response_transfer_mode == Some(ResponseTransferMode::Stream);
        let called = self.aws.as_ref().and_then(|aws| Some((aws.called(&self.uri)?, aws)));
        match called {
            Some((uri, aws)) if streams => uri.streaming().url(aws.endpoint()),
            Some((uri, aws)) => uri.url(aws.endpoint()),
            None => self.uri.clone(),
        }
    }

    /// Whether the URI and `aws` fit each other and the type.
    pub(super) fn check_aws(&self, reach: &Reach) -> Result<()> {
        let uri = self.aws_uri().transpose()?;
        let (Some(uri), Some(aws)) = (&uri, &self.aws) else {
            return match (&uri, &self.aws) {
                (Some(_), None) => {
                    let rule = "a uri that is an ARN needs aws, whose secretId says by which credentials it is called";
                    Err(Error::bad_request("aws", rule))
                }
                (None, Some(_)) => Err(Error::bad_request(
                    "aws",
                    "belongs to a uri that is an ARN, or has a subtype",
                )),
                _ => Ok(()),
            };
        };
        aws.check(reach).map_err(|error| error.within("aws"))?;
        if !aws.parameters.is_empty() {
            return Err(Error::bad_request("aws.parameters", "belong to a subtype"));
        }
        match (&uri.target, self.kind) {
            (AwsTarget::Function { streams, .. }, IntegrationType::AwsProxy) => {
                let stated = self.response_transfer_mode == Some(ResponseTransferMode::Stream);
                let rule = match aws.invocation_type {
                    InvocationType::Event if stated => "an EVENT is answered before its function",
                    _ if *streams && !stated => {
                        "must be STREAM for a uri that ends with response-streaming-invocations"
                    }
                    _ => return Ok(()),
                };
                Err(Error::bad_request("responseTransferMode", rule))
            }
            _ => Err(Error::bad_request("uri", "names no function")),
        }
    }
}

impl Settings {
    /// What `AWS` is: a service's action or path, or a function that gets the caller's body.
    pub(super) fn check_aws_call(&self, reach: &Reach) -> Result<()> {
        self.refuse_passing_on()?;
        if self.payload_format_version.is_some() {
            let rule = "belongs to type AWS_PROXY: here callers' bodies are events as they are";
            return Err(Error::bad_request("payloadFormatVersion", rule));
        }
        self.check_custom_responses()?;
        let uri = self.aws_uri().transpose()?;
        let Some(uri) = uri else {
            let rule =
                "AWS needs a uri that is an ARN: of a function, or of a service's action or path";
            return Err(Error::bad_request("uri", rule));
        };
        let Some(aws) = &self.aws else {
            let rule = "AWS needs aws, whose secretId says by which credentials it is called";
            return Err(Error::bad_request("aws", rule));
        };
        aws.check(reach).map_err(|error| error.within("aws"))?;
        if !aws.subtype.is_empty() || !aws.parameters.is_empty() {
            return Err(Error::bad_request("aws.subtype", "belongs to type AWS_PROXY"));
        }
        let posted = match &uri.target {
            AwsTarget::Path(_) => false,
            AwsTarget::Action(action) => {
                if AwsAction::of(&uri.service, action).is_none() {
                    let known: Vec<_> = AwsAction::services().collect();
                    let rule = format!(
                        "{} has no actions that are known: give a path; actions are known of {}",
                        uri.service,
                        known.join(", ")
                    );
                    return Err(Error::bad_request("uri", rule));
                }
                true
            }
            AwsTarget::Function { streams, .. } => {
                if *streams || self.response_transfer_mode.is_some() {
                    let rule = "belongs to functions of type AWS_PROXY, and to services";
                    return Err(Error::bad_request("responseTransferMode", rule));
                }
                true
            }
        };
        let is_function = matches!(uri.target, AwsTarget::Function { .. });
        if aws.invocation_type != InvocationType::default() && !is_function {
            return Err(Error::bad_request("aws.invocationType", "belongs to functions"));
        }
        match self.method.as_str() {
            "" => {}
            "POST" if posted => {}
            _ if posted => {
                return Err(Error::bad_request("method", "must be POST, or left out"));
            }
            method => drop(
                MethodMatch::parse(method)
                    .map_err(|reason| Error::bad_request("method", reason.to_string()))?,
            ),
        }
        self.check_address(reach)
    }
}

/// Whether the secret is one of the tenant's that signs. It stays until the transaction ends.
pub(super) async fn check_secret(tx: &mut Tx, actor: &Actor, settings: &Settings) -> Result<()> {
    let Some(aws) = &settings.aws else { return Ok(()) };
    match store::secret::lock(tx, actor.tenant, aws.secret_id).await?.kind {
        SecretKind::AwsCredentials => Ok(()),
        SecretKind::Text => {
            Err(Error::bad_request("aws.secretId", "is no secret of kind AWS_CREDENTIALS"))
        }
    }
}
