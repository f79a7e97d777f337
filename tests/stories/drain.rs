//! A node that is told to stop finishes what it began and hands over what it counted.

use harness::World;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_request_in_progress_is_answered_and_counted_before_the_node_ends() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "late but whole");
    origin.hold();
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    let in_progress = tokio::spawn(std::future::IntoFuture::into_future(call));
    origin.asked(1).await;

    let mut node = world.take_node();
    node.ask_to_end();
    // A bare connection: a whole call that still got in would be held by the origin like the first.
    let endpoint = world.endpoint_address();
    harness::eventually("the refusal of new connections", async || {
        TcpStream::connect(endpoint).await.is_err().then_some(())
    })
    .await;
    assert!(node.runs(), "the node ended with a request in progress");
    origin.release();

    assert_eq!(in_progress.await.unwrap().expect(200).text(), "late but whole");
    node.ended().await;
    // The node is gone: what is in the ledger now was handed over before it ended.
    let mut database = world.database().await;
    let sum = "select coalesce(sum(requests), 0)::bigint from usage_minute where status_class = 2";
    let sum: i64 = sqlx::query_scalar(sum).fetch_one(&mut database).await.unwrap();
    assert_eq!(sum, 1);
}

#[tokio::test]
async fn a_control_plane_that_is_told_to_stop_ends_by_itself() {
    let mut world = World::start().await;
    world.management().get("/livez").await.expect(200);
    world.stop_control_plane().await;
}
