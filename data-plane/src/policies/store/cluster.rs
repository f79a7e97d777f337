//! A Redis Cluster: which primary each slot lies on, and a connection to each that is asked. Only what was surely not run,
//! as its key lies elsewhere, is sent again, to where that is.
//!
//! What lies where is learnt beside the questions. Only one about a slot that nobody is known to hold waits for it, so a
//! primary that is gone holds up nothing but what is asked about its own keys.

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
    Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind,
    TlsCertificates, Value, aio::ConnectionLike,
};
use tokio::{
    task::spawn_local,
    time::{Instant, timeout},
};

use self::topology::{Server, Topology};
use super::connection::{Connection, Patience};

const PATIENCE: Patience =
    Patience { connect: Duration::from_millis(500), answer: Duration::from_secs(1) };
/// How often one question follows a key that moved.
const MOVES_MAX: u32 = 3;
/// How long one server may take to say what lies where.
const LEARN_MAX: Duration = Duration::from_millis(500);
/// How many of those that were heard of are asked at once, one after the other, before the ones that were named.
const KNOWN_MAX: usize = 3;
/// How long what lies where is not asked for again.
const LEARN_REST: Duration = Duration::from_secs(1);

/// One data thread's view of a cluster.
#[derive(Clone)]
pub(super) struct Cluster(Rc<Inner>);

struct Inner {
    /// How each server is connected to, but for its address.
    how: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    named: Vec<Server>,
    topology: RefCell<Topology>,
    connections: RefCell<HashMap<Server, Connection>>,
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
        let named = urls.iter().map(|it| Server::of(it.addr()).ok_or_else(no_address));
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
        // What is wrong with the certificates is told now.
        inner.connection(&inner.named[0])?;
        Ok(Self(Rc::new(inner)))
    }

    /// Sends what concerns one key to where that lies.
    pub(super) async fn send(&self, key: &str, command: &Cmd) -> RedisResult<Value> {
        let slot = redis_keys::slot(key);
        let mut server = self.owner(slot).await?;
        for _ in 0..=MOVES_MAX {
            let asked = self.0.connection(&server)?;
            let error = match asked.ask(async |mut to| command.query_async(&mut to).await).await {
                Err(error) => error,
                answer => return answer,
            };
            let next = match error.kind() {
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    let to = redirected(&error, &server);
                    if let Some(to) = &to {
                        self.0.topology.borrow_mut().moved(slot, to);
                    }
                    to
                }
                // No primary any more, and it has not heard who is.
                ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                    self.learn().await;
                    Some(self.owner(slot).await?)
                }
                ErrorKind::Server(ServerErrorKind::Ask) => {
                    let answer = match redirected(&error, &server) {
                        Some(there) => self.ask_there(&there, command).await,
                        None => Err(error),
                    };
                    return answer.inspect_err(|error| self.failed(error));
                }
                _ => None,
            };
            self.failed(&error);
            match next.filter(|next| *next != server) {
                Some(next) => server = next,
                None => return Err(error),
            }
        }
        Err((ErrorKind::Client, "a key moves faster than it can be followed").into())
    }

    /// A key whose slot is on its way lies there already, or will: for this once it is asked for there.
    async fn ask_there(&self, server: &Server, command: &Cmd) -> RedisResult<Value> {
        let mut asking = redis::pipe();
        asking.cmd("ASKING").add_command(command.clone());
        let question = async |mut to: redis::aio::MultiplexedConnection| {
            let answers = to.req_packed_commands(&asking, 0, 2).await?;
            answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error()
        };
        self.0.connection(server)?.ask(question).await
    }

    /// The cluster may have changed.
    fn failed(&self, error: &RedisError) {
        if error.kind() != ErrorKind::Server(ServerErrorKind::NoScript) {
            self.learn_soon();
        }
    }

    async fn owner(&self, slot: u16) -> RedisResult<Server> {
        let known = || self.0.topology.borrow().owner(slot).cloned();
        if let Some(owner) = known() {
            return Ok(owner);
        }
        self.learn().await;
        known().ok_or_else(|| {
            (ErrorKind::ClusterConnectionNotFound, "no primary is known for a slot").into()
        })
    }

    /// Waits until it is learnt what lies where, unless that was done just now.
    async fn learn(&self) {
        if let Some(learning) = self.learning() {
            learning.await;
        }
    }

    /// Has it learnt what lies where, and waits for nothing.
    fn learn_soon(&self) {
        self.learning();
    }

    /// All who ask meanwhile wait for the same.
    fn learning(&self) -> Option<Shared<LocalBoxFuture<'static, ()>>> {
        let mut learning = self.0.learning.borrow_mut();
        if learning.is_none() && self.0.learnt_at.get().is_none_or(|at| at.elapsed() >= LEARN_REST)
        {
            let inner = self.0.clone();
            // It ends whoever waits for it.
            let task = spawn_local(async move { inner.learn().await });
            *learning = Some(task.map(drop).boxed_local().shared());
        }
        learning.clone()
    }
}

impl Inner {
    async fn learn(&self) {
        if !self.learn_from(&self.known()).await {
            // All may have other addresses by now.
            self.learn_from(&self.named).await;
        }
        self.learnt_at.set(Some(Instant::now()));
        self.learning.take();
    }

    /// The servers that were heard of, each time beginning with another.
    fn known(&self) -> Vec<Server> {
        let mut known = self.topology.borrow().servers().to_vec();
        if !known.is_empty() {
            let turn = self.turn.get() % known.len();
            known.rotate_left(turn);
            known.truncate(KNOWN_MAX);
            self.turn.set(turn + known.len());
        }
        known
    }

    /// Whether one of them said what lies where.
    async fn learn_from(&self, servers: &[Server]) -> bool {
        for server in servers {
            let error = match timeout(LEARN_MAX, self.topology_by(server)).await {
                Ok(Ok(topology)) => {
                    let mut connections = self.connections.borrow_mut();
                    connections.retain(|server, _| topology.servers().contains(server));
                    self.topology.replace(topology);
                    return true;
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    // It may be silent for good.
                    self.connections.borrow_mut().remove(server);
                    (ErrorKind::Io, "no answer in time").into()
                }
            };
            tracing::debug!(%server, %error, "a Redis did not say what lies where");
        }
        false
    }

    async fn topology_by(&self, server: &Server) -> RedisResult<Topology> {
        let slots = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let question = async |mut to| slots.query_async(&mut to).await;
        let answer = self.connection(server)?.ask(question).await?;
        let topology = Topology::of_slots(answer, server)?;
        if topology.servers().is_empty() {
            return Err((ErrorKind::Client, "it belongs to no cluster").into());
        }
        Ok(topology)
    }

    fn connection(&self, server: &Server) -> RedisResult<Connection> {
        let mut connections = self.connections.borrow_mut();
        if let Some(connection) = connections.get(server) {
            return Ok(connection.clone());
        }
        let how = self.how.clone().set_addr(server.address(self.how.addr()));
        let connection = Connection::new(how, self.certificates.clone(), &PATIENCE)?;
        connections.insert(server.clone(), connection.clone());
        Ok(connection)
    }
}

fn no_address() -> RedisError {
    (ErrorKind::InvalidClientConfig, "a cluster is named by hosts and ports").into()
}

/// Where a key lies instead, by the server that was asked for it.
fn redirected(error: &RedisError, asked: &Server) -> Option<Server> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Server::told(host, port.parse().ok()?, asked)
}
