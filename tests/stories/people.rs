//! People: signing up by letter, invitations, resets, log-in notices, and what nobody can do to others.

use harness::mail_server::Letter;
use harness::tenant::{PASSWORD, graphql, text};
use harness::{Answer, MailServer, World, within};
use serde_json::{Value, json};
use std::time::Duration;

const OTHER_PASSWORD: &str = "quiet heron marches";
/// Within which every replica knows that a session has ended.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

async fn world(mail: &MailServer) -> World {
    let url = mail.url();
    let mut settings = vec![
        ("TOLLGATE_SMTP_URL", url.as_str()),
        ("TOLLGATE_MAIL_FROM", "Tollgate <gate@example.com>"),
    ];
    let authority = mail.certificate().map(|file| file.to_string_lossy().into_owned());
    settings.extend(authority.as_deref().map(|file| ("TOLLGATE_SMTP_CA_FILE", file)));
    World::start_replicas(2, &settings).await
}

async fn post(world: &World, path: &str, body: Value) -> Answer {
    world.management().post(path).json(&body).await
}

/// Signs up and opens the letter's link; the access token.
async fn sign_up(world: &World, mail: &MailServer, email: &str, tenant: &str) -> String {
    let new = json!({ "email": email, "password": PASSWORD, "tenant": tenant });
    let asked = post(world, "/v1/signup", new).await.expect(202).json();
    assert_eq!(asked, json!({ "verificationSent": true }));
    let letter = mail.letter(email, "Finish signing up").await;
    let token = json!({ "token": letter.token() });
    let begun = post(world, "/v1/email-verification", token).await.expect(200).json();
    assert_eq!(
        (&begun["user"]["emailVerified"], &begun["tenant"]["name"]),
        (&json!(true), &json!(tenant))
    );
    text(&begun["accessToken"])
}

async fn log_in(world: &World, email: &str, password: &str) -> Answer {
    post(world, "/v1/login", json!({ "email": email, "password": password })).await
}

