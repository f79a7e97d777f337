//! An action of a service as AWS's HTTP APIs call it: by a subtype and its parameters.

use plan::subtype::{self, REGION, WrongParameter};
use plan::{AwsUri, RouteKey, Subtype};

use super::{AwsSettings, InvocationType, Reach, Settings};
use crate::error::{Error, Result};

/// The longest values of the parameters together, in bytes.
const PARAMETERS_BYTES_MAX: usize = 16 * 1024;

impl AwsSettings {
    /// Where the subtype is asked for; None where there is none, or none that is known.
    pub(super) fn subtype_uri(&self) -> Option<AwsUri> {
        let region = self.parameters.get(REGION)?;
        AwsUri::of_subtype(Subtype::of(&self.subtype)?, region).ok()
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (&**name, &**value))
    }

    fn check_subtype(&self) -> Result<()> {
        let subtype = Subtype::of(&self.subtype).ok_or_else(|| {
            let known: Vec<_> = Subtype::names().collect();
            Error::bad_request("subtype", format!("is none of {}", known.join(", ")))
        })?;
        let bytes: usize = self.parameters.values().map(String::len).sum();
        if bytes > PARAMETERS_BYTES_MAX {
            let rule = format!("must have at most {PARAMETERS_BYTES_MAX} bytes together");
            return Err(Error::bad_request("parameters", rule));
        }
        subtype.values(self.parameters()).map_err(|wrong| refused(&wrong))?;
        let region = self.parameters.get(REGION).map_or("", String::as_str);
        AwsUri::of_subtype(subtype, region)
            .map(drop)
            .map_err(|why| Error::bad_request(format!("parameters.{REGION}"), why.to_string()))
    }
}

fn refused(wrong: &WrongParameter) -> Error {
    Error::bad_request(format!("parameters.{}", wrong.name), wrong.why.clone())
}

impl Settings {
    /// Whether its fields make a request of the subtype.
    pub(super) fn check_subtype(&self, aws: &AwsSettings, reach: &Reach) -> Result<()> {
        if !self.uri.is_empty() {
            let rule = "belongs to functions: aws.subtype says what is called";
            return Err(Error::bad_request("uri", rule));
        }
        if aws.invocation_type != InvocationType::default() {
            return Err(Error::bad_request("aws.invocationType", "belongs to functions"));
        }
        let checked = aws.check(reach).and_then(|()| aws.check_subtype());
        checked.map_err(|error| error.within("aws"))?;
        self.check_backend(reach)
    }

    /// Whether every path parameter that its parameters take is a variable of the route.
    pub(super) fn check_parameters(&self, route: &RouteKey) -> Result<()> {
        let Some(aws) = &self.aws else { return Ok(()) };
        let Some(subtype) = Subtype::of(&aws.subtype) else { return Ok(()) };
        subtype
            .values(aws.parameters())
            .and_then(|values| subtype::check(&values, route))
            .map_err(|wrong| refused(&wrong).within("aws"))
    }
}
