//! What an integration calls of AWS, by the ARNs that AWS's own integrations have.

use crate::{RouteKey, Subtype, TemplateError, UriTemplate};

/// A function, or an action or a path of a service. Function, path and action may hold `${stageVariables.name}`, and the
/// path `{parameter}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsUri {
    /// `us-east-1`.
    pub region: String,
    /// `lambda`, `s3`; what a signature is for.
    pub service: String,
    partition: Partition,
    /// Before the service in the host's name; may be empty.
    subdomain: String,
    pub target: AwsTarget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsTarget {
    Function {
        /// The whole ARN, with its qualifier.
        arn: String,
        name: String,
        qualifier: Option<String>,
        /// Called by `InvokeWithResponseStream`.
        streams: bool,
    },
    Action(String),
    /// With a slash before it.
    Path(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partition {
    Aws,
    China,
    GovCloud,
}

/// What is wrong with such a URI, said to the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsUriError {
    #[error(
        "must be arn:aws:lambda:{{region}}:{{account}}:function:{{name}} or arn:aws:apigateway:{{region}}:{{service}}:path/… or …:action/…"
    )]
    Form,
    #[error("{0:?} is no name of a region")]
    Region(String),
    #[error("{0:?} is no name of a service")]
    Service(String),
    #[error("{0:?} is no number of an account: it has 12 digits")]
    Account(String),
    #[error("{0:?} is no name of a function")]
    Function(String),
    #[error("{0:?} is no version or alias of a function")]
    Qualifier(String),
    #[error("{0:?} is no name of an action")]
    Action(String),
    #[error("{0}")]
    Template(#[from] TemplateError),
}

impl AwsUri {
    /// Whether the text claims to be one.
    pub fn looks_like(uri: &str) -> bool {
        uri.starts_with("arn:")
    }

    pub fn parse(uri: &str) -> Result<Self, AwsUriError> {
        let mut parts = uri.splitn(5, ':');
        let mut next = || parts.next().ok_or(AwsUriError::Form);
        let (arn, partition, kind, region, rest) = (next()?, next()?, next()?, next()?, next()?);
        let partition = match partition {
            "aws" => Partition::Aws,
            "aws-cn" => Partition::China,
            "aws-us-gov" => Partition::GovCloud,
            _ => return Err(AwsUriError::Form),
        };
        if arn != "arn" {
            return Err(AwsUriError::Form);
        }
        if !is_word(region, 32) {
            return Err(AwsUriError::Region(region.to_owned()));
        }
        let of = |service: &str, subdomain: &str, target| Self {
            region: region.to_owned(),
            service: service.to_owned(),
            partition,
            subdomain: subdomain.to_owned(),
            target,
        };
        let parsed = match kind {
            "lambda" => of("lambda", "", function(uri, false)?),
            "apigateway" => {
                let (service, what) = rest.split_once(':').ok_or(AwsUriError::Form)?;
                let (subdomain, name) = service.rsplit_once('.').unwrap_or(("", service));
                let labels = service.split('.').all(|label| is_word(label, 63));
                if !labels || service.len() > 64 {
                    return Err(AwsUriError::Service(service.to_owned()));
                }
                if let Some(action) = what.strip_prefix("action/") {
                    let known = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
                    if action.is_empty() || action.len() > 128 || !action.chars().all(known) {
                        return Err(AwsUriError::Action(action.to_owned()));
                    }
                    of(name, subdomain, AwsTarget::Action(action.to_owned()))
                } else if let Some(path) = what.strip_prefix("path/") {
                    let target = match service {
                        "lambda" => of_path(path)?,
                        _ => AwsTarget::Path(format!("/{path}")),
                    };
                    of(name, subdomain, target)
                } else {
                    return Err(AwsUriError::Form);
                }
            }
            _ => return Err(AwsUriError::Form),
        };
        UriTemplate::parse(&parsed.url(None))?;
        Ok(parsed)
    }

    /// What a subtype asks for, in this region.
    pub fn of_subtype(subtype: &Subtype, region: &str) -> Result<Self, AwsUriError> {
        if !is_word(region, 32) {
            return Err(AwsUriError::Region(region.to_owned()));
        }
        Ok(Self {
            region: region.to_owned(),
            service: subtype.service.to_owned(),
            partition: match region {
                _ if region.starts_with("cn-") => Partition::China,
                _ if region.starts_with("us-gov-") => Partition::GovCloud,
                _ => Partition::Aws,
            },
            subdomain: subtype.host_prefix.to_owned(),
            target: AwsTarget::Action(subtype.action.to_owned()),
        })
    }

