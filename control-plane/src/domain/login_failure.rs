//! Log-ins that failed, counted in PostgreSQL so that all replicas count together.
//!
//! Three counts, each with tries that are free and then a wait that doubles with every further one: of this
//! email from this address, of this address whatever the email, and of this email wherever from. The last is
//! what somebody with many addresses meets; it does not bind an address where the user was logged in lately,
//! so that nobody can lock another out of their own account. Emails that nobody has are counted all the same.

use chrono::{DateTime, TimeDelta, Utc};

use crate::access::actor::Origin;
use crate::access::wall::neighbourhood;
use crate::app::{App, Tx};
use crate::domain::user::{Account, Email};
use crate::error::{Error, Result};
use crate::store;

/// A count is forgotten this long after its last failure.
pub const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(24);

/// A session begun this lately at an address, or with a browser, makes it one of the user's own.
pub(crate) const OWN_PLACE_FOR: TimeDelta = TimeDelta::days(30);

/// A failure that is this far ahead was counted by a clock that went back since.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(1);

/// When waiting starts, and how it grows: `first_wait` doubles with every failure after `free` ones.
struct Rule {
    free: i32,
    first_wait: TimeDelta,
    longest_wait: TimeDelta,
}

const PAIR: Rule =
    Rule { free: 10, first_wait: TimeDelta::seconds(1), longest_wait: TimeDelta::minutes(15) };
const ADDRESS: Rule =
    Rule { free: 50, first_wait: TimeDelta::seconds(1), longest_wait: TimeDelta::minutes(15) };
const EMAIL: Rule =
    Rule { free: 100, first_wait: TimeDelta::minutes(1), longest_wait: TimeDelta::hours(1) };

impl Rule {
    /// How long after the last failure the next try may come.
    fn wait(&self, failures: i32) -> TimeDelta {
        let doublings = failures - self.free;
        if doublings < 0 {
            return TimeDelta::zero();
        }
        let factor =
            1_i32.checked_shl(u32::try_from(doublings.min(20)).unwrap_or(0)).unwrap_or(i32::MAX);
        self.first_wait
            .checked_mul(factor)
            .map_or(self.longest_wait, |wait| wait.min(self.longest_wait))
    }
}

/// A count as it is stored.
pub struct Count {
    pub subject: String,
    pub failures: i32,
    pub last_failed_at: DateTime<Utc>,
}

/// A try that was counted as a failure, before anybody knew.
pub struct Attempt {
    pair: String,
    address: String,
    email: String,
}

impl Attempt {
    fn of(email: &Email, address: &str) -> Self {
        let (address, folded) = (neighbourhood(address), email.folded());
        Self {
            pair: format!("pair:{address} {folded}"),
            address: format!("address:{address}"),
            email: format!("email:{folded}"),
        }
    }

    fn subjects(&self) -> [String; 3] {
        [self.address.clone(), self.email.clone(), self.pair.clone()]
    }

    /// It was none: the email starts afresh, and the address takes this one back. An address does not start
    /// afresh, or an account of one's own would buy tries at others'.
    pub async fn succeeded(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        store::login_failure::lock(tx, &self.subjects(), now).await?;
        store::login_failure::reset(tx, &[self.email.clone(), self.pair.clone()]).await?;
        store::login_failure::take_back(tx, &self.address).await
    }
}

/// Counts a try, or refuses it while one of its counts says to wait; a refused one is not counted.
pub async fn count(
    app: &App,
    tx: &mut Tx,
    email: &Email,
    account: Option<&Account>,
    origin: &Origin,
) -> Result<Attempt> {
    let now = app.clock.now();
    let address = neighbourhood(&origin.address);
    let attempt = Attempt::of(email, &origin.address);
    let user = account.map(|account| account.user.id);
    let places = store::session::places(tx, user, now - OWN_PLACE_FOR).await?;
    let own = places.iter().any(|place| neighbourhood(&place.address) == address);
    let subjects = attempt.subjects();
    for count in store::login_failure::lock(tx, &subjects, now).await? {
        let rule = match &count.subject {
            subject if *subject == attempt.pair => &PAIR,
            subject if *subject == attempt.address => &ADDRESS,
            _ if own => continue,
            _ => &EMAIL,
        };
        // A clock that went back since must not make anyone wait for it to come round again.
        let ahead = count.last_failed_at > now + AHEAD_MAX;
        if ahead || count.last_failed_at + FORGOTTEN_AFTER <= now {
            continue;
        }
        // Another replica's clock may be a little ahead.
        let last_failed_at = count.last_failed_at.min(now);
        let wait = last_failed_at + rule.wait(count.failures) - now;
        if wait > TimeDelta::zero() {
            let seconds = u32::try_from((wait.num_milliseconds() + 999) / 1000).unwrap_or(u32::MAX);
            return Err(Error::TooManyRequests { retry_after_seconds: seconds });
        }
    }
    store::login_failure::add(tx, &subjects, now, now - FORGOTTEN_AFTER).await?;
    Ok(attempt)
}

