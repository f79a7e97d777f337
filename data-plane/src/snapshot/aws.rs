//! What is called of AWS, and by which secret it is signed.

use std::collections::BTreeMap;

use plan::{AwsAction, Subtype, media::BinaryMediaTypes, request_parameter::ParameterValue};
use proto::config::v1 as message;

use super::{
    messages::Compiled,
    mocks,
    served::{Asked, AwsShared, AwsSigning, AwsSubtype, Invocation, Mapping},
};

pub(super) fn service(
    message: &message::AwsService,
    binary: &BinaryMediaTypes,
) -> Compiled<AwsShared> {
    let asked = match &message.action {
        None => Asked::Path,
        Some(action) => Asked::Action(self::action(action)),
    };
    let mapping = mocks::mapping(message.content_handling, &message.responses, binary)?;
    shared(message.signing.as_ref(), asked, mapping)
}

pub(super) fn function(
    message: &message::AwsFunction,
    binary: &BinaryMediaTypes,
) -> Compiled<AwsShared> {
    let asked = Asked::Function(invocation(message.invocation_type)?);
    let mapping = mocks::mapping(message.content_handling, &message.responses, binary)?;
    shared(message.signing.as_ref(), asked, mapping)
}

pub(super) fn subtype(message: &message::AwsSubtype) -> Compiled<AwsSubtype> {
    let subtype = Subtype::of(&message.subtype)
        .ok_or_else(|| format!("its subtype {} is unknown to this node", message.subtype))?;
    let given = message.parameters.iter().map(|(name, value)| (&**name, &**value));
    let values = subtype.values(given).map_err(|wrong| format!("{} {}", wrong.name, wrong.why))?;
    let signing = signing(message.signing.as_ref().ok_or("nothing signs for it")?);
    Ok(AwsSubtype { signing, subtype, values })
}

impl AwsSubtype {
    pub(super) fn bind(&self, variables: &BTreeMap<String, String>) -> AwsShared {
        let bound = |value: &ParameterValue| value.bind(|name| variables.get(name).cloned());
        let values = self.values.iter().map(|(name, value)| (*name, bound(value))).collect();
        AwsShared {
            signing: self.signing.clone(),
            asked: Asked::Subtype(self.subtype, values),
            mapping: Mapping::default(),
        }
    }
}

fn shared(by: Option<&message::AwsSigning>, asked: Asked, mapping: Mapping) -> Compiled<AwsShared> {
    Ok(AwsShared { signing: signing(by.ok_or("nothing signs for it")?), asked, mapping })
}

fn action(message: &message::AwsAction) -> AwsAction {
    let pair = |name: &String, version: &String| {
        (!version.is_empty()).then(|| (name.clone(), version.clone()))
    };
    AwsAction {
        json: pair(&message.target, &message.json_version),
        form: pair(&message.name, &message.form_version),
    }
}

pub(super) fn invocation(number: i32) -> Compiled<Invocation> {
    match message::InvocationType::try_from(number) {
        Ok(message::InvocationType::Unspecified | message::InvocationType::RequestResponse) => {
            Ok(Invocation::RequestResponse)
        }
        Ok(message::InvocationType::Event) => Ok(Invocation::Event),
        Err(_) => Err("its invocation type is unknown to this node".to_owned()),
    }
}

pub(super) fn signing(message: &message::AwsSigning) -> AwsSigning {
    AwsSigning {
        secret_id: message.secret_id.as_str().into(),
        region: message.region.as_str().into(),
        service: message.service.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtype_that_this_node_does_not_know_is_refused() {
        let known = message::AwsSubtype {
            signing: Some(message::AwsSigning::default()),
            subtype: "SQS-PurgeQueue".into(),
            parameters: [("QueueUrl", "q"), ("Region", "eu-west-1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..message::AwsSubtype::default()
        };
        assert!(subtype(&known).is_ok());
        let unknown = message::AwsSubtype { subtype: "SQS-DeleteQueue".into(), ..known.clone() };
        assert!(subtype(&unknown).err().unwrap().contains("SQS-DeleteQueue is unknown"));
        let lacking = message::AwsSubtype { parameters: [].into(), ..known };
        assert!(subtype(&lacking).err().unwrap().contains("is missing"));
    }
}