    /// The same function, called by `InvokeWithResponseStream`.
    #[must_use]
    pub fn streaming(mut self) -> Self {
        if let AwsTarget::Function { streams, .. } = &mut self.target {
            *streams = true;
        }
        self
    }

    /// Whether every parameter is a variable of the route.
    pub fn check(&self, route: &RouteKey) -> Result<(), TemplateError> {
        UriTemplate::parse(&self.url(None))?.check(route)
    }

    /// Where it is called: at AWS itself, or at `endpoint`, which is scheme, host and port of what speaks like AWS.
    ///
    /// A function is named by its whole ARN to AWS, which finds one of another account by it; at an endpoint of one's own by
    /// its name, which is all that emulators know.
    pub fn url(&self, endpoint: Option<&str>) -> String {
        let origin = endpoint.map_or_else(|| self.endpoint(), |it| it.trim_end_matches('/').into());
        let path = match &self.target {
            AwsTarget::Action(_) => "/".to_owned(),
            AwsTarget::Path(path) => path.clone(),
            AwsTarget::Function { arn, name, qualifier, streams } => {
                let (version, operation) = if *streams {
                    ("2021-11-15", "response-streaming-invocations")
                } else {
                    ("2015-03-31", "invocations")
                };
                if endpoint.is_none() {
                    let arn = encoded(arn);
                    format!("/{version}/functions/{arn}/{operation}")
                } else {
                    let qualifier = qualifier
                        .as_ref()
                        .map_or_else(String::new, |it| format!("?Qualifier={}", encoded(it)));
                    format!("/{version}/functions/{}/{operation}{qualifier}", encoded(name))
                }
            }
        };
        format!("{origin}{path}")
    }

    fn endpoint(&self) -> String {
        let joined = self.subdomain.is_empty() || self.subdomain.ends_with('-');
        let dot = if joined { "" } else { "." };
        let suffix = match self.partition {
            Partition::Aws | Partition::GovCloud => "amazonaws.com",
            Partition::China => "amazonaws.com.cn",
        };
        format!("https://{}{dot}{}.{}.{suffix}", self.subdomain, self.service, self.region)
    }
}

/// What follows `path/` of the service `lambda`: a function as API Gateway writes it, or any other of its operations.
fn of_path(path: &str) -> Result<AwsTarget, AwsUriError> {
    for (version, operation, streams) in [
        ("2015-03-31/functions/", "/invocations", false),
        ("2021-11-15/functions/", "/response-streaming-invocations", true),
    ] {
        let inner = path.strip_prefix(version).and_then(|rest| rest.strip_suffix(operation));
        if let Some(arn) = inner {
            return function(arn, streams);
        }
    }
    Ok(AwsTarget::Path(format!("/{path}")))
}

fn function(arn: &str, streams: bool) -> Result<AwsTarget, AwsUriError> {
    let parts: Vec<&str> = arn.split(':').collect();
    let (account, name, qualifier) = match parts[..] {
        ["arn", _, "lambda", _, account, "function", name] => (account, name, None),
        ["arn", _, "lambda", _, account, "function", name, it] => (account, name, Some(it)),
        _ => return Err(AwsUriError::Form),
    };
    if account.len() != 12 || !account.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(AwsUriError::Account(account.to_owned()));
    }
    if !is_name(name, 140, false) {
        return Err(AwsUriError::Function(name.to_owned()));
    }
    if let Some(it) = qualifier.filter(|it| !is_name(it, 128, true)) {
        return Err(AwsUriError::Qualifier(it.to_owned()));
    }
    Ok(AwsTarget::Function {
        arn: arn.to_owned(),
        name: name.to_owned(),
        qualifier: qualifier.map(ToOwned::to_owned),
        streams,
    })
}

/// Letters, digits, `-` and `_`, and what stage variables stand for.
fn is_name(text: &str, most: usize, takes_dollar: bool) -> bool {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("${stageVariables.") {
        let Some((name, after)) = after.split_once('}') else { return false };
        if !crate::route::is_variable_name(name) {
            return false;
        }
        plain.push_str(before);
        plain.push('x');
        rest = after;
    }
    plain.push_str(rest);
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || takes_dollar && c == '$';
    !plain.is_empty() && plain.len() <= most && plain.chars().all(known)
}

