//! AWS's first-class integrations of HTTP APIs, by their `integrationSubtype`: which parameters each has, and the request
//! that they make ([Integration subtype reference][aws]). Data, with what builds requests of it.
//!
//! [aws]: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-aws-services-reference.html

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::{AwsAction, RouteKey, request_parameter::ParameterValue};

/// An action of a service, as AWS names it: `SQS-SendMessage`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subtype {
    pub name: &'static str,
    /// What a signature is for.
    pub service: &'static str,
    pub action: &'static str,
    /// Before the service in its host's name.
    pub(crate) host_prefix: &'static str,
    pub parameters: &'static [Parameter],
}

#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    pub required: bool,
    form: Form,
}

/// How a value goes to its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Integer,
    /// A list or an object, written as JSON.
    Json,
    /// Bytes, which JSON has as base64.
    Bytes,
    /// RFC 3339, or seconds since 1970; seconds go.
    Time,
}

/// The parameter of each subtype that says where: a constant, since nothing is signed for a region that callers choose.
pub const REGION: &str = "Region";

const fn required(name: &'static str, form: Form) -> Parameter {
    Parameter { name, required: true, form }
}

const fn optional(name: &'static str, form: Form) -> Parameter {
    Parameter { name, required: false, form }
}

const fn subtype(
    name: &'static str,
    service: &'static str,
    action: &'static str,
    parameters: &'static [Parameter],
) -> Subtype {
    Subtype { name, service, action, host_prefix: "", parameters }
}

use Form::{Bytes, Integer, Json, Text, Time};

const START: [Parameter; 4] = [
    required("StateMachineArn", Text),
    optional("Name", Text),
    optional("Input", Text),
    required(REGION, Text),
];

const SUBTYPES: [Subtype; 10] = [
    subtype(
        "AppConfig-GetConfiguration",
        "appconfig",
        "GetConfiguration",
        &[
            required("Application", Text),
            required("Environment", Text),
            required("Configuration", Text),
            required("ClientId", Text),
            optional("ClientConfigurationVersion", Text),
            required(REGION, Text),
        ],
    ),
    subtype(
        "EventBridge-PutEvents",
        "events",
        "PutEvents",
        &[
            required("Detail", Text),
            required("DetailType", Text),
            required("Source", Text),
            optional("Time", Time),
            optional("EventBusName", Text),
            optional("Resources", Json),
            optional("TraceHeader", Text),
            required(REGION, Text),
        ],
    ),
    subtype(
        "Kinesis-PutRecord",
        "kinesis",
        "PutRecord",
        &[
            required("StreamName", Text),
            required("Data", Bytes),
            required("PartitionKey", Text),
            optional("SequenceNumberForOrdering", Text),
            optional("ExplicitHashKey", Text),
            required(REGION, Text),
        ],
    ),
    subtype(
        "SQS-DeleteMessage",
        "sqs",
        "DeleteMessage",
        &[required("QueueUrl", Text), required("ReceiptHandle", Text), required(REGION, Text)],
    ),
    subtype(
        "SQS-PurgeQueue",
        "sqs",
        "PurgeQueue",
        &[required("QueueUrl", Text), required(REGION, Text)],
    ),
    subtype(
        "SQS-ReceiveMessage",
        "sqs",
        "ReceiveMessage",
        &[
            required("QueueUrl", Text),
            optional("AttributeNames", Json),
            optional("MaxNumberOfMessages", Integer),
            optional("MessageAttributeNames", Json),
            optional("ReceiveRequestAttemptId", Text),
            optional("VisibilityTimeout", Integer),
            optional("WaitTimeSeconds", Integer),
            required(REGION, Text),
        ],
    ),
    subtype(
        "SQS-SendMessage",
        "sqs",
        "SendMessage",
        &[
            required("QueueUrl", Text),
            required("MessageBody", Text),
            optional("DelaySeconds", Integer),
            optional("MessageAttributes", Json),
            optional("MessageDeduplicationId", Text),
            optional("MessageGroupId", Text),
            optional("MessageSystemAttributes", Json),
            required(REGION, Text),
        ],
    ),
    subtype("StepFunctions-StartExecution", "states", "StartExecution", &START),
    Subtype {
        host_prefix: "sync-",
        ..subtype("StepFunctions-StartSyncExecution", "states", "StartSyncExecution", &START)
    },
    subtype(
        "StepFunctions-StopExecution",
        "states",
        "StopExecution",
        &[
            required("ExecutionArn", Text),
            optional("Cause", Text),
            optional("Error", Text),
            required(REGION, Text),
        ],
    ),
];

