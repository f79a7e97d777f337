//! What is secret is named, and never shown: these messages have a `Debug` of their own.

use std::fmt;

use crate::config::v1::{AwsSigner, AwsSigningKey, ClientCertificate, Secret, secret};

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({}, …)", self.id)
    }
}

impl fmt::Debug for AwsSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AwsSigner(…)")
    }
}

impl fmt::Debug for AwsSigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AwsSigningKey({}/{}/{}, …)", self.date, self.region, self.service)
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ClientCertificate({}, …)", self.id)
    }
}

impl fmt::Debug for secret::Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Value(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::v1::{Resource, resource::Kind};

    #[test]
    fn a_secret_is_not_shown_with_what_holds_it() {
        let key = AwsSigningKey { key: vec![77; 32], ..AwsSigningKey::default() };
        let signer = AwsSigner {
            access_key_id: "canary-id".to_owned(),
            session_token: "canary-token".to_owned(),
            keys: vec![key],
        };
        for value in [secret::Value::Aws(signer), secret::Value::Text("canary-text".to_owned())] {
            let secret = Secret { id: "s".to_owned(), value: Some(value), ..Secret::default() };
            let whole = Resource::from(Kind::Secret(secret.clone()));
            let shown = format!("{:?} {whole:#?}", secret.value);
            assert!(!shown.contains("canary") && !shown.contains("77"), "{shown}");
        }
        let certificate = ClientCertificate {
            id: "c".to_owned(),
            private_key: vec![77; 32],
            ..ClientCertificate::default()
        };
        let shown = format!("{:#?}", Resource::from(Kind::ClientCertificate(certificate)));
        assert!(shown.contains("(c, …)") && !shown.contains("77"), "{shown}");
    }
}