fn is_word(text: &str, most: usize) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= most && text.chars().all(known) && !text.starts_with('-')
}

/// As a segment of a path: colons, and the dollar sign of `$LATEST`, but not that of a stage variable.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ':' => out.push_str("%3A"),
            '$' if chars.peek() != Some(&'{') => out.push_str("%24"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:hello";

    #[test]
    fn a_function_is_named_in_both_forms() {
        let plain = AwsUri::parse(ARN).unwrap();
        let long = format!(
            "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{ARN}/invocations"
        );
        assert_eq!(AwsUri::parse(&long).unwrap(), plain);
        assert_eq!((&*plain.region, &*plain.service), ("eu-west-1", "lambda"));
        assert_eq!(
            plain.url(None),
            "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/\
             arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ahello/invocations"
        );
        let own = "http://127.0.0.1:9001/2015-03-31/functions/hello/invocations";
        assert_eq!(plain.url(Some("http://127.0.0.1:9001/")), own);
    }

    #[test]
    fn a_version_or_alias_and_stage_variables_are_kept() {
        let uri = AwsUri::parse(&format!("{ARN}-${{stageVariables.color}}:$LATEST")).unwrap();
        assert_eq!(
            uri.url(Some("http://l")),
            "http://l/2015-03-31/functions/hello-${stageVariables.color}/invocations?Qualifier=%24LATEST"
        );
        assert!(uri.url(None).contains("%3Ahello-${stageVariables.color}%3A%24LATEST/"));
        let stream = format!(
            "arn:aws:apigateway:eu-west-1:lambda:path/2021-11-15/functions/{ARN}:live/response-streaming-invocations"
        );
        let stream = AwsUri::parse(&stream).unwrap();
        assert_eq!(AwsUri::parse(&format!("{ARN}:live")).unwrap().streaming(), stream);
        assert!(matches!(stream.target, AwsTarget::Function { streams: true, .. }));
        assert_eq!(
            stream.url(Some("http://l")),
            "http://l/2021-11-15/functions/hello/response-streaming-invocations?Qualifier=live"
        );
    }

    #[test]
    fn a_service_has_paths_and_actions() {
        for (uri, url, service) in [
            (
                "arn:aws:apigateway:us-east-1:s3:path/b/{key}",
                "https://s3.us-east-1.amazonaws.com/b/{key}",
                "s3",
            ),
            (
                "arn:aws:apigateway:us-east-1:sqs:action/SendMessage",
                "https://sqs.us-east-1.amazonaws.com/",
                "sqs",
            ),
            (
                "arn:aws-cn:apigateway:cn-north-1:dynamodb:action/GetItem",
                "https://dynamodb.cn-north-1.amazonaws.com.cn/",
                "dynamodb",
            ),
            (
                "arn:aws:apigateway:us-east-1:b.s3:path/k",
                "https://b.s3.us-east-1.amazonaws.com/k",
                "s3",
            ),
        ] {
            let parsed = AwsUri::parse(uri).unwrap();
            assert_eq!((&*parsed.url(None), &*parsed.service), (url, service), "{uri}");
        }
    }

    #[test]
    fn what_is_none_is_told_why() {
        for (uri, said) in [
            ("arn:aws:lambda", "must be"),
            ("arn:aws:s3:::bucket", "no name of a region"),
            ("arn:aws:lambda:us east:123456789012:function:f", "no name of a region"),
            ("arn:aws:lambda:us-east-1:12:function:f", "12 digits"),
            ("arn:aws:lambda:us-east-1:123456789012:function:a/b", "no name of a function"),
            (
                "arn:aws:lambda:us-east-1:123456789012:function:${stageVariables.a",
                "no name of a function",
            ),
            ("arn:aws:lambda:us-east-1:123456789012:function:f:a b", "version or alias"),
            ("arn:aws:apigateway:us-east-1:Evil/host:path/x", "no name of a service"),
            ("arn:aws:apigateway:us-east-1:sqs:action/a?b", "no name of an action"),
            ("arn:aws:apigateway:us-east-1:s3:path/{open", "brace"),
        ] {
            let told = AwsUri::parse(uri).unwrap_err().to_string();
            assert!(told.contains(said), "{uri}: {told}");
        }
    }
}
