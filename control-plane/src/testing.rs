//! An [`App`] over a test's own database, under the real roles.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use proto::config::v1::{Delta, Update, update};
use proto::reconciliation::v1::{CountReport, QuotaCount};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};
use tokio_util::sync::CancellationToken;

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::access::api_version;
use crate::access::authority::Issued;
use crate::access::password::Password;
use crate::access::precondition::Precondition;
use crate::access::role::Role;
use crate::access::sealed::WrappingKey;
use crate::access::token::Bearer;
use crate::app::{App, outbox_context};
use crate::clock::Clock;
use crate::config::{Config, Signup};
use crate::domain::api::{self, Dialect, NewApi, Protocol};
use crate::domain::api_key::{self, NewApiKey};
use crate::domain::audit::{self, AuditEntry, AuditFilter};
use crate::domain::canary::CanarySettings;
use crate::domain::client_certificate::{self, NewClientCertificate};
use crate::domain::consumer::{self, NewConsumer};
use crate::domain::deployment::{self, Deployment, NewDeployment};
use crate::domain::integration::{IntegrationType, MockResponse, Settings};
use crate::domain::join_token::{self, NewJoinToken};
use crate::domain::management_request::{self, ManagementRequest};
use crate::domain::outbox::{self, Waiting};
use crate::domain::page::Page;
use crate::domain::resource::{self, NewResource};
use crate::domain::route::{self, NewRoute, Route, RouteIntegration};
use crate::domain::secret::{self, GivenValue, NewSecret};
use crate::domain::session::{self, Grant};
use crate::domain::tenant::{self, SignUp};
use crate::domain::usage_plan::{self, NewUsagePlan};
use crate::domain::vpc_link::{self, NewVpcLink};
use crate::domain::{access_key, invitation, node, tenant_invitation};
use crate::error::Result;
use crate::ids::{ApiId, MailId, NodeId, Rng, SessionId, StageId, TenantId, UsagePlanId, UserId};
use crate::ledger::intake::{self, Place, Shipped};
use crate::ledger::reconciliation;
use crate::mail;
use crate::mail::letter::Text;

/// Noon of a day: where every test's clock starts.
pub(crate) fn noon() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

/// More than a test spends that is not about them.
const POINTS: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

pub(crate) fn config() -> Config {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config {
        http_listen: loopback,
        admin_listen: loopback,
        grpc_listen: loopback,
        grpc_names: Vec::new(),
        public_url: "http://127.0.0.1:8080".to_owned(),
        database_url: String::new(),
        master_key_file: std::path::PathBuf::new(),
        signup: Signup::Open,
        mail: None,
        endpoint_template: "http://{apiId}.execute-api.localhost:9080".to_owned(),
        path_endpoint_template: Some("http://127.0.0.1:9080/_api/{apiId}".to_owned()),
        trusted_proxies: Vec::new(),
        egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
        egress_refuse: Vec::new(),
        user_points_per_minute: POINTS,
        address_points_per_minute: POINTS,
        database_connections_max: 8,
        usage_minutes_kept_days: 35,
    }
}

/// The application over this database. `#[sqlx::test]` connects as an administrator; this takes the roles on.
pub(crate) async fn app(db: PgPool) -> App {
    crate::install_crypto();
    let tenants = under(&db, "set role tollgate_app").await;
    let system = under(&db, "set role tollgate_system").await;
    App::assemble(config(), Clock::at(noon()), WrappingKey::new([1; 32]), tenants, system)
        .await
        .unwrap()
}

async fn under(db: &PgPool, set_role: &'static str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(8)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(set_role).await?;
                Ok(())
            })
        })
        .connect_with((*db.connect_options()).clone())
        .await
        .unwrap()
}

/// The owner of a new tenant, written straight into the database.
pub(crate) async fn owner(app: &App) -> Actor {
    member(app, Role::Owner).await
}

