//! A tenant of its own for one change, with what that takes.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::access::password::Password;
use crate::access::role::Role;
use crate::app::{App, Job};
use crate::domain::api::Dialect;
use crate::domain::api_key::NewApiKey;
use crate::domain::consumer::NewConsumer;
use crate::domain::deployment::{self, NewDeployment};
use crate::domain::join_token::NewJoinToken;
use crate::domain::operator::OpenLink;
use crate::domain::page::Page;
use crate::domain::quarantined_segment::QuarantineFilter;
use crate::domain::quota::{Quota, QuotaPeriod};
use crate::domain::resource::NewResource;
use crate::domain::tenant::SignUp;
use crate::domain::usage_plan::NewUsagePlan;
use crate::domain::user_link::{self, Purpose};
use crate::domain::{
    access_key, account, api_key, client_certificate, consumer, gateway_response, integration,
    invitation, join_token, operator, password, quarantined_segment, resource, secret, session,
    sign_up, tenant, tenant_invitation, usage_plan, vpc_link,
};
use crate::graphql::node::Kind;
use crate::ids::{ApiId, SessionId, StageId, TenantId};
use crate::testing::{self, PASSWORD};

const OTHER_PASSWORD: &str = "quiet heron marches";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Nobody,
    Member,
    Operator,
}

/// A tenant of its own for one change, with what that takes.
pub(super) struct Scene<'a> {
    app: &'a App,
    number: u32,
    pub origin: Origin,
    pub caller: Option<Caller>,
    /// The caller, where that is a member; who makes what the change is about.
    owner: Actor,
    email: String,
    api: Option<ApiId>,
    /// Whose log is told beside the caller's own.
    pub tenant: Option<TenantId>,
    /// Somebody of whom nothing but the address is known before.
    pub stranger: Option<String>,
}

impl<'a> Scene<'a> {
    pub(super) async fn new(app: &'a App, number: u32, by: By) -> Self {
        let origin = Origin {
            request_id: format!("request-{number}"),
            address: format!("203.0.{}.{}", number / 250, number % 250),
            user_agent: "a browser".to_owned(),
        };
        let email = format!("ada-{number}@example.com");
        let password = Password::new(PASSWORD);
        let tenant = format!("tenant {number}");
        let new = SignUp { email: email.clone(), password, tenant };
        let grant = tenant::sign_up(app, &origin, new).await.unwrap().grant;
        let known = session::authenticate(app, &grant.access_token, origin.clone()).await.unwrap();
        let owner = known.member().unwrap().clone();
        let caller = match by {
            By::Nobody => None,
            By::Member => Some(known),
            By::Operator => Some(operator(app, number, &origin).await),
        };
        let (api, tenant, stranger) = (None, None, None);
        Self { app, number, origin, caller, owner, email, api, tenant, stranger }
    }

    fn guest(&self) -> String {
        format!("guest-{}@example.com", self.number)
    }

    fn operator(&self) -> &Operator {
        self.caller.as_ref().unwrap().operator().unwrap()
    }

    /// The Api of what is made here, with a route.
    async fn api(&mut self) -> ApiId {
        if let Some(api) = self.api {
            return api;
        }
        let api = testing::new_api(self.app, &self.owner, Dialect::AwsRest).await;
        testing::new_route(self.app, &self.owner, api, "GET /kept", testing::mock("")).await;
        *self.api.insert(api)
    }

    pub(super) async fn another_session(&self) -> SessionId {
        if let Some(Caller::Operator(operator)) = &self.caller {
            let mut tx = self.app.system(Job::LogIn).await.unwrap();
            let begun = session::begin(self.app, &mut tx, operator.user, None, &self.origin).await;
            tx.commit().await.unwrap();
            return begun.unwrap().session;
        }
        testing::log_in(self.app, &self.owner).await.session
    }

