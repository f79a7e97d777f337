//! Peers that break their side of an exchange: callers that leave in the middle, backends that lie, fall silent or say
//! nothing that is HTTP. Each caller gets the answer that is right or a body that visibly breaks off, the access log
//! says what became of the call, and whoever asks the same backend next notices nothing.

mod backend;
mod calls;
mod mixed;
mod slow_heads;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use harness::{Api, Tenant, World, eventually};
use serde_json::{Value, json};

use backend::Backend;
use calls::{ALL, Caller, Kind, told};

/// How long a backend may say nothing, on the routes of those that do.
const SILENCE_MS: u32 = 400;

/// One API before this backend: whatever is called goes there, by a way without patience for those that say nothing.
async fn api<'w>(acme: &Tenant<'w>, backend: &Backend) -> Api<'w> {
    let mut api = acme.api("pets").await;
    for (path, timeouts) in [("/{path}", None), ("/never", Some(())), ("/silent", Some(()))] {
        let uri = format!("{}{path}", backend.url);
        let mut integration = json!({ "type": "HTTP_PROXY", "uri": uri, "method": "ANY" });
        if timeouts.is_some() {
            integration["firstByteTimeoutMs"] = json!(SILENCE_MS);
            integration["idleTimeoutMs"] = json!(SILENCE_MS);
        }
        let route = json!({ "method": "ANY", "path": path, "integration": integration });
        api = api.route_of(route).await;
    }
    api.deploy("prod").await
}

/// The log's line of the call with this number.
async fn line(world: &World, read: &mut usize, number: u64) -> Value {
    let id = format!("call-{number}");
    let what = format!("the line of call {number}");
    eventually(&what, async || {
        world.access_log(read).into_iter().find(|line| line["client_request.id"] == id)
    })
    .await
}

/// Each kind of a call, one after another, by this server of HTTP/1.1.
async fn tell_each(server: &str) {
    // The call after one finds the connection that it left behind: one thread has them all.
    let settings = [("TOLLGATE_NODE_THREADS", "1"), ("TOLLGATE_NODE_HTTP1_SERVER", server)];
    let world = World::start_with(&settings).await;
    let backend = Arc::new(Backend::start().await);
    let acme = world.tenant("acme").await;
    let api = api(&acme, &backend).await;
    let (mut number, mut read, mut wrong) = (0, 0, Vec::new());
    for (tls, kind) in [false, true].into_iter().flat_map(|tls| ALL.map(|kind| (tls, kind))) {
        let caller = Caller::new(&api, backend.clone(), tls);
        number += 1;
        let bytes = caller.call(kind, number).await;
        let line = line(&world, &mut read, number).await;
        let said = |name: &str| usize::try_from(line[name].as_u64().unwrap()).unwrap();
        let is_true = told(&line) == kind.told(tls)
            && bytes.came_in.contains(&said("bytes_in"))
            && bytes.went_out.contains(&said("bytes_out"));
        if !is_true {
            let (came_in, went_out) = (bytes.came_in, bytes.went_out);
            wrong.push(format!("{kind:?}, TLS {tls}, {came_in:?} in, {went_out:?} out: {line}"));
        }
        // Two, as the first may be given the very connection that the call left behind.
        for _ in 0..2 {
            number += 1;
            caller.call(Kind::Good, number).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(world.metric("tollgate_panics_total").await, 0);
    eventually("nothing in progress", async || {
        (world.metric("tollgate_requests_in_flight").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whatever_a_peer_does_its_call_is_told_as_it_was_and_the_next_one_is_served() {
    tell_each("tollgate").await;
}

#[tokio::test]
async fn whatever_a_peer_does_is_told_the_same_behind_hypers_server() {
    tell_each("hyper").await;
}