/// Who reset their password tries afresh, from where they did.
pub(crate) async fn forgive(
    tx: &mut Tx,
    email: &Email,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<()> {
    let Attempt { pair, email, .. } = Attempt::of(email, &origin.address);
    let subjects = [email, pair];
    store::login_failure::lock(tx, &subjects, now).await?;
    store::login_failure::reset(tx, &subjects).await
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::app::Job;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn a_clock_that_goes_back_shuts_nobody_out(db: PgPool) {
        let app = testing::app(db).await;
        let email = Email::new("ada@example.com").unwrap();
        let origin = Origin { address: "192.0.2.1".to_owned(), ..Origin::default() };
        let a_try = async || {
            let mut tx = app.system(Job::LogIn).await.unwrap();
            let attempt = count(&app, &mut tx, &email, None, &origin).await?;
            tx.commit().await.unwrap();
            Ok::<_, Error>(attempt)
        };
        let first = a_try().await.unwrap();
        let mut tx = app.system(Job::LogIn).await.unwrap();
        first.succeeded(&mut tx, app.clock.now()).await.unwrap();
        tx.commit().await.unwrap();

        app.clock.advance(TimeDelta::hours(-1));

        for _ in 0..PAIR.free {
            a_try().await.unwrap();
        }
        let refused = a_try().await.err().unwrap();
        assert!(
            matches!(refused, Error::TooManyRequests { retry_after_seconds: 1 }),
            "{refused:?}"
        );
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn log_ins_at_once_neither_wait_in_a_circle_nor_lose_a_count(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let email = Email::new("ada@example.com").unwrap();
        let origin = Origin { address: "192.0.2.1".to_owned(), ..Origin::default() };
        let mut log_ins = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (app, email, origin) = (app.clone(), email.clone(), origin.clone());
            log_ins.spawn(async move {
                for _ in 0..25 {
                    let mut tx = app.system(Job::LogIn).await?;
                    let attempt = count(&app, &mut tx, &email, None, &origin).await?;
                    tx.commit().await?;
                    let mut tx = app.system(Job::LogIn).await?;
                    attempt.succeeded(&mut tx, app.clock.now()).await?;
                    tx.commit().await?;
                }
                Ok::<_, Error>(())
            });
        }
        for done in log_ins.join_all().await {
            done.unwrap();
        }

        let counts: Vec<(String, i32)> =
            sqlx::query_as("select subject, failures from login_failure order by subject")
                .fetch_all(&db)
                .await
                .unwrap();
        assert_eq!(
            counts,
            [
                ("address:192.0.2.1".to_owned(), 0),
                ("email:ada@example.com".to_owned(), 0),
                ("pair:192.0.2.1 ada@example.com".to_owned(), 0),
            ]
        );
    }

    #[test]
    fn waiting_starts_after_the_free_tries_and_doubles() {
        let seconds = |failures| PAIR.wait(failures).num_seconds();
        assert_eq!([0, 9, 10, 11, 14].map(seconds), [0, 0, 1, 2, 16]);
        assert_eq!([20, 100, i32::MAX].map(seconds), [900, 900, 900]);
        assert_eq!(EMAIL.wait(99), TimeDelta::zero());
        assert_eq!(EMAIL.wait(100), TimeDelta::minutes(1));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_clock_that_went_ahead_and_back_makes_nobody_wait_for_it(db: PgPool) {
        let app = testing::app(db).await;
        let email = Email::new("ada@example.com").unwrap();
        let origin = Origin { address: "192.0.2.1".to_owned(), ..Origin::default() };
        let a_try = async || {
            let mut tx = app.system(Job::LogIn).await.unwrap();
            count(&app, &mut tx, &email, None, &origin).await?;
            tx.commit().await.unwrap();
            Ok::<_, Error>(())
        };
        for _ in 0..PAIR.free {
            a_try().await.unwrap();
        }
        assert!(a_try().await.is_err());

        app.clock.advance(TimeDelta::hours(-1));

        a_try().await.unwrap();
        assert!(a_try().await.is_err(), "and is counted on");
    }
}