/// What is wrong with a parameter, and with which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongParameter {
    pub name: String,
    pub why: String,
}

/// What a service is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct SubtypeRequest {
    pub method: &'static str,
    pub path_and_query: String,
    /// `X-Amz-Target`, and the version of `application/x-amz-json-`; a GET has neither, nor a body.
    pub target: Option<(String, String)>,
    pub body: Vec<u8>,
}

/// The values of its parameters, by their names.
pub type ParameterValues = BTreeMap<&'static str, ParameterValue>;

impl Subtype {
    pub fn of(name: &str) -> Option<&'static Self> {
        SUBTYPES.iter().find(|it| it.name == name)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        SUBTYPES.iter().map(|it| it.name)
    }

    /// Those that are written as text: all that are required, and none that it does not have.
    pub fn values<'a>(
        &self,
        given: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<ParameterValues, WrongParameter> {
        let wrong = |name: &str, why: String| WrongParameter { name: name.to_owned(), why };
        let mut values = ParameterValues::new();
        for (name, text) in given {
            let parameter = self.parameters.iter().find(|it| it.name == name).ok_or_else(|| {
                let known: Vec<_> = self.parameters.iter().map(|it| it.name).collect();
                wrong(
                    name,
                    format!("is no parameter of {}: it has {}", self.name, known.join(", ")),
                )
            })?;
            let value = ParameterValue::parse(text).map_err(|why| wrong(name, why))?;
            match value.constant() {
                None if name == REGION => {
                    return Err(wrong(name, "must be a constant: what is signed is for it".into()));
                }
                Some("") if parameter.required => {
                    return Err(wrong(name, format!("is empty, and {} needs it", self.name)));
                }
                Some(text) => {
                    json_of(parameter.form, text).map_err(|why| wrong(name, why))?;
                }
                None => {}
            }
            values.insert(parameter.name, value);
        }
        let missing =
            self.parameters.iter().find(|it| it.required && !values.contains_key(it.name));
        missing.map_or(Ok(values), |it| {
            Err(wrong(it.name, format!("is missing, and {} needs it", self.name)))
        })
    }

    /// The request that these values make for a call. An optional one that the call does not have is left out.
    pub fn request(
        &self,
        mut value: impl FnMut(&str) -> Option<String>,
    ) -> Result<SubtypeRequest, WrongParameter> {
        let wrong = |name: &str, why: String| WrongParameter { name: name.to_owned(), why };
        let mut members = Map::new();
        for Parameter { name, required, form } in self.parameters {
            if *name == REGION {
                continue;
            }
            match value(name).filter(|text| !(text.is_empty() && *required)) {
                Some(text) => {
                    let json = json_of(*form, &text).map_err(|why| wrong(name, why))?;
                    members.insert(self.member(name), json);
                }
                None if *required => return Err(wrong(name, "is not in the request".to_owned())),
                None => {}
            }
        }
        if self.service == "appconfig" {
            return configuration(&members);
        }
        let body = match self.service {
            "events" => json!({ "Entries": [members] }),
            _ => Value::Object(members),
        };
        Ok(SubtypeRequest {
            method: "POST",
            path_and_query: "/".to_owned(),
            target: AwsAction::of(self.service, self.action).and_then(|action| action.json),
            body: body.to_string().into_bytes(),
        })
    }

    /// What the service calls a parameter.
    fn member(&self, name: &str) -> String {
        let first = name.chars().next().filter(|_| self.service == "states");
        first.map_or_else(
            || name.to_owned(),
            |first| format!("{}{}", first.to_ascii_lowercase(), &name[first.len_utf8()..]),
        )
    }
}

