//! What is called of AWS, and by which secret it is signed.

use plan::{AwsAction, media::BinaryMediaTypes};
use proto::config::v1 as message;

use super::{
    messages::Compiled,
    mocks,
    served::{Asked, AwsShared, AwsSigning, Invocation, Mapping},
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
