//! VPC links.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::domain::vpc_link::{Balancing, NewVpcLink, VpcLinkChanges, VpcLinkStatus};
use crate::error::Result;
use crate::ids::VpcLinkId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// The targets that integrations with connectionType `VPC_LINK` connect to, and how calls are spread among them. A change is on
/// nodes at once, without a deployment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VpcLink {
    #[schema(value_type = String)]
    id: VpcLinkId,
    name: String,
    description: String,
    status: VpcLinkStatus,
    balancing: Balancing,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(VpcLink);

impl From<domain::vpc_link::VpcLink> for VpcLink {
    fn from(vpc_link: domain::vpc_link::VpcLink) -> Self {
        Self {
            version: vpc_link.version(),
            id: vpc_link.id,
            name: vpc_link.name,
            description: vpc_link.description,
            status: vpc_link.status,
            balancing: vpc_link.balancing,
            created_at: vpc_link.created_at,
            updated_at: vpc_link.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateVpcLink {
    /// Unique in the tenant.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    balancing: Balancing,
}

/// A field left out stays. What changes is on nodes at once, without a deployment.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateVpcLink {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// As a whole.
    #[serde(default)]
    balancing: Option<Balancing>,
}

/// The tenant's VPC links, oldest first.
#[utoipa::path(get, path = "/vpc-links", tag = "vpc-links", operation_id = "listVpcLinks",
    params(PageQuery), responses(
        (status = 200, body = List<VpcLink>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<VpcLink>> {
    Ok(List::of(domain::vpc_link::list(&app, &actor, &page.try_into()?).await?))
}

/// Makes a VPC link.
#[utoipa::path(post, path = "/vpc-links", tag = "vpc-links", operation_id = "createVpcLink",
    request_body = CreateVpcLink, responses(
        (status = 201, body = VpcLink),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateVpcLink>,
) -> Result<(StatusCode, Tag<VpcLink>)> {
    let new =
        NewVpcLink { name: body.name, description: body.description, balancing: body.balancing };
    let vpc_link = domain::vpc_link::create(&app, &actor, new).await?;
    Ok((StatusCode::CREATED, Tag(vpc_link.into())))
}

/// One VPC link.
#[utoipa::path(get, path = "/vpc-links/{vpcLinkId}", tag = "vpc-links", operation_id = "getVpcLink",
    params(("vpcLinkId" = String, Path)), responses(
        (status = 200, body = VpcLink),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<VpcLinkId>,
) -> Result<Tag<VpcLink>> {
    Ok(Tag(domain::vpc_link::get(&app, &actor, id).await?.into()))
}

/// Changes a VPC link.
#[utoipa::path(patch, path = "/vpc-links/{vpcLinkId}", tag = "vpc-links",
    operation_id = "updateVpcLink", params(("vpcLinkId" = String, Path)),
    request_body = UpdateVpcLink, responses(
        (status = 200, body = VpcLink),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<VpcLinkId>,
    extract::Json(body): extract::Json<UpdateVpcLink>,
) -> Result<Tag<VpcLink>> {
    let changes = VpcLinkChanges {
        name: body.name,
        description: body.description,
        balancing: body.balancing,
    };
    Ok(Tag(domain::vpc_link::update(&app, &actor, id, changes).await?.into()))
}

/// Deletes a VPC link; refused while it is used.
#[utoipa::path(delete, path = "/vpc-links/{vpcLinkId}", tag = "vpc-links",
    operation_id = "deleteVpcLink", params(("vpcLinkId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<VpcLinkId>,
) -> Result<StatusCode> {
    domain::vpc_link::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
