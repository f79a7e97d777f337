//! Proxies in front of the control plane: whom they say that called is believed, and nobody else's word.

use harness::World;
use harness::tenant::PASSWORD;
use serde_json::json;

/// Signs up with a forged or true `X-Forwarded-For`, and answers where the audit log says that it came from.
async fn address_of_sign_up(world: &World, forwarded: &str) -> String {
    let management = world.management();
    let who = json!({ "email": "ann@example.com", "password": PASSWORD, "tenant": "acme" });
    let sign_up = management.post("/v1/signup").header("x-forwarded-for", forwarded).json(&who);
    sign_up.await.expect(201);
    let mut database = world.database().await;
    sqlx::query_scalar("select address from audit_entry where action = 'tenant.create'")
        .fetch_one(&mut database)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_trusted_proxy_says_who_called_the_control_plane() {
    let world = World::start_with(&[("TOLLGATE_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    assert_eq!(address_of_sign_up(&world, "203.0.113.9, 192.0.2.7").await, "192.0.2.7");
}

#[tokio::test]
async fn a_stranger_cannot_say_who_called_the_control_plane() {
    let world = World::start().await;
    assert_eq!(address_of_sign_up(&world, "192.0.2.7").await, "127.0.0.1");
}
