//! What the port for https says to `openssl` and `curl`, as an auditor asks it.
//! `deploy/runbooks/nodes.md` names the tools that ask more.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::kept::trusting;
use harness::{Origin, World, eventually};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What TLS 1.2 may agree on with a node whose key is on P-256: forward secret, authenticated encryption alone.
const SUITES: [&str; 3] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
];
/// A handshake must be over by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A node with one route, and what calls it.
struct Https {
    world: World,
    origin: Origin,
    host: String,
}

impl Https {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let world = World::start_with(settings).await;
        let origin = world.origin().await.replies(200, "hello");
        let api = world.tenant("acme").await.api("pets").await;
        let api = api.get_route("/pets", &origin).await.deploy("prod").await;
        let host = format!("{}.execute-api.localhost", api.api_id);
        Self { world, origin, host }
    }

    fn address(&self) -> SocketAddr {
        self.world.tls_endpoint_address()
    }

    fn certificate(&self) -> PathBuf {
        self.world.node_directory(0).join("tls/development.pem")
    }

    fn request(&self) -> String {
        format!("GET /prod/pets HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.host)
    }

    /// `openssl s_client` with these arguments, after one request or none; all that it said.
    fn s_client(&self, arguments: &[&str], input: &str) -> Said {
        let address = self.address().to_string();
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address]);
        if !arguments.contains(&"-noservername") {
            command.args(["-servername", &self.host]);
        }
        said(command.args(arguments), input)
    }

    /// The same, asking for `/pets` and waiting for the whole answer.
    fn get(&self, arguments: &[&str]) -> Said {
        let all = [arguments, &["-ign_eof"]].concat();
        self.s_client(&all, &self.request())
    }

    fn curl(&self, arguments: &[&str]) -> Said {
        let (certificate, address) = (self.certificate(), self.address());
        let mut command = Command::new("curl");
        command.args(["-sS", "-i", "--max-time", "20", "--cacert"]).arg(certificate);
        command.args(["--resolve", &format!("{}:{}:127.0.0.1", self.host, address.port())]);
        let url = format!("https://{}:{}/prod/pets", self.host, address.port());
        said(command.args(arguments).arg(url), "")
    }
}

struct Said {
    text: String,
    success: bool,
}

impl Said {
    fn has(&self, what: &str) -> bool {
        self.text.contains(what)
    }

    /// The rest of the line that begins so.
    fn line(&self, start: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.trim().strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start} in {}", self.text)).trim()
    }
}

