//! The operator of the installation, who begins with a link that works once.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::access::actor::{Operator, Origin};
use crate::access::password::Password;
use crate::app::{App, Job};
use crate::domain::audit;
use crate::domain::session::{self, Grant};
use crate::domain::user::{Email, NewUser};
use crate::error::{Error, Result};
use crate::store;

/// How long a link may wait for its one use.
pub const LINK_LIFE: TimeDelta = TimeDelta::hours(24);

/// What somebody opens a link with.
pub struct OpenLink {
    pub token: String,
    pub email: String,
    pub password: Password,
}

/// The audit log's view of it.
#[derive(Serialize)]
struct Recorded<'a> {
    email: &'a str,
}

/// A fresh one-time link: whoever opens it first within a day becomes an operator. It is shown, never stored.
pub async fn create_operator_link(app: &App) -> Result<String> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(app.rng.bytes::<32>());
    let now = app.clock.now();
    let mut tx = app.system(Job::Operator).await?;
    store::one_time_link::insert(&mut tx, &hash(&token), now, now + LINK_LIFE).await?;
    tx.commit().await?;
    Ok(format!("{}/operator?token={token}", app.config.public_url.trim_end_matches('/')))
}

/// Makes the operator, or gives the one with this email a new password and ends their other sessions; logs in.
///
/// The link is spent by the transaction that does so: of many who open it at once one gets in, and one who is
/// refused may mend the form and try again.
pub async fn open_link(app: &App, origin: &Origin, given: OpenLink) -> Result<Grant> {
    app.wall.log_in(&origin.address)?;
    let now = app.clock.now();
    let token_hash = hash(&given.token);
    let spent =
        || Error::bad_request("token", "this link was used or has expired; ask for another");
    let mut tx = app.system(Job::Operator).await?;
    if !store::one_time_link::is_good(&mut tx, &token_hash, now).await? {
        return Err(spent()); // before the costly hash
    }
    drop(tx);
    let email = Email::new(&given.email)?;
    given.password.accept(&[email.as_str()])?;
    let password_hash = given.password.hash().await?;

    let mut tx = app.system(Job::Operator).await?;
    if !store::one_time_link::spend(&mut tx, &token_hash, now).await? {
        return Err(spent());
    }
    let (user, ended) = match store::user::account(&mut tx, &email).await? {
        Some(account) if account.operator => {
            store::user::set_password(&mut tx, account.user.id, &password_hash).await?;
            store::user_link::delete_changes(&mut tx, account.user.id).await?;
            let ended = store::session::revoke_all(&mut tx, account.user.id, now).await?;
            (account.user, ended)
        }
        Some(_) => {
            let taken = "this is the email of a tenant's user; the operator takes one of its own";
            return Err(Error::conflict("email", taken));
        }
        None => {
            let new = NewUser { id: app.rng.id(), email, password_hash, operator: true };
            (store::user::insert(&mut tx, &new).await?, Vec::new())
        }
    };
    let grant = session::begin(app, &mut tx, user.id, None, origin).await?;
    let operator = Operator { user: user.id, session: grant.session, origin: origin.clone() };
    let (noun_id, after) = (user.id.to_string(), Recorded { email: &user.email });
    audit::record_operator(
        app,
        &mut tx,
        &operator,
        "operator.create",
        &noun_id,
        None,
        Some(&after),
    )
    .await?;
    tx.commit().await?;
    for session in ended {
        app.revoke_here(session);
    }
    Ok(grant)
}

