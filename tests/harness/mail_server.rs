//! A mail server: speaks SMTP (RFC 5321) on a port of its own and keeps what it takes.

use crate::eventually;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

/// Listens until it is dropped.
pub struct MailServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
    /// Where it asks for STARTTLS: the file with its certificate.
    certificate: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    received: Vec<Letter>,
    /// The code with which letters to this address are refused, 4xx for now and 5xx for good.
    refused: Vec<(String, u16)>,
}

/// A letter as it arrived.
#[derive(Debug, Clone)]
pub struct Letter {
    /// As the envelope says it.
    pub from: String,
    /// As the envelope says it.
    pub to: Vec<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Header fields, unfolded.
    pub head: Vec<(String, String)>,
    /// The plain text, decoded.
    pub body: String,
    /// Decoded.
    pub html: String,
}

impl Letter {
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.head.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// What the letter's link carries.
    ///
    /// # Panics
    /// Where it holds no link.
    pub fn token(&self) -> String {
        let link = self.body.lines().find(|line| line.starts_with("http"));
        let token = link.and_then(|link| link.trim().split_once("token="));
        token.unwrap_or_else(|| panic!("no link in {self:?}")).1.to_owned()
    }
}

impl MailServer {
    /// Speaks in the clear.
    pub async fn start() -> Self {
        Self::listen(None, None).await
    }

    /// Takes letters after STARTTLS only, with a certificate of its own.
    ///
    /// # Panics
    /// Where the certificate cannot be written.
    pub async fn start_with_tls() -> Self {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name");
        let file = format!("tollgate-mail-{}.pem", hex::encode(rand::random::<[u8; 8]>()));
        let file = std::env::temp_dir().join(file);
        std::fs::write(&file, own.cert.pem()).expect("the directory can be written");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a certificate and its key");
        Self::listen(Some(TlsAcceptor::from(Arc::new(config))), Some(file)).await
    }

    async fn listen(tls: Option<TlsAcceptor>, certificate: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::<Mutex<State>>::default();
        let task = tokio::spawn(accept(listener, state.clone(), tls));
        Self { address, state, task, certificate }
    }

    /// For `TOLLGATE_SMTP_URL`.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "smtp+starttls" } else { "smtp" };
        format!("{scheme}://{}", self.address)
    }

    /// For `TOLLGATE_SMTP_CA_FILE`.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// Everything that was taken so far.
    pub fn received(&self) -> Vec<Letter> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }

    /// From now on letters to this address are refused with this code.
    pub fn refuse(&self, to: &str, code: u16) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused.push((to.to_owned(), code));
    }

    /// From now on letters to this address are taken.
    pub fn take(&self, to: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused.retain(|(refused, _)| refused != to);
    }

    /// The newest letter to this address with these words in its subject, when it is there.
    pub async fn letter(&self, to: &str, subject: &str) -> Letter {
        eventually(&format!("a letter to {to}: {subject}"), async || {
            let received = self.received();
            let fits = |letter: &&Letter| {
                letter.to == [to] && letter.field("subject").is_some_and(|it| it.contains(subject))
            };
            received.iter().rev().find(fits).cloned()
        })
        .await
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(file) = &self.certificate {
            let _ = std::fs::remove_file(file);
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, tls: Option<TlsAcceptor>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (state.clone(), tls.clone());
        tokio::spawn(async move { converse(stream, &state, tls).await.ok() });
    }
}

/// One conversation, to its end.
async fn converse(
    stream: TcpStream,
    state: &Mutex<State>,
    tls: Option<TlsAcceptor>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test ESMTP\r\n").await?;
    match tls {
        None => talk(&mut stream, state, Tls::No).await.map(drop),
        Some(tls) if talk(&mut stream, state, Tls::First).await? => {
            let mut stream = BufReader::new(tls.accept(stream.into_inner()).await?);
            talk(&mut stream, state, Tls::Yes).await.map(drop)
        }
        Some(_) => Ok(()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Tls {
    No,
    /// Nothing is taken before it.
    First,
    Yes,
}

/// Until the end, or until TLS is to begin: then true.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    state: &Mutex<State>,
    tls: Tls,
) -> std::io::Result<bool> {
    let (mut from, mut to) = (String::new(), Vec::new());
    while let Some(line) = read_line(stream).await? {
        let command = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match command.as_str() {
            "EHLO" | "HELO" if tls == Tls::First => "250-mail.test\r\n250 STARTTLS".to_owned(),
            "EHLO" | "HELO" => "250-mail.test\r\n250 8BITMIME".to_owned(),
            "STARTTLS" if tls == Tls::First => {
                stream.write_all(b"220 go ahead\r\n").await?;
                return Ok(true);
            }
            "MAIL" if tls == Tls::First => "530 STARTTLS first".to_owned(),
            "MAIL" => {
                from = address(&line);
                to.clear();
                "250 OK".to_owned()
            }
            "RCPT" => {
                let recipient = address(&line);
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let refused = state.refused.iter().find(|(refused, _)| *refused == recipient);
                if let Some((_, code)) = refused {
                    format!("{code} not this one")
                } else {
                    to.push(recipient);
                    "250 OK".to_owned()
                }
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut text = Vec::new();
                while let Some(line) = read_line(stream).await? {
                    if line == "." {
                        break;
                    }
                    text.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
                }
                let letter = read_letter(from.clone(), to.clone(), tls == Tls::Yes, &text);
                state.lock().unwrap_or_else(PoisonError::into_inner).received.push(letter);
                "250 OK".to_owned()
            }
            "RSET" | "NOOP" => "250 OK".to_owned(),
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(false);
            }
            _ => "500 unknown".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(false)
}

/// Without its end.
async fn read_line<S: AsyncRead + Unpin>(
    stream: &mut BufReader<S>,
) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await?;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// What stands between the angle brackets.
fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
}

fn read_letter(from: String, to: Vec<String>, tls: bool, lines: &[String]) -> Letter {
    let (head, rest) = read_head(lines);
    let mut letter = Letter { from, to, tls, head, body: String::new(), html: String::new() };
    let kind = letter.field("content-type").unwrap_or_default();
    let boundary = kind.split_once("boundary=").map(|(_, rest)| rest.trim_matches('"').to_owned());
    let Some(boundary) = boundary else {
        letter.body = rest.join("\n");
        return letter;
    };
    let delimiter = format!("--{boundary}");
    for part in rest.split(|line| line.trim_end_matches("--") == delimiter) {
        let (head, body) = read_head(part);
        let says = |value: &str| head.iter().any(|(_, known)| known.starts_with(value));
        let body = body.join("\n");
        let body = if says("quoted-printable") { quoted_printable(&body) } else { body };
        if says("text/plain") {
            letter.body = body;
        } else if says("text/html") {
            letter.html = body;
        }
    }
    letter
}

/// The header fields, unfolded, and the lines after them.
fn read_head(lines: &[String]) -> (Vec<(String, String)>, &[String]) {
    let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    let mut head: Vec<(String, String)> = Vec::new();
    for line in &lines[..end] {
        if let (Some(more), Some((_, value))) = (line.strip_prefix([' ', '\t']), head.last_mut()) {
            value.push(' ');
            value.push_str(more);
        } else {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            head.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    (head, lines.get(end + 1..).unwrap_or_default())
}

/// RFC 2045 §6.7.
fn quoted_printable(text: &str) -> String {
    let joined = text.replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'=').and_then(|code| {
            let code = std::str::from_utf8(code).ok()?;
            u8::from_str_radix(code, 16).ok()
        });
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
