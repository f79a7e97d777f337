//! What the guard lets through and what it refuses, as tables.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use egress::{ConnectError, Connector, Own, Policy, Range, Scheme, Target, UriError, check_uri};

#[test]
fn an_address_is_public_or_refused_with_its_range() {
    use Range::*;
    let table: &[(&str, Option<Range>)] = &[
        ("8.8.8.8", None),
        ("1.1.1.1", None),
        ("9.255.255.255", None),
        ("11.0.0.0", None),
        ("100.63.255.255", None),
        ("100.128.0.0", None),
        ("126.255.255.255", None),
        ("128.0.0.0", None),
        ("172.15.255.255", None),
        ("172.32.0.0", None),
        ("192.167.255.255", None),
        ("198.20.0.0", None),
        ("223.255.255.255", None),
        ("2606:4700:4700::1111", None),
        ("2a00:1450::1", None),
        ("0.0.0.0", Some(Unspecified)),
        ("0.1.2.3", Some(Unspecified)),
        ("10.0.0.1", Some(Private)),
        ("10.255.255.255", Some(Private)),
        ("100.64.0.1", Some(CarrierGradeNat)),
        ("100.127.255.255", Some(CarrierGradeNat)),
        ("100.100.100.200", Some(Metadata)),
        ("127.0.0.1", Some(Loopback)),
        ("127.255.255.255", Some(Loopback)),
        ("168.63.129.16", Some(Metadata)),
        ("169.254.0.1", Some(LinkLocal)),
        ("169.254.169.254", Some(Metadata)),
        ("169.254.170.2", Some(Metadata)),
        ("172.16.0.1", Some(Private)),
        ("172.31.255.255", Some(Private)),
        ("192.0.0.1", Some(Reserved)),
        ("192.0.0.192", Some(Metadata)),
        ("192.0.2.1", Some(Documentation)),
        ("192.88.99.1", Some(SixToFour)),
        ("192.168.1.1", Some(Private)),
        ("198.18.0.1", Some(Reserved)),
        ("198.51.100.1", Some(Documentation)),
        ("203.0.113.9", Some(Documentation)),
        ("224.0.0.1", Some(Multicast)),
        ("239.255.255.255", Some(Multicast)),
        ("240.0.0.1", Some(Reserved)),
        ("255.255.255.255", Some(Reserved)),
        ("::", Some(Unspecified)),
        ("::1", Some(Loopback)),
        ("::2", Some(Mapped)),
        ("::127.0.0.1", Some(Mapped)),
        ("::ffff:8.8.8.8", Some(Mapped)),
        ("::ffff:127.0.0.1", Some(Mapped)),
        ("::ffff:169.254.169.254", Some(Mapped)),
        ("::ffff:0:10.0.0.1", Some(Mapped)),
        ("64:ff9b::8.8.8.8", Some(Nat64)),
        ("64:ff9b::a9fe:a9fe", Some(Nat64)),
        ("64:ff9b:1::1", Some(Nat64)),
        ("100::1", Some(Reserved)),
        ("2001::1", Some(Teredo)),
        ("2001:10::1", Some(Reserved)),
        ("2001:db8::1", Some(Documentation)),
        ("2002:7f00:1::", Some(SixToFour)),
        ("2002:808:808::", Some(SixToFour)),
        ("3fff::1", Some(Documentation)),
        ("4000::1", Some(Reserved)),
        ("5f00::1", Some(Reserved)),
        ("fc00::1", Some(UniqueLocal)),
        ("fd00:ec2::254", Some(Metadata)),
        ("fdff::1", Some(UniqueLocal)),
        ("fe80::1", Some(LinkLocal)),
        ("fec0::1", Some(SiteLocal)),
        ("ff02::1", Some(Multicast)),
    ];
    for (ip, expected) in table {
        assert_eq!(Range::of(ip.parse().unwrap()), *expected, "{ip}");
    }
}

#[test]
fn an_opened_range_opens_that_form_only_and_never_metadata_by_the_way() {
    let policy =
        Policy::new(["127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/0"].map(|net| net.parse().unwrap()));
    let check = |ip: &str| policy.check(ip.parse::<IpAddr>().unwrap());
    assert_eq!(check("127.0.0.1"), Ok(()));
    assert_eq!(check("10.0.0.1"), Ok(()));
    assert_eq!(check("169.254.1.1"), Ok(()));
    assert_eq!(check("169.254.169.254"), Err(Range::Metadata));
    assert_eq!(check("::1"), Err(Range::Loopback));
    assert_eq!(check("::ffff:127.0.0.1"), Err(Range::Mapped));
    assert_eq!(check("64:ff9b::7f00:1"), Err(Range::Nat64));

    let named = Policy::new(["169.254.169.254/32".parse().unwrap()]);
    assert_eq!(named.check("169.254.169.254".parse().unwrap()), Ok(()));
}