    /// A global id of this kind that the operation is about; where it names a parent, the parent's.
    pub(super) async fn id(
        &mut self,
        kind: Kind,
        name: &str,
        operation: &str,
    ) -> async_graphql::ID {
        let (app, owner) = (self.app, self.owner.clone());
        match kind {
            Kind::AccessKey => kind.id(access_key::create(app, &owner, "some").await.unwrap().0.id),
            Kind::Api => kind.id(self.api().await),
            Kind::ApiKey => {
                let new = NewApiKey { name: "some".to_owned(), ..NewApiKey::default() };
                let id = api_key::create(app, &owner, new).await.unwrap().0.id;
                if operation == "endApiKeyOverlap" {
                    let end = app.clock.now() + TimeDelta::days(1);
                    api_key::rotate(app, &owner, id, Some(end)).await.unwrap();
                }
                kind.id(id)
            }
            Kind::Consumer => {
                let new = NewConsumer { name: "some".to_owned(), external_id: String::new() };
                kind.id(consumer::create(app, &owner, new).await.unwrap().id)
            }
            Kind::Deployment => {
                let new = NewDeployment::new(self.api().await, None, String::new()).unwrap();
                kind.id(deployment::create(app, &owner, new).await.unwrap().0.id)
            }
            Kind::Integration => {
                let api = self.api().await;
                let made = integration::create(app, &owner, api, testing::mock("some"));
                kind.id(made.await.unwrap().id)
            }
            Kind::Invitation => {
                let guest = self.guest();
                let sent = invitation::create(app, &owner, &guest, Role::Viewer);
                kind.id(sent.await.unwrap().invitation.id)
            }
            Kind::ClientCertificate => {
                let new = client_certificate::NewClientCertificate::default();
                kind.id(client_certificate::generate(app, &owner, new).await.unwrap().id)
            }
            Kind::Member => kind.id(testing::join(app, owner.tenant, Role::Developer).await.user),
            Kind::Resource => {
                let api = self.api().await;
                let tree = resource::list(app, &owner, api, &Page::default()).await.unwrap();
                let root = tree.items[0].id;
                if name == "parentId" {
                    return kind.id(root);
                }
                let new = NewResource::new(root, "other").unwrap();
                kind.id(resource::create(app, &owner, api, new).await.unwrap().id)
            }
            Kind::Route => {
                let api = self.api().await;
                let made = testing::new_route(app, &owner, api, "GET /other", testing::mock(""));
                kind.id(made.await.id)
            }
            Kind::Secret => {
                let new = testing::text_secret("some");
                kind.id(secret::create(app, &owner, new).await.unwrap().id)
            }
            Kind::Session => kind.id(self.another_session().await),
            Kind::Stage => {
                let (api, name) = (self.api().await, "prod".to_owned());
                testing::deploy(app, &owner, api, &name).await.unwrap();
                if operation == "promoteCanary" {
                    testing::deploy_canary(app, &owner, api, &name, 10.0).await.unwrap();
                }
                kind.id(StageId { api, name })
            }
            Kind::Tenant => {
                let (tenant, name) = (owner.tenant, format!("tenant {}", self.number));
                let operator = self.operator();
                match operation {
                    "resumeTenant" => {
                        drop(account::suspend(app, operator, tenant, "unpaid").await.unwrap());
                    }
                    "reopenTenant" => {
                        drop(account::close(app, operator, tenant, &name).await.unwrap());
                    }
                    _ => {}
                }
                self.tenant = Some(tenant);
                kind.id(tenant)
            }
            Kind::UsagePlan => {
                let new = NewUsagePlan { name: "some".to_owned(), ..NewUsagePlan::default() };
                kind.id(usage_plan::create(app, &owner, new).await.unwrap().id)
            }
            Kind::VpcLink => {
                let new = testing::new_vpc_link("some");
                kind.id(vpc_link::create(app, &owner, new).await.unwrap().id)
            }
            Kind::AuditEntry | Kind::User => {
                panic!("{operation} takes a {}, which this walk cannot make yet", kind.noun())
            }
        }
    }

