//! The connection to one server.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, RedisError, RedisResult, TlsCertificates,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use tokio::task::spawn_local;

/// How long a server is waited for.
pub(super) struct Patience {
    pub(super) connect: Duration,
    /// After so long an answer is not waited for even to undo what it took.
    pub(super) answer: Duration,
}

type Connecting = Shared<LocalBoxFuture<'static, RedisResult<MultiplexedConnection>>>;

/// Made when it is first asked for, and again after it was lost: all who ask meanwhile wait for the same.
#[derive(Clone)]
pub(super) struct Connection(Rc<Inner>);

struct Inner {
    client: Client,
    config: AsyncConnectionConfig,
    connecting: RefCell<Option<Connecting>>,
}

impl Connection {
    pub(super) fn new(
        how: ConnectionInfo,
        certificates: Option<TlsCertificates>,
        patience: &Patience,
    ) -> RedisResult<Self> {
        // A question is one small packet that waits for no other.
        let how = how.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(how, certificates)?,
            None => Client::open(how)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience.connect))
            .set_response_timeout(Some(patience.answer));
        Ok(Self(Rc::new(Inner { client, config, connecting: RefCell::default() })))
    }

    /// Asks once. A connection that fails, or is silent for too long, is not asked again.
    pub(super) async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let connecting = self.connecting();
        let answer = question(connecting.clone().await?).await;
        if answer.as_ref().is_err_and(is_lost) && self.forget(&connecting) {
            // Whoever asks next need not wait as long.
            drop(self.connecting());
        }
        answer
    }

    fn connecting(&self) -> Connecting {
        let mut slot = self.0.connecting.borrow_mut();
        let begin = || {
            let inner = self.0.clone();
            let connect = async move {
                inner.client.get_multiplexed_async_connection_with_config(&inner.config).await
            };
            let connecting = connect.boxed_local().shared();
            // It ends whoever waits for it, and whatever became of it: whoever asks then tries again.
            let (connection, begun) = (self.clone(), connecting.clone());
            spawn_local(async move {
                if begun.clone().await.is_err() {
                    connection.forget(&begun);
                }
            });
            connecting
        };
        slot.get_or_insert_with(begin).clone()
    }

    /// Gives whether it was still the one.
    fn forget(&self, connecting: &Connecting) -> bool {
        let is_it = |it: &mut Connecting| it.ptr_eq(connecting);
        self.0.connecting.borrow_mut().take_if(is_it).is_some()
    }
}

fn is_lost(error: &RedisError) -> bool {
    error.is_timeout() || error.is_unrecoverable_error()
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, IntoConnectionInfo};
    use tokio::task::LocalSet;
    use uuid::Uuid;

    use super::*;
    use crate::tests::limits::redis_url;

    const PATIENCE: Patience =
        Patience { connect: Duration::from_secs(5), answer: Duration::from_secs(5) };

    async fn whoami(connection: &Connection) -> RedisResult<String> {
        let whoami = redis::cmd("ACL").arg("WHOAMI").to_owned();
        connection.ask(async |mut to| whoami.query_async(&mut to).await).await
    }

    #[tokio::test]
    async fn a_login_that_is_refused_and_a_connection_that_is_lost_are_made_again() {
        LocalSet::new()
            .run_until(async {
                let how = redis_url().into_connection_info().unwrap();
                let name = Uuid::now_v7().to_string();
                let login = how.redis_settings().clone().set_username(&*name);
                let login = how.clone().set_redis_settings(login.set_password("secret"));
                let (by_name, other) = (
                    Connection::new(login, None, &PATIENCE).unwrap(),
                    Connection::new(how, None, &PATIENCE).unwrap(),
                );
                let refused = whoami(&by_name).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::AuthenticationFailed, "{refused}");

                let acl = |words: &[&str]| redis::cmd("ACL").arg(words).to_owned();
                let user = acl(&["SETUSER", &name, "on", ">secret", "+@all", "~*"]);
                other.ask(async |mut to| user.exec_async(&mut to).await).await.unwrap();
                assert_eq!(whoami(&by_name).await.unwrap(), name);

                // What is lost is told to who asked, and no more.
                let kill = redis::cmd("CLIENT").arg(&["KILL", "USER", &name]).to_owned();
                other.ask(async |mut to| kill.exec_async(&mut to).await).await.unwrap();
                let lost = whoami(&by_name).await.unwrap_err();
                assert!(lost.is_connection_dropped(), "{lost}");
                assert_eq!(whoami(&by_name).await.unwrap(), name);

                let gone = acl(&["DELUSER", &name]);
                other.ask(async |mut to| gone.exec_async(&mut to).await).await.unwrap();
            })
            .await;
    }
}
