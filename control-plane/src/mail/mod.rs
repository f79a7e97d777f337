//! Letters to people, by SMTP to the mail server that the operator chose. It is the operator's own, so that no
//! tenant's egress policy is asked; nobody else says where connections from here go.
//!
//! Who writes a letter puts it into the outbox in the transaction of the change (`domain::outbox`); a job sends it.

pub mod letter;

use std::time::Duration;

use lettre::message::{Mailbox, Message, MultiPart};
use lettre::transport::smtp::AsyncSmtpTransportBuilder;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::ids::MailId;
use crate::mail::letter::Text;

/// The longest that one step of a conversation with the mail server may take.
const STEP_MAX: Duration = Duration::from_secs(10);
/// The longest that one letter may take.
const LETTER_MAX: Duration = Duration::from_secs(30);

/// By which mail server letters leave, and from whom. What it holds was checked.
#[derive(Clone, Debug)]
pub struct Settings {
    url: SecretString,
    from: Mailbox,
    /// Signs the mail server's certificate, where no public authority does.
    authority: Option<Certificate>,
}

/// What is wrong with the settings, by the variable's name.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    #[error(
        "TOLLGATE_SMTP_URL is none of smtp://, smtps:// and smtp+starttls:// with a host, \
         for example smtp+starttls://user:password@mail.example:587: {0}"
    )]
    Url(String),
    #[error("TOLLGATE_MAIL_FROM is not an address, for example Tollgate <gate@example.com>: {0}")]
    From(String),
    #[error(
        "TOLLGATE_SMTP_CA_FILE holds no certificate in PEM that the mail server in TOLLGATE_SMTP_URL can have: {0}"
    )]
    Authority(String),
}

impl Settings {
    /// `url`: `smtp://` speaks in the clear, `smtps://` TLS from the first byte, `smtp+starttls://` TLS or nothing;
    /// each with `user:password@` where the server asks for it, percent-encoded.
    /// `authority`: a certificate in PEM that is trusted beside the public ones.
    pub fn new(url: &str, from: &str, authority: Option<&[u8]>) -> Result<Self, InvalidSettings> {
        let from = from.parse().map_err(|cause| InvalidSettings::From(format!("{cause}")))?;
        let authority = authority.map(read_authority).transpose()?;
        let settings = Self { url: url.into(), from, authority };
        settings.builder()?;
        Ok(settings)
    }

    fn builder(&self) -> Result<AsyncSmtpTransportBuilder, InvalidSettings> {
        let given = self.url.expose_secret();
        let url = match given.strip_prefix("smtp+starttls://") {
            Some(rest) if !rest.contains('?') => format!("smtp://{rest}?tls=required"),
            _ => given.to_owned(),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url)
            .map_err(|cause| InvalidSettings::Url(cause.to_string()))?;
        let Some(authority) = &self.authority else { return Ok(builder) };
        let wrong = |why: &str| InvalidSettings::Authority(why.to_owned());
        let parsed = Url::parse(given).map_err(|cause| InvalidSettings::Url(cause.to_string()))?;
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let parameters = TlsParameters::builder(host)
            .add_root_certificate(authority.clone())
            .build()
            .map_err(|cause| InvalidSettings::Authority(told(&cause)))?;
        match parsed.scheme() {
            "smtps" => Ok(builder.tls(Tls::Wrapper(parameters))),
            "smtp+starttls" => Ok(builder.tls(Tls::Required(parameters))),
            _ => Err(wrong("that URL asks for no TLS")),
        }
    }
}

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The server is away, busy or refuses all: the letter may be taken later.
    #[error("{0}")]
    ForNow(String),
    /// The server refuses this letter, and would again.
    #[error("{0}")]
    ForGood(String),
}

