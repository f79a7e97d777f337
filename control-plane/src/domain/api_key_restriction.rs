//! From where an API key is good: networks of clients, and pages by their origin.

use std::net::IpAddr;

use ipnet::IpNet;
use plan::OriginPattern;

use crate::error::{Error, Result};

/// A key names at most so many networks, and as many origins.
pub const ENTRIES_MAX: usize = 50;
/// All origins of a key together: each node holds those of every key of its cell.
pub const ORIGINS_BYTES_MAX: usize = 2048;

/// Networks as CIDR, each once, in the order given. A single address is a network of one.
pub fn networks(given: Vec<String>) -> Result<Vec<IpNet>> {
    let wrong = |rule: String| Error::bad_request("clientNetworks", rule);
    bounded("clientNetworks", "client networks", &given)?;
    let mut networks = Vec::with_capacity(given.len());
    for text in given {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = network.map_err(|_| {
            wrong(format!("{text:?} is no network, such as 203.0.113.0/24 or 2001:db8::/32"))
        })?;
        if network.trunc() != network {
            return Err(wrong(format!(
                "{network} is inside of a network; write {}",
                network.trunc()
            )));
        }
        if let IpNet::V6(inner) = network
            && inner.network().to_ipv4_mapped().is_some()
        {
            return Err(wrong(format!("{network} is IPv4 written as IPv6; write it as IPv4")));
        }
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Ok(networks)
}

/// Origins as browsers write them, each once, in the order given.
pub fn origins(given: Vec<String>) -> Result<Vec<String>> {
    bounded("origins", "origins", &given)?;
    let mut origins = Vec::with_capacity(given.len());
    for text in given {
        let origin = OriginPattern::parse(&text)
            .map_err(|error| Error::bad_request("origins", format!("{text:?} {error}")))?;
        let origin = origin.to_string();
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    if origins.iter().map(String::len).sum::<usize>() > ORIGINS_BYTES_MAX {
        let rule =
            format!("the origins of a key have at most {ORIGINS_BYTES_MAX} characters together");
        return Err(Error::limit_exceeded("origins", rule));
    }
    Ok(origins)
}

fn bounded(param: &'static str, what: &str, given: &[String]) -> Result<()> {
    if given.len() > ENTRIES_MAX {
        let rule = format!("a key names at most {ENTRIES_MAX} {what}");
        return Err(Error::limit_exceeded(param, rule));
    }
    if given.iter().any(|text| text.len() > 300) {
        return Err(Error::bad_request(param, "each must have at most 300 characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn networks_and_origins_are_kept_in_one_spelling_and_once() {
        let kept =
            networks(texts(&["203.0.113.0/24", "2001:DB8::/32", "192.0.2.7", "192.0.2.7/32"]));
        let kept: Vec<String> = kept.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["203.0.113.0/24", "2001:db8::/32", "192.0.2.7/32"]);
        let kept = origins(texts(&["https://Example.com:443", "https://example.com"])).unwrap();
        assert_eq!(kept, ["https://example.com"]);
    }

    #[test]
    fn a_wrong_entry_is_named_with_its_field() {
        for (text, why) in [
            ("203.0.113.7/24", "write 203.0.113.0/24"),
            ("203.0.113.0/33", "\"203.0.113.0/33\" is no network"),
            ("example.com", "is no network"),
            ("", "is no network"),
            ("::ffff:192.0.2.0/120", "write it as IPv4"),
        ] {
            let error = networks(texts(&["192.0.2.0/24", text])).unwrap_err();
            assert_eq!((error.code(), error.param()), ("bad_request", Some("clientNetworks")));
            assert!(error.to_string().contains(why), "{error}");
        }
        let error = origins(texts(&["https://a.test", "a.test"])).unwrap_err();
        assert_eq!((error.code(), error.param()), ("bad_request", Some("origins")));
        assert!(error.to_string().contains("\"a.test\" must be scheme://host"), "{error}");
    }

    #[test]
    fn a_key_names_at_most_fifty_of_each() {
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| format!("10.0.{n}.0/24")).collect();
        assert_eq!(networks(many[1..].to_vec()).unwrap().len(), ENTRIES_MAX);
        let error = networks(many).unwrap_err();
        assert_eq!((error.code(), error.param()), ("limit_exceeded", Some("clientNetworks")));
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| format!("https://a{n}.test")).collect();
        let error = origins(many).unwrap_err();
        assert_eq!((error.code(), error.param()), ("limit_exceeded", Some("origins")));
    }

    #[test]
    fn the_origins_of_a_key_have_2048_characters_together() {
        let label = "a".repeat(57);
        let full: Vec<String> =
            (0..16).map(|n| format!("https://{n:02}.{label}.{label}.t")).collect();
        assert_eq!(full.iter().map(String::len).sum::<usize>(), ORIGINS_BYTES_MAX);
        assert_eq!(origins(full.clone()).unwrap(), full);
        // What is kept once counts once.
        let twice = [full.clone(), full.clone()].concat();
        assert_eq!(origins(twice).unwrap(), full);
        let longer = [full, texts(&["https://a"])].concat();
        let error = origins(longer).unwrap_err();
        assert_eq!((error.code(), error.param()), ("limit_exceeded", Some("origins")));
        assert!(error.to_string().contains("2048 characters together"), "{error}");
    }
}
