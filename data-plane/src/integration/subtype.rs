//! An action of a service as AWS's HTTP APIs call it: its parameters are taken out of a call, and the call is no more than that.

use std::{borrow::Cow, cell::OnceCell};

use plan::{
    JsonPath, Subtype,
    gateway_response::Variable,
    json_path::Found,
    request_parameter::{Call, ParameterValue},
    subtype::{ParameterValues, SubtypeRequest, WrongParameter},
};
use serde_json::Value;

use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    variables,
};

/// What the services take at most.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// Of a body that is taken apart. AWS cuts it at 100 KB.
const JSON_BYTES_MAX: usize = 256 << 10;
/// How many values of a body one path may look at.
const LOOKS_MAX: usize = 10_000;

struct Asking<'a> {
    exchange: &'a Exchange,
    body: &'a str,
    /// As JSON, once something asked for that.
    json: OnceCell<Option<Value>>,
}

impl Call for Asking<'_> {
    fn variable(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        variables::value(variable, self.exchange, &self.exchange.head.headers)
    }

    fn body(&self) -> Option<Cow<'_, str>> {
        (!self.body.is_empty()).then_some(Cow::Borrowed(self.body))
    }

    fn body_path(&self, path: &JsonPath) -> Option<Value> {
        let json = self.json.get_or_init(|| serde_json::from_str(self.body).ok()).as_ref()?;
        match path.find(json, LOOKS_MAX) {
            Ok(Found::One(value)) => Some(value.into_owned()),
            _ => None,
        }
    }
}

/// What the service is asked for this call. Asked before the call's fields go.
pub(super) fn request(
    exchange: &Exchange,
    subtype: &Subtype,
    values: &ParameterValues,
    body: &[u8],
) -> Result<SubtypeRequest, GatewayResponse> {
    let body = std::str::from_utf8(body)
        .map_err(|_| Kind::BadRequestBody.because("The request's body is not UTF-8."))?;
    if body.len() > JSON_BYTES_MAX && values.values().any(ParameterValue::reads_json) {
        return Err(
            Kind::RequestTooLarge.because("Parameters are taken out of a body of at most 256 KiB.")
        );
    }
    let asking = Asking { exchange, body, json: OnceCell::new() };
    let value = |name: &str| values.get(name)?.of(&asking).map(Cow::into_owned);
    subtype.request(value).map_err(|WrongParameter { name, why }| {
        Kind::BadRequestParameters.because(format!("The parameter {name} {why}."))
    })
}