/// Connections to the mail server, kept for some time after a letter.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    pub fn new(settings: &Settings) -> Result<Self, InvalidSettings> {
        let transport = settings.builder()?.timeout(Some(STEP_MAX)).build();
        Ok(Self { transport, from: settings.from.clone() })
    }

    /// Hands one letter over. A letter that is sent twice, since the first answer was lost, has one Message-ID.
    pub async fn send(&self, id: MailId, text: &Text) -> Result<(), Failed> {
        let message = self.message(id, text).map_err(Failed::ForGood)?;
        match tokio::time::timeout(LETTER_MAX, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) if cause.is_permanent() => Err(Failed::ForGood(told(&cause))),
            Ok(Err(cause)) => Err(Failed::ForNow(told(&cause))),
            Err(_) => Err(Failed::ForNow("the mail server took too long".to_owned())),
        }
    }

    /// The header fields are made of parsed addresses and encoded words: no text of anybody's begins another field.
    fn message(&self, id: MailId, text: &Text) -> Result<Message, String> {
        let to: Address = text.to.parse().map_err(|cause| format!("{cause}"))?;
        Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .to(to.into())
            .subject(text.subject.clone())
            .multipart(MultiPart::alternative_plain_html(text.plain(), text.html()))
            .map_err(|cause| cause.to_string())
    }
}

/// lettre takes a file without a certificate for one with none to trust.
fn read_authority(pem: &[u8]) -> Result<Certificate, InvalidSettings> {
    let wrong = |why: String| InvalidSettings::Authority(why);
    CertificateDer::from_pem_slice(pem).map_err(|cause| wrong(cause.to_string()))?;
    Certificate::from_pem(pem).map_err(|cause| wrong(told(&cause)))
}

/// The error with its causes: lettre's own text names only the step.
fn told(cause: &dyn std::error::Error) -> String {
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::role::Role;
    use crate::ids::Rng;
    use crate::mail::letter::Letter;

    #[tokio::test]
    async fn nobodys_text_begins_a_header_field_of_its_own() {
        let settings = Settings::new("smtp://127.0.0.1", "gate@example.com", None).unwrap();
        let mailer = Mailer::new(&settings).unwrap();
        let evil = "Acme\r\nBcc: mallory@example.com\r\n\r\nbody";
        let letter = |to: &str| Letter::Invitation {
            to: to.to_owned(),
            tenant: evil.to_owned(),
            inviter: evil.to_owned(),
            role: Role::Viewer,
            link: "http://127.0.0.1/invitation?token=x".to_owned(),
        };
        let text = letter("bob@example.com").text().unwrap();
        let message = mailer.message(Rng.id(), &text).unwrap();

        let sent = String::from_utf8(message.formatted()).unwrap();
        let (head, _) = sent.split_once("\r\n\r\n").unwrap();
        let mut fields = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        assert!(fields.all(|field| !field.to_lowercase().starts_with("bcc")), "{head}");
        assert_eq!(message.envelope().to().len(), 1);
        for evil in
            ["bob@example.com\r\nBcc: mallory@example.com", "bob@example.com, eve@example.com"]
        {
            let text = letter(evil).text().unwrap();
            assert!(mailer.message(Rng.id(), &text).is_err(), "{evil}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let from = "Tollgate <gate@example.com>";
        for right in [
            "smtp://127.0.0.1:2525",
            "smtps://mail.example",
            "smtp+starttls://user:p%40ss@mail.example:587",
        ] {
            let settings = Settings::new(right, from, None).unwrap();
            assert!(!format!("{settings:?}").contains("p%40ss"));
        }
        for wrong in
            ["", "mail.example", "http://mail.example", "smtp://", "smtp+starttls://x?tls=none"]
        {
            let refused = Settings::new(wrong, from, None).unwrap_err().to_string();
            assert!(refused.contains("TOLLGATE_SMTP_URL"), "{wrong}: {refused}");
        }
        let refused = Settings::new("smtp://127.0.0.1", "nobody", None).unwrap_err().to_string();
        assert!(refused.contains("TOLLGATE_MAIL_FROM"), "{refused}");
        for (url, authority) in [("smtps://mail.example", "nonsense"), ("smtp://mail.example", "")]
        {
            let refused = Settings::new(url, from, Some(authority.as_bytes())).unwrap_err();
            assert!(refused.to_string().contains("TOLLGATE_SMTP_CA_FILE"), "{refused}");
        }
    }
}