/// A member with this role of a new tenant.
pub(crate) async fn member(app: &App, role: Role) -> Actor {
    let tenant: TenantId = Rng.id();
    let mut tx = app.system(crate::app::Job::SignUp).await.unwrap();
    let data_key: [u8; 32] = Rng.bytes();
    let wrapped = app.master.wrap(&format!("tenant:{tenant}:data_key"), &data_key);
    let pepper: [u8; 32] = Rng.bytes();
    let pepper = WrappingKey::new(data_key).wrap(&format!("tenant:{tenant}:key_pepper"), &pepper);
    sqlx::query("insert into tenant (id, name, data_key, key_pepper) values ($1, $2, $3, $4)")
        .bind(tenant.0)
        .bind(format!("tenant {tenant}"))
        .bind(wrapped)
        .bind(pepper)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    join(app, tenant, role).await
}

/// No password is known that has it; to try one is cheap.
const NO_PASSWORDS_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One more member of this tenant.
pub(crate) async fn join(app: &App, tenant: TenantId, role: Role) -> Actor {
    let actor = Actor {
        tenant,
        user: Rng.id(),
        session: Rng.id(),
        role,
        precondition: Precondition::default(),
        origin: Origin::default(),
    };
    let mut tx = app.system(crate::app::Job::SignUp).await.unwrap();
    sqlx::query("insert into user_account (id, email, password_hash) values ($1, $2, $3)")
        .bind(actor.user.0)
        .bind(format!("{}@example.com", actor.user))
        .bind(NO_PASSWORDS_HASH)
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("insert into member (tenant_id, user_id, role) values ($1, $2, $3)")
        .bind(tenant.0)
        .bind(actor.user.0)
        .bind(role.as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    actor
}

/// The newest entries of the actor's audit log, the newest first.
pub(crate) async fn audited(app: &App, actor: &Actor) -> Vec<AuditEntry> {
    let (caller, filter) = (Caller::Member(actor.clone()), AuditFilter::default());
    audit::list(app, &caller, &filter, &Page::default()).await.unwrap().items
}

/// A stage of a new Api, written straight into the database: nothing is deployed on it.
pub(crate) async fn stage(app: &App, actor: &Actor, name: &str) -> StageId {
    let id = StageId { api: Rng.id(), name: name.to_owned() };
    let mut tx = app.begin(actor).await.unwrap();
    sqlx::query(
        "insert into api (id, tenant_id, name, protocol, dialect) values ($1, $2, 'pets', 'HTTP', 'native')",
    )
    .bind(id.api.as_str())
    .bind(actor.tenant.0)
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query("insert into stage (tenant_id, api_id, name) values ($1, $2, $3)")
        .bind(actor.tenant.0)
        .bind(id.api.as_str())
        .bind(&id.name)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    id
}

/// What the nodes of the default cell were told, in order.
pub(crate) async fn published(app: &App) -> Vec<Delta> {
    let mut tx = app.system(crate::app::Job::Publisher).await.unwrap();
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "select version, message from outbox where cell_id = 'default' order by version",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    let open = |(version, message): (i64, Vec<u8>)| {
        let context = outbox_context("default", u64::try_from(version).unwrap());
        let message = app.master.unwrap(&context, &message).unwrap();
        match Update::decode(message.as_slice()).unwrap().kind.unwrap() {
            update::Kind::Delta(delta) => delta,
            other @ update::Kind::Snapshot(_) => panic!("not a delta: {other:?}"),
        }
    };
    rows.into_iter().map(open).collect()
}

/// An access token of this member.
pub(crate) fn token(app: &App, actor: &Actor) -> String {
    sign(app, actor.user, actor.session, Some(actor.tenant))
}

/// An access token of this operator.
pub(crate) fn operator_token(app: &App, operator: &Operator) -> String {
    sign(app, operator.user, operator.session, None)
}

fn sign(app: &App, user: UserId, session: SessionId, tenant: Option<TenantId>) -> String {
    let bearer = Bearer { user, session, tenant, api_version: api_version::FIRST };
    app.tokens.sign(&app.clock, bearer).unwrap()
}

/// A session of the member's, as a log-in begins it.
pub(crate) async fn log_in(app: &App, actor: &Actor) -> Grant {
    let mut tx = app.system(crate::app::Job::LogIn).await.unwrap();
    let (user, tenant) = (actor.user, Some(actor.tenant));
    let grant = session::begin(app, &mut tx, user, tenant, &Origin::default()).await.unwrap();
    tx.commit().await.unwrap();
    grant
}

pub(crate) fn new_api_form(dialect: Dialect) -> NewApi {
    NewApi::new("pets", String::new(), Protocol::Http, dialect).unwrap()
}

/// An Api without routes.
pub(crate) async fn new_api(app: &App, actor: &Actor, dialect: Dialect) -> ApiId {
    api::create(app, actor, new_api_form(dialect)).await.unwrap().id
}

/// An integration that answers 200 with this body.
pub(crate) fn mock(body: &str) -> Settings {
    let headers = Vec::new();
    let mock_response = Some(MockResponse { status: 200, headers, body: body.to_owned() });
    Settings { kind: IntegrationType::Mock, mock_response, ..Settings::http_proxy("") }
}

/// A route by its key, `GET /pets` or `$default`, with an integration of its own.
pub(crate) async fn new_route(
    app: &App,
    actor: &Actor,
    api: ApiId,
    key: &str,
    settings: Settings,
) -> Route {
    let (method, path) = key.split_once(' ').unwrap_or(("", key));
    let integration = RouteIntegration::new(None, Some(settings)).unwrap();
    let new = NewRoute::new(method, path, false, "", integration).unwrap();
    route::create(app, actor, api, new).await.unwrap()
}

/// Deploys the draft to this stage.
pub(crate) async fn deploy(
    app: &App,
    actor: &Actor,
    api: ApiId,
    stage: &str,
) -> Result<Deployment> {
    let new = NewDeployment::new(api, Some(stage.to_owned()), String::new())?;
    Ok(deployment::create(app, actor, new).await?.0)
}

/// Deploys the draft to the canary of this stage.
pub(crate) async fn deploy_canary(
    app: &App,
    actor: &Actor,
    api: ApiId,
    stage: &str,
    percent_traffic: f64,
) -> Result<Deployment> {
    let new = NewDeployment::new(api, Some(stage.to_owned()), String::new())?;
    let new = new.with_canary(Some(CanarySettings::of(percent_traffic)))?;
    Ok(deployment::create(app, actor, new).await?.0)
}

/// A tenant that has three of each noun which lists give, among three tenants and three nodes.
pub(crate) struct Furnished {
    pub owner: Actor,
    pub api: ApiId,
    pub plan: UsagePlanId,
}

pub(crate) async fn furnished(app: &App) -> Furnished {
    let owner = member(app, Role::Owner).await;
    member(app, Role::Owner).await;
    member(app, Role::Owner).await;
    let api = new_api(app, &owner, Dialect::AwsRest).await;
    let tree = resource::list(app, &owner, api, &Page::default()).await.unwrap();
    let root = tree.items[0].id;
    let plan = usage_plan::create(app, &owner, named_plan("plan")).await.unwrap().id;
    for name in ["a", "b", "c"] {
        new_api(app, &owner, Dialect::Native).await;
        let part = NewResource::new(root, name).unwrap();
        resource::create(app, &owner, api, part).await.unwrap();
        new_route(app, &owner, api, &format!("GET /{name}"), mock("")).await;
        deploy(app, &owner, api, name).await.unwrap();
        usage_plan::create(app, &owner, named_plan(name)).await.unwrap();
        let usage_plan_ids = [plan].into_iter().collect();
        let key = NewApiKey { name: name.to_owned(), usage_plan_ids, ..NewApiKey::default() };
        api_key::create(app, &owner, key).await.unwrap();
        access_key::create(app, &owner, name).await.unwrap();
        let consumer = NewConsumer { name: name.to_owned(), external_id: String::new() };
        consumer::create(app, &owner, consumer).await.unwrap();
        secret::create(app, &owner, text_secret(name)).await.unwrap();
        vpc_link::create(app, &owner, new_vpc_link(name)).await.unwrap();
        let new = NewClientCertificate::default();
        client_certificate::generate(app, &owner, new).await.unwrap();
        join(app, owner.tenant, Role::Viewer).await;
        let email = format!("{name}@example.com");
        invitation::create(app, &owner, &email, Role::Viewer).await.unwrap();
        log_in(app, &owner).await;
        join_node(app, name).await;
        app.requests.offer(management_request(app, &owner));
    }
    write_requests(app).await;
    Furnished { owner, api, plan }
}

/// A certificate that was made for itself, in PEM, and its private key.
pub(crate) fn own_certificate(
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A VPC link of this name, with one target.
pub(crate) fn new_vpc_link(name: &str) -> NewVpcLink {
    let balancing =
        serde_json::json!({ "targets": [{ "host": "backend.example.com", "port": 8080 }] });
    NewVpcLink {
        name: name.to_owned(),
        description: String::new(),
        balancing: serde_json::from_value(balancing).unwrap(),
    }
}

/// A secret of this name and some text.
pub(crate) fn text_secret(name: &str) -> NewSecret {
    NewSecret {
        name: name.to_owned(),
        value: GivenValue { text: Some("some text".into()), ..GivenValue::default() },
    }
}

/// A request of this member's to the management API that ended just now.
pub(crate) fn management_request(app: &App, actor: &Actor) -> ManagementRequest {
    ManagementRequest {
        id: app.rng.id(),
        client_request_id: None,
        tenant: Some(actor.tenant),
        user: actor.user,
        user_email: None,
        started_at: app.clock.now(),
        duration_ms: 3,
        method: "GET".to_owned(),
        path: "/v1/apis".to_owned(),
        operations: Vec::new(),
        status: Some(200),
        codes: Vec::new(),
        address: "192.0.2.1".to_owned(),
        api_version: Some(api_version::FIRST),
    }
}

/// Everything that waits to be written to the log of requests is.
pub(crate) async fn write_requests(app: &App) {
    let answered = CancellationToken::new();
    answered.cancel();
    management_request::write(app, answered).await;
}

/// A node that joined by a token of its own.
pub(crate) async fn join_node(app: &App, name: &str) -> NodeId {
    let new = NewJoinToken::new("", vec!["default".to_owned()], None).unwrap();
    let token = join_token::create_here(app, new).await.unwrap();
    let issued =
        Issued { certificate: Vec::new(), expires_at: app.clock.now() + TimeDelta::days(1) };
    let secret = token.split('.').next().unwrap();
    node::join(app, secret, name, |_| Ok(issued)).await.unwrap().0
}

fn named_plan(name: &str) -> NewUsagePlan {
    NewUsagePlan { name: name.to_owned(), ..NewUsagePlan::default() }
}

/// What no node could have written, of this place in its journal.
pub(crate) fn unreadable_segment(counter: i64) -> Shipped {
    let content = vec![1; 640];
    let place = Place { epoch: [7; 16], thread: 0, counter };
    Shipped { place, sha256: Sha256::digest(&content).into(), content }
}

/// Three segments of one node that the ledger did not take; the node.
pub(crate) async fn quarantine_segments(app: &App) -> NodeId {
    let node = join_node(app, "rack-1").await;
    for counter in 1..=3 {
        intake::take(app, node, &[unreadable_segment(counter)]).await.unwrap();
    }
    node
}

/// Three counts of quotas of a tenant, which a node reported.
pub(crate) async fn count_quotas(app: &App, tenant: TenantId) {
    let node = join_node(app, "rack-2").await;
    let until = app.clock.now();
    let count = |day: i64| QuotaCount {
        tenant_id: tenant.to_string(),
        usage_plan_id: "plan567890".to_owned(),
        api_key_id: "key4567890".to_owned(),
        period_from_s: until.timestamp() - day * 86_400,
        period_until_s: until.timestamp() + 1,
        used: 7,
        held: 0,
        read_ms: until.timestamp_millis().unsigned_abs(),
    };
    let report = CountReport {
        run: vec![1; 16],
        quota_counts: (1..=3).map(count).collect(),
        ..CountReport::default()
    };
    reconciliation::take(app, node, report).await.unwrap();
}

/// Three invitations to begin a tenant, none accepted.
pub(crate) async fn invite_tenants(app: &App, operator: &Operator) {
    for n in 0..3 {
        let email = format!("invited{n}@example.com");
        tenant_invitation::create(app, operator, &email, None).await.unwrap();
    }
}

/// An operator, written straight into the database.
pub(crate) async fn operator(app: &App) -> Operator {
    let operator = Operator { user: Rng.id(), session: Rng.id(), origin: Origin::default() };
    let mut tx = app.system(crate::app::Job::Operator).await.unwrap();
    sqlx::query(
        "insert into user_account (id, email, password_hash, operator) values ($1, $2, '', true)",
    )
    .bind(operator.user.0)
    .bind(format!("{}@example.com", operator.user))
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    operator
}

/// The same application with a mail server that nobody answers for: letters wait in the outbox.
pub(crate) async fn app_with_mail(db: PgPool) -> App {
    let settings = mail::Settings::new("smtp://127.0.0.1:1", "gate@example.com", None).unwrap();
    let mut app = app(db).await;
    app.mailer = Some(std::sync::Arc::new(mail::Mailer::new(&settings).unwrap()));
    app
}

/// Every letter in the outbox, the oldest first, as it would be sent.
pub(crate) async fn letters(app: &App) -> Vec<Text> {
    let mut tx = app.system(crate::app::Job::Mail).await.unwrap();
    let rows: Vec<(uuid::Uuid, Vec<u8>, DateTime<Utc>)> =
        sqlx::query_as("select id, letter, created_at from mail order by id")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    drop(tx);
    let mut letters = Vec::new();
    for (id, letter, created_at) in rows {
        let waiting = Waiting { id: MailId(id), letter, tries: 1, created_at };
        letters.extend(outbox::open(app, &waiting).await.unwrap());
    }
    letters
}

/// What a letter's link carries.
pub(crate) fn token_in(letter: &Text) -> String {
    let plain = letter.plain();
    let (_, token) = plain.split_once("token=").unwrap();
    token.lines().next().unwrap().to_owned()
}

pub(crate) async fn token_in_newest_letter(app: &App) -> String {
    token_in(&letters(app).await.pop().unwrap())
}

/// Of each of [`user`]s.
pub(crate) const PASSWORD: &str = "violet otter juggles";

/// The owner of a new tenant with this address, which is not verified, and [`PASSWORD`]; logged in.
pub(crate) async fn user(app: &App, email: &str) -> Grant {
    let (email, tenant) = (email.to_owned(), format!("tenant of {email}"));
    let new = SignUp { email, password: Password::new(PASSWORD), tenant };
    tenant::sign_up(app, &Origin::default(), new).await.unwrap().grant
}

/// Completes as soon as a transaction of this database waits for another's lock.
pub(crate) async fn somebody_waits(db: &PgPool) {
    let asked = "select exists (select from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock')";
    let waits = async {
        while !sqlx::query_scalar::<_, bool>(asked).fetch_one(db).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), waits).await.expect("somebody waits");
}
