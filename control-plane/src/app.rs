//! What every operation is given: the database under its roles, the keys, time and randomness.
//!
//! A tenant's operation begins with [`App::begin`], which runs as `tollgate_app` inside that tenant;
//! [`App::system`] runs as `tollgate_system` for the few jobs that belong to no tenant. Both give a [`Tx`],
//! which collects the changes that nodes must hear of and writes them as its last step.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use prost::Message;
use proto::config::v1::{Delta, Resource, ResourceName, Update, update};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Executor, PgConnection, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::access::actor::Actor;
use crate::access::allowance::Allowance;
use crate::access::api_version;
use crate::access::attempt::Attempt;
use crate::access::sealed::WrappingKey;
use crate::access::token::TokenSigner;
use crate::access::wall::Wall;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::management_request;
use crate::error::{Error, Result};
use crate::ids::{DeploymentId, Rng, SessionId, TenantId};
use crate::live::Live;
use crate::mail::Mailer;
use crate::store;

/// Cheap to clone; one for the whole process.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub rng: Rng,
    pub master: WrappingKey,
    pub tokens: Arc<TokenSigner>,
    /// Sessions revoked within the life of an access token; a job keeps it fresh to within seconds.
    pub revoked: watch::Receiver<Arc<HashSet<SessionId>>>,
    pub(crate) revoked_sender: Arc<watch::Sender<Arc<HashSet<SessionId>>>>,
    pub wall: Arc<Wall>,
    pub allowance: Arc<Allowance>,
    /// The versions of the API that are answered, the newest last.
    pub api_versions: &'static [NaiveDate],
    pub live: Arc<Live>,
    /// The log of requests to this API, on its way to the database.
    pub requests: Arc<management_request::Queue>,
    /// None where no mail server was set: then letters are not written either.
    pub mailer: Option<Arc<Mailer>>,
    tenants: PgPool,
    system: PgPool,
    /// Turns at adding up, fewer than the tenants' connections.
    turns: Arc<Semaphore>,
}

/// Why code runs outside any tenant. Naming it makes such places easy to find.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    SignUp,
    LogIn,
    Sessions,
    Mail,
    AutoDeploy,
    IdempotencyKeys,
    ManagementRequests,
    Operator,
    Erasure,
    Audit,
    Nodes,
    Publisher,
    Intake,
    Quarantine,
    Reconciliation,
    RollUp,
    Partitions,
    Seal,
    Secrets,
    Downloads,
    Live,
    Startup,
    Health,
}

impl App {
    /// Connects under the two roles that serve; the third, the owner, only migrates.
    pub async fn connect(config: Config) -> Result<Self> {
        let options: PgConnectOptions = config.database_url.parse().map_err(Error::internal)?;
        let most = config.database_connections_max;
        let master = WrappingKey::read(&config.master_key_file).map_err(Error::internal)?;
        // Boxed: whoever opens an app would carry all of this in a future of their own.
        Box::pin(async {
            let tenants = pool(options.clone(), "set role tollgate_app", most.div_ceil(2)).await?;
            let system = pool(options, "set role tollgate_system", most.div_ceil(2)).await?;
            Self::assemble(config, Clock::system(), master, tenants, system).await
        })
        .await
    }

    pub(crate) async fn assemble(
        config: Config,
        clock: Clock,
        master: WrappingKey,
        tenants: PgPool,
        system: PgPool,
    ) -> Result<Self> {
        let mut tx = Tx::new(begin(&system).await?, master.clone());
        let signing =
            store::installation_key::get_or_make(&mut tx, &master, "session_signing", || {
                store::installation_key::ed25519()
            })
            .await?;
        tx.commit().await?;
        let mailer = config.mail.as_ref().map(Mailer::new).transpose().map_err(Error::internal)?;
        let (revoked_sender, revoked) = watch::channel(Arc::default());
        let allowance = Allowance::new(&config);
        let connections = tenants.options().get_max_connections();
        let turns = usize::try_from((connections / 2).max(1)).map_err(Error::internal)?;
        Ok(Self {
            config: Arc::new(config),
            clock,
            rng: Rng,
            master,
            tokens: Arc::new(TokenSigner::new(&signing.private)?),
            revoked,
            revoked_sender: Arc::new(revoked_sender),
            wall: Arc::default(),
            allowance: Arc::new(allowance),
            api_versions: api_version::VERSIONS,
            live: Arc::default(),
            requests: Arc::default(),
            mailer: mailer.map(Arc::new),
            tenants,
            system,
            turns: Arc::new(Semaphore::new(turns)),
        })
    }

