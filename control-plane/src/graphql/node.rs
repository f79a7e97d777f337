//! Opaque global ids, and the two questions that take one of any noun.

use std::fmt::Display;
use std::str::FromStr;

use async_graphql::{Context, ID, Interface, Object};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future;

use crate::domain;
use crate::error::{Error, Result};
use crate::graphql::access_key::AccessKey;
use crate::graphql::api::Api;
use crate::graphql::api_key::ApiKey;
use crate::graphql::audit::AuditEntry;
use crate::graphql::client_certificate::ClientCertificate;
use crate::graphql::consumer::Consumer;
use crate::graphql::deployment::Deployment;
use crate::graphql::integration::Integration;
use crate::graphql::invitation::Invitation;
use crate::graphql::loader;
use crate::graphql::member::Member;
use crate::graphql::resource::Resource;
use crate::graphql::route::Route;
use crate::graphql::secret::Secret;
use crate::graphql::session::Session;
use crate::graphql::stage::Stage;
use crate::graphql::tenant::{Tenant, User};
use crate::graphql::usage_plan::UsagePlan;
use crate::graphql::vpc_link::VpcLink;
use crate::ids::{
    AccessKeyId, ApiId, ApiKeyId, AuditEntryId, ClientCertificateId, ConsumerId, DeploymentId,
    IntegrationId, InvitationId, ResourceId, RouteId, SecretId, SessionId, StageId, UsagePlanId,
    UserId, VpcLinkId,
};

/// How many ids `nodes` takes at once.
pub const NODES_MAX: usize = 100;

/// Anything with a global id; the object's `id` must be `pub`.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID"))]
pub enum Node {
    AccessKey(AccessKey),
    Api(Api),
    ApiKey(ApiKey),
    AuditEntry(AuditEntry),
    ClientCertificate(ClientCertificate),
    Consumer(Consumer),
    Deployment(Deployment),
    Integration(Integration),
    Invitation(Invitation),
    Member(Member),
    Resource(Resource),
    Route(Route),
    Secret(Secret),
    Session(Session),
    Stage(Stage),
    Tenant(Tenant),
    UsagePlan(UsagePlan),
    User(User),
    VpcLink(VpcLink),
}

/// The nouns that have global ids. To the caller an id is opaque: the kind and the plain id in base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    AccessKey,
    Api,
    ApiKey,
    AuditEntry,
    ClientCertificate,
    Consumer,
    Deployment,
    Integration,
    Invitation,
    /// Its plain id is its user's.
    Member,
    Resource,
    Route,
    Secret,
    Session,
    Stage,
    Tenant,
    UsagePlan,
    User,
    VpcLink,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::AccessKey,
        Self::Api,
        Self::ApiKey,
        Self::AuditEntry,
        Self::ClientCertificate,
        Self::Consumer,
        Self::Deployment,
        Self::Integration,
        Self::Invitation,
        Self::Member,
        Self::Resource,
        Self::Route,
        Self::Secret,
        Self::Session,
        Self::Stage,
        Self::Tenant,
        Self::UsagePlan,
        Self::User,
        Self::VpcLink,
    ];

    /// The global id of this kind's `plain` id.
    pub fn id(self, plain: impl Display) -> ID {
        ID(URL_SAFE_NO_PAD.encode(format!("{}:{plain}", self.tag())))
    }

    /// The plain id inside an argument. `param` names the argument if it is no global id at all; one of
    /// another kind is an id of nothing of this kind.
    pub fn parse<Id: FromStr>(self, id: &ID, param: &str) -> Result<Id> {
        let (kind, plain) = open(id, param)?;
        if kind != self {
            return Err(Error::NotFound(self.noun()));
        }
        plain.parse().map_err(|_| not_an_id(param))
    }

    /// The plain ids inside a list argument.
    pub fn parse_all<Id: FromStr>(self, ids: &[ID], param: &str) -> Result<Vec<Id>> {
        let parse = |(at, id)| self.parse(id, &format!("{param}[{at}]"));
        ids.iter().enumerate().map(parse).collect()
    }

    /// As errors call it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::AccessKey => "access key",
            Self::Api => "api",
            Self::ApiKey => "api key",
            Self::AuditEntry => "audit entry",
            Self::ClientCertificate => "client certificate",
            Self::Consumer => "consumer",
            Self::Deployment => "deployment",
            Self::Integration => "integration",
            Self::Invitation => "invitation",
            Self::Member => "member",
            Self::Resource => "resource",
            Self::Route => "route",
            Self::Secret => "secret",
            Self::Session => "session",
            Self::Stage => "stage",
            Self::Tenant => "tenant",
            Self::UsagePlan => "usage plan",
            Self::User => "user",
            Self::VpcLink => "VPC link",
        }
    }

    /// Inside global ids. Clients keep ids, so a tag never changes.
    fn tag(self) -> &'static str {
        match self {
            Self::AccessKey => "AccessKey",
            Self::Api => "Api",
            Self::ApiKey => "ApiKey",
            Self::AuditEntry => "AuditEntry",
            Self::ClientCertificate => "ClientCertificate",
            Self::Consumer => "Consumer",
            Self::Deployment => "Deployment",
            Self::Integration => "Integration",
            Self::Invitation => "Invitation",
            Self::Member => "Member",
            Self::Resource => "Resource",
            Self::Route => "Route",
            Self::Secret => "Secret",
            Self::Session => "Session",
            Self::Stage => "Stage",
            Self::Tenant => "Tenant",
            Self::UsagePlan => "UsagePlan",
            Self::User => "User",
            Self::VpcLink => "VpcLink",
        }
    }
}