/// Waits for the command; the origin answers on another thread meanwhile.
fn said(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    // It may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    Said { text, success: status.success() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_3_and_1_2_are_spoken_by_strong_suites_and_nothing_else() {
    let https = Https::start(&[]).await;
    let weak = "ALL:COMPLEMENTOFALL@SECLEVEL=0";
    for (version, spoken) in
        [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)]
    {
        let said = https.s_client(&[version, "-cipher", weak], "");
        assert_eq!(said.success, spoken, "{version}: {}", said.text);
    }

    let listed = Command::new("openssl").args(["ciphers", "-s", "-tls1_2", weak]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let all: Vec<_> = listed.trim().split(':').filter(|name| !name.starts_with("TLS_")).collect();
    assert!(all.len() > 40, "{listed}");
    let taken = |name: &&&str| {
        https.s_client(&["-tls1_2", "-cipher", &format!("{name}:@SECLEVEL=0")], "").success
    };
    let mut taken: Vec<_> = all.iter().filter(taken).copied().collect();
    taken.sort_unstable();
    let mut strong = SUITES.to_vec();
    strong.sort_unstable();
    assert_eq!(taken, strong);

    for suite in
        ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"]
    {
        let said = https.s_client(&["-tls1_3", "-ciphersuites", suite], "");
        assert!(said.success && said.has(suite), "{}", said.text);
    }
    for suite in ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"] {
        assert!(!https.s_client(&["-tls1_3", "-ciphersuites", suite], "").success, "{suite}");
    }
    // The order is the node's.
    for offered in [format!("{}:{}", SUITES[0], SUITES[1]), format!("{}:{}", SUITES[1], SUITES[0])]
    {
        let said = https.s_client(&["-tls1_2", "-cipher", &offered], "");
        assert!(said.has(&format!("Cipher is {}", SUITES[0])), "{offered}: {}", said.text);
    }
    for group in ["X25519", "P-256", "P-384"] {
        assert!(https.s_client(&["-groups", group], "").success, "{group}");
    }
    for group in ["P-521", "ffdhe2048"] {
        assert!(!https.s_client(&["-groups", group], "").success, "{group}");
    }
    // No compression, extended master secret; what the server may sign with is no SHA-1.
    let said = https.s_client(&["-tls1_2"], "");
    assert_eq!(said.line("Compression:"), "NONE");
    assert_eq!(said.line("Extended master secret:"), "yes");
    assert_eq!(said.line("Peer signing digest:"), "SHA256");
    let sha1 =
        https.s_client(&["-tls1_2", "-sigalgs", "ECDSA+SHA1", "-cipher", "ALL@SECLEVEL=0"], "");
    assert!(!sha1.success, "{}", sha1.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_chooses_http2_then_http1_and_refuses_what_is_neither() {
    let https = Https::start(&[]).await;
    for (offered, chosen) in
        [("h2,http/1.1", "h2"), ("http/1.1,h2", "h2"), ("http/1.1", "http/1.1")]
    {
        let said = https.s_client(&["-alpn", offered], "");
        assert_eq!(said.line("ALPN protocol:"), chosen);
    }
    let neither = https.s_client(&["-alpn", "spdy/3"], "");
    assert!(!neither.success && neither.has("alert no application protocol"), "{}", neither.text);
    assert!(https.get(&[]).has("\r\n\r\nhello"), "without ALPN it is HTTP/1.1");

    for (flag, first) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200 OK")] {
        let said = https.curl(&[flag]);
        assert!(said.success && said.text.starts_with(first) && said.has("hello"), "{}", said.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_resumed_in_both_versions_and_begun_anew_with_what_another_process_gave() {
    let mut https = Https::start(&[]).await;
    let session = |version: &str| https.world.directory().join(format!("session{version}"));
    let sessions = ["-tls1_2", "-tls1_3"].map(|version| (version, session(version)));
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    for (version, session) in &sessions {
        let first = https.get(&[version, "-sess_out", &file(session)]);
        assert!(first.has("New, TLSv1") && first.has("hello"), "{}", first.text);
        for _ in 0..4 {
            let again = https.get(&[version, "-sess_in", &file(session)]);
            assert!(again.has("Reused, TLSv1") && again.has("hello"), "{}", again.text);
        }
        // A request that may be replayed is not taken.
        assert!(!first.has("Max Early Data") || first.line("Max Early Data:") == "0");
    }

    https.world.kill_node();
    https.world.start_node().await;
    for (version, session) in &sessions {
        let said = https.get(&[version, "-sess_in", &file(session)]);
        assert!(said.has("New, TLSv1") && said.has("hello"), "{}", said.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_renegotiates() {
    let https = Https::start(&[]).await;
    let said = https.s_client(&["-tls1_2"], "R\n");
    assert!(said.has("RENEGOTIATING"), "{}", said.text);
    assert!(!said.success && said.has("no renegotiation"), "{}", said.text);
    let plain = https.s_client(&["-tls1_2"], "");
    assert!(plain.has("Secure Renegotiation IS supported"), "{}", plain.text); // RFC 5746
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_the_zones_whatever_name_is_asked_for() {
    let https = Https::start(&[]).await;
    let certificate = https.certificate();
    let trusted = ["-CAfile", certificate.to_str().unwrap(), "-verify_return_error"];
    let verified = |name: &str, more: &[&str]| {
        let all = [&["-servername", name, "-verify_hostname", name], &trusted[..], more].concat();
        https.s_client(&all, "").success
    };
    assert!(verified(&https.host, &[]));
    assert!(verified("another.execute-api.localhost", &[]));
    // Nobody is shown a certificate for a name that is not the installation's.
    for stranger in ["bank.example.com", "a.b.execute-api.localhost"] {
        assert!(!verified(stranger, &[]), "{stranger}");
    }
    let said = https.s_client(&["-noservername"], "");
    assert!(said.success && said.has("CN = \"Tollgate, for development\""), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_certificate_for_the_name_is_shown_and_a_renewed_one_after_it() {
    let directory = std::env::temp_dir().join(format!("tollgate-{}", rand::random::<u32>()));
    std::fs::create_dir(&directory).unwrap();
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let make = |index: usize, name: &str, serial: &str| {
        let (key, chain) = (file(&format!("{index}.key")), file(&format!("{index}.pem")));
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]);
        command.args(["-days", "30", "-subj", "/CN=test", "-set_serial", serial]);
        command.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
        let said = said(command.args(["-keyout", &key, "-out", &chain]), "");
        assert!(said.success, "{}", said.text);
    };
    make(0, "*.execute-api.localhost", "100");
    make(1, "shop.example.com", "101");
    let list = |ending: &str| [0, 1].map(|index| file(&format!("{index}.{ending}"))).join(",");
    let https = Https::start(&[
        ("TOLLGATE_NODE_TLS_CERTIFICATE_FILE", &list("pem")),
        ("TOLLGATE_NODE_TLS_KEY_FILE", &list("key")),
    ])
    .await;
    let shown = |name: &str| {
        let address = https.address().to_string();
        let script = "openssl s_client -connect $0 -servername $1 </dev/null 2>&1 | openssl x509 -noout -serial";
        said(Command::new("bash").args(["-c", script, &address, name]), "")
            .line("serial=")
            .to_owned()
    };
    assert_eq!(shown(&https.host), "64");
    assert_eq!(shown("shop.example.com"), "65");
    assert_eq!(shown("bank.example.com"), "64");

    make(1, "shop.example.com", "102");
    eventually("the renewed certificate", async || {
        (shown("shop.example.com") == "66").then_some(())
    })
    .await;
    assert_eq!(shown(&https.host), "64");
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_told_so_or_closed_and_a_slow_one_is_cut() {
    let https = Https::start(&[]).await;
    let address = https.address();
    let url = format!("http://{address}/prod/pets");
    let plain = said(Command::new("curl").args(["-sS", "-i", "--max-time", "20", &url]), "");
    assert!(plain.text.starts_with("HTTP/1.1 400 "), "{}", plain.text);
    assert!(plain.has("This port speaks https; you sent http."), "{}", plain.text);
    let secure = format!("https://{}/prod/pets", https.world.endpoint_address());
    let secure = said(Command::new("curl").args(["-sSk", "--max-time", "20", &secure]), "");
    assert!(!secure.success, "https on the port for http: {}", secure.text);

    let hello = client_hello(&https);
    let mut tasks = tokio::task::JoinSet::new();
    let broken = [
        ("noise", vec![0xff; 100], false),
        ("an alert", vec![21, 3, 1, 0, 2, 2, 40], false),
        (
            "a record that is too long",
            [&[22, 3, 1, 0xff, 0xff][..], &vec![1; 0xffff]].concat(),
            false,
        ),
        ("SSL 2.0", [&[0x80, 0x2e, 1, 0, 2][..], &[0; 43]].concat(), false),
        ("nothing", vec![], true),
        ("half a hello", hello[..hello.len() / 2].to_vec(), true),
        ("a hello", hello, true), // and never what comes after it
    ];
    for (name, bytes, slow) in broken {
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let began = Instant::now();
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            (name, slow, began.elapsed())
        });
    }
    eventually("the end of all", async || {
        let (name, slow, took) = tasks.try_join_next()?.unwrap();
        println!("{name}: closed after {took:.1?}");
        let limit = if slow { HEADER_TIMEOUT } else { Duration::ZERO };
        assert!(took >= limit && took < limit + Duration::from_secs(2), "{name}: {took:?}");
        tasks.is_empty().then_some(())
    })
    .await;
    assert!(https.get(&[]).has("hello"));
}

/// The first message of a handshake.
fn client_hello(https: &Https) -> Vec<u8> {
    let name = ServerName::try_from(https.host.clone()).unwrap();
    let config = trusting(&https.world.node_directory(0), false);
    let mut hello = Vec::new();
    rustls::ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_balancers_proxy_header_comes_before_tls_and_says_who_called() {
    let https = Https::start(&[
        ("TOLLGATE_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("TOLLGATE_PROXY_PROTOCOL", "on"),
    ])
    .await;
    let second = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[192, 0, 2, 8, 198, 51, 100, 1, 0x13, 0x88, 1, 0xbb],
    ]
    .concat();
    let first = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n".to_vec();
    for (header, caller) in [(first, "192.0.2.7"), (second, "192.0.2.8")] {
        let mut stream = TcpStream::connect(https.address()).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let connector = TlsConnector::from(trusting(&https.world.node_directory(0), false));
        let name = ServerName::try_from(https.host.clone()).unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(https.request().as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        let received = https.origin.received().pop().unwrap();
        assert_eq!(received.headers["x-forwarded-for"], caller);
        assert_eq!(received.headers["x-forwarded-proto"], "https");
    }
    // curl's own words; and who sends none is not let in.
    assert!(https.curl(&["--haproxy-protocol"]).has("hello"));
    assert!(!https.curl(&[]).success);
    assert_eq!(https.origin.received().len(), 3);
}
