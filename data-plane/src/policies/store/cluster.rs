//! A Redis Cluster: which primary each slot lies on, and a connection to each that is asked. Only what was surely not run,
//! as its key lies elsewhere, is sent again, to where that is.
//!
//! What lies where is learnt beside the questions, never before them, but for the first: a primary that is gone holds up
//! nothing but what is asked about its own keys.

mod topology;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use proto::redis_keys;
use redis::{
    Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates, Value,
    aio::{ConnectionLike, ConnectionManager},
};
use tokio::{
    task::spawn_local,
    time::{Instant, timeout},
};

use self::topology::{Node, Topology};
use super::{Patience, one};

const PATIENCE: Patience = Patience {
    connect: Duration::from_millis(500),
    answer: Duration::from_secs(1),
    // Whoever asks next tries again, by then perhaps somewhere else.
    retries: 0,
};
/// How often one question follows a key that moved.
const MOVES_MAX: u32 = 3;
/// How long one node may take to say what lies where.
const LEARN_MAX: Duration = Duration::from_millis(500);
/// How long after it was learnt what lies where it is not asked again.
const LEARN_REST: Duration = Duration::from_secs(1);

/// One data thread's view of a cluster.
#[derive(Clone)]
pub(super) struct Cluster(Rc<Inner>);

struct Inner {
    /// How each node is connected to, but for its address.
    how: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    named: Vec<Node>,
    topology: RefCell<Topology>,
    connections: RefCell<HashMap<Node, ConnectionManager>>,
    learning: RefCell<Option<Shared<LocalBoxFuture<'static, ()>>>>,
    learnt_at: Cell<Option<Instant>>,
    /// Whom to ask first what lies where: one that is behind must not be asked for good.
    turn: Cell<usize>,
}

impl Cluster {
    /// Connects when it is first asked.
    pub(super) fn new(urls: &[String], certificates: Option<TlsCertificates>) -> RedisResult<Self> {
        let urls = urls.iter().map(|url| url.as_str().into_connection_info());
        let urls = urls.collect::<RedisResult<Vec<_>>>()?;
        let named = urls.iter().map(|it| Node::of(it.addr()).ok_or_else(no_address));
        let named = named.collect::<RedisResult<Vec<_>>>()?;
        let how = urls.into_iter().next().ok_or_else(no_address)?;
        if how.redis_settings().db() != 0 {
            return Err((ErrorKind::InvalidClientConfig, "a cluster has no database but 0").into());
        }
        let inner = Inner {
            how,
            certificates,
            named,
            topology: RefCell::default(),
            connections: RefCell::default(),
            learning: RefCell::default(),
            learnt_at: Cell::default(),
            turn: Cell::default(),
        };
        // What is wrong with the URL is told now.
        inner.connect(&inner.named[0])?;
        Ok(Self(Rc::new(inner)))
    }

