//! A connection for each call, each with a full TLS handshake: nothing of an earlier one is used again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Made, Target};
use crate::machine;

const THREADS: usize = 3;

pub(super) fn run(
    target: &Target,
    callers: usize,
    expected: u16,
    seconds: u32,
    cores: &str,
) -> Result<Made> {
    let config = Arc::new(client()?);
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds.into());
    let thread = || -> Result<Vec<Duration>> {
        machine::pin_this_thread(cores)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let callers =
                (0..callers.div_ceil(THREADS)).map(|_| call(target, expected, &config, until));
            Ok(futures_util::future::try_join_all(callers).await?.concat())
        })
    };
    let mut took = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
        let took = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        Ok::<_, anyhow::Error>(took.collect::<Result<Vec<_>>>()?.concat())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(!took.is_empty(), "no call was answered");
    took.sort_unstable();
    let micros = |place: usize| took[place].as_secs_f64() * 1e6;
    #[expect(clippy::cast_precision_loss, reason = "calls of seconds")]
    let requests = took.len() as f64;
    Ok(Made {
        requests,
        seconds,
        p50_us: micros(took.len() / 2),
        p99_us: micros(took.len() * 99 / 100),
    })
}

/// Calls again and again until it is over, and tells how long each took from the first packet to the last.
async fn call(
    target: &Target,
    expected: u16,
    config: &Arc<ClientConfig>,
    until: Instant,
) -> Result<Vec<Duration>> {
    let (address, connector) = (target.address()?, TlsConnector::from(config.clone()));
    let request = String::from_utf8(target.request()?)?;
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let status = format!("HTTP/1.1 {expected} ");
    let (mut took, mut answer) = (Vec::new(), Vec::new());
    while Instant::now() < until {
        let began = Instant::now();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = connector.connect(name, stream).await.context("the TLS handshake")?;
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        stream.read_to_end(&mut answer).await.context("an answer and the connection's end")?;
        ensure!(answer.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&answer));
        took.push(began.elapsed());
    }
    Ok(took)
}

/// Who asks for what every peer knows: TLS 1.3 with X25519, and no session is kept.
pub(crate) fn client() -> Result<ClientConfig> {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The servers made their certificates themselves; whether they are who they say is not what is measured.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