#[test]
fn a_uri_is_read_strictly_or_refused_with_what_is_wrong() {
    use UriError::{Character, Host, NumericHost, Port, TooLong, Userinfo};
    type Row = (&'static str, Result<(Scheme, &'static str, u16), UriError>);
    let table: &[Row] = &[
        ("http://example.com", Ok((Scheme::Http, "example.com", 80))),
        ("https://example.com/a?b=c", Ok((Scheme::Https, "example.com", 443))),
        ("HTTPS://EXAMPLE.com.:8443/", Ok((Scheme::Https, "example.com", 8443))),
        ("http://a_b.example-c.org:1", Ok((Scheme::Http, "a_b.example-c.org", 1))),
        ("http://8.8.8.8./", Ok((Scheme::Http, "8.8.8.8", 80))),
        ("http://[2606:4700::1111]:81/x", Ok((Scheme::Http, "[2606:4700::1111]", 81))),
        (
            "http://example.com/users/{id}/{proxy}?a=${stageVariables.x}",
            Ok((Scheme::Http, "example.com", 80)),
        ),
        ("http://xn--bcher-kva.example/", Ok((Scheme::Http, "xn--bcher-kva.example", 80))),
        ("http://example.com?x=y@z", Ok((Scheme::Http, "example.com", 80))),
        ("http://3com.example", Ok((Scheme::Http, "3com.example", 80))),
        ("ftp://example.com", Err(UriError::Scheme)),
        ("file:///etc/passwd", Err(UriError::Scheme)),
        ("gopher://example.com", Err(UriError::Scheme)),
        ("//example.com", Err(UriError::Scheme)),
        ("example.com", Err(UriError::Scheme)),
        ("", Err(UriError::Scheme)),
        ("http:example.com", Err(UriError::Scheme)),
        ("http:/example.com", Err(UriError::Scheme)),
        ("javascript://example.com", Err(UriError::Scheme)),
        ("http://user@example.com", Err(Userinfo)),
        ("http://user:secret@example.com", Err(Userinfo)),
        ("http://8.8.8.8@127.0.0.1/", Err(Userinfo)),
        ("http://127.0.0.1:80@8.8.8.8/", Err(Userinfo)),
        ("http://@example.com", Err(Userinfo)),
        ("http://example.com%40127.0.0.1", Err(Host)),
        ("http://", Err(Host)),
        ("http:///path", Err(Host)),
        ("http://:80", Err(Host)),
        ("http://.", Err(Host)),
        ("http://example..com", Err(Host)),
        ("http://.example.com", Err(Host)),
        ("http://exa%6dple.com", Err(Host)),
        ("http://127.0.0.1..", Err(Host)),
        ("http://[::1", Err(Host)),
        ("http://[fe80::1%eth0]", Err(Host)),
        ("http://[fe80::1%25eth0]", Err(Host)),
        ("http://[127.0.0.1]", Err(Host)),
        ("http://[v1.fe80::1]", Err(Host)),
        ("http://::1/", Err(Host)),
        ("http://${stageVariables.host}/", Err(Host)),
        ("http://2130706433", Err(NumericHost)),
        ("http://0x7f000001", Err(NumericHost)),
        ("http://017700000001", Err(NumericHost)),
        ("http://0x7f.1", Err(NumericHost)),
        ("http://127.1", Err(NumericHost)),
        ("http://127.0.1", Err(NumericHost)),
        ("http://0177.0.0.1", Err(NumericHost)),
        ("http://0x7f.0x0.0x0.0x1", Err(NumericHost)),
        ("http://127.0.0.0x1", Err(NumericHost)),
        ("http://127.0.0.01", Err(NumericHost)),
        ("http://0", Err(NumericHost)),
        ("http://0x", Err(NumericHost)),
        ("http://1.2.3.4.5", Err(NumericHost)),
        ("http://256.1.1.1", Err(NumericHost)),
        ("http://example.1", Err(NumericHost)),
        ("http://example.com:", Err(Port)),
        ("http://example.com:0", Err(Port)),
        ("http://example.com:65536", Err(Port)),
        ("http://example.com:80a", Err(Port)),
        ("http://example.com:+80", Err(Port)),
        ("http://example.com:80:81", Err(Port)),
        ("http://[::1]80", Err(Port)),
        ("http://example.com\\@127.0.0.1", Err(Character('\\'))),
        ("http:\\\\127.0.0.1", Err(Character('\\'))),
        ("http://example.com#@127.0.0.1", Err(Character('#'))),
        ("http://example.com/a b", Err(Character(' '))),
        ("http://example.com/\r\nHost: x", Err(Character('\r'))),
        ("http://example.com\t", Err(Character('\t'))),
        ("http://\u{2460}\u{2461}.example", Err(Character('\u{2460}'))),
        ("http://127。0。0。1", Err(Character('。'))),
        ("http://example.com/\0", Err(Character('\0'))),
    ];
    for (uri, expected) in table {
        let got = Target::parse(uri).map(|t| (t.scheme, t.host.to_string(), t.port));
        let expected = expected.clone().map(|(scheme, host, port)| (scheme, host.to_owned(), port));
        assert_eq!(got, expected, "{uri:?}");
    }
    let long = format!("http://example.com/{}", "a".repeat(16 * 1024));
    assert_eq!(Target::parse(&long), Err(TooLong));
}

