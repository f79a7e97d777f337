//! The PROXY protocol, versions 1 and 2: a load balancer says first who connected to it (the specification is
//! `HAProxy`'s, "The PROXY protocol", §2).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt, net::TcpStream};

/// The longest first line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length of version 2.
const FIXED_BYTES: usize = 16;
/// The most that may follow them: addresses, and extensions that are skipped.
const REST_BYTES_MAX: usize = 2048;

/// How far the bytes lead.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far it can still become a header, and all of the bytes belong to it.
    Incomplete,
    Complete {
        /// Of the header.
        bytes: usize,
        /// Who connected; nobody where the balancer speaks for itself, or for a socket without an address.
        client: Option<IpAddr>,
    },
}

/// What came first is no PROXY header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection of a trusted proxy does not begin with a PROXY header")]
pub struct Malformed;

/// Reads a header from the beginning of `bytes`. What follows it is not looked at.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] == SIGNATURE[..known] { binary(bytes) } else { line(bytes) }
}

/// Version 1: one line of text.
fn line(bytes: &[u8]) -> Result<Parsed, Malformed> {
    const BEGIN: &[u8] = b"PROXY ";
    let known = bytes.len().min(BEGIN.len());
    if bytes[..known] != BEGIN[..known] {
        return Err(Malformed);
    }
    let most = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = most.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(Parsed::Incomplete) } else { Err(Malformed) };
    };
    let text = most.get(BEGIN.len()..end).ok_or(Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let mut words = text.split(' ');
    let client = match words.next() {
        Some("UNKNOWN") => None, // whatever else the line says
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut address = || words.next()?.parse::<IpAddr>().ok();
            let (source, target) = (address().ok_or(Malformed)?, address().ok_or(Malformed)?);
            let mut port = || words.next()?.parse::<u16>().ok();
            port().and_then(|_| port()).ok_or(Malformed)?;
            let right =
                source.is_ipv4() == (family == "TCP4") && target.is_ipv4() == source.is_ipv4();
            if !right || words.next().is_some() {
                return Err(Malformed);
            }
            Some(source)
        }
        _ => return Err(Malformed),
    };
    Ok(Parsed::Complete { bytes: end + 2, client })
}

/// Version 2: a fixed head, then as many bytes as it says.
fn binary(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(Parsed::Incomplete) };
    let [.., command, family, high, low] = *fixed;
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if rest_bytes > REST_BYTES_MAX {
        return Err(Malformed);
    }
    let speaks_for_itself = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let total = FIXED_BYTES + rest_bytes;
    let Some(rest) = bytes.get(FIXED_BYTES..total) else { return Ok(Parsed::Incomplete) };
    let client = match family {
        _ if speaks_for_itself => None,
        // TCP over IPv4: source, target, two ports. TCP over IPv6: the same, wider.
        0x11 if rest.len() >= 12 => {
            rest.first_chunk::<4>().map(|source| Ipv4Addr::from(*source).into())
        }
        0x21 if rest.len() >= 36 => {
            rest.first_chunk::<16>().map(|source| Ipv6Addr::from(*source).into())
        }
        // Unspecified, Unix sockets and datagrams have no address that means anything here.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return Err(Malformed),
    };
    Ok(Parsed::Complete { bytes: total, client })
}

/// Takes the header off a connection, and nothing more. Answers who connected: where the header does not say, `peer`.
pub(super) async fn read(stream: &mut TcpStream, peer: SocketAddr) -> io::Result<IpAddr> {
    let mut header = Vec::with_capacity(LINE_BYTES_MAX);
    let mut ahead = [0; 256];
    loop {
        let bytes = stream.peek(&mut ahead).await?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = header.len();
        header.extend_from_slice(&ahead[..bytes]);
        match parse(&header)
            .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?
        {
            Parsed::Incomplete => drop(stream.read_exact(&mut ahead[..bytes]).await?),
            Parsed::Complete { bytes, client } => {
                stream.read_exact(&mut ahead[..bytes - before]).await?;
                return Ok(client.unwrap_or(peer.ip()).to_canonical());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: &[u8]) -> Option<IpAddr> {
        match parse(header) {
            Ok(Parsed::Complete { bytes, client }) if bytes == header.len() => client,
            other => panic!("{other:?} of {header:?}"),
        }
    }

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        let four = Some("192.0.2.7".parse().unwrap());
        let six = Some("2001:db8::7".parse().unwrap());
        assert_eq!(client(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n"), four);
        assert_eq!(client(b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n"), six);
        assert_eq!(client(b"PROXY UNKNOWN ffff::1 what ever\r\n"), None);

        let addresses = [&[192, 0, 2, 7, 198, 51, 100, 1][..], &[0; 4]].concat();
        assert_eq!(client(&second(0x21, 0x11, &addresses)), four);
        let extended = [&addresses[..], &[0xe0, 0, 3, 1, 2, 3]].concat();
        assert_eq!(client(&second(0x21, 0x11, &extended)), four, "extensions are skipped");
        let mut wide = [0; 36];
        wide[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(client(&second(0x21, 0x21, &wide)), six);
        assert_eq!(client(&second(0x20, 0x00, &[])), None, "the balancer speaks for itself");
        assert_eq!(client(&second(0x21, 0x31, &[0; 216])), None, "a Unix socket");
    }

    #[test]
    fn a_header_that_is_not_whole_yet_waits_for_the_rest() {
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n".to_vec();
        for header in [text, second(0x21, 0x11, &[0; 12])] {
            for length in 0..header.len() {
                assert_eq!(parse(&header[..length]), Ok(Parsed::Incomplete), "{length}");
            }
            let followed = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert!(
                matches!(parse(&followed), Ok(Parsed::Complete { bytes, .. }) if bytes == header.len())
            );
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        let broken: [&[u8]; 12] = [
            b"GET / HTTP/1.1\r\n",
            b"proxy TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 5000 443\r\n",
            b"PROXY TCP4 192.0.2.7 2001:db8::1 5000 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 70000\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5000\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443 more\r\n",
            b"PROXY SCTP 192.0.2.7 198.51.100.1 5000 443\r\n",
            b"PROXY TCP4 \xff 198.51.100.1 5000 443\r\n",
            b"\x16\x03\x01",
            b"PROXY \r\n",
            &endless,
        ];
        for bytes in broken {
            assert_eq!(parse(bytes), Err(Malformed), "{}", String::from_utf8_lossy(bytes));
        }
        for (command, family, rest) in [
            (0x22, 0x11, &[0; 12][..]),
            (0x31, 0x11, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x41, &[]),
        ] {
            assert_eq!(parse(&second(command, family, rest)), Err(Malformed));
        }
        let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert_eq!(parse(&huge), Err(Malformed));
    }
}
