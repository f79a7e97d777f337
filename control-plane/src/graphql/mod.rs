//! The console's door: Relay connections, opaque ids, `userErrors`. The same names as in `domain`.

use async_graphql::{Context, MergedObject, SDLExportOptions, Schema};

use crate::access::actor::{Actor, Caller, Operator};
use crate::app::App;
use crate::error::{Error, Result};
use crate::graphql::client_mutation_id::GivesBack;
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
pub mod balancing;
pub mod bill;
pub mod canary;
pub mod change;
pub mod circuit_breaker;
pub mod client_certificate;
pub mod client_mutation_id;
pub mod client_throttle;
pub mod concurrency;
pub mod connection;
pub mod consumer;
pub mod convergence;
pub mod cors;
pub mod delete;
pub mod deployment;
pub mod download;
pub mod error;
pub mod explanation;
pub mod fleet;
pub mod gateway_response;
pub mod http;
pub mod installation;
pub mod integration;
pub mod integration_aws;
pub mod invitation;
pub mod join_token;
pub mod key_quota;
pub mod key_usage;
pub mod limit_state;
pub mod limits;
pub mod loader;
pub mod management_request;
pub mod member;
pub mod mock;
pub mod nesting;
pub mod node;
pub mod persisted;
pub mod price;
pub mod quarantined_segment;
pub mod quota;
pub mod rate_limit;
pub mod reconciliation;
pub mod request;
pub mod resource;
pub mod retry_policy;
pub mod route;
pub mod sampling;
pub mod secret;
pub mod session;
pub mod socket;
pub mod stage;
pub mod subscription;
pub mod tag;
pub mod tenant;
pub mod tenant_invitation;
pub mod throttle;
pub mod tls_config;
pub mod usage;
pub mod usage_group;
pub mod usage_plan;
pub mod usage_statement;
pub mod user_account;
pub mod vpc_link;
#[cfg(test)]
pub(crate) mod walk;

/// Every question. Each noun brings its own part.
#[derive(MergedObject, Default)]
pub struct Query(
    secret::SecretQuery,
    vpc_link::VpcLinkQuery,
    client_certificate::ClientCertificateQuery,
    session::SessionQuery,
    rate_limit::RateLimitQuery,
    node::NodeQuery,
    member::MemberQuery,
    invitation::InvitationQuery,
    audit::AuditQuery,
    management_request::ManagementRequestQuery,
    account::AccountQuery,
    fleet::FleetQuery,
    join_token::JoinTokenQuery,
    tenant_invitation::TenantInvitationQuery,
    installation::InstallationQuery,
    usage_plan::UsagePlanQuery,
    api_key::ApiKeyQuery,
    access_key::AccessKeyQuery,
    consumer::ConsumerQuery,
    api::ApiQuery,
    LedgerQuery,
);

/// What was used, what was refused, and what it costs. Parts of parts: of one long row, the compiler loses count.
#[derive(MergedObject, Default)]
pub struct LedgerQuery(
    usage::UsageQuery,
    usage_group::UsageGroupQuery,
    key_usage::KeyUsageQuery,
    usage_statement::UsageStatementQuery,
    reconciliation::ReconciliationQuery,
    explanation::ExplanationQuery,
    limit_state::LimitStateQuery,
    quarantined_segment::QuarantinedSegmentQuery,
    bill::BillQuery,
    price::PriceQuery,
);

/// Every change. Each noun brings its own part; `clientMutationId` is around them all.
#[derive(MergedObject, Default)]
pub struct Mutation(
    secret::SecretMutation,
    vpc_link::VpcLinkMutation,
    client_certificate::ClientCertificateMutation,
    session::SessionMutation,
    user_account::UserAccountMutation,
    member::MemberMutation,
    invitation::InvitationMutation,
    usage_plan::UsagePlanMutation,
    key_quota::KeyQuotaMutation,
    api_key::ApiKeyMutation,
    access_key::AccessKeyMutation,
    consumer::ConsumerMutation,
    api::ApiMutation,
    gateway_response::GatewayResponseMutation,
    integration::IntegrationMutation,
    resource::ResourceMutation,
    route::RouteMutation,
    deployment::DeploymentMutation,
    stage::StageMutation,
    download::DownloadMutation,
    usage_group::UsageGroupMutation,
    audit::AuditMutation,
    account::AccountMutation,
    fleet::FleetMutation,
    join_token::JoinTokenMutation,
    tenant_invitation::TenantInvitationMutation,
    quarantined_segment::QuarantinedSegmentMutation,
    price::PriceMutation,
);

pub type GatewaySchema = Schema<Query, GivesBack<Mutation>, LiveSubscription>;

/// The schema, without an application: enough to print it.
pub fn schema() -> async_graphql::SchemaBuilder<Query, GivesBack<Mutation>, LiveSubscription> {
    Schema::build(Query::default(), GivesBack::<Mutation>::default(), LiveSubscription)
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
    use async_graphql::parser::parse_schema;
    use async_graphql::parser::types::{ConstDirective, TypeKind, TypeSystemDefinition};
    use async_graphql::{Positioned, Value};

    /// What this schema calls deprecated, and why.
    fn deprecated(sdl: &str) -> Vec<(String, Option<String>)> {
        let mut found = Vec::new();
        let mut look = |of: &str, name: &str, directives: &[Positioned<ConstDirective>]| {
            let named = |one: &&Positioned<ConstDirective>| one.node.name.node == "deprecated";
            if let Some(directive) = directives.iter().find(named) {
                let reason = match directive.node.get_argument("reason").map(|given| &given.node) {
                    Some(Value::String(reason)) => Some(reason.clone()),
                    _ => None,
                };
                found.push((format!("{of}.{name}"), reason));
            }
        };
        for definition in parse_schema(sdl).unwrap().definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let of = definition.node.name.node.as_str();
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                TypeKind::InputObject(input) => {
                    for field in input.fields {
                        look(of, field.node.name.node.as_str(), &field.node.directives);
                    }
                    continue;
                }
                TypeKind::Enum(of_enum) => {
                    for value in of_enum.values {
                        look(of, value.node.value.node.as_str(), &value.node.directives);
                    }
                    continue;
                }
                TypeKind::Scalar | TypeKind::Union(_) => continue,
            };
            for field in fields {
                let name = field.node.name.node.as_str();
                look(of, name, &field.node.directives);
                for argument in field.node.arguments {
                    let argument_name = format!("{name}.{}", argument.node.name.node);
                    look(of, &argument_name, &argument.node.directives);
                }
            }
        }
        found
    }

    #[test]
    fn what_is_deprecated_says_what_to_use_instead() {
        let unsaid = |sdl: &str| {
            let mut all = deprecated(sdl);
            all.retain(|(_, reason)| !reason.as_ref().is_some_and(|why| why.contains('`')));
            all.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let sample = "type A { a: Int @deprecated b(c: Int @deprecated(reason: \"old\")): Int
                e: Int @deprecated(reason: \"use `b`\") }
            input I { f: Int @deprecated } enum E { G @deprecated(reason: \"\") H }";
        assert_eq!(unsaid(sample), ["A.a", "A.b.c", "I.f", "E.G"]);
        assert_eq!(unsaid(&super::schema_sdl()), Vec::<String>::new());
    }

    #[test]
    fn the_console_has_the_current_schema() {
        let copy = include_str!("../../../web/schema.graphql");
        assert!(
            copy == super::schema_sdl(),
            "web/schema.graphql is not current: tollgate print-schema > web/schema.graphql"
        );
    }
}