/// 256 random bits need no salt.
fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::domain::{email, tenant};
    use crate::testing;

    fn with(link: &str, email: &str) -> OpenLink {
        OpenLink {
            token: link.rsplit_once('=').unwrap().1.to_owned(),
            email: email.to_owned(),
            password: Password::new("violet otter juggles"),
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_link_makes_one_operator_however_many_open_it_at_once(db: PgPool) {
        let app = testing::app(db).await;
        let link = create_operator_link(&app).await.unwrap();
        assert!(link.starts_with("http://127.0.0.1:8080/operator?token="));

        let mut tries = tokio::task::JoinSet::new();
        for number in 0..32 {
            let (app, given) = (app.clone(), with(&link, &format!("op{number}@example.com")));
            tries.spawn(async move { open_link(&app, &Origin::default(), given).await });
        }
        let answers = tries.join_all().await;

        let (inside, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((inside.len(), refused.len()), (1, 31));
        for answer in refused {
            assert_eq!(answer.err().unwrap().param(), Some("token"));
        }
        let token = &inside[0].as_ref().ok().unwrap().access_token;
        let caller = session::authenticate(&app, token, Origin::default()).await.unwrap();
        assert!(matches!(caller, Caller::Operator(_)));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_second_link_resets_the_operator_and_ends_their_sessions(db: PgPool) {
        let app = testing::app(db).await;
        let link = create_operator_link(&app).await.unwrap();
        let first =
            open_link(&app, &Origin::default(), with(&link, "op@example.com")).await.unwrap();

        let link = create_operator_link(&app).await.unwrap();
        let reset = OpenLink {
            password: Password::new("quiet heron marches"),
            ..with(&link, "OP@example.com")
        };
        open_link(&app, &Origin::default(), reset).await.unwrap();

        assert!(session::authenticate(&app, &first.access_token, Origin::default()).await.is_err());
        let log_in = |password| session::LogIn {
            email: "op@example.com".to_owned(),
            password: Password::new(password),
            tenant: None,
        };
        assert!(
            session::log_in(&app, &Origin::default(), log_in("quiet heron marches")).await.is_ok()
        );
        assert!(
            session::log_in(&app, &Origin::default(), log_in("violet otter juggles"))
                .await
                .is_err()
        );
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_refused_form_leaves_the_link_good_and_a_day_ends_it(db: PgPool) {
        let app = testing::app(db).await;
        let signed_up = tenant::SignUp {
            email: "ada@example.com".to_owned(),
            password: Password::new("violet otter juggles"),
            tenant: "Engines".to_owned(),
        };
        tenant::sign_up(&app, &Origin::default(), signed_up).await.unwrap();
        let link = create_operator_link(&app).await.unwrap();

        let taken = open_link(&app, &Origin::default(), with(&link, "ada@example.com")).await;
        assert_eq!(taken.err().unwrap().param(), Some("email"));
        let short = OpenLink { password: Password::new("short"), ..with(&link, "op@example.com") };
        assert_eq!(
            open_link(&app, &Origin::default(), short).await.err().unwrap().param(),
            Some("password")
        );
        assert!(open_link(&app, &Origin::default(), with(&link, "op@example.com")).await.is_ok());

        let late = create_operator_link(&app).await.unwrap();
        app.clock.advance(LINK_LIFE);
        let refused = open_link(&app, &Origin::default(), with(&late, "op@example.com")).await;
        assert_eq!(refused.err().unwrap().param(), Some("token"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_second_link_spends_the_links_that_would_undo_it(db: PgPool) {
        let app = testing::app_with_mail(db).await;
        let link = create_operator_link(&app).await.unwrap();
        let given = with(&link, "op@example.com");
        let first = open_link(&app, &Origin::default(), given).await.unwrap();
        let caller =
            session::authenticate(&app, &first.access_token, Origin::default()).await.unwrap();
        let right = Password::new("violet otter juggles");
        email::change(&app, &caller, "mallory@example.com", &right).await.unwrap();
        let taken_over = testing::token_in_newest_letter(&app).await;

        let link = create_operator_link(&app).await.unwrap();
        open_link(&app, &Origin::default(), with(&link, "op@example.com")).await.unwrap();

        let refused = email::verify(&app, &Origin::default(), &taken_over).await;
        assert_eq!(refused.err().unwrap().param(), Some("token"));
    }
}
