//! A join token: whoever holds it may add nodes to some cells, until it expires or is deleted.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::access::actor::Operator;
use crate::access::authority::Authority;
use crate::app::{App, Job, Tx};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{JoinTokenId, UserId};
use crate::store;

/// How long a token may be good.
pub const LIFE_MIN: TimeDelta = TimeDelta::minutes(1);
pub const LIFE_MAX: TimeDelta = TimeDelta::days(30);
/// Where nothing else is asked for.
pub const LIFE_DEFAULT: TimeDelta = TimeDelta::hours(1);

/// A token without its secret, of which only the hash is kept. What nodes joined by it stays when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinToken {
    #[serde(skip)]
    pub id: JoinTokenId,
    /// What it is for, in the operator's words.
    pub name: String,
    pub cells: Vec<String>,
    /// Who made it; None for the machine's administrator.
    #[serde(skip)]
    pub created_by: Option<UserId>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// How many nodes joined by it.
    #[serde(skip)]
    pub uses: i32,
    #[serde(skip)]
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Keyed for JoinToken {
    const LIST: &'static str = "joinTokens";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// The longest name of a cell.
const CELL_NAME_BYTES_MAX: usize = 32;

/// A token to be made. Its cells are looked up when it is.
pub struct NewJoinToken {
    pub name: String,
    pub cells: Vec<String>,
    pub life: TimeDelta,
}

impl NewJoinToken {
    /// `life_seconds` None: an hour.
    pub fn new(name: &str, cells: Vec<String>, life_seconds: Option<i64>) -> Result<Self> {
        let name = text::line("name", name.trim(), text::NAME_CHARS_MAX)?;
        if !cells.iter().all(|cell| is_cell_name(cell)) {
            let rule = format!("a cell's name is 1 to {CELL_NAME_BYTES_MAX} of a-z, 0-9 and -");
            return Err(Error::bad_request("cells", rule));
        }
        let life = life_seconds.map_or(Some(LIFE_DEFAULT), TimeDelta::try_seconds);
        let life = life.filter(|life| (LIFE_MIN..=LIFE_MAX).contains(life)).ok_or_else(|| {
            Error::bad_request("expiresInSeconds", "must be from 60 to 2592000, which is 30 days")
        })?;
        Ok(Self { name, cells, life })
    }
}

fn is_cell_name(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=CELL_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(letter)
}

/// Makes a token and answers it, this once: `{secret}.{SHA-256 of the CA certificate}`. Its holder knows the control
/// plane by the latter.
pub async fn create(
    app: &App,
    operator: &Operator,
    new: NewJoinToken,
) -> Result<(JoinToken, String)> {
    let authority = Authority::open(app).await?;
    let mut tx = app.system(Job::Operator).await?;
    let (made, secret) = make(app, &mut tx, new, Some(operator.user)).await?;
    let noun_id = made.id.to_string();
    audit::record_operator(
        app,
        &mut tx,
        operator,
        "join_token.create",
        &noun_id,
        None,
        Some(&made),
    )
    .await?;
    tx.commit().await?;
    Ok((made, whole(&secret, &authority)))
}

/// The same for the machine's administrator, who may do anything.
pub async fn create_here(app: &App, new: NewJoinToken) -> Result<String> {
    let authority = Authority::open(app).await?;
    let mut tx = app.system(Job::Nodes).await?;
    let (made, secret) = make(app, &mut tx, new, None).await?;
    let noun_id = made.id.to_string();
    let action = "join_token.create";
    audit::record_administrator(app, &mut tx, action, &noun_id, None, Some(&made)).await?;
    tx.commit().await?;
    Ok(whole(&secret, &authority))
}

/// Those that are still good, newest first.
pub async fn list(app: &App, _operator: &Operator, page: &Page) -> Result<Paged<JoinToken>> {
    let mut tx = app.system(Job::Operator).await?;
    page.cut(store::join_token::list(&mut tx, app.clock.now(), page).await?)
}

/// Nobody joins by the token any more; who did stays.
pub async fn delete(app: &App, operator: &Operator, id: JoinTokenId) -> Result<JoinToken> {
    let mut tx = app.system(Job::Operator).await?;
    let gone = store::join_token::delete(&mut tx, id, app.clock.now()).await?;
    let gone = gone.ok_or(Error::NotFound("join token"))?;
    let noun_id = id.to_string();
    let action = "join_token.delete";
    audit::record_operator(app, &mut tx, operator, action, &noun_id, Some(&gone), None).await?;
    tx.commit().await?;
    Ok(gone)
}

async fn make(
    app: &App,
    tx: &mut Tx,
    new: NewJoinToken,
    by: Option<UserId>,
) -> Result<(JoinToken, String)> {
    let secret = hex::encode(app.rng.bytes::<32>());
    let NewJoinToken { name, mut cells, life } = new;
    cells.sort();
    cells.dedup();
    if cells.is_empty() {
        return Err(Error::bad_request("cells", "name at least one cell"));
    }
    if let [unknown, ..] = store::node::unknown_cells(tx, &cells).await?.as_slice() {
        return Err(Error::bad_request("cells", format!("there is no cell {unknown}")));
    }
    let now = app.clock.now();
    let made = JoinToken {
        id: app.rng.id(),
        name,
        cells,
        created_by: by,
        created_at: now,
        expires_at: now + life,
        uses: 0,
        last_used_at: None,
    };
    store::join_token::insert(tx, &made, &hash(&secret)).await?;
    Ok((made, secret))
}

fn whole(secret: &str, authority: &Authority) -> String {
    format!("{secret}.{}", hex::encode(authority.fingerprint()))
}

/// 256 random bits need no salt.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::access::authority::Issued;
    use crate::domain::audit::AuditFilter;
    use crate::domain::node;
    use crate::testing;

    fn racks(life_seconds: Option<i64>) -> Result<NewJoinToken> {
        NewJoinToken::new(" rack 7 ", vec!["default".to_owned(); 2], life_seconds)
    }

    async fn admitted(app: &App, token: &str) -> bool {
        let expires_at = app.clock.now() + TimeDelta::days(1);
        let issued = Issued { certificate: vec![], expires_at };
        node::join(app, token.split('.').next().unwrap(), "n", |_| Ok(issued)).await.is_ok()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_token_is_shown_once_counts_who_joined_and_admits_nobody_when_deleted(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let operator = testing::operator(&app).await;

        let (made, token) = create(&app, &operator, racks(None).unwrap()).await.unwrap();

        assert_eq!(
            (made.name.as_str(), made.cells.as_slice()),
            ("rack 7", &["default".to_owned()][..])
        );
        assert!(admitted(&app, &token).await && admitted(&app, &token).await);
        let listed = list(&app, &operator, &Page::default()).await.unwrap().items;
        assert_eq!((listed.len(), listed[0].id, listed[0].uses), (1, made.id, 2));
        assert_eq!(listed[0].last_used_at, Some(app.clock.now()));
        delete(&app, &operator, made.id).await.unwrap();
        assert!(!admitted(&app, &token).await);
        assert_eq!(delete(&app, &operator, made.id).await.unwrap_err().code(), "not_found");
        assert!(list(&app, &operator, &Page::default()).await.unwrap().items.is_empty());

        let caller = Caller::Operator(operator);
        let told = audit::list(&app, &caller, &AuditFilter::default(), &Page::default()).await;
        let told = told.unwrap().items;
        let actions: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["join_token.delete", "join_token.create"]);
        assert_eq!(told[0].before.as_ref().unwrap()["name"], "rack 7");
        let secret = token.split('.').next().unwrap();
        assert!(told.iter().all(|entry| !format!("{entry:?}").contains(secret)));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_token_lives_from_a_minute_to_thirty_days(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        for wrong in [-1, 0, 59, 2_592_001, i64::MAX] {
            assert_eq!(racks(Some(wrong)).err().unwrap().param(), Some("expiresInSeconds"));
        }
        assert!(racks(Some(2_592_000)).is_ok());
        let (_, token) = create(&app, &operator, racks(Some(60)).unwrap()).await.unwrap();

        app.clock.advance(TimeDelta::seconds(59));
        assert!(admitted(&app, &token).await);
        app.clock.advance(TimeDelta::seconds(1));
        assert!(!admitted(&app, &token).await);
        assert!(list(&app, &operator, &Page::default()).await.unwrap().items.is_empty());
        for wrong in ["", "a\0b", "Default", "caf\u{e9}", &"a".repeat(33)] {
            let named = NewJoinToken::new("", vec!["default".to_owned(), wrong.to_owned()], None);
            assert_eq!(named.err().unwrap().param(), Some("cells"), "{wrong:?}");
        }
        let nowhere = NewJoinToken::new("", vec!["nowhere".to_owned()], None).unwrap();
        let refused = create(&app, &operator, nowhere).await.unwrap_err();
        assert_eq!(refused.param(), Some("cells"));
    }
}
