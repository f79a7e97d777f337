//! Restrictions that a node must honour or refuse for: nothing that restricts access is ever ignored.

use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    snapshot::Snapshot,
};

pub(super) fn apply(snapshot: &Snapshot, exchange: &Exchange) -> Result<(), GatewayResponse> {
    of_stage(snapshot, exchange)?;
    if exchange.stage.is_some() && exchange.route().is_none_or(|route| route.unknown_restriction) {
        return Err(unknown());
    }
    Ok(())
}

/// What holds for every call of a stage, preflights too.
pub(super) fn of_stage(snapshot: &Snapshot, exchange: &Exchange) -> Result<(), GatewayResponse> {
    let Some(stage) = &exchange.stage else { return Ok(()) };
    let tenant = snapshot.tenant(&stage.tenant_id);
    if tenant.is_none_or(|tenant| tenant.suspended) {
        return Err(Kind::AccessDenied.because("This API is suspended."));
    }
    if stage.unknown_restriction {
        return Err(unknown());
    }
    Ok(())
}

fn unknown() -> GatewayResponse {
    Kind::AuthorizerConfigurationError
        .because("The API asks for a check that this gateway does not know.")
}
