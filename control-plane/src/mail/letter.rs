//! Every letter, and its text. They are plain, short, and say who is meant, what happened, what to do, and what to do
//! if it was somebody else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use self::Paragraph::{Link, Says};
use crate::access::role::Role;

/// A letter as the outbox holds it, wrapped: some carry links.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Letter {
    /// Somebody signed up with an address that has no account.
    SignUp {
        to: String,
        link: String,
    },
    /// Somebody signed up with an address that has one.
    SignUpAgain {
        to: String,
        log_in: String,
    },
    /// A user's address is to be verified, or a new one of theirs.
    Verification {
        to: String,
        link: String,
    },
    /// Somebody asked to reset the password of this address. Whether it has an account is looked up when this is
    /// sent, so that asking takes one time.
    PasswordResetAsked {
        email: String,
    },
    PasswordReset {
        to: String,
        link: String,
    },
    PasswordChanged {
        to: String,
        at: DateTime<Utc>,
    },
    /// To the address before.
    EmailChanged {
        to: String,
        at: DateTime<Utc>,
    },
    LogIn {
        to: String,
        at: DateTime<Utc>,
        address: String,
        user_agent: String,
    },
    Invitation {
        to: String,
        tenant: String,
        inviter: String,
        role: Role,
        link: String,
    },
    /// The operator invites to sign up.
    TenantInvitation {
        to: String,
        /// None where it is theirs to choose.
        tenant: Option<String>,
        link: String,
    },
}

/// What is sent, as text and as HTML that says the same.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    pub to: String,
    pub subject: String,
    pub body: Vec<Paragraph>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Paragraph {
    Says(String),
    Link(String),
}

impl Text {
    pub fn plain(&self) -> String {
        let paragraphs = self.body.iter().map(|paragraph| match paragraph {
            Says(text) | Link(text) => text.as_str(),
        });
        paragraphs.collect::<Vec<_>>().join("\n\n") + "\n"
    }

    /// Whatever people wrote is text in it.
    pub fn html(&self) -> String {
        let paragraphs = self.body.iter().map(|paragraph| match paragraph {
            Says(text) => format!("<p>{}</p>\n", escape(text)),
            Link(url) => format!("<p><a href=\"{0}\">{0}</a></p>\n", escape(url)),
        });
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{}</title></head>\n\
             <body>\n{}</body>\n</html>\n",
            escape(&self.subject),
            paragraphs.collect::<String>(),
        )
    }
}

impl Letter {
    /// The letter's text; none for one that is to be looked up first.
    pub fn text(self) -> Option<Text> {
        let says = |text: &str| Says(text.to_owned());
        let (to, subject, body) = match self {
            Self::SignUp { to, link } => (
                to,
                "Finish signing up".to_owned(),
                vec![
                    says("Somebody, you we think, signed up with this address."),
                    says("Open this link within a day to finish:"),
                    Link(link),
                    says("If that was not you, do nothing: without the link no account is made."),
                ],
            ),
            Self::SignUpAgain { to, log_in } => (
                to,
                "You have an account already".to_owned(),
                vec![
                    says(
                        "Somebody, you perhaps, signed up with this address, which has an account already. \
                         Nothing was changed.",
                    ),
                    says("Log in, or reset your password there:"),
                    Link(log_in),
                    says("If that was not you, do nothing."),
                ],
            ),
            Self::Verification { to, link } => (
                to,
                "Verify your address".to_owned(),
                vec![
                    says("Open this link within a day to show that this address is yours:"),
                    Link(link),
                    says("If you did not ask for it, do nothing."),
                ],
            ),
            Self::PasswordResetAsked { .. } => return None,
            Self::PasswordReset { to, link } => (
                to,
                "Reset your password".to_owned(),
                vec![
                    says("Somebody, you we think, asked to reset the password of this account."),
                    says("Open this link within an hour to choose another; it works once:"),
                    Link(link),
                    says("If that was not you, do nothing: your password stays as it is."),
                ],
            ),
            Self::PasswordChanged { to, at } => (
                to,
                "Your password was changed".to_owned(),
                vec![
                    Says(format!(
                        "The password of your account was changed at {}, and other sessions were ended.",
                        time(at)
                    )),
                    says("If that was not you, reset your password at once and end all sessions."),
                ],
            ),
            Self::EmailChanged { to, at } => (
                to,
                "Your address was changed".to_owned(),
                vec![
                    Says(format!(
                        "The address of your account was changed at {}; this one gets no more letters about it.",
                        time(at)
                    )),
                    says("If that was not you, tell whoever runs this installation."),
                ],
            ),
            Self::LogIn { to, at, address, user_agent } => (
                to,
                "A new log-in".to_owned(),
                vec![
                    Says(format!(
                        "Your account was logged in to at {} from {address}, which it was not before, or from a \
                         browser that is new:",
                        time(at)
                    )),
                    Says(match user_agent {
                        unknown if unknown.is_empty() => {
                            "one that does not say its name".to_owned()
                        }
                        known => known,
                    }),
                    says("If that was not you, change your password and end the other sessions."),
                ],
            ),
            Self::Invitation { to, tenant, inviter, role, link } => (
                to,
                format!("You are invited to {tenant}"),
                vec![
                    Says(format!("{inviter} invites you to {tenant} as {}.", role.as_str())),
                    says("Open this link within a week to accept:"),
                    Link(link),
                    says("If you do not know them, do nothing."),
                ],
            ),
            Self::TenantInvitation { to, tenant, link } => tenant_invitation(to, tenant, link),
        };
        Some(Text { to, subject, body })
    }
}