fn open(id: &ID, param: &str) -> Result<(Kind, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(id.as_bytes()).map_err(|_| not_an_id(param))?;
    let text = String::from_utf8(bytes).map_err(|_| not_an_id(param))?;
    let (tag, plain) = text.split_once(':').ok_or_else(|| not_an_id(param))?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.tag() == tag);
    Ok((kind.ok_or_else(|| not_an_id(param))?, plain.to_owned()))
}

fn not_an_id(param: &str) -> Error {
    Error::bad_request(param, "is not an id that this API gave")
}

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Whatever has this id; null where there is nothing, or nothing of the caller's.
    async fn node(&self, ctx: &Context<'_>, id: ID) -> async_graphql::Result<Option<Node>> {
        Ok(find(ctx, &id, "id").await?)
    }

    /// The same for at most 100 ids, in their order.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        ids: Vec<ID>,
    ) -> async_graphql::Result<Vec<Option<Node>>> {
        if ids.len() > NODES_MAX {
            let most = format!("takes at most {NODES_MAX} ids at once");
            return Err(Error::bad_request("ids", most).into());
        }
        let found =
            ids.iter().enumerate().map(async |(at, id)| find(ctx, id, &format!("ids[{at}]")).await);
        Ok(future::try_join_all(found).await?)
    }
}

/// Each noun's loader, by the kind of the id.
async fn find(ctx: &Context<'_>, id: &ID, param: &str) -> Result<Option<Node>> {
    super::caller(ctx)?;
    let (kind, _) = open(id, param)?;
    Ok(match kind {
        Kind::AccessKey => {
            let id: AccessKeyId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::AccessKey(noun.into()))
        }
        Kind::Api => {
            let id: ApiId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Api(noun.into()))
        }
        Kind::Deployment => {
            let id: DeploymentId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Deployment(noun.into()))
        }
        Kind::Integration => {
            let id: IntegrationId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Integration(noun.into()))
        }
        Kind::Invitation => {
            let id: InvitationId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Invitation(noun.into()))
        }
        Kind::Resource => {
            let id: ResourceId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Resource(noun.into()))
        }
        Kind::Route => {
            let id: RouteId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Route(noun.into()))
        }
        Kind::ClientCertificate => {
            let id: ClientCertificateId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::ClientCertificate(noun.into()))
        }
        Kind::VpcLink => {
            let id: VpcLinkId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::VpcLink(noun.into()))
        }
        Kind::Secret => {
            let id: SecretId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Secret(noun.into()))
        }
        Kind::Session => {
            let (caller, id): (_, SessionId) = (super::identity(ctx)?, kind.parse(id, param)?);
            let session = domain::session::find(super::app(ctx), caller, id).await?;
            session.map(|noun| Node::Session(Session::of(caller, noun)))
        }
        Kind::Stage => {
            let id: StageId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Stage(noun.into()))
        }
        Kind::Consumer => {
            let id: ConsumerId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::Consumer(noun.into()))
        }
        Kind::AuditEntry => {
            let id: AuditEntryId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::AuditEntry(noun.into()))
        }
        Kind::Member | Kind::User => {
            let user: UserId = kind.parse(id, param)?;
            loader::one(ctx, user).await?.map(|noun| match kind {
                Kind::Member => Node::Member(noun.into()),
                _ => Node::User(noun.user.into()),
            })
        }
        Kind::Tenant => {
            let (app, actor) = super::caller(ctx)?;
            let tenant = domain::tenant::find(app, actor, kind.parse(id, param)?).await?;
            tenant.map(|noun| Node::Tenant(noun.into()))
        }
        Kind::ApiKey => {
            let id: ApiKeyId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::ApiKey(noun.into()))
        }
        Kind::UsagePlan => {
            let id: UsagePlanId = kind.parse(id, param)?;
            loader::one(ctx, id).await?.map(|noun| Node::UsagePlan(noun.into()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ApiId;

    #[test]
    fn a_global_id_opens_only_as_its_own_kind() {
        let id = Kind::UsagePlan.id("abc123xyz0");

        let plain: UsagePlanId = Kind::UsagePlan.parse(&id, "id").unwrap();
        let other = Kind::Api.parse::<ApiId>(&id, "apiId").unwrap_err();

        assert_eq!(plain.as_str(), "abc123xyz0");
        assert!(matches!(other, Error::NotFound("api")), "{other:?}");
    }

    #[test]
    fn every_kind_has_a_tag_of_its_own() {
        for kind in Kind::ALL {
            let (opened, plain) = open(&kind.id("x"), "id").unwrap();
            assert_eq!((opened, plain.as_str()), (kind, "x"));
        }
    }

    #[test]
    fn what_is_no_global_id_is_refused_by_its_argument() {
        let good = Kind::UsagePlan.id("abc123xyz0");
        let padded = format!("{}=", *good);
        let unknown = URL_SAFE_NO_PAD.encode("Gadget:abc123xyz0");
        let wrong_plain = URL_SAFE_NO_PAD.encode("UsagePlan:../../etc");
        for wrong in ["", "abc123xyz0", "§", padded.as_str(), &unknown, &wrong_plain, &good[..9]] {
            let error = Kind::UsagePlan.parse::<UsagePlanId>(&ID(wrong.to_owned()), "input.id");
            let error = error.unwrap_err();
            assert_eq!((error.code(), error.param()), ("bad_request", Some("input.id")), "{wrong}");
        }
        let many = [good, ID("no".to_owned())];
        let error = Kind::UsagePlan.parse_all::<UsagePlanId>(&many, "ids").unwrap_err();
        assert_eq!(error.param(), Some("ids[1]"));
    }
}
