//! The console's door: Relay connections, opaque ids, `userErrors`. The same names as in `domain`.

use async_graphql::{Context, MergedObject, SDLExportOptions, Schema};

use crate::access::actor::{Actor, Caller, Operator};
use crate::app::App;
use crate::error::{Error, Result};
use crate::graphql::subscription::LiveSubscription;

pub mod access_key;
pub mod account;
pub mod api;
pub mod api_key;
#[cfg(test)]
mod attacks;
pub mod audit;
#[cfg(test)]
mod audited;
pub mod bill;
pub mod connection;
pub mod consumer;
pub mod convergence;
pub mod delete;
pub mod deployment;
pub mod download;
pub mod error;
pub mod fleet;
pub mod http;
pub mod installation;
pub mod integration;
pub mod invitation;
pub mod join_token;
pub mod limits;
pub mod loader;
pub mod member;
pub mod nesting;
pub mod node;
pub mod price;
pub mod rate_limit;
pub mod resource;
pub mod route;
pub mod sampling;
pub mod session;
pub mod socket;
pub mod stage;
pub mod subscription;
pub mod tenant;
pub mod tenant_invitation;
pub mod throttle;
pub mod usage;
pub mod usage_plan;
pub mod user_account;
#[cfg(test)]
pub(crate) mod walk;

/// Every question. Each noun brings its own part.
#[derive(MergedObject, Default)]
pub struct Query(
    session::SessionQuery,
    rate_limit::RateLimitQuery,
    node::NodeQuery,
    member::MemberQuery,
    invitation::InvitationQuery,
    audit::AuditQuery,
    account::AccountQuery,
    fleet::FleetQuery,
    join_token::JoinTokenQuery,
    installation::InstallationQuery,
    usage_plan::UsagePlanQuery,
    api_key::ApiKeyQuery,
    access_key::AccessKeyQuery,
    consumer::ConsumerQuery,
    api::ApiQuery,
    usage::UsageQuery,
    bill::BillQuery,
    price::PriceQuery,
);

/// Every change. Each noun brings its own part.
#[derive(MergedObject, Default)]
pub struct Mutation(
    session::SessionMutation,
    user_account::UserAccountMutation,
    member::MemberMutation,
    invitation::InvitationMutation,
    usage_plan::UsagePlanMutation,
    api_key::ApiKeyMutation,
    access_key::AccessKeyMutation,
    consumer::ConsumerMutation,
    api::ApiMutation,
    integration::IntegrationMutation,
    resource::ResourceMutation,
    route::RouteMutation,
    deployment::DeploymentMutation,
    stage::StageMutation,
    download::DownloadMutation,
    audit::AuditMutation,
    account::AccountMutation,
    fleet::FleetMutation,
    join_token::JoinTokenMutation,
    tenant_invitation::TenantInvitationMutation,
    price::PriceMutation,
);

pub type GatewaySchema = Schema<Query, Mutation, LiveSubscription>;

/// The schema, without an application: enough to print it.
pub fn schema() -> async_graphql::SchemaBuilder<Query, Mutation, LiveSubscription> {
    Schema::build(Query::default(), Mutation::default(), LiveSubscription)
}

/// The schema as SDL: what `tollgate print-schema` prints and `web/schema.graphql` holds.
pub fn schema_sdl() -> String {
    let mut sdl = schema().finish().sdl_with_options(SDLExportOptions::new().sorted_fields());
    sdl.truncate(sdl.trim_end().len());
    sdl.push('\n');
    sdl
}

/// The application and the member who calls: what most resolvers begin with.
pub fn caller<'a>(ctx: &Context<'a>) -> Result<(&'a App, &'a Actor)> {
    Ok((app(ctx), identity(ctx)?.member()?))
}

/// The application and the operator.
pub fn operator<'a>(ctx: &Context<'a>) -> Result<(&'a App, &'a Operator)> {
    Ok((app(ctx), identity(ctx)?.operator()?))
}

/// The application, for the few fields that anybody may ask.
pub fn app<'a>(ctx: &Context<'a>) -> &'a App {
    ctx.data_unchecked::<App>()
}

/// Whoever sent a valid access token. `Nobody` keeps the reason for which there is none.
pub fn identity<'a>(ctx: &Context<'a>) -> Result<&'a Caller> {
    match ctx.data_unchecked::<Identity>() {
        Identity::Known(caller) => Ok(caller),
        Identity::Nobody(reason) => Err(Error::Unauthenticated(reason)),
    }
}

/// Who sent the GraphQL request; set for each by the HTTP handler.
pub enum Identity {
    Known(Caller),
    Nobody(&'static str),
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_console_has_the_current_schema() {
        let copy = include_str!("../../../web/schema.graphql");
        assert!(
            copy == super::schema_sdl(),
            "web/schema.graphql is not current: tollgate print-schema > web/schema.graphql"
        );
    }
}