#[test]
fn a_uri_that_spells_out_a_forbidden_address_is_refused_when_it_is_written() {
    let public = Policy::default();
    for (uri, range) in [
        ("http://127.0.0.1/", Range::Loopback),
        ("http://localhost:8080/", Range::Loopback),
        ("http://LOCALHOST./", Range::Loopback),
        ("http://api.localhost/", Range::Loopback),
        ("http://[::1]/", Range::Loopback),
        ("http://[::ffff:127.0.0.1]/", Range::Mapped),
        ("http://[::ffff:7f00:1]/", Range::Mapped),
        ("http://[64:ff9b::7f00:1]/", Range::Nat64),
        ("http://169.254.169.254/latest/meta-data/", Range::Metadata),
        ("http://[fd00:ec2::254]/", Range::Metadata),
        ("http://10.0.0.1/", Range::Private),
        ("http://0.0.0.0/", Range::Unspecified),
        ("http://[::]/", Range::Unspecified),
    ] {
        assert_eq!(check_uri(uri, &public), Err(UriError::Forbidden(range)), "{uri}");
    }
    assert!(check_uri("http://example.com/", &public).is_ok());
    let loopback = Policy::new(["127.0.0.0/8".parse().unwrap()]);
    for uri in ["http://127.0.0.1:3000/", "http://localhost:3000/", "http://a.b.localhost/"] {
        assert!(check_uri(uri, &loopback).is_ok(), "{uri}");
    }
}

const LIMIT: Duration = Duration::from_secs(5);

fn loopback() -> Policy {
    Policy::new(["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a range")))
}

#[tokio::test]
async fn a_checked_address_is_connected_to_and_a_forbidden_one_never_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = Connector::new(Own::default(), &[]).unwrap();
    for host in ["127.0.0.1", "localhost", "pets.localhost"] {
        let target = Target::parse(&format!("http://{host}:{port}/")).unwrap();
        let stream = connector.dial(&target, &loopback(), LIMIT).await.unwrap();
        let egress::Stream::Plain(stream) = stream else { panic!("TLS without https") };
        assert_eq!(stream.peer_addr().unwrap().port(), port);
        listener.accept().await.unwrap();

        let refused = connector.dial(&target, &Policy::default(), LIMIT).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Forbidden(Range::Loopback)), "{refused}");
    }
    // Had one of the refused calls connected, it would wait here in the queue before this one.
    let mine = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, mine.local_addr().unwrap());
}

#[tokio::test]
async fn our_own_listeners_are_refused_even_where_the_policy_opens_everything() {
    let own: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let connector = Connector::new(Own::new([own]), &[]).unwrap();
    let open = Policy::new(["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
    for host in
        ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"]
    {
        let target = Target::parse(&format!("http://{host}:8080/")).unwrap();
        let refused = connector.resolve(&target, &open, LIMIT).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Own), "{host}: {refused}");
    }
    let other = Target::parse("http://127.0.0.1:8082/").unwrap();
    assert!(connector.resolve(&other, &open, LIMIT).await.is_ok());
}
