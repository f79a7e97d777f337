//! A user's link that works once: to verify an address, or to reset a password. Only the newest of each kind works.

use chrono::{DateTime, TimeDelta, Utc};

use crate::access::link_token::LinkToken;
use crate::app::{App, Tx};
use crate::error::Result;
use crate::ids::UserId;
use crate::store;

/// Between two letters of one kind to one user, however often somebody asks.
pub const LETTERS_APART: TimeDelta = TimeDelta::minutes(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }

    /// How long a link works.
    pub fn life(self) -> TimeDelta {
        match self {
            Self::VerifyEmail => TimeDelta::days(1),
            Self::ResetPassword => TimeDelta::hours(1),
        }
    }

    /// The console's page that a link leads to.
    fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::ResetPassword => "reset-password",
        }
    }
}

/// A link to be written.
pub struct NewLink<'a> {
    pub user: UserId,
    pub purpose: Purpose,
    pub token_hash: Vec<u8>,
    pub email: &'a str,
    pub mailed: bool,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// What a good link is for.
pub struct Link {
    pub user: UserId,
    /// The address that it was sent to, or is to become the user's.
    pub email: String,
    /// Whether it went to that address and to nobody else, so that who opens it reads that address's mail.
    pub mailed: bool,
}

/// Makes the user's newest link of this kind, which is shown or mailed and never stored.
pub(crate) async fn make(
    app: &App,
    tx: &mut Tx,
    (user, email): (UserId, &str),
    purpose: Purpose,
    mailed: bool,
) -> Result<String> {
    let (token, now) = (LinkToken::fresh(app.rng), app.clock.now());
    let expires_at = now + purpose.life();
    let token_hash = token.hash();
    let new = NewLink { user, purpose, token_hash, email, mailed, now, expires_at };
    store::user_link::put(tx, &new).await?;
    Ok(token.link(&app.config.public_url, purpose.page()))
}

/// How many seconds until the user may be sent another letter of this kind; none where now, nor where the clock went
/// back since the last one.
pub(crate) async fn wait_seconds(
    app: &App,
    tx: &mut Tx,
    user: UserId,
    purpose: Purpose,
) -> Result<Option<u32>> {
    let now = app.clock.now();
    let made = store::user_link::made_at(tx, user, purpose).await?;
    let made = made.filter(|made| *made <= now + LETTERS_APART);
    let wait = made.map(|made| (made + LETTERS_APART - now).num_seconds());
    Ok(wait.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0))
}
