//! A tenant: the account of one customer of this installation, and how it begins.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::access::actor::{Actor, Origin};
use crate::access::password::Password;
use crate::access::precondition::Precondition;
use crate::access::role::Role;
use crate::access::sealed::WrappingKey;
use crate::app::{App, Job, Tx};
use crate::config::Signup;
use crate::domain::session::{self, Grant};
use crate::domain::user::{Email, NewUser, User};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{InvalidId, TenantId};
use crate::snapshot::compile;
use crate::store;

/// The cell that new tenants belong to.
const CELL: &str = "default";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tenant {
    #[serde(skip)]
    pub id: TenantId,
    pub name: String,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    pub status: Status,
    #[serde(skip)]
    pub suspended_at: Option<DateTime<Utc>>,
    /// What the operator says to the tenant's members.
    #[serde(skip)]
    pub suspended_reason: Option<String>,
    #[serde(skip)]
    pub closed_at: Option<DateTime<Utc>>,
    /// Nothing is left of it but its id and what bills are made of.
    #[serde(skip)]
    pub erased_at: Option<DateTime<Utc>>,
}

/// Whether a tenant's APIs are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    /// Nodes refuse its calls; its members log in, read and watch, and change nothing but their own password and
    /// address.
    Suspended,
    /// Nodes refuse its calls; its members are logged out; it is erased a week later.
    Closed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

impl TryFrom<&str> for Status {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Active, Self::Suspended, Self::Closed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Error::corrupt("tenant status", text))
    }
}

/// A tenant to be made. Its secrets are wrapped already.
pub struct NewTenant {
    pub id: TenantId,
    pub cell: &'static str,
    pub name: String,
    /// Wrapped by the master key.
    pub data_key: Vec<u8>,
    /// Wrapped by the data key.
    pub key_pepper: Vec<u8>,
}

impl NewTenant {
    pub(crate) fn new(app: &App, name: &str) -> Result<Self> {
        let name = name_of("tenant", name)?;
        let id: TenantId = app.rng.id();
        let data_key: [u8; 32] = app.rng.bytes();
        let pepper: [u8; 32] = app.rng.bytes();
        Ok(Self {
            id,
            cell: CELL,
            name,
            data_key: app.master.wrap(&format!("tenant:{id}:data_key"), &data_key),
            key_pepper: WrappingKey::new(data_key)
                .wrap(&format!("tenant:{id}:key_pepper"), &pepper),
        })
    }
}

/// A name is unique in the installation, and not itself an id: log-in takes either.
pub(crate) fn name_of(param: &str, name: &str) -> Result<String> {
    let name = text::name(param, name)?;
    let parsed: Result<TenantId, InvalidId> = name.parse();
    if parsed.is_ok() {
        return Err(Error::bad_request(param, "a name must not look like an id"));
    }
    Ok(name)
}

/// What somebody signs up with.
pub struct SignUp {
    pub email: String,
    pub password: Password,
    /// The tenant's name.
    pub tenant: String,
}

pub struct SignedUp {
    pub tenant: Tenant,
    pub user: User,
    pub grant: Grant,
}

/// What a tenant begins with.
pub(crate) struct Founder {
    pub email: Email,
    pub password_hash: String,
    pub tenant: NewTenant,
    /// Whether the address was shown to be theirs.
    pub verified: bool,
}

/// Makes a user, a tenant and its owner at once, and logs the owner in: what an installation does that sends no
/// letters (`sign_up::begin`).
///
/// An email that is in use is refused as such, whatever the password: without mail there is no other way to say
/// why, and a sign-up that tried the password would be a second, uncounted log-in. What it tells is bounded by
/// the limit per address, and by `TOLLGATE_SIGNUP`, which is asked first.
pub(crate) async fn sign_up(app: &App, origin: &Origin, new: SignUp) -> Result<SignedUp> {
    may_sign_up(app, origin)?;
    let email = Email::new(&new.email)?;
    let tenant = NewTenant::new(app, &new.tenant)?;
    new.password.accept(&[email.as_str(), &tenant.name])?;
    let password_hash = new.password.hash().await?;
    let tx = app.system(Job::SignUp).await?;
    found(app, tx, origin, Founder { email, password_hash, tenant, verified: false }).await
}

/// Whether anybody may sign up here, and this address not too often.
pub(crate) fn may_sign_up(app: &App, origin: &Origin) -> Result<()> {
    match app.config.signup {
        Signup::Open => app.wall.sign_up(&origin.address),
        Signup::Invite => {
            Err(Error::Forbidden("signing up here takes an invitation from the operator"))
        }
        Signup::Closed => Err(Error::Forbidden("sign-up is closed on this installation")),
    }
}

