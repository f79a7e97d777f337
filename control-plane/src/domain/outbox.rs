//! The outbox of letters: written in the transaction of the change that a letter tells of, so that there is never one
//! without the other, and sent by a job (`jobs::mail`).

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use crate::app::{App, Job, Tx};
use crate::domain::password;
use crate::error::{Error, Result};
use crate::ids::{MailId, TenantId};
use crate::mail::letter::{Letter, Text};
use crate::store;

/// A letter as it waits, wrapped.
pub struct Waiting {
    pub id: MailId,
    pub letter: Vec<u8>,
    /// This one included.
    pub tries: i32,
    pub created_at: DateTime<Utc>,
}

/// Puts the letter into the outbox. An installation without a mail server writes none.
pub(crate) async fn post(
    app: &App,
    tx: &mut Tx,
    tenant: Option<TenantId>,
    letter: &Letter,
) -> Result<()> {
    if app.mailer.is_none() {
        return Ok(());
    }
    let id: MailId = app.rng.id();
    let plain = Zeroizing::new(serde_json::to_vec(letter).map_err(Error::internal)?);
    let wrapped = app.master.wrap(&context(id), &plain);
    store::mail::insert(tx, id, tenant, &wrapped, app.clock.now()).await
}

/// The letter's text, for the job that sends it; none where there is nobody to send it to.
pub(crate) async fn open(app: &App, waiting: &Waiting) -> Result<Option<Text>> {
    let plain = app.master.unwrap(&context(waiting.id), &waiting.letter)?;
    let letter = serde_json::from_slice(&plain).map_err(|cause| Error::corrupt("letter", cause))?;
    let letter = match letter {
        Letter::PasswordResetAsked { email } => {
            password::reset_letter(app, &email, waiting.tries > 1).await?
        }
        other => Some(other),
    };
    Ok(letter.and_then(Letter::text))
}

/// The letter is sent, or given up.
pub(crate) async fn forget(app: &App, id: MailId) -> Result<()> {
    let mut tx = app.system(Job::Mail).await?;
    store::mail::delete(&mut tx, id).await?;
    tx.commit().await?;
    Ok(())
}

/// What a letter's wrapping is bound to.
fn context(id: MailId) -> String {
    format!("mail:{id}")
}