    /// Sends what concerns one key to where that lies.
    pub(super) async fn send<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> RedisResult<T> {
        let slot = redis_keys::slot(key);
        let mut node = self.owner(slot).await?;
        for _ in 0..=MOVES_MAX {
            let error = match command.query_async(&mut self.0.connection(&node)?).await {
                Err(error) => error,
                answer => return answer,
            };
            let next = match error.kind() {
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    let to = redirected(&error, &node);
                    if let Some(to) = &to {
                        self.0.topology.borrow_mut().moved(slot, to);
                    }
                    self.learn_soon();
                    to
                }
                // No primary any more, and it has not heard who is.
                ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                    self.learn().await;
                    Some(self.owner(slot).await?)
                }
                ErrorKind::Server(ServerErrorKind::Ask) => {
                    return self.ask_there(&node, command, error).await;
                }
                ErrorKind::Server(ServerErrorKind::NoScript) => return Err(error),
                _ => None,
            };
            match next.filter(|next| *next != node) {
                Some(next) => node = next,
                None => return Err(self.failed(&node, error)),
            }
        }
        Err((ErrorKind::Client, "a key moves faster than it can be followed").into())
    }

    /// A key whose slot is on its way lies there already, or will: for this once it is asked for there.
    async fn ask_there<T: FromRedisValue>(
        &self,
        node: &Node,
        command: &Cmd,
        error: RedisError,
    ) -> RedisResult<T> {
        let Some(there) = redirected(&error, node) else { return Err(error) };
        let mut asking = redis::pipe();
        asking.cmd("ASKING").add_command(command.clone());
        let mut connection = self.0.connection(&there)?;
        match connection.req_packed_commands(&asking, 0, 2).await {
            Ok(answers) => {
                let answer = answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error()?;
                Ok(T::from_redis_value(answer)?)
            }
            Err(error) => Err(self.failed(&there, error)),
        }
    }

    /// The cluster may have changed, and a connection that went silent may be no more.
    fn failed(&self, node: &Node, error: RedisError) -> RedisError {
        if error.is_timeout() {
            self.0.connections.borrow_mut().remove(node);
        }
        self.learn_soon();
        error
    }

    async fn owner(&self, slot: u16) -> RedisResult<Node> {
        let known = self.0.topology.borrow().owner(slot).cloned();
        if let Some(owner) = known {
            return Ok(owner);
        }
        self.learn().await;
        let owner = self.0.topology.borrow().owner(slot).cloned();
        owner.ok_or_else(|| {
            (ErrorKind::ClusterConnectionNotFound, "no primary is known for a slot").into()
        })
    }

    /// Has it learnt what lies where, without waiting for it. Not more often than each [`LEARN_REST`].
    fn learn_soon(&self) {
        let rests = self.0.learnt_at.get().is_some_and(|at| at.elapsed() < LEARN_REST);
        if !rests && self.0.learning.borrow().is_none() {
            let cluster = self.clone();
            spawn_local(async move { cluster.learn().await });
        }
    }

    /// Learns what lies where. All who ask meanwhile wait for the same.
    async fn learn(&self) {
        let learning = {
            let mut learning = self.0.learning.borrow_mut();
            let begin = || {
                let inner = self.0.clone();
                // It ends whoever waits for it.
                let task = spawn_local(async move { inner.learn().await });
                task.map(drop).boxed_local().shared()
            };
            learning.get_or_insert_with(begin).clone()
        };
        learning.await;
    }
}

impl Inner {
    async fn learn(&self) {
        let mut nodes = self.topology.borrow().nodes().to_vec();
        for named in &self.named {
            if !nodes.contains(named) {
                nodes.push(named.clone());
            }
        }
        let turn = self.turn.get() % nodes.len();
        nodes.rotate_left(turn);
        self.turn.set(turn + 1);
        for node in nodes {
            match timeout(LEARN_MAX, self.topology_by(&node)).await {
                Ok(Ok(topology)) => {
                    let mut connections = self.connections.borrow_mut();
                    connections.retain(|node, _| topology.nodes().contains(node));
                    self.topology.replace(topology);
                    break;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%node, %error, "a Redis did not say what lies where");
                }
                Err(_) => tracing::debug!(%node, "a Redis did not say in time what lies where"),
            }
        }
        self.learnt_at.set(Some(Instant::now()));
        self.learning.take();
    }

    async fn topology_by(&self, node: &Node) -> RedisResult<Topology> {
        let slots = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let answer = slots.query_async(&mut self.connection(node)?).await?;
        let topology = Topology::of_slots(answer, node)?;
        if topology.nodes().is_empty() {
            let outside = "it belongs to no cluster";
            return Err((ErrorKind::ClusterConnectionNotFound, outside).into());
        }
        Ok(topology)
    }

    fn connection(&self, node: &Node) -> RedisResult<ConnectionManager> {
        let mut connections = self.connections.borrow_mut();
        if let Some(connection) = connections.get(node) {
            return Ok(connection.clone());
        }
        let connection = self.connect(node)?;
        connections.insert(node.clone(), connection.clone());
        Ok(connection)
    }

    fn connect(&self, node: &Node) -> RedisResult<ConnectionManager> {
        let how = self.how.clone().set_addr(node.address(self.how.addr()));
        one(how, self.certificates.clone(), &PATIENCE)
    }
}

fn no_address() -> RedisError {
    (ErrorKind::InvalidClientConfig, "a cluster is named by hosts and ports").into()
}

/// Where a key lies instead, by the node that was asked for it.
fn redirected(error: &RedisError, asked: &Node) -> Option<Node> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Node::told(host, port.parse().ok()?, asked))
}