    /// What the input holds beside ids, where what the schema says of it is not enough.
    #[expect(clippy::too_many_lines, reason = "an arm for each operation")]
    pub(super) async fn input(&mut self, operation: &str, variant: &str) -> Value {
        let (app, guest, email) = (self.app, self.guest(), self.email.clone());
        match operation {
            "acceptInvitation" => {
                let stranger = if self.caller.is_some() { email } else { guest };
                let inviter = testing::owner(app).await;
                let sent = invitation::create(app, &inviter, &stranger, Role::Viewer).await;
                let link = sent.unwrap().link;
                (self.tenant, self.stranger) = (Some(inviter.tenant), Some(stranger));
                let token = match link.as_deref().and_then(|link| link.split_once("token=")) {
                    Some((_, token)) => token.to_owned(),
                    None => testing::token_in_newest_letter(app).await,
                };
                let password = self.caller.is_none().then_some(PASSWORD);
                json!({ "token": token, "password": password })
            }
            "changeEmail" => json!({ "email": guest, "currentPassword": PASSWORD }),
            "changePassword" => {
                json!({ "currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD })
            }
            "closeTenant" => json!({ "name": format!("tenant {}", self.number) }),
            "createInvitation" | "inviteTenant" => json!({ "email": guest }),
            "createQuarantinedSegmentDownload" | "settleQuarantinedSegment" => {
                testing::quarantine_segments(app).await;
                let (any, page) = (QuarantineFilter::default(), Page::default());
                let all = quarantined_segment::list(app, self.operator(), any, &page).await;
                let newest = &all.unwrap().items[0];
                json!({ "quarantinedSegmentId": newest.id.to_string() })
            }
            "createSecret" => json!({ "text": "some" }),
            "createJoinToken" => json!({ "name": "some", "cells": ["default"] }),
            "deleteAccount" => {
                testing::join(app, self.owner.tenant, Role::Owner).await;
                json!({ "password": PASSWORD })
            }
            "deleteJoinToken" => {
                let new = NewJoinToken::new("", vec!["default".to_owned()], None).unwrap();
                let made = join_token::create(app, self.operator(), new).await.unwrap().0;
                json!({ "joinTokenId": made.id.to_string() })
            }
            "deleteTenantInvitation" => {
                let made = tenant_invitation::create(app, self.operator(), &guest, None).await;
                json!({ "tenantInvitationId": made.unwrap().invitation.id.to_string() })
            }
            "deleteGatewayResponse" => restyled(app, &self.owner).await,
            "updateKeyQuota" => {
                let quota = Some(Quota::of(100, QuotaPeriod::Day));
                let new =
                    NewUsagePlan { name: "quota".to_owned(), quota, ..NewUsagePlan::default() };
                let plan = usage_plan::create(app, &self.owner, new).await.unwrap().id;
                let usage_plan_ids = [plan].into();
                let new =
                    NewApiKey { name: "on it".to_owned(), usage_plan_ids, ..NewApiKey::default() };
                let key = api_key::create(app, &self.owner, new).await.unwrap().0.id;
                json!({
                    "usagePlanId": *Kind::UsagePlan.id(plan), "apiKeyId": *Kind::ApiKey.id(key),
                })
            }
            "logIn" => {
                self.stranger = Some(email.clone());
                json!({ "email": email, "password": PASSWORD })
            }
            "requestPasswordReset" => json!({ "email": email }),
            "resetPassword" => {
                let link = password::create_reset_link(app, &email).await.unwrap();
                self.stranger = Some(email);
                let token = link.split_once("token=").unwrap().1;
                json!({ "token": token, "password": OTHER_PASSWORD })
            }
            "revokeNode" => {
                let node = testing::join_node(app, &format!("node {}", self.number)).await;
                json!({ "nodeId": node.to_string() })
            }
            "signUp" => {
                self.stranger = Some(guest.clone());
                let tenant = format!("tenant of {guest}");
                json!({ "email": guest, "password": PASSWORD, "tenant": tenant })
            }
            "uploadClientCertificate" => {
                let (certificate_chain, private_key) = testing::own_certificate(|_| {});
                json!({ "certificateChain": certificate_chain, "privateKey": private_key })
            }
            "updateTenantLimits" => json!({ "limits": [{ "name": "APIS", "limit": 7 }] }),
            "verifyEmail" if variant == "sign-up" => {
                let (password, tenant) = (Password::new(PASSWORD), format!("tenant of {guest}"));
                let new = SignUp { email: guest.clone(), password, tenant };
                assert!(sign_up::begin(app, &self.origin, new, None).await.unwrap().is_none());
                self.stranger = Some(guest);
                json!({ "token": testing::token_in_newest_letter(app).await })
            }
            "verifyEmail" => {
                let address = if variant == "another" { guest } else { email };
                let mut tx = app.system(Job::LogIn).await.unwrap();
                let (whose, purpose) = ((self.owner.user, &*address), Purpose::VerifyEmail);
                let link = user_link::make(app, &mut tx, whose, purpose, true).await.unwrap();
                tx.commit().await.unwrap();
                self.stranger = Some(address);
                json!({ "token": link.split_once("token=").unwrap().1 })
            }
            _ => json!({}),
        }
    }
}

/// A gateway response that was made.
async fn restyled(app: &App, owner: &Actor) -> Value {
    let api = testing::new_api(app, owner, Dialect::Native).await;
    let (of, settings) = (plan::ResponseType::AccessDenied, gateway_response::Settings::default());
    gateway_response::update(app, owner, api, of, settings).await.unwrap();
    json!({ "apiId": *Kind::Api.id(api), "responseType": "ACCESS_DENIED" })
}

async fn operator(app: &App, number: u32, origin: &Origin) -> Caller {
    let link = operator::create_operator_link(app).await.unwrap();
    let given = OpenLink {
        token: link.split_once("token=").unwrap().1.to_owned(),
        email: format!("operator-{number}@example.com"),
        password: Password::new(PASSWORD),
    };
    let grant = operator::open_link(app, origin, given).await.unwrap();
    session::authenticate(app, &grant.access_token, origin.clone()).await.unwrap()
}