/// The path of `GetConfiguration`, which its service reads in the place of a body.
fn configuration(members: &Map<String, Value>) -> Result<SubtypeRequest, WrongParameter> {
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    // Each a segment of its own, whatever is in it.
    let segment = |name: &str| match text(name) {
        "." | ".." => Err(WrongParameter { name: name.to_owned(), why: "is no name".to_owned() }),
        text => {
            let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            Ok(encoded.replace('+', "%20"))
        }
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("client_id", text("ClientId"));
    if members.contains_key("ClientConfigurationVersion") {
        query.append_pair("client_configuration_version", text("ClientConfigurationVersion"));
    }
    Ok(SubtypeRequest {
        method: "GET",
        path_and_query: format!(
            "/applications/{}/environments/{}/configurations/{}?{}",
            segment("Application")?,
            segment("Environment")?,
            segment("Configuration")?,
            query.finish().replace('+', "%20")
        ),
        target: None,
        body: Vec::new(),
    })
}

fn json_of(form: Form, text: &str) -> Result<Value, String> {
    match form {
        Text => Ok(text.into()),
        Integer => text.trim().parse::<i64>().map(Value::from).map_err(|_| "is no integer".into()),
        Json => serde_json::from_str::<Value>(text)
            .ok()
            .filter(|value| value.is_array() || value.is_object())
            .ok_or_else(|| "is no list or object in JSON".into()),
        Bytes => Ok(STANDARD.encode(text).into()),
        Time => {
            let seconds = text.trim().parse::<f64>().ok().filter(|it| it.is_finite());
            #[expect(clippy::cast_precision_loss, reason = "of milliseconds, for years to come")]
            let at = || Some(text.parse::<Timestamp>().ok()?.as_millisecond() as f64 / 1e3);
            let seconds = seconds.or_else(at);
            seconds.map(Value::from).ok_or_else(|| "is no time such as 2026-01-31T12:00:00Z".into())
        }
    }
}

/// Whether every path parameter in the values is a variable of the route.
pub fn check(values: &ParameterValues, route: &RouteKey) -> Result<(), WrongParameter> {
    for (name, value) in values {
        value.check(route).map_err(|why| WrongParameter { name: (*name).to_owned(), why })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, given: &[(&str, &str)]) -> Result<SubtypeRequest, WrongParameter> {
        let value =
            |name: &str| given.iter().find(|it| it.0 == name).map(|(_, value)| (*value).to_owned());
        Subtype::of(name).unwrap().request(value)
    }

    fn body(name: &str, given: &[(&str, &str)]) -> (String, Value) {
        let request = request(name, given).unwrap();
        let target = request.target.unwrap();
        assert_eq!((request.method, &*request.path_and_query), ("POST", "/"));
        (target.0, serde_json::from_slice(&request.body).unwrap())
    }

    #[test]
    fn each_service_gets_the_members_that_it_reads() {
        let (target, sent) = body(
            "SQS-SendMessage",
            &[
                ("QueueUrl", "http://q/1"),
                ("MessageBody", "{\"a\":\"\\\"}"),
                ("DelaySeconds", "5"),
                ("MessageAttributes", "{\"a\":{\"DataType\":\"String\",\"StringValue\":\"b\"}}"),
            ],
        );
        assert_eq!(target, "AmazonSQS.SendMessage");
        assert_eq!(
            sent,
            json!({
                "QueueUrl": "http://q/1", "MessageBody": "{\"a\":\"\\\"}", "DelaySeconds": 5,
                "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}},
            })
        );
        let (target, sent) = body(
            "EventBridge-PutEvents",
            &[
                ("Detail", "{}"),
                ("DetailType", "made"),
                ("Source", "pets"),
                ("Time", "2026-01-31T12:00:00.5Z"),
                ("Resources", "[\"arn:a\"]"),
            ],
        );
        assert_eq!(target, "AWSEvents.PutEvents");
        assert_eq!(
            sent,
            json!({"Entries": [{
                "Detail": "{}", "DetailType": "made", "Source": "pets", "Time": 1_769_860_800.5,
                "Resources": ["arn:a"],
            }]})
        );
        let (target, sent) = body(
            "Kinesis-PutRecord",
            &[("StreamName", "pets"), ("Data", "tom"), ("PartitionKey", "7")],
        );
        assert_eq!(target, "Kinesis_20131202.PutRecord");
        assert_eq!(sent, json!({"StreamName": "pets", "Data": "dG9t", "PartitionKey": "7"}));
        let (target, sent) = body(
            "StepFunctions-StartSyncExecution",
            &[("StateMachineArn", "arn"), ("Input", "{}")],
        );
        assert_eq!(target, "AWSStepFunctions.StartSyncExecution");
        assert_eq!(sent, json!({"stateMachineArn": "arn", "input": "{}"}));
    }

    #[test]
    fn a_configuration_is_got_by_a_path_that_no_value_leaves() {
        let asked = request(
            "AppConfig-GetConfiguration",
            &[
                ("Application", "../a"),
                ("Environment", "b c?"),
                ("Configuration", "é/d"),
                ("ClientId", "me&you=1"),
            ],
        )
        .unwrap();
        assert_eq!((asked.method, asked.target, asked.body), ("GET", None, Vec::new()));
        assert_eq!(
            asked.path_and_query,
            "/applications/..%2Fa/environments/b%20c%3F/configurations/%C3%A9%2Fd?client_id=me%26you%3D1"
        );
        for name in [".", ".."] {
            let given = [("Application", name), ("Environment", "e"), ("Configuration", "c")];
            let given = [&given[..], &[("ClientId", "me")]].concat();
            let wrong = request("AppConfig-GetConfiguration", &given).unwrap_err();
            assert_eq!((&*wrong.name, &*wrong.why), ("Application", "is no name"));
        }
    }

    #[test]
    fn what_a_call_lacks_or_has_in_another_form_is_named() {
        let wrong = |given: &[(&str, &str)]| {
            let wrong = request("SQS-SendMessage", given).unwrap_err();
            format!("{} {}", wrong.name, wrong.why)
        };
        let (url, text) = (("QueueUrl", "q"), ("MessageBody", "m"));
        assert_eq!(wrong(&[url]), "MessageBody is not in the request");
        assert_eq!(wrong(&[url, ("MessageBody", "")]), "MessageBody is not in the request");
        assert_eq!(wrong(&[url, text, ("DelaySeconds", "x")]), "DelaySeconds is no integer");
        assert_eq!(
            wrong(&[url, text, ("MessageAttributes", "7")]),
            "MessageAttributes is no list or object in JSON"
        );
    }

    #[test]
    fn what_cannot_make_a_request_is_refused_as_it_is_written() {
        let wrong = |given: &[(&str, &str)]| {
            let wrong = Subtype::of("SQS-SendMessage").unwrap().values(given.iter().copied());
            let wrong = wrong.unwrap_err();
            format!("{} {}", wrong.name, wrong.why)
        };
        let (url, text) = (("QueueUrl", "q"), ("MessageBody", "$request.body"));
        let region = (REGION, "eu-west-1");
        assert!(wrong(&[url, text]).starts_with("Region is missing"));
        assert!(wrong(&[url, region]).starts_with("MessageBody is missing"));
        assert!(wrong(&[url, region, ("MessageBody", "")]).starts_with("MessageBody is empty"));
        assert!(wrong(&[("Queue", "q")]).starts_with("Queue is no parameter of SQS-SendMessage"));
        assert!(wrong(&[(REGION, "$request.header.r")]).starts_with("Region must be a constant"));
        assert!(wrong(&[("DelaySeconds", "soon")]).starts_with("DelaySeconds is no integer"));
        assert!(wrong(&[("MessageBody", "$request.x")]).starts_with("MessageBody $request.x is"));
        let values =
            Subtype::of("SQS-SendMessage").unwrap().values([url, text, region].into_iter());
        assert_eq!(values.unwrap().len(), 3);
        assert!(SUBTYPES.iter().map(|it| it.name).is_sorted());
    }
}
