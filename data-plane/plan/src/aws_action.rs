//! How an action of AWS's services is asked for over HTTP: by a field and JSON, or by a form. Data, from AWS's own service models.

/// What names an action to its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsAction {
    /// The value of `X-Amz-Target`, and the version of `application/x-amz-json-`.
    pub json: Option<(String, String)>,
    /// `Action` and `Version` of a form.
    pub form: Option<(String, String)>,
}

/// A service, by how it is called: before `.`, the prefix of its targets, and their version of JSON; and the version of its forms.
type Service = (&'static str, Option<(&'static str, &'static str)>, Option<&'static str>);

const SERVICES: [Service; 22] = [
    ("athena", Some(("AmazonAthena", "1.1")), None),
    ("autoscaling", None, Some("2011-01-01")),
    ("cloudformation", None, Some("2010-05-15")),
    ("codepipeline", Some(("CodePipeline_20150709", "1.1")), None),
    ("cognito-idp", Some(("AWSCognitoIdentityProviderService", "1.1")), None),
    ("dynamodb", Some(("DynamoDB_20120810", "1.0")), None),
    ("ec2", None, Some("2016-11-15")),
    ("ecs", Some(("AmazonEC2ContainerServiceV20141113", "1.1")), None),
    ("email", None, Some("2010-12-01")),
    ("events", Some(("AWSEvents", "1.1")), None),
    ("firehose", Some(("Firehose_20150804", "1.1")), None),
    ("glue", Some(("AWSGlue", "1.1")), None),
    ("kinesis", Some(("Kinesis_20131202", "1.1")), None),
    ("kms", Some(("TrentService", "1.1")), None),
    ("logs", Some(("Logs_20140328", "1.1")), None),
    ("monitoring", None, Some("2010-08-01")),
    ("secretsmanager", Some(("secretsmanager", "1.1")), None),
    ("sns", None, Some("2010-03-31")),
    ("sqs", Some(("AmazonSQS", "1.0")), Some("2012-11-05")),
    ("ssm", Some(("AmazonSSM", "1.1")), None),
    ("states", Some(("AWSStepFunctions", "1.0")), None),
    ("sts", None, Some("2011-06-15")),
];

impl AwsAction {
    /// `None`: how this service is asked is unknown.
    pub fn of(service: &str, action: &str) -> Option<Self> {
        let (_, json, form) = SERVICES.iter().find(|(name, ..)| *name == service)?;
        let json = json.map(|(prefix, version)| (format!("{prefix}.{action}"), version.to_owned()));
        Some(Self { json, form: form.map(|version| (action.to_owned(), version.to_owned())) })
    }

    /// The services whose actions are known.
    pub fn services() -> impl Iterator<Item = &'static str> {
        SERVICES.iter().map(|(name, ..)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_named_as_its_service_reads_it() {
        let put = AwsAction::of("dynamodb", "PutItem").unwrap();
        assert_eq!(put.json, Some(("DynamoDB_20120810.PutItem".into(), "1.0".into())));
        assert_eq!(put.form, None);
        let send = AwsAction::of("sqs", "SendMessage").unwrap();
        assert_eq!(send.json, Some(("AmazonSQS.SendMessage".into(), "1.0".into())));
        assert_eq!(send.form, Some(("SendMessage".into(), "2012-11-05".into())));
        let publish = AwsAction::of("sns", "Publish").unwrap();
        assert_eq!(publish.json, None);
        assert_eq!(AwsAction::of("s3", "PutObject"), None, "it has no actions");
        assert!(AwsAction::services().is_sorted());
    }
}
