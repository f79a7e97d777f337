//! A user: a person, one per email in the whole installation.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::ids::UserId;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    #[serde(skip)]
    pub id: UserId,
    pub email: String,
    /// Whether somebody showed that the address is theirs.
    #[serde(skip)]
    pub email_verified: bool,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
}

/// An address that mail could be sent to, as its owner writes it. Upper and lower case are one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// The longest that RFC 5321 lets be routed, in characters.
    pub const CHARS_MAX: usize = 254;

    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        let whole = text.chars().count() <= Self::CHARS_MAX
            && !text
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c));
        let parts = text.rsplit_once('@').filter(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && !local.contains('@')
                && !domain.is_empty()
                && domain.split('.').all(|label| {
                    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
                })
        });
        if whole && parts.is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::bad_request("email", "this is not an email address"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are one address.
    pub fn is(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }

    /// The form by which two spellings of one address are equal.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

/// A user to be made, whose password was hashed already.
pub struct NewUser {
    pub id: UserId,
    pub email: Email,
    pub password_hash: String,
    pub operator: bool,
}

/// What a log-in is checked against.
pub struct Account {
    pub user: User,
    pub password_hash: String,
    pub operator: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_what_mail_could_be_sent_to() {
        let long = format!("a@{}", "b".repeat(253));
        assert_eq!(Email::new(" Ada@Example.com ").unwrap().as_str(), "Ada@Example.com");
        assert!(Email::new("jürgen+x@müller.example").is_ok());
        assert!(Email::new("root@localhost").is_ok());
        for wrong in [
            "", "a", "@b.c", "a@", "a@b..c", "a@-b.c", "a b@c.d", "a@b@c.d", "a\0@b.c", "<a>@b.c",
            &long,
        ] {
            assert_eq!(Email::new(wrong).unwrap_err().param(), Some("email"), "{wrong}");
        }
    }
}