    /// A transaction inside the actor's tenant: row-level security hides every other.
    pub async fn begin(&self, actor: &Actor) -> Result<Tx> {
        self.begin_in(actor.tenant).await
    }

    /// The same before there is an actor: a new tenant's first rows.
    pub async fn begin_in(&self, tenant: TenantId) -> Result<Tx> {
        let mut inner = begin(&self.tenants).await?;
        sqlx::query("select set_config('app.tenant_id', $1, true)")
            .bind(tenant.to_string())
            .execute(&mut *inner)
            .await?;
        Ok(Tx::new(inner, self.master.clone()))
    }

    /// The same for what may have to add up much: each of its statements is ended after `limit`. It waits for its turn,
    /// and leaves half of the connections to everything else.
    pub async fn begin_to_add_up(&self, tenant: TenantId, limit: Duration) -> Result<Tx> {
        let turn = self.turns.clone().acquire_owned().await.map_err(Error::internal)?;
        let mut tx = self.begin_in(tenant).await?;
        store::time_limit::set(&mut tx, limit).await?;
        tx.turn = Some(turn);
        Ok(tx)
    }

    /// A transaction outside any tenant, under the explicit policies of `tollgate_system`.
    pub async fn system(&self, _why: Job) -> Result<Tx> {
        Ok(Tx::new(begin(&self.system).await?, self.master.clone()))
    }

    /// This replica refuses the session's access tokens from now on; the others learn of it within seconds.
    pub fn revoke_here(&self, session: SessionId) {
        self.revoked_sender.send_modify(|revoked| {
            Arc::make_mut(revoked).insert(session);
        });
    }

    /// For what needs a connection of its own: LISTEN. It runs as `tollgate_system`.
    pub fn system_pool(&self) -> &PgPool {
        &self.system
    }

    /// Both pools by the role they take on, for telemetry.
    pub(crate) fn pools(&self) -> [(&'static str, &PgPool); 2] {
        [("tollgate_app", &self.tenants), ("tollgate_system", &self.system)]
    }

    /// The tenant's data key, which wraps its secrets.
    pub async fn data_key(&self, tx: &mut Tx, tenant: TenantId) -> Result<WrappingKey> {
        let wrapped = store::tenant::data_key(tx, tenant).await?;
        self.master.unwrap_key(&format!("tenant:{tenant}:data_key"), &wrapped)
    }
}

/// Boxed: waiting for a connection has a future of 14 KB, which every change of the domain would carry in its own.
async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    Ok(Box::pin(pool.begin()).await?)
}

async fn pool(options: PgConnectOptions, set_role: &'static str, most: u32) -> Result<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(most.max(2))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(set_role).await?;
                Ok(())
            })
        })
        .connect_with(options)
        .await?)
}

/// A transaction that ends on a visible line. Dropped without [`Tx::commit`], it never happened.
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    master: WrappingKey,
    cell: Option<String>,
    delta: Delta,
    deployments: Vec<DeploymentId>,
    /// Its turn at adding up, which ends with it.
    turn: Option<OwnedSemaphorePermit>,
}

impl Tx {
    fn new(inner: Transaction<'static, Postgres>, master: WrappingKey) -> Self {
        Self {
            inner,
            master,
            cell: None,
            delta: Delta::default(),
            deployments: Vec::new(),
            turn: None,
        }
    }

    /// Nodes get `resource` as it now is, when this transaction commits.
    pub fn upsert(&mut self, resource: Resource) {
        self.delta.upserts.push(resource);
    }

    /// Nodes forget the resource, when this transaction commits.
    pub fn remove(&mut self, name: ResourceName) {
        self.delta.removals.push(name);
    }

    /// Remembers the version that this transaction takes as the one that brought the deployment to nodes.
    pub fn publishes(&mut self, deployment: DeploymentId) {
        self.deployments.push(deployment);
    }

    /// The cell whose nodes hear of the changes. A tenant's transaction finds it by itself.
    pub fn publish_to(&mut self, cell: impl Into<String>) {
        self.cell = Some(cell.into());
    }

