//! What lies where in a cluster, as one of its servers says.

use std::{collections::HashMap, fmt};

use redis::{ConnectionAddr, FromRedisValue, ParsingError, Value};

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    host: String,
    port: u16,
}

/// Which primary holds which slots.
#[derive(Debug, Default)]
pub(super) struct Topology {
    /// Ascending: the first slot, the last, and who holds them.
    ranges: Vec<(u16, u16, Server)>,
    /// Slots that lie elsewhere since.
    moved: HashMap<u16, Server>,
    /// Replicas too.
    servers: Vec<Server>,
}

impl Server {
    /// `None` for what has no port.
    pub(super) fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }

    /// As another server speaks of it. No host: the one that was asked, by the name under which it was. `None`: it has no
    /// name that is known.
    pub(super) fn told(host: &str, port: u16, asked: &Self) -> Option<Self> {
        let host = match host.trim_matches(['[', ']']) {
            "?" => return None,
            "" => &asked.host,
            host => host,
        };
        Some(Self { host: host.to_owned(), port })
    }

    /// Its address, reached in the way that the other is.
    pub(super) fn address(&self, like: &ConnectionAddr) -> ConnectionAddr {
        let (host, port) = (self.host.clone(), self.port);
        match like {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Topology {
    /// From the answer to `CLUSTER SLOTS`: of each range of slots the first, the last, its primary and its replicas, each
    /// with host, port and more.
    pub(super) fn of_slots(answer: Value, asked: &Server) -> Result<Self, ParsingError> {
        let mut topology = Self::default();
        for range in Vec::<Vec<Value>>::from_redis_value(answer)? {
            let mut range = range.into_iter();
            let mut slot = || number(range.next().unwrap_or(Value::Nil));
            let (first, last) = (slot()?, slot()?);
            let mut primary = None;
            for (index, server) in range.enumerate() {
                let Some(server) = told(server, asked)? else { continue };
                if !topology.servers.contains(&server) {
                    topology.servers.push(server.clone());
                }
                if index == 0 {
                    primary = Some(server);
                }
            }
            topology.ranges.extend(primary.map(|primary| (first, last, primary)));
        }
        topology.ranges.sort_by_key(|(first, ..)| *first);
        Ok(topology)
    }

    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Server> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let of_range = || self.ranges[..after].last().filter(|(_, last, _)| slot <= *last);
        self.moved.get(&slot).or_else(|| of_range().map(|(.., server)| server))
    }

    /// It lies there now, by the word of who had it.
    pub(super) fn moved(&mut self, slot: u16, to: &Server) {
        if !self.servers.contains(to) {
            self.servers.push(to.clone());
        }
        self.moved.insert(slot, to.clone());
    }
}

/// A slot or a port.
fn number(value: Value) -> Result<u16, ParsingError> {
    // The client itself would cut off what does not fit.
    let number = i64::from_redis_value(value)?;
    u16::try_from(number).map_err(|_| format!("{number} is no slot and no port").into())
}

/// A server in an answer: host, port, id, and more of it by name.
fn told(server: Value, asked: &Server) -> Result<Option<Server>, ParsingError> {
    let mut server = Vec::<Value>::from_redis_value(server)?.into_iter();
    let mut next = || server.next().unwrap_or(Value::Nil);
    let host = Option::<String>::from_redis_value(next())?.unwrap_or_default();
    let (port, _id, more) = (number(next())?, next(), next());
    let mut address = None;
    if host == "?" {
        // Others are spoken of by name, and this one has none.
        address = Option::<HashMap<String, String>>::from_redis_value(more)?
            .and_then(|mut more| more.remove("ip"));
    }
    Ok(Server::told(address.as_deref().unwrap_or(&host), port, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16) -> Server {
        Server { host: host.into(), port }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// As an answer has it, by the name that is preferred for it, with its address beside that.
    fn entry(host: Value, port: i64, address: &[&str]) -> Value {
        let more = address.iter().flat_map(|address| [text("ip"), text(address)]);
        Value::Array(vec![host, Value::Int(port), text("8d1b0fbe"), Value::Array(more.collect())])
    }

    fn range(first: i64, last: i64, servers: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], servers].concat())
    }

    #[test]
    fn each_slot_has_the_primary_that_a_server_names() {
        let answer = Value::Array(vec![
            range(10_923, 16_383, vec![entry(Value::Nil, 3, &[])]),
            range(0, 99, vec![entry(text("a"), 1, &[]), entry(text("b"), 2, &[])]),
            range(200, 200, vec![entry(text(""), 4, &["10.0.0.4"])]),
            range(300, 400, vec![]),
            range(500, 500, vec![entry(text("?"), 5, &["10.0.0.5"])]),
            range(600, 600, vec![entry(text("?"), 6, &[]), entry(text("b"), 2, &[])]),
        ]);
        let asked = server("asked", 9);
        let mut topology = Topology::of_slots(answer, &asked).unwrap();
        for (slot, owner) in [
            (0, Some(("a", 1))),
            (99, Some(("a", 1))),
            (100, None),
            (200, Some(("asked", 4))),
            (201, None),
            (350, None),
            (500, Some(("10.0.0.5", 5))),
            (600, None),
            (16_383, Some(("asked", 3))),
        ] {
            let owner = owner.map(|(host, port)| server(host, port));
            assert_eq!(topology.owner(slot), owner.as_ref(), "slot {slot}");
        }
        assert_eq!(topology.servers().len(), 5, "{:?}", topology.servers());

        topology.moved(99, &server("c", 5));
        assert_eq!(topology.owner(99), Some(&server("c", 5)));
        assert_eq!(topology.owner(98), Some(&server("a", 1)));
        assert!(topology.servers().contains(&server("c", 5)));
    }

    #[test]
    fn what_is_no_answer_to_cluster_slots_is_refused() {
        let asked = server("asked", 9);
        let array = Value::Array;
        for answer in [
            Value::Int(1),
            array(vec![Value::Int(1)]),
            array(vec![array(vec![Value::Int(1)])]),
            array(vec![range(0, 70_000, vec![])]),
            array(vec![range(-1, 2, vec![])]),
            array(vec![range(0, 2, vec![Value::Int(7)])]),
            array(vec![range(0, 2, vec![entry(text("a"), 70_000, &[])])]),
            array(vec![range(
                0,
                2,
                vec![array(vec![text("?"), Value::Int(1), text("8d1b0fbe"), text("ip")])],
            )]),
        ] {
            assert!(Topology::of_slots(answer.clone(), &asked).is_err(), "{answer:?}");
        }
        let none = Topology::of_slots(array(Vec::new()), &asked).unwrap();
        assert_eq!(none.owner(0), None);
    }

    #[test]
    fn a_server_is_named_as_others_speak_of_it() {
        let asked = server("asked", 9);
        let told = |host| Server::told(host, 7, &asked);
        assert_eq!(told("::1"), Some(server("::1", 7)));
        assert_eq!(told("[::1]"), Some(server("::1", 7)));
        assert_eq!(told(""), Some(server("asked", 7)));
        assert_eq!(told("?"), None);
    }
}