fn tenant_invitation(
    to: String,
    tenant: Option<String>,
    link: String,
) -> (String, String, Vec<Paragraph>) {
    let said =
        "Whoever runs this installation of Tollgate invites you to sign up with this address";
    let said = match tenant {
        Some(tenant) => format!("{said} and the organisation {tenant}."),
        None => format!("{said}."),
    };
    let body = vec![
        Says(said),
        Says("Open this link within a week to do so; it works once:".to_owned()),
        Link(link),
        Says("If you did not expect this, do nothing.".to_owned()),
    ];
    (to, "You are invited to sign up".to_owned(), body)
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_text_in_html() {
        let letter = Letter::Invitation {
            to: "bob@example.com".to_owned(),
            tenant: "<script>alert(1)</script> & \"Sons\"".to_owned(),
            inviter: "<img src=x onerror='alert(1)'>@example.com".to_owned(),
            role: Role::Viewer,
            link: "https://gate.example/invitation?token=x\"onclick=\"alert(1)".to_owned(),
        };
        let html = letter.text().unwrap().html();

        let tags = html.split('<').skip(1).map(|rest| rest.split(['>', ' ']).next().unwrap());
        let known = ["!doctype", "html", "head", "meta", "title", "body", "p", "a"];
        let strangers: Vec<&str> =
            tags.filter(|tag| !known.contains(&tag.trim_start_matches('/'))).collect();
        assert_eq!(strangers, [""; 0], "{html}");
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Sons&quot;"));
        assert!(html.contains("token=x&quot;onclick=&quot;alert(1)\">"), "{html}");
    }

    #[test]
    fn a_letter_is_plain_and_short() {
        let at = "2026-11-20T12:00:00Z".parse().unwrap();
        let to = || "ada@example.com".to_owned();
        let link = || format!("https://gate.example/reset-password?token={}", "x".repeat(43));
        let letters = [
            Letter::SignUp { to: to(), link: link() },
            Letter::SignUpAgain { to: to(), log_in: link() },
            Letter::TenantInvitation { to: to(), tenant: Some("Engines".to_owned()), link: link() },
            Letter::Verification { to: to(), link: link() },
            Letter::PasswordReset { to: to(), link: link() },
            Letter::PasswordChanged { to: to(), at },
            Letter::EmailChanged { to: to(), at },
            Letter::LogIn {
                to: to(),
                at,
                address: "192.0.2.1".to_owned(),
                user_agent: String::new(),
            },
        ];
        for letter in letters {
            let text = letter.text().unwrap();
            let plain = text.plain();
            assert!(text.subject.len() < 40 && plain.len() < 500, "{text:?}");
            assert!(plain.is_ascii() && plain.ends_with(".\n"), "{text:?}");
            assert!(!plain.contains("  "), "{text:?}");
        }
        assert!(Letter::PasswordResetAsked { email: to() }.text().is_none());
    }
}
