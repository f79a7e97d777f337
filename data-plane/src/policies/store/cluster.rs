//! A Redis Cluster. Only what was surely not run, as its key lies elsewhere, is sent again, to where that is.
//!
//! While the client asks what lies where, and tries to reach whoever is said to have it, all its questions wait. So
//! whether a primary that is gone is back is asked by a second connection, at the cost of no other key.

use std::{cell::RefCell, time::Duration};

use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, TlsCertificates,
    Value,
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::SingleNodeRoutingInfo,
};

/// Others wait while one primary is connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// After so long an answer is not waited for even to undo what it took.
const LATE_MAX: Duration = Duration::from_secs(1);
/// How often one question follows a key that moved.
const MOVES_MAX: u32 = 3;

pub(super) struct Cluster {
    client: ClusterClient,
    connection: RefCell<ClusterConnection>,
    /// While something is away.
    probing: RefCell<Option<ClusterConnection>>,
}

impl Cluster {
    /// Connects when it is first asked.
    pub(super) fn new(urls: &[String], certificates: Option<TlsCertificates>) -> RedisResult<Self> {
        let urls = urls.iter().map(String::as_str);
        // Of itself it would send again what may have been applied.
        let mut client = ClusterClient::builder(urls)
            .retries(0)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(LATE_MAX);
        if let Some(certificates) = certificates {
            client = client.certs(certificates);
        }
        let client = client.build()?;
        let connection = RefCell::new(connect(&client));
        Ok(Self { client, connection, probing: RefCell::default() })
    }

    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let connection = self.connection.borrow().clone();
        send(connection, command).await
    }

    /// The same by a connection that begins with the nodes that were named: of those that the other knew last none may be
    /// left.
    pub(super) async fn probe(&self, command: &Cmd) -> RedisResult<()> {
        let connection =
            self.probing.borrow_mut().get_or_insert_with(|| connect(&self.client)).clone();
        send(connection, command).await
    }

    pub(super) fn follow_probe(&self) {
        if let Some(connection) = self.probing.borrow().clone() {
            self.connection.replace(connection);
        }
    }

    pub(super) fn probe_anew(&self) {
        self.probing.take();
    }
}

async fn send<T: FromRedisValue>(
    mut connection: ClusterConnection,
    command: &Cmd,
) -> RedisResult<T> {
    let (mut moves, mut moved_to) = (0, None);
    loop {
        let error = match command.query_async(&mut connection).await {
            Err(error) => error,
            answer => return answer,
        };
        match error.kind() {
            // Before it sends anything else, the client asks what lies where.
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ReadOnly)
                if moves < MOVES_MAX =>
            {
                let to = error.redirect_node().map(|(node, _)| node.to_owned());
                if to.is_some() && to == moved_to {
                    return Err(error); // it has been looked for, and could not be reached
                }
                (moves, moved_to) = (moves + 1, to);
            }
            ErrorKind::Server(ServerErrorKind::Ask) => {
                return ask_there(connection, command, &error).await;
            }
            _ => return Err(error),
        }
    }
}

fn connect(client: &ClusterClient) -> ClusterConnection {
    let config =
        ClusterConfig::new().set_connection_timeout(CONNECT_TIMEOUT).set_response_timeout(LATE_MAX);
    client.get_pending_async_connection_with_config(config)
}

/// A key whose slot is on its way lies there already, or will: for this once it is asked for there.
async fn ask_there<T: FromRedisValue>(
    mut connection: ClusterConnection,
    command: &Cmd,
    error: &RedisError,
) -> RedisResult<T> {
    let address = error.redirect_node().and_then(|(node, _)| node.rsplit_once(':'));
    let Some((host, Ok(port))) = address.map(|(host, port)| (host, port.parse())) else {
        return Err(error.clone());
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let mut asking = redis::pipe();
    asking.cmd("ASKING").add_command(command.clone());
    let there = SingleNodeRoutingInfo::ByAddress { host, port };
    let answers = connection.route_pipeline(asking, 0, 2, there).await?;
    let answer = answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error()?;
    Ok(T::from_redis_value(answer)?)
}
