//! A secret of a tenant: a text, or credentials of AWS. It is written and never read back: rows hold it wrapped by the
//! tenant's data key, and nodes of the tenant's cell get it while a deployment needs it. Of credentials of AWS they get
//! no more than the keys by which AWS's Signature Version 4 signs on a day, for a region and a service. A new value is
//! on nodes like any change, without a deployment.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::access::sealed::WrappingKey;
use crate::app::{App, Job, Tx};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId, SecretId, TenantId};
use crate::snapshot::compile;
use crate::store;

/// How many secrets a tenant has at most, unless its own limits say otherwise.
pub const SECRETS_MAX: u32 = 1_000;
/// The longest text, in bytes; as long as a standard parameter of AWS's Parameter Store.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;
/// The longest id of an access key, and its secret, in bytes; AWS's have 20 and 40.
const ACCESS_KEY_BYTES_MAX: usize = 128;
/// The longest token of a session, in bytes; AWS names no bound, and says that it may grow.
const SESSION_TOKEN_BYTES_MAX: usize = 8 * 1024;
/// A clock of a node may be so far behind: until then the day before has not ended for it.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::minutes(10);
/// Nodes have the keys of so many days. The last one begins a day ahead at least, so that calls go on through midnight
/// where no control plane is there to bring more.
pub const DAYS: u64 = 3;
/// How many secrets one round of [`renew`] looks at.
const ROUND: i64 = 500;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    #[serde(skip)]
    pub id: SecretId,
    pub name: String,
    pub kind: SecretKind,
    /// When its value was last written.
    pub value_updated_at: DateTime<Utc>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecretKind {
    Text,
    /// An access key of AWS, or of what speaks like it.
    AwsCredentials,
}

/// What is kept. Without `Debug`, and without `Serialize`.
pub enum SecretValue {
    Text(SecretString),
    AwsCredentials(AwsCredentials),
}

/// An access key. Without `Debug`, and without `Serialize`.
pub struct AwsCredentials {
    pub access_key_id: SecretString,
    pub secret_access_key: SecretString,
    /// Of temporary ones.
    pub session_token: Option<SecretString>,
}

/// A value as it is given: one of the two.
#[derive(Default)]
pub struct GivenValue {
    pub text: Option<SecretString>,
    pub aws_credentials: Option<AwsCredentials>,
}

/// A secret to be made; names are unique in the tenant.
pub struct NewSecret {
    pub name: String,
    pub value: GivenValue,
}

/// What is `None` stays as it is. A new value has the kind of the one before.
#[derive(Default)]
pub struct SecretChanges {
    pub name: Option<String>,
    pub value: GivenValue,
}

/// For what a deployment needs a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretUse {
    pub secret: SecretId,
    /// Of AWS, for which calls are signed; `None`: for its value.
    pub scope: Option<SigningScope>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SigningScope {
    pub region: String,
    pub service: String,
}

impl Versioned for Secret {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Secret {
    const LIST: &'static str = "secrets";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl SecretKind {
    pub const ALL: [Self; 2] = [Self::Text, Self::AwsCredentials];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::AwsCredentials => "AWS_CREDENTIALS",
        }
    }
}

/// How credentials lie in their wrapping.
#[derive(Deserialize)]
struct Stored {
    access_key_id: SecretString,
    secret_access_key: SecretString,
    session_token: Option<SecretString>,
}

impl GivenValue {
    /// None where neither is given.
    fn checked(self) -> Result<Option<SecretValue>> {
        let value = match (self.text, self.aws_credentials) {
            (Some(_), Some(_)) => {
                let rule = "a secret is a text or awsCredentials, not both";
                return Err(Error::bad_request("awsCredentials", rule));
            }
            (Some(text), None) => SecretValue::Text(text),
            (None, Some(credentials)) => SecretValue::AwsCredentials(credentials),
            (None, None) => return Ok(None),
        };
        value.check()?;
        Ok(Some(value))
    }
}

