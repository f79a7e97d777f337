//! Who calls, by the API key in `x-api-key`, and the usage plan that lets the key in here.

use subtle::ConstantTimeEq;

use crate::{
    exchange::{Caller, Exchange},
    gateway_response::{GatewayResponse, Kind},
    snapshot::Snapshot,
};

const HEADER: &str = "x-api-key";
/// The longest key that is looked at; AWS's are at most 128 characters.
const KEY_BYTES_MAX: usize = 256;

/// Unknown, disabled, expired and unplanned keys get one answer, so that none can be told from another. Only
/// this node's memory is asked.
pub(super) fn apply(snapshot: &Snapshot, exchange: &mut Exchange) -> Result<(), GatewayResponse> {
    if !exchange.route().is_some_and(|route| route.api_key_required) {
        return Ok(());
    }
    exchange.caller = Some(find(snapshot, exchange).ok_or_else(|| {
        Kind::InvalidApiKey
            .because("The x-api-key field must hold a key that is valid for this stage.")
    })?);
    Ok(())
}

fn find(snapshot: &Snapshot, exchange: &Exchange) -> Option<Caller> {
    let mut fields = exchange.head.headers.get_all(HEADER).iter();
    let value = fields.next()?.as_bytes();
    if fields.next().is_some() || value.len() > KEY_BYTES_MAX {
        return None;
    }
    let stage = exchange.stage.as_ref()?;
    let tenant = snapshot.tenant(&stage.tenant_id)?;
    let digest = proto::digest::api_key(&tenant.key_pepper, value);
    let key = snapshot.api_key(&tenant.id, digest)?;
    if !bool::from(key.digest.ct_eq(&digest)) || !key.enabled {
        return None;
    }
    if key.expires_at_ms != 0 && key.expires_at_ms <= exchange.started_ms {
        return None;
    }
    let plans = key.usage_plan_ids.iter().filter_map(|id| snapshot.usage_plan(id));
    let mut plans = plans.filter(|plan| plan.tenant_id == key.tenant_id);
    let plan = plans.find(|plan| plan.stage(&stage.api_id, &stage.name).is_some())?;
    Some(Caller { key: key.clone(), plan: plan.clone() })
}