    /// Commits. Where there are changes for nodes, the last step takes the cell's next version from its row, so
    /// that versions commit in order, and writes the whole message to the outbox. Answers that version.
    ///
    /// Under an `Idempotency-Key` it also says that the change was made, and is refused if the try was given up.
    pub async fn commit(mut self) -> Result<Option<u64>> {
        let attempt = Attempt::current().filter(|attempt| !attempt.took_effect());
        if let Some(attempt) = &attempt
            && !store::idempotency_key::take_effect(&mut self, attempt).await?
        {
            return Err(Error::IdempotencyKeyInUse { retry_after_seconds: 1 });
        }
        let mut published = None;
        if self.delta != Delta::default() {
            let cell = match self.cell.take() {
                Some(cell) => cell,
                None => store::cell::of_current_tenant(&mut self).await?,
            };
            let version = store::cell::next_version(&mut self, &cell).await?;
            let delta = std::mem::take(&mut self.delta);
            let update =
                Update { cell: cell.clone(), version, kind: Some(update::Kind::Delta(delta)) };
            let message = update.encode_to_vec();
            if message.len() > CHANGE_BYTES_MAX {
                return Err(Error::limit_exceeded(
                    "",
                    format!(
                        "this change is larger than the {CHANGE_BYTES_MAX} bytes that nodes take at once"
                    ),
                ));
            }
            // Wrapped at rest: messages carry peppers.
            let message = self.master.wrap(&outbox_context(&cell, version), &message);
            store::cell::write_outbox(&mut self, &cell, version, &message).await?;
            for deployment in std::mem::take(&mut self.deployments) {
                store::deployment::set_version(&mut self, deployment, version).await?;
            }
            published = Some(version);
        }
        self.inner.commit().await?;
        if let Some(attempt) = attempt {
            attempt.takes_effect();
        }
        Ok(published)
    }
}

/// Each of its resources alone fits into a snapshot's chunk too, whose frame is a little larger.
pub const CHANGE_BYTES_MAX: usize = proto::config::UPDATE_BYTES_MAX - 1024;

/// What an outbox row's wrapping is bound to.
pub fn outbox_context(cell: &str, version: u64) -> String {
    format!("outbox:{cell}:{version}")
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use proto::config::v1::{Tenant, resource};

    use super::*;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn a_query_that_forgets_its_tenant_sees_only_its_own(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);

        let mut tx = app.begin(&mallory).await.unwrap();
        let seen: Vec<uuid::Uuid> =
            sqlx::query_scalar("select id from tenant").fetch_all(&mut *tx).await.unwrap();

        assert_eq!(seen, [mallory.tenant.0]);
        let touched = sqlx::query("update tenant set updated_at = now() where id = $1")
            .bind(alice.tenant.0)
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(touched.rows_affected(), 0);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_touches_neither_its_own_terms_nor_another_cell(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        sqlx::query("insert into cell (id) values ('east')").execute(&db).await.unwrap();

        let denied = Some("42501".into()); // insufficient_privilege, also where a policy says no
        for sql in [
            "update tenant set limits = '{\"apis\": 1000000}'",
            "update tenant set egress_allow = '{10.0.0.0/8}'",
            "insert into outbox (cell_id, version, message) values ('east', 1, '')",
            "select message from outbox",
        ] {
            let mut tx = app.begin(&alice).await.unwrap();
            let refused = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
            assert_eq!(refused.as_database_error().unwrap().code(), denied, "{sql}");
        }
        let mut tx = app.begin(&alice).await.unwrap();
        let moved = sqlx::query("update cell set version = version + 1").execute(&mut *tx).await;
        assert_eq!(moved.unwrap().rows_affected(), 1, "only the tenant's own");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn whatever_is_added_up_half_of_the_connections_are_left(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let most = app.tenants.options().get_max_connections();
        let sum = || app.begin_to_add_up(alice.tenant, Duration::from_secs(5));
        let mut sums = Vec::new();
        for _ in 0..most / 2 {
            sums.push(sum().await.unwrap());
        }

        let plain = async {
            let mut held = Vec::new();
            for _ in 0..most / 2 {
                held.push(app.begin(&alice).await.unwrap());
            }
        };
        let mut more = std::pin::pin!(sum());
        tokio::select! {
            _ = &mut more => panic!("more are added up than half of the connections"),
            () = plain => {}
        }

        drop(sums);
        more.await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_commit_with_changes_takes_the_next_version_and_writes_the_outbox(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;

        let unchanged = app.begin(&alice).await.unwrap().commit().await.unwrap();
        let mut tx = app.begin(&alice).await.unwrap();
        tx.upsert(Resource { kind: Some(resource::Kind::Tenant(Tenant::default())) });
        let first = tx.commit().await.unwrap();
        let mut tx = app.begin(&alice).await.unwrap();
        tx.remove(ResourceName::default());
        let second = tx.commit().await.unwrap();

        assert_eq!((unchanged, first, second), (None, Some(1), Some(2)));
        let mut tx = app.system(Job::Publisher).await.unwrap();
        let messages: Vec<Vec<u8>> =
            sqlx::query_scalar("select message from outbox order by version")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        assert_eq!(messages.len(), 2);
        let first = app.master.unwrap(&outbox_context("default", 1), &messages[0]).unwrap();
        assert_eq!(Update::decode(first.as_slice()).unwrap().version, 1);
    }
}