impl SecretValue {
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::Text(_) => SecretKind::Text,
            Self::AwsCredentials(_) => SecretKind::AwsCredentials,
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Text(text) => {
                let bytes = text.expose_secret().len();
                if bytes == 0 || bytes > TEXT_BYTES_MAX {
                    let rule = format!("must have from 1 to {TEXT_BYTES_MAX} bytes");
                    return Err(Error::bad_request("text", rule));
                }
                Ok(())
            }
            Self::AwsCredentials(credentials) => {
                credentials.check().map_err(|error| error.within("awsCredentials"))
            }
        }
    }

    /// As it is wrapped.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let bytes = match self {
            Self::Text(text) => text.expose_secret().as_bytes().to_vec(),
            Self::AwsCredentials(credentials) => {
                let shown = |secret: &SecretString| secret.expose_secret().to_owned();
                let fields = serde_json::json!({
                    "access_key_id": shown(&credentials.access_key_id),
                    "secret_access_key": shown(&credentials.secret_access_key),
                    "session_token": credentials.session_token.as_ref().map(shown),
                });
                fields.to_string().into_bytes()
            }
        };
        Zeroizing::new(bytes)
    }

    fn from_bytes(kind: SecretKind, bytes: &[u8]) -> Result<Self> {
        match kind {
            SecretKind::Text => {
                let text =
                    std::str::from_utf8(bytes).map_err(|cause| Error::corrupt("secret", cause))?;
                Ok(Self::Text(text.into()))
            }
            SecretKind::AwsCredentials => {
                let stored: Stored = serde_json::from_slice(bytes)
                    .map_err(|_| Error::corrupt("secret", "no credentials"))?;
                Ok(Self::AwsCredentials(AwsCredentials {
                    access_key_id: stored.access_key_id,
                    secret_access_key: stored.secret_access_key,
                    session_token: stored.session_token,
                }))
            }
        }
    }
}

impl AwsCredentials {
    /// Each stands in a header's field, or beside others in one.
    fn check(&self) -> Result<()> {
        let within = |param, secret: &SecretString, most: usize| {
            let text = secret.expose_secret();
            if text.is_empty() || text.len() > most || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let rule =
                    format!("must have from 1 to {most} characters, visible ASCII without spaces");
                return Err(Error::bad_request(param, rule));
            }
            Ok(())
        };
        within("accessKeyId", &self.access_key_id, ACCESS_KEY_BYTES_MAX)?;
        if self.access_key_id.expose_secret().contains(['/', ',', '=']) {
            let rule = "holds no /, no comma and no =, which divide a signature's fields";
            return Err(Error::bad_request("accessKeyId", rule));
        }
        within("secretAccessKey", &self.secret_access_key, ACCESS_KEY_BYTES_MAX)?;
        match &self.session_token {
            Some(token) => within("sessionToken", token, SESSION_TOKEN_BYTES_MAX),
            None => Ok(()),
        }
    }
}

pub async fn create(app: &App, actor: &Actor, new: NewSecret) -> Result<Secret> {
    actor.may(Action::ManageApis)?;
    let name = text::name("name", &new.name)?;
    let value = new.value.checked()?;
    let value = value.ok_or_else(|| Error::bad_request("text", "a secret has a value"))?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let limit = limit::of(&mut tx, tenant, LimitName::Secrets).await?;
    if store::secret::count(&mut tx, tenant).await? >= limit {
        return Err(LimitName::Secrets.exceeded(limit));
    }
    let id: SecretId = app.rng.id();
    let (kind, day) = (value.kind(), first_day(app));
    let wrapped = wrap(app, &mut tx, tenant, id, &value).await?;
    let secret = store::secret::insert(&mut tx, tenant, id, &name, kind, &wrapped, day).await?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "secret.create", &noun_id, None, Some(&secret)).await?;
    tx.commit().await?;
    Ok(secret)
}

pub async fn get(app: &App, actor: &Actor, id: SecretId) -> Result<Secret> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("secret"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[SecretId]) -> Result<Vec<Secret>> {
    let mut tx = app.begin(actor).await?;
    store::secret::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<Secret>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::secret::list(&mut tx, actor.tenant, page).await?)
}