/// Writes the user, the tenant and its owner, with a session of theirs, and commits.
pub(crate) async fn found(
    app: &App,
    mut tx: Tx,
    origin: &Origin,
    founder: Founder,
) -> Result<SignedUp> {
    let Founder { email, password_hash, tenant, verified } = founder;
    let user = NewUser { id: app.rng.id(), email, password_hash, operator: false };
    let mut user = store::user::insert(&mut tx, &user).await?;
    if verified {
        store::user::verify(&mut tx, user.id, &user.email, app.clock.now()).await?;
        user.email_verified = true;
    }
    let tenant = store::tenant::insert(&mut tx, &tenant).await?;
    store::member::insert(&mut tx, tenant.id, user.id, Role::Owner).await?;
    let grant = session::begin(app, &mut tx, user.id, Some(tenant.id), origin).await?;
    let actor = Actor {
        tenant: tenant.id,
        user: user.id,
        session: grant.session,
        role: Role::Owner,
        precondition: Precondition::default(),
        origin: origin.clone(),
    };
    let noun_id = tenant.id.to_string();
    audit::record(app, &mut tx, &actor, "tenant.create", &noun_id, None, Some(&tenant)).await?;
    let resource = compile::tenant(&mut tx, &app.master, tenant.id).await?;
    tx.upsert(resource);
    tx.publish_to(CELL);
    tx.commit().await?;
    Ok(SignedUp { tenant, user, grant })
}

/// The tenant with this id, where it is the caller's.
pub async fn find(app: &App, actor: &Actor, id: TenantId) -> Result<Option<Tenant>> {
    if id != actor.tenant {
        return Ok(None);
    }
    let mut tx = app.begin(actor).await?;
    store::tenant::get(&mut tx, id).await.map(Some)
}

/// The caller's own tenant.
pub async fn get(app: &App, actor: &Actor) -> Result<Tenant> {
    let mut tx = app.begin(actor).await?;
    store::tenant::get(&mut tx, actor.tenant).await
}

/// The tenant that the administrator of the machine names, by name or id.
pub async fn named(app: &App, name_or_id: &str) -> Result<TenantId> {
    let mut tx = app.system(Job::Operator).await?;
    store::tenant::named(&mut tx, name_or_id).await?.ok_or(Error::NotFound("tenant"))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::testing;

    pub(crate) fn ada() -> SignUp {
        SignUp {
            email: "ada@example.com".to_owned(),
            password: Password::new("violet otter juggles"),
            tenant: "Engines".to_owned(),
        }
    }

    async fn rows(app: &App, table: &'static str) -> i64 {
        let mut tx = app.system(Job::SignUp).await.unwrap();
        let count = match table {
            "user_account" => "select count(*) from user_account",
            "tenant" => "select count(*) from tenant",
            _ => "select count(*) from outbox",
        };
        sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn who_signs_up_owns_a_tenant_that_nodes_hear_of(db: PgPool) {
        let app = testing::app(db).await;

        let made = sign_up(&app, &Origin::default(), ada()).await.unwrap();

        let token = made.grant.access_token.clone();
        let caller = session::authenticate(&app, &token, Origin::default()).await.unwrap();
        let Caller::Member(actor) = caller else { panic!("not a member") };
        assert_eq!(
            (actor.tenant, actor.user, actor.role),
            (made.tenant.id, made.user.id, Role::Owner)
        );
        assert_eq!(rows(&app, "outbox").await, 1);
        let entries = testing::audited(&app, &actor).await;
        assert_eq!(entries[0].action, "tenant.create");
        let mut tx = app.begin(&actor).await.unwrap();
        app.data_key(&mut tx, actor.tenant).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_taken_email_or_tenant_is_a_conflict_and_leaves_nothing(db: PgPool) {
        let app = testing::app(db).await;
        sign_up(&app, &Origin::default(), ada()).await.unwrap();
        let same_email =
            SignUp { email: "ADA@example.com".to_owned(), tenant: "Other".to_owned(), ..ada() };
        let same_tenant = SignUp { email: "bob@example.com".to_owned(), ..ada() };

        for (again, param) in [(same_email, "email"), (same_tenant, "tenant")] {
            let refused = sign_up(&app, &Origin::default(), again).await.err().unwrap();
            assert_eq!((refused.code(), refused.param()), ("conflict", Some(param)));
        }

        assert_eq!((rows(&app, "user_account").await, rows(&app, "tenant").await), (1, 1));
        assert_eq!(rows(&app, "outbox").await, 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn each_field_of_a_sign_up_is_checked_by_name(db: PgPool) {
        let app = testing::app(db).await;
        let wrong = [
            (SignUp { email: "ada".to_owned(), ..ada() }, "email"),
            (SignUp { password: Password::new("short"), ..ada() }, "password"),
            (SignUp { password: Password::new("ada@example.com"), ..ada() }, "password"),
            (SignUp { tenant: " ".to_owned(), ..ada() }, "tenant"),
            (SignUp { tenant: app.rng.id::<TenantId>().to_string(), ..ada() }, "tenant"),
        ];
        for (new, param) in wrong {
            let refused = sign_up(&app, &Origin::default(), new).await.err().unwrap();
            assert_eq!((refused.code(), refused.param()), ("bad_request", Some(param)));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_closed_installation_takes_nobody(db: PgPool) {
        let mut app = testing::app(db).await;
        for signup in [Signup::Closed, Signup::Invite] {
            let config = crate::Config { signup, ..testing::config() };
            app.config = std::sync::Arc::new(config);
            let refused = sign_up(&app, &Origin::default(), ada()).await.err().unwrap();
            assert_eq!(refused.code(), "forbidden");
        }
        assert_eq!(rows(&app, "user_account").await, 0);
    }
}
