//! What lies where in a cluster, as one of its nodes says.

use std::{collections::HashMap, fmt};

use redis::{ConnectionAddr, FromRedisValue, ParsingError, Value};

/// One server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    host: String,
    port: u16,
}

/// Which primary holds which slots.
#[derive(Debug, Default)]
pub(super) struct Topology {
    /// Ascending: the first slot, the last, and who holds them.
    ranges: Vec<(u16, u16, Node)>,
    /// Slots that lie elsewhere since.
    moved: HashMap<u16, Node>,
    /// Replicas too.
    nodes: Vec<Node>,
}

impl Node {
    /// `None` for what has no port.
    pub(super) fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }

    /// As another node speaks of it: one that does not know its own name, or all the same for all, is where it was asked.
    pub(super) fn told(host: &str, port: u16, asked: &Self) -> Self {
        let host = match host.trim_matches(['[', ']']) {
            "" | "?" => &asked.host,
            host => host,
        };
        Self { host: host.to_owned(), port }
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

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Topology {
    /// From the answer to `CLUSTER SLOTS`: of each range of slots the first, the last, its primary and its replicas, each
    /// with host, port and more.
    pub(super) fn of_slots(answer: Value, asked: &Node) -> Result<Self, ParsingError> {
        let mut topology = Self::default();
        for range in Vec::<Vec<Value>>::from_redis_value(answer)? {
            let mut range = range.into_iter();
            let mut slot = || u16::from_redis_value(range.next().unwrap_or(Value::Nil));
            let (first, last) = (slot()?, slot()?);
            let mut primary = None;
            for server in range {
                let mut server = Vec::<Value>::from_redis_value(server)?.into_iter();
                let host = Option::<String>::from_redis_value(server.next().unwrap_or(Value::Nil))?;
                let port = u16::from_redis_value(server.next().unwrap_or(Value::Nil))?;
                let node = Node::told(host.as_deref().unwrap_or_default(), port, asked);
                if !topology.nodes.contains(&node) {
                    topology.nodes.push(node.clone());
                }
                primary.get_or_insert(node);
            }
            topology.ranges.extend(primary.map(|primary| (first, last, primary)));
        }
        topology.ranges.sort_by_key(|(first, ..)| *first);
        Ok(topology)
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Node> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let of_range = || self.ranges[..after].last().filter(|(_, last, _)| slot <= *last);
        self.moved.get(&slot).or_else(|| of_range().map(|(.., node)| node))
    }

    /// It lies there now, by the word of who had it.
    pub(super) fn moved(&mut self, slot: u16, to: &Node) {
        if !self.nodes.contains(to) {
            self.nodes.push(to.clone());
        }
        self.moved.insert(slot, to.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    fn server(host: Value, port: i64) -> Value {
        let id = Value::BulkString(b"8d1b0fbe".to_vec());
        Value::Array(vec![host, Value::Int(port), id, Value::Array(Vec::new())])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn each_slot_has_the_primary_that_a_node_names() {
        let range = |first, last, servers: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], servers].concat())
        };
        let answer = Value::Array(vec![
            range(10_923, 16_383, vec![server(Value::Nil, 3)]),
            range(0, 99, vec![server(text("a"), 1), server(text("b"), 2)]),
            range(200, 200, vec![server(text(""), 4)]),
            range(300, 400, vec![]),
        ]);
        let asked = node("asked", 9);
        let mut topology = Topology::of_slots(answer, &asked).unwrap();
        assert_eq!(topology.owner(0), Some(&node("a", 1)));
        assert_eq!(topology.owner(99), Some(&node("a", 1)));
        assert_eq!(topology.owner(100), None);
        assert_eq!(topology.owner(200), Some(&node("asked", 4)), "itself, without a name");
        assert_eq!(topology.owner(201), None);
        assert_eq!(topology.owner(350), None, "nobody's");
        assert_eq!(topology.owner(16_383), Some(&node("asked", 3)));
        assert_eq!(topology.nodes().len(), 4, "{:?}", topology.nodes());

        topology.moved(99, &node("c", 5));
        assert_eq!(topology.owner(99), Some(&node("c", 5)));
        assert_eq!(topology.owner(98), Some(&node("a", 1)));
        assert!(topology.nodes().contains(&node("c", 5)));
    }

    #[test]
    fn what_is_no_answer_to_cluster_slots_is_refused() {
        let asked = node("asked", 9);
        let int = Value::Int;
        for answer in [
            int(1),
            Value::Array(vec![int(1)]),
            Value::Array(vec![Value::Array(vec![int(1)])]),
            Value::Array(vec![Value::Array(vec![int(0), int(70_000)])]),
            Value::Array(vec![Value::Array(vec![int(-1), int(2)])]),
            Value::Array(vec![Value::Array(vec![int(0), int(2), int(7)])]),
            Value::Array(vec![Value::Array(vec![int(0), int(2), server(text("a"), 70_000)])]),
        ] {
            assert!(Topology::of_slots(answer.clone(), &asked).is_err(), "{answer:?}");
        }
        let none = Topology::of_slots(Value::Array(Vec::new()), &asked).unwrap();
        assert_eq!(none.owner(0), None);
    }

    #[test]
    fn a_node_is_named_as_others_speak_of_it() {
        let asked = node("asked", 9);
        assert_eq!(Node::told("::1", 7, &asked), node("::1", 7));
        assert_eq!(Node::told("[::1]", 7, &asked), node("::1", 7));
        assert_eq!(Node::told("?", 7, &asked), node("asked", 7));
    }
}