/// Nodes that have the secret get its new value at once.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: SecretId,
    changes: SecretChanges,
) -> Result<Secret> {
    actor.may(Action::ManageApis)?;
    let name = changes.name.map(|name| text::name("name", &name)).transpose()?;
    let value = changes.value.checked()?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let before = store::secret::lock(&mut tx, tenant, id).await?;
    actor.expects(&before)?;
    let wrapped = match &value {
        None => None,
        Some(value) => {
            if value.kind() != before.kind {
                let (param, rule) = match before.kind {
                    SecretKind::Text => ("awsCredentials", "this secret is a text"),
                    SecretKind::AwsCredentials => ("text", "this secret is credentials of AWS"),
                };
                return Err(Error::bad_request(param, rule));
            }
            Some(wrap(app, &mut tx, tenant, id, value).await?)
        }
    };
    let name = name.unwrap_or_else(|| before.name.clone());
    let after = store::secret::update(&mut tx, tenant, id, &name, wrapped.as_deref()).await?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "secret.update", &noun_id, Some(&before), Some(&after))
        .await?;
    if wrapped.is_some() {
        publish(&mut tx, app, tenant, id).await?;
    }
    tx.commit().await?;
    Ok(after)
}

/// Refused while an integration names the secret, or a stage is on a deployment that needs it.
pub async fn delete(app: &App, actor: &Actor, id: SecretId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let before = store::secret::lock(&mut tx, actor.tenant, id).await?;
    actor.expects(&before)?;
    if let Some(user) = store::secret::user_of(&mut tx, actor.tenant, id).await? {
        return Err(Error::conflict("id", format!("{user} uses this secret")));
    }
    store::secret::delete(&mut tx, actor.tenant, id).await?;
    let noun_id = id.to_string();
    audit::record(app, &mut tx, actor, "secret.delete", &noun_id, Some(&before), None).await?;
    tx.remove(compile::secret_name(id));
    tx.commit().await?;
    Ok(())
}

/// Remembers what a new deployment needs, and brings it to the nodes. `uses` stand in the order of `Ord`.
pub(crate) async fn used_by(
    tx: &mut Tx,
    app: &App,
    tenant: TenantId,
    api: ApiId,
    deployment: DeploymentId,
    uses: &[SecretUse],
) -> Result<()> {
    let mut before = None;
    for each in uses {
        // It must be the tenant's, and stays until this is committed.
        store::secret::lock(tx, tenant, each.secret).await?;
        store::secret::insert_use(tx, tenant, api, deployment, each).await?;
    }
    for each in uses {
        if before.replace(each.secret) != Some(each.secret) {
            publish(tx, app, tenant, each.secret).await?;
        }
    }
    Ok(())
}

/// Brings the secret, with keys from today on, to the nodes, where a deployment needs it.
async fn publish(tx: &mut Tx, app: &App, tenant: TenantId, id: SecretId) -> Result<()> {
    store::secret::derive_for(tx, tenant, id, first_day(app)).await?;
    if let Some(resource) = compile::secret(tx, &app.master, tenant, id).await? {
        tx.upsert(resource);
    }
    Ok(())
}

/// Brings nodes the signing keys of days that come. Every replica does; one of them is first.
pub(crate) async fn renew(app: &App) -> Result<()> {
    let day = first_day(app);
    loop {
        let mut tx = app.system(Job::Secrets).await?;
        let due = store::secret::due(&mut tx, day, ROUND).await?;
        drop(tx);
        for (tenant, id) in &due {
            let mut tx = app.begin_in(*tenant).await?;
            if store::secret::derive_for(&mut tx, *tenant, *id, day).await?
                && let Some(resource) = compile::secret(&mut tx, &app.master, *tenant, *id).await?
            {
                tx.upsert(resource);
            }
            tx.commit().await?;
        }
        if due.len() < usize::try_from(ROUND).unwrap_or(usize::MAX) {
            return Ok(());
        }
    }
}

/// The first day whose keys nodes have.
fn first_day(app: &App) -> NaiveDate {
    (app.clock.now() - CLOCKS_APART_MAX).date_naive()
}

async fn wrap(
    app: &App,
    tx: &mut Tx,
    tenant: TenantId,
    id: SecretId,
    value: &SecretValue,
) -> Result<Vec<u8>> {
    let data_key = app.data_key(tx, tenant).await?;
    Ok(data_key.wrap(&context(tenant, id), &value.to_bytes()))
}

/// The value of a row.
pub(crate) fn open(
    data_key: &WrappingKey,
    tenant: TenantId,
    id: SecretId,
    kind: SecretKind,
    wrapped: &[u8],
) -> Result<SecretValue> {
    SecretValue::from_bytes(kind, &data_key.unwrap(&context(tenant, id), wrapped)?)
}

/// What a value's wrapping is bound to.
fn context(tenant: TenantId, id: SecretId) -> String {
    format!("tenant:{tenant}:secret:{id}")
}

#[cfg(test)]
mod tests;