#[tokio::test]
async fn an_account_begins_with_the_link_in_a_letter_whoever_asks() {
    let mail = MailServer::start().await;
    let world = world(&mail).await;

    let token = sign_up(&world, &mail, "ada@example.com", "Engines").await;
    let session = world.management().get("/v1/session").bearer(&token).await.expect(200).json();
    assert_eq!(session["role"], "owner");
    let letter = mail.letter("ada@example.com", "Finish signing up").await;
    assert_eq!(letter.from, "gate@example.com");
    assert_eq!(letter.field("from"), Some("Tollgate <gate@example.com>"));
    let again = post(&world, "/v1/email-verification", json!({ "token": letter.token() })).await;
    assert_eq!(again.expect(400).json()["param"], "token");

    // Somebody else asks with the address that has an account, and is told the same.
    let new = json!({ "email": "ADA@example.com", "password": OTHER_PASSWORD, "tenant": "Other" });
    let told = post(&world, "/v1/signup", new).await.expect(202).json();
    assert_eq!(told, json!({ "verificationSent": true }));
    let letter = mail.letter("ADA@example.com", "You have an account already").await;
    assert!(!letter.body.contains("token="), "{letter:?}");
    log_in(&world, "ada@example.com", OTHER_PASSWORD).await.expect(401);
    log_in(&world, "ada@example.com", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_forgotten_password_is_reset_by_the_newest_letter_and_every_session_ends() {
    let mail = MailServer::start().await;
    let world = world(&mail).await;
    let token = sign_up(&world, &mail, "ada@example.com", "Engines").await;

    for email in ["nobody@example.com", "ada@example.com"] {
        let asked = post(&world, "/v1/password-reset", json!({ "email": email })).await;
        assert_eq!(asked.expect(202).text(), "");
    }
    let letter: Letter = mail.letter("ada@example.com", "Reset your password").await;
    let reset = json!({ "token": letter.token(), "password": OTHER_PASSWORD });
    let put = || world.management().call("PUT", "/v1/password-reset").json(&reset);
    put().await.expect(204);

    for replica in [0, 1] {
        within(REVOKED_WITHIN, "the end of a session at every replica", async || {
            let call = world.management_at(replica).get("/v1/session").bearer(&token);
            (call.await.status() == 401).then_some(())
        })
        .await;
    }
    assert_eq!(put().await.expect(400).json()["param"], "token");
    log_in(&world, "ada@example.com", PASSWORD).await.expect(401);
    log_in(&world, "ada@example.com", OTHER_PASSWORD).await.expect(200);
    mail.letter("ada@example.com", "Your password was changed").await;
    let to_nobody = mail.received().into_iter().any(|letter| letter.to == ["nobody@example.com"]);
    assert!(!to_nobody);
}

#[tokio::test]
async fn who_is_invited_by_letter_joins_and_who_is_removed_is_out_everywhere() {
    let mail = MailServer::start().await;
    let world = world(&mail).await;
    let ada = sign_up(&world, &mail, "ada@example.com", "Engines").await;

    let invitation = json!({ "email": "bob@example.com", "role": "developer" });
    let call = world.management().post("/v1/invitations").bearer(&ada).json(&invitation);
    let sent = call.await.expect(201).json();
    assert_eq!(sent["link"], Value::Null, "the letter alone holds it");
    let letter = mail.letter("bob@example.com", "You are invited to Engines").await;
    let joined = json!({ "token": letter.token(), "password": OTHER_PASSWORD });
    let joined = post(&world, "/v1/invitations/accept", joined).await.expect(200).json();

    let bob = text(&joined["accessToken"]);
    assert_eq!(
        (&joined["role"], &joined["user"]["emailVerified"]),
        (&json!("developer"), &json!(true))
    );
    let member = format!("/v1/members/{}", text(&joined["user"]["id"]));
    let at = |replica: usize| world.management_at(replica).get("/v1/apis").bearer(&bob);
    for replica in [0, 1] {
        at(replica).await.expect(200);
    }
    world.management().call("DELETE", &member).bearer(&ada).await.expect(204);
    for replica in [0, 1] {
        within(REVOKED_WITHIN, "the end of a membership at every replica", async || {
            (at(replica).await.status() == 401).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_log_in_from_a_new_browser_is_told_of_and_a_known_one_is_not() {
    let mail = MailServer::start().await;
    let world = world(&mail).await;
    sign_up(&world, &mail, "ada@example.com", "Engines").await;
    let who = json!({ "email": "ada@example.com", "password": PASSWORD });
    let enter = |browser: &str| {
        world.management().post("/v1/login").header("user-agent", browser).json(&who)
    };

    for browser in ["Netscape 4", "Netscape 4", "Lynx"] {
        enter(browser).await.expect(200);
    }
    // Letters leave in no order; the last one's is awaited, and then the first one's is there once.
    let told = |browser: &str| {
        let received = mail.received();
        let notices = received.into_iter().filter(|letter| letter.body.contains(browser));
        notices.filter(|letter| letter.field("subject") == Some("A new log-in")).count()
    };
    harness::eventually("both notices", async || {
        (told("Lynx") == 1 && told("Netscape 4") == 1).then_some(())
    })
    .await;
    // One more letter goes the whole way after all that were written before it.
    post(&world, "/v1/password-reset", json!({ "email": "ada@example.com" })).await.expect(202);
    mail.letter("ada@example.com", "Reset your password").await;
    assert_eq!((told("Netscape 4"), told("Lynx")), (1, 1));
}

#[tokio::test]
async fn letters_go_over_tls_and_what_people_wrote_is_text_in_them() {
    let mail = MailServer::start_with_tls().await;
    let world = world(&mail).await;
    let hostile = "<script>alert(1)</script> & \"Sons\"";
    let split = "Engines\r\nBcc: mallory@example.com";
    let new = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": split });
    assert_eq!(post(&world, "/v1/signup", new).await.expect(400).json()["param"], "tenant");
    let ada = sign_up(&world, &mail, "ada@example.com", hostile).await;

    let invitation = json!({ "email": "bob@example.com", "role": "developer" });
    world.management().post("/v1/invitations").bearer(&ada).json(&invitation).await.expect(201);
    let letter = mail.letter("bob@example.com", "You are invited to").await;
    assert!(letter.tls);
    assert_eq!(letter.to, ["bob@example.com"]);
    assert!(letter.body.contains(hostile), "{letter:?}");
    assert!(!letter.html.contains("<script"), "{letter:?}");
    assert!(letter.html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;"), "{letter:?}");
    assert!(letter.html.contains(&format!("/invitation?token={}\"", letter.token())));
}

async fn tries(world: &World) -> Vec<i32> {
    let query = sqlx::query_scalar("select tries from mail");
    query.fetch_all(&mut world.database().await).await.unwrap()
}

#[tokio::test]
async fn each_letter_leaves_once_whichever_replica_sends_it_and_when_it_is_taken() {
    let mail = MailServer::start().await;
    let world = world(&mail).await;
    mail.refuse("later@example.com", 451);
    mail.refuse("never@example.com", 550);
    let mut addresses: Vec<String> = (0..24).map(|n| format!("user{n}@example.com")).collect();
    addresses.extend(["later@example.com", "never@example.com"].map(str::to_owned));
    for (n, email) in addresses.iter().enumerate() {
        let new = json!({ "email": email, "password": PASSWORD, "tenant": format!("Tenant {n}") });
        world.management_at(n % 2).post("/v1/signup").json(&new).await.expect(202);
    }

    harness::eventually("what became of every letter", async || {
        (tries(&world).await == [1]).then_some(())
    })
    .await;
    let kept: Vec<Vec<u8>> = sqlx::query_scalar("select letter from mail")
        .fetch_all(&mut world.database().await)
        .await
        .unwrap();
    let plain = kept.iter().any(|letter| letter.windows(5).any(|part| part == b"later"));
    assert!(!plain, "letters wait wrapped");

    // Its wait is cut short, so that the story need not wait for a minute.
    mail.take("later@example.com");
    sqlx::query("update mail set next_try_at = now()")
        .execute(&mut world.database().await)
        .await
        .unwrap();
    harness::eventually("an empty outbox", async || tries(&world).await.is_empty().then_some(()))
        .await;
    let received = mail.received();
    let mut to: Vec<&str> =
        received.iter().flat_map(|letter| &letter.to).map(String::as_str).collect();
    to.sort_unstable();
    addresses.retain(|email| email != "never@example.com");
    addresses.sort_unstable();
    assert_eq!(to, addresses);
}

#[tokio::test]
async fn who_may_sign_up_is_told_on_both_faces() {
    for mode in ["invite", "closed"] {
        let world = World::start_replicas(1, &[("TOLLGATE_SIGNUP", mode)]).await;
        let new = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Engines" });
        let refused = post(&world, "/v1/signup", new.clone()).await.expect(403).json();
        assert_eq!(refused["code"], "forbidden", "{mode}");

        let ask = "{ installation { signup mail } }";
        let told = graphql(&world, None, ask, json!({})).await.expect(200).json();
        let expected = json!({ "signup": mode.to_uppercase(), "mail": false });
        assert_eq!(told["data"]["installation"], expected);
        let sign_up = "mutation($input: SignUpInput!) { signUp(input: $input) { user { id } userErrors { code } } }";
        let refused = graphql(&world, None, sign_up, json!({ "input": new })).await.json();
        assert_eq!(refused["errors"][0]["extensions"]["code"], "forbidden", "{mode}: {refused}");
    }
}

#[tokio::test]
async fn the_operators_invitation_begins_the_first_tenant_where_nobody_may_sign_up() {
    let world = World::start_replicas(1, &[("TOLLGATE_SIGNUP", "invite")]).await;
    let operator = world.operator().await.token;
    let invite = async |email: &str, key: &str| {
        let body = json!({ "email": email, "tenantName": "Engines" });
        let call = world.management().post("/v1/operator/tenant-invitations").bearer(&operator);
        text(&call.header("idempotency-key", key).json(&body).await.expect(201).json()["link"])
    };
    let link = invite("ada@example.com", "first").await;
    assert_eq!(invite("ada@example.com", "first").await, link, "the first answer again");
    let token = link.split_once("/sign-up?token=").unwrap().1;

    let new = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Engines" });
    post(&world, "/v1/signup", new.clone()).await.expect(403);
    let mut invited = new;
    invited["token"] = json!(token);
    let begun = post(&world, "/v1/signup", invited.clone()).await.expect(201).json();
    assert_eq!(begun["tenant"]["name"], "Engines");
    let again = post(&world, "/v1/signup", invited).await.expect(400).json();
    assert_eq!(again["param"], "token");

    let invite = "mutation($input: InviteTenantInput!) { inviteTenant(input: $input)
        { invitation { email tenantName } link userErrors { code param } } }";
    let ask = async |email: &str| {
        let input = json!({ "input": { "email": email } });
        graphql(&world, Some(&operator), invite, input).await.json()["data"]["inviteTenant"].clone()
    };
    let made = ask("bob@example.com").await;
    assert_eq!(made["invitation"], json!({ "email": "bob@example.com", "tenantName": null }));
    assert!(text(&made["link"]).contains("/sign-up?token="), "{made}");
    // One that was sent in error is found, and revoked.
    let path = "/v1/operator/tenant-invitations";
    let waiting = world.management().get(path).bearer(&operator).await.expect(200).json();
    let [bob] = waiting["items"].as_array().unwrap().as_slice() else { panic!("{waiting}") };
    assert_eq!((&bob["email"], bob.get("link")), (&json!("bob@example.com"), None), "{bob}");
    let bobs = format!("{path}/{}", text(&bob["id"]));
    world.management().call("DELETE", &bobs).bearer(&operator).await.expect(204);
    world.management().call("DELETE", &bobs).bearer(&operator).await.expect(404);
    let link = text(&made["link"]);
    let token = link.split_once("/sign-up?token=").unwrap().1;
    let body = json!({ "email": "bob@example.com", "password": PASSWORD, "tenant": "Looms", "token": token });
    let revoked = post(&world, "/v1/signup", body).await.expect(400).json();
    assert_eq!(revoked["param"], "token");
    let known = ask("ada@example.com").await;
    assert_eq!(known["userErrors"], json!([{ "code": "CONFLICT", "param": "email" }]));
    let member = Some(begun["accessToken"].as_str().unwrap());
    let input = json!({ "input": { "email": "eve@example.com" } });
    let refused = graphql(&world, member, invite, input).await.json();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "forbidden", "{refused}");
}

#[tokio::test]
async fn without_a_mail_server_the_operator_makes_the_link_on_the_machine() {
    let world = World::start_replicas(1, &[]).await;
    let ada = world.tenant("engines").await;

    let asked = post(&world, "/v1/password-reset", json!({ "email": ada.email })).await;
    assert!(text(&asked.expect(409).json()["detail"]).contains("tollgate member reset-link"));
    let printed = world.run(&["member", "reset-link", "--email", &ada.email]);
    let token = printed.trim().split_once("/reset-password?token=").unwrap().1;
    let reset = json!({ "token": token, "password": OTHER_PASSWORD });
    world.management().call("PUT", "/v1/password-reset").json(&reset).await.expect(204);

    log_in(&world, &ada.email, OTHER_PASSWORD).await.expect(200);
    let call = world.management().get("/v1/session").bearer(&ada.token);
    within(REVOKED_WITHIN, "the end of the session before", async || {
        (call.clone().await.status() == 401).then_some(())
    })
    .await;
    let invitation = json!({ "email": "bob@example.com", "role": "viewer" });
    let token =
        text(&log_in(&world, &ada.email, OTHER_PASSWORD).await.expect(200).json()["accessToken"]);
    let call = world.management().post("/v1/invitations").bearer(&token).json(&invitation);
    assert!(text(&call.await.expect(201).json()["link"]).contains("/invitation?token="));
}

#[tokio::test]
async fn a_session_that_its_user_ends_at_one_replica_is_over_at_the_other() {
    let world = World::start_replicas(2, &[]).await;
    let ada = world.tenant("engines").await;
    let stolen = log_in(&world, &ada.email, PASSWORD).await.expect(200).json();
    let stolen = text(&stolen["accessToken"]);
    let at = |replica: usize| world.management_at(replica).get("/v1/session").bearer(&stolen);
    for replica in [0, 1] {
        at(replica).await.expect(200);
    }

    let ended = world.management_at(0).call("DELETE", "/v1/sessions").bearer(&ada.token);
    assert_eq!(ended.await.expect(200).json()["revoked"], 1);

    at(0).await.expect(401);
    within(REVOKED_WITHIN, "the end of the session at the other replica", async || {
        (at(1).await.status() == 401).then_some(())
    })
    .await;
    world.management_at(1).get("/v1/session").bearer(&ada.token).await.expect(200);
}
