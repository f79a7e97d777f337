//! A backend over HTTP: what passes through to it, and what is made of its answers.

use plan::MethodMatch;

use super::{MOCK_BODY_BYTES_MAX, Reach, Settings};
use crate::error::{Error, Result};

impl Settings {
    /// Whether calls may pass through as they are.
    pub(super) fn check_http_proxy(&self, reach: &Reach) -> Result<()> {
        self.check_http_request("HTTP_PROXY")?;
        self.check_backend(reach)
    }

    /// Whether no more of a call is asked for than goes on, and its answers have a form.
    pub(super) fn check_http(&self, reach: &Reach) -> Result<()> {
        self.refuse_passing_on()?;
        self.check_http_request("HTTP")?;
        self.check_custom_responses()?;
        self.check_address(reach)
    }

    fn check_http_request(&self, kind: &str) -> Result<()> {
        if self.payload_format_version.is_some() {
            return Err(Error::bad_request("payloadFormatVersion", "belongs to type AWS_PROXY"));
        }
        if self.uri.is_empty() {
            return Err(Error::bad_request("uri", format!("{kind} needs a uri: where calls go")));
        }
        if !self.method.is_empty() {
            MethodMatch::parse(&self.method)
                .map_err(|reason| Error::bad_request("method", reason.to_string()))?;
        }
        if let Some(policy) = &self.retry_policy {
            policy.check_over(self.protocol_version)?;
        }
        if self.aws.is_some() {
            return Err(Error::bad_request("aws", "belongs to type AWS_PROXY"));
        }
        Ok(())
    }

    /// What a custom integration does not pass on of callers.
    pub(super) fn refuse_passing_on(&self) -> Result<()> {
        for (param, set) in
            [("preserveHost", self.preserve_host), ("forwarded", self.forwarded.is_some())]
        {
            if set {
                return Err(Error::bad_request(param, "belongs to type HTTP_PROXY"));
            }
        }
        Ok(())
    }

    /// What a custom integration makes of answers.
    pub(super) fn check_custom_responses(&self) -> Result<()> {
        self.refuse_mocks_but_responses()?;
        self.check_responses()?;
        let bodies =
            self.integration_responses.iter().flat_map(|it| it.response_templates.values());
        if bodies.map(String::len).sum::<usize>() > MOCK_BODY_BYTES_MAX {
            let rule = format!("must have at most {MOCK_BODY_BYTES_MAX} bytes of bodies together");
            return Err(Error::bad_request("integrationResponses", rule));
        }
        Ok(())
    }
}
