use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign as reference,
    },
    sign::v4::{self, generate_signing_key},
};
use proptest::prelude::*;
use proto::config::v1::{AwsSigner as Message, AwsSigningKey, Secret, secret::Value};

use super::*;
use crate::snapshot::secret::secret;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const REGION: &str = "us-east-1";

fn signer(at: SystemTime, date: &str, service: &str, token: &str) -> AwsSigner {
    let key = generate_signing_key(SECRET, at, REGION, service);
    let message = Secret {
        id: "s".to_owned(),
        tenant_id: "t".to_owned(),
        value: Some(Value::Aws(Message {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            session_token: token.to_owned(),
            keys: vec![AwsSigningKey {
                date: date.to_owned(),
                region: REGION.to_owned(),
                service: service.to_owned(),
                key: key.as_ref().to_vec(),
            }],
        })),
    };
    match secret(&message).unwrap().value {
        SecretValue::Aws(signer) => signer,
        SecretValue::Text(_) => panic!("credentials"),
    }
}

/// `Authorization` as `aws_sigv4` makes it of what was sent.
fn expected(
    at: SystemTime,
    service: &str,
    token: &str,
    method: &Method,
    target: &PathAndQuery,
    fields: &HeaderMap,
    body: &[u8],
) -> String {
    let token = Some(token.to_owned()).filter(|token| !token.is_empty());
    let identity = Credentials::new("AKIDEXAMPLE", SECRET, token, None, "test").into();
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(at)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("https://{}{target}", fields[HOST].to_str().unwrap());
    let own = [DATE, TOKEN, AUTHORIZATION, CONTENT_SHA256, HOST];
    let given = fields.iter().filter(|(name, _)| !own.contains(name));
    let given = given.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let request =
        SignableRequest::new(method.as_str(), uri, given, SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = reference(request, &parameters).unwrap().into_parts();
    let found = instructions.headers().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    found.unwrap().1.to_owned()
}

proptest! {
    /// Whatever is called, the signature is the one that AWS's own crate makes with the secret itself.
    #[test]
    fn a_signature_by_a_days_key_is_aws_sigv4s(
        path in "(/[A-Za-z0-9_.~!$&'()*+,;=:@%-]{0,8}){1,5}",
        query in proptest::option::of("[A-Za-z0-9_.~!$'()*,;:@/?%+=&-]{0,30}"),
        field in "[ -~]{0,20}",
        body in proptest::collection::vec(any::<u8>(), 0..64),
        seconds in 1_600_000_000u64..2_000_000_000,
        service in prop_oneof!["lambda", "s3", "sqs", "dynamodb"],
        token in prop_oneof!["", "token/with+signs=="],
    ) {
        // A percent sign that begins no byte is no path.
        let path = path.replace('%', "%2a");
        let query = query.map(|query| query.replace('%', "%C3%a9"));
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let Ok(target) = PathAndQuery::try_from(target) else { return Ok(()) };
        let at = UNIX_EPOCH + Duration::from_secs(seconds);
        let time = Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let signer = signer(at, &time[..8], &service, &token);
        let mut fields = HeaderMap::new();
        fields.insert(HOST, HeaderValue::from_static("example.com"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert("x-amz-invocation-type", HeaderValue::from_static("Event"));
        fields.insert("x-amz-meta", HeaderValue::try_from(field.trim()).unwrap());
        let key = *signer.key(&time[..8], REGION, &service).unwrap();
        let request =
            Signed { method: &Method::POST, target: &target, body: &body, now_ms: seconds * 1000 };

        let sent = by(&signer, &key, REGION, &service, &time, &request, &mut fields).unwrap();

        let mine = fields[AUTHORIZATION].to_str().unwrap();
        let theirs = expected(at, &service, &token, &Method::POST, &sent, &fields, &body);
        prop_assert_eq!(mine, theirs, "of {}", sent);
    }
}

#[test]
fn a_key_signs_on_its_day_alone() {
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let signer = signer(at, "20231114", "lambda", "");
    assert!(signer.key("20231114", REGION, "lambda").is_some());
    for (date, region, service) in [
        ("20231115", REGION, "lambda"),
        ("20231114", "eu-west-1", "lambda"),
        ("20231114", REGION, "s3"),
    ] {
        assert!(signer.key(date, region, service).is_none());
    }
}

#[test]
fn what_a_caller_brings_of_a_signature_is_not_read() {
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let signer = signer(at, "20231114", "lambda", "");
    let mut fields = HeaderMap::new();
    fields.insert(HOST, HeaderValue::from_static("example.com"));
    for name in &SIGNATURES_OWN {
        fields.insert(name, HeaderValue::from_static("the caller's"));
    }
    let key = *signer.key("20231114", REGION, "lambda").unwrap();
    let target = PathAndQuery::from_static("/");
    let request = Signed { method: &Method::GET, target: &target, body: b"", now_ms: 0 };
    by(&signer, &key, REGION, "lambda", "20231114T221320Z", &request, &mut fields).unwrap();
    assert!(fields.values().all(|value| value != "the caller's"), "{fields:?}");
    assert!(!fields.contains_key(TOKEN) && !fields.contains_key(CONTENT_SHA256));
    assert!(fields[AUTHORIZATION].is_sensitive());
}
