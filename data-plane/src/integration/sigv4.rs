//! AWS's Signature Version 4 of a request, by the key of a day that the control plane derived: a node never has the secret
//! access key. What `aws_sigv4` signs needs the secret, so the canonical request is made here; a test holds both against
//! each other.
//!
//! What is sent is what is signed: path and query leave in the one spelling that a verifier makes of them.

use std::{borrow::Cow, fmt::Write};

use aws_sigv4::sign::v4::calculate_signature;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    uri::PathAndQuery,
};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    gateway_response::{GatewayResponse, Kind},
    snapshot::{
        Snapshot,
        secret::{AwsSigner, SecretValue},
        served::AwsSigning,
    },
};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
pub(super) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// Fields that a caller must not bring: they would be read beside the signature.
const SIGNATURES_OWN: [HeaderName; 4] = [AUTHORIZATION, DATE, TOKEN, CONTENT_SHA256];

/// What is signed of a request, and its moment.
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    pub(super) target: &'a PathAndQuery,
    pub(super) body: &'a [u8],
    /// Unix time in milliseconds.
    pub(super) now_ms: u64,
}

/// Signs the request: puts its fields to `fields`, which has `Host`, and gives the target as it must be sent.
pub(super) fn sign(
    snapshot: &Snapshot,
    tenant_id: &str,
    signing: &AwsSigning,
    request: &Signed<'_>,
    fields: &mut HeaderMap,
) -> Result<PathAndQuery, GatewayResponse> {
    let misconfigured = |why| Kind::ApiConfigurationError.because(why);
    let secret = snapshot
        .secret(tenant_id, &signing.secret_id)
        .ok_or_else(|| misconfigured("The secret that signs for this integration is not here."))?;
    let SecretValue::Aws(signer) = &secret.value else {
        return Err(misconfigured("The secret of this integration is no credentials of AWS."));
    };
    let now = i64::try_from(request.now_ms).ok();
    let now = now.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let (region, service) = (&*signing.region, &*signing.service);
    let key = signer.key(&time[..8], region, service).ok_or_else(|| {
        misconfigured("The keys that sign for this integration are of other days.")
    })?;
    by(signer, key, region, service, &time, request, fields)
        .ok_or_else(|| Kind::BadRequestParameters.because("The request cannot be signed."))
}

fn by(
    signer: &AwsSigner,
    key: &[u8; 32],
    region: &str,
    service: &str,
    time: &str,
    request: &Signed<'_>,
    fields: &mut HeaderMap,
) -> Option<PathAndQuery> {
    for name in &SIGNATURES_OWN {
        fields.remove(name);
    }
    let is_s3 = service == "s3";
    let target = sent(request.target, is_s3);
    let hash = hex::encode(Sha256::digest(request.body));
    fields.insert(DATE, HeaderValue::try_from(time).ok()?);
    if let Some(token) = &signer.session_token {
        let mut token = HeaderValue::try_from(token.as_str()).ok()?;
        token.set_sensitive(true);
        fields.insert(TOKEN, token);
    }
    if is_s3 {
        fields.insert(CONTENT_SHA256, HeaderValue::try_from(&hash).ok()?);
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    // The path is encoded once more, but for S3, whose keys may hold anything.
    let path = if is_s3 { path.into() } else { encoded(&normal(path), true) };
    let mut canonical = format!("{}\n{path}\n{query}\n", request.method);
    let names = signed_names(fields);
    for name in &names {
        canonical.push_str(name.as_str());
        canonical.push(':');
        for (at, value) in fields.get_all(name).iter().enumerate() {
            canonical.push_str(if at == 0 { "" } else { "," });
            push_folded(&mut canonical, value.to_str().ok()?);
        }
        canonical.push('\n');
    }
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    let names = names.join(";");
    let _ = write!(canonical, "\n{names}\n{hash}");
    let scope = format!("{}/{region}/{service}/aws4_request", &time[..8]);
    let digest = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let signature = calculate_signature(key, to_sign.as_bytes());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        *signer.access_key_id
    );
    let mut authorization = HeaderValue::try_from(authorization).ok()?;
    authorization.set_sensitive(true);
    fields.insert(AUTHORIZATION, authorization);
    PathAndQuery::try_from(target).ok()
}

/// `Host`, `Content-Type` and all that AWS reads as its own; in order.
fn signed_names(fields: &HeaderMap) -> Vec<HeaderName> {
    let is_signed = |name: &&HeaderName| {
        **name == HOST || **name == CONTENT_TYPE || name.as_str().starts_with("x-amz-")
    };
    let mut names: Vec<HeaderName> = fields.keys().filter(is_signed).cloned().collect();
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names
}

/// Without spaces around it, and with one where there are several.
fn push_folded(out: &mut String, value: &str) {
    for (at, word) in value.split_ascii_whitespace().enumerate() {
        out.push_str(if at == 0 { "" } else { " " });
        out.push_str(word);
    }
}

/// Path and query in the one spelling that is signed. Of the path that is S3's alone; others take it as it comes.
fn sent(target: &PathAndQuery, is_s3: bool) -> String {
    let mut sent = if is_s3 {
        encoded(&decoded(target.path(), false), true).into_owned()
    } else {
        target.path().to_owned()
    };
    if let Some(query) = target.query() {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let spelt = |text| encoded(&decoded(text, true), false).into_owned();
            (spelt(name), spelt(value))
        });
        let mut pairs: Vec<(String, String)> = pairs.collect();
        pairs.sort();
        for (at, (name, value)) in pairs.iter().enumerate() {
            let _ = write!(sent, "{}{name}={value}", if at == 0 { '?' } else { '&' });
        }
    }
    sent
}

/// Without dot segments and empty ones, as verifiers read it (RFC 3986 §5.2.4).
fn normal(path: &str) -> Vec<u8> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let ends = path.ends_with(['/']) || path.ends_with("/.") || path.ends_with("/..");
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in &kept {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() || ends {
        normal.push('/');
    }
    normal.into_bytes()
}

/// What the percent signs, and in a query the plus signs, stand for.
fn decoded(text: &str, plus_is_space: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(value) = value {
            out.push(value);
            at += 3;
        } else {
            out.push(if *byte == b'+' && plus_is_space { b' ' } else { *byte });
            at += 1;
        }
    }
    out
}

/// Every byte but the unreserved ones of RFC 3986 as `%XX`, as AWS's `UriEncode` does.
fn encoded(bytes: &[u8], slash_stays: bool) -> Cow<'static, str> {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b'/' if slash_stays => out.push('/'),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;
