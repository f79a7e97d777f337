//! Guessing passwords: slowed for who guesses, on every replica, and never a way to lock somebody else out or to learn
//! who has an account.

use harness::tenant::{PASSWORD, graphql};
use harness::{Answer, MailServer, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const WRONG: &str = "quiet heron marches";

/// Calls come from wherever they say.
const FROM_ANYWHERE: (&str, &str) = ("TOLLGATE_TRUSTED_PROXIES", "127.0.0.1/32");

async fn from(world: &World, replica: usize, address: &str, path: &str, body: &Value) -> Answer {
    let call = world.management_at(replica).post(path).json(body);
    call.header("x-forwarded-for", address).await
}

fn who(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

#[tokio::test]
async fn an_attacker_with_many_addresses_is_slowed_and_the_user_at_home_is_not() {
    let world = World::start_replicas(2, &[FROM_ANYWHERE]).await;
    let home = "198.51.100.1";
    let new = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Engines" });
    from(&world, 0, home, "/v1/signup", &new).await.expect(201);

    // A hundred tries are free, wherever they come from; the two replicas count together.
    for email in ["ada@example.com", "nobody@example.com"] {
        for n in 0..100 {
            let address = format!("203.0.113.{n}");
            from(&world, n % 2, &address, "/v1/login", &who(email, WRONG)).await.expect(401);
        }
        for replica in [0, 1] {
            let refused =
                from(&world, replica, "203.0.113.200", "/v1/login", &who(email, WRONG)).await;
            let wait = refused.expect(429).header("retry-after").map(str::to_owned);
            assert!(wait.is_some_and(|wait| (1..=60).contains(&wait.parse::<u64>().unwrap())));
        }
    }
    for replica in [0, 1] {
        from(&world, replica, home, "/v1/login", &who("ada@example.com", PASSWORD))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn one_address_that_guesses_is_slowed_and_no_other_is() {
    let world = World::start_replicas(2, &[FROM_ANYWHERE]).await;
    let new = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Engines" });
    from(&world, 0, "198.51.100.1", "/v1/signup", &new).await.expect(201);

    let (wrong, right) = (who("ada@example.com", WRONG), who("ada@example.com", PASSWORD));
    let mut slowed = false;
    for n in 0..12 {
        slowed |= from(&world, n % 2, "203.0.113.1", "/v1/login", &wrong).await.status() == 429;
    }
    assert!(slowed);
    for address in ["198.51.100.1", "192.0.2.77"] {
        from(&world, 1, address, "/v1/login", &right).await.expect(200);
    }
}

/// The path and the body of a request about an address; the number tells it from others.
type Ask<'a> = &'a dyn Fn(&str, usize) -> (&'static str, Value);

/// The answer without what differs from call to call.
fn told(answer: &Answer) -> (u16, String) {
    let mut body: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    for place in [
        "/instance",
        "/requestId",
        "/errors/0/extensions/instance",
        "/errors/0/extensions/requestId",
    ] {
        if let Some(id) = body.pointer_mut(place) {
            *id = Value::Null;
        }
    }
    (answer.status(), body.to_string())
}

#[tokio::test]
async fn no_answer_says_whether_an_address_has_an_account() {
    let mail = MailServer::start().await;
    let url = mail.url();
    let settings = [
        FROM_ANYWHERE,
        ("TOLLGATE_SMTP_URL", url.as_str()),
        ("TOLLGATE_MAIL_FROM", "gate@example.com"),
    ];
    let world = World::start_replicas(1, &settings).await;
    let new = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "Engines" });
    from(&world, 0, "198.51.100.1", "/v1/signup", &new).await.expect(202);
    let token = mail.letter("ada@example.com", "Finish signing up").await.token();
    from(&world, 0, "198.51.100.1", "/v1/email-verification", &json!({ "token": token }))
        .await
        .expect(200);

    let log_in = |email: &str, _: usize| ("/v1/login", who(email, WRONG));
    let reset = |email: &str, _: usize| ("/v1/password-reset", json!({ "email": email }));
    let sign_up = |email: &str, n: usize| {
        let tenant = format!("{} {n}", email.split('@').next().unwrap_or_default());
        ("/v1/signup", json!({ "email": email, "password": PASSWORD, "tenant": tenant }))
    };
    let asked: [Ask; 3] = [&log_in, &reset, &sign_up];
    for ask in asked {
        // What the quicker quarter of many takes is the work, whatever else the machine does; the very quickest may be
        // luck. Where the work is not the same, no number of them makes it so. Below a hundred log-ins of an address none
        // has to wait.
        let mut took = [const { Vec::new() }; 2];
        let mut quick = [Duration::ZERO; 2];
        let mut alike = false;
        for n in 0..95 {
            let mut answers = [const { None }; 2];
            for i in [n % 2, (n + 1) % 2] {
                let (path, body) = ask(["ada@example.com", "eve@example.com"][i], n);
                let begun = Instant::now();
                let answer = from(&world, 0, &format!("10.1.{n}.{i}"), path, &body).await;
                took[i].push(begun.elapsed());
                took[i].sort_unstable();
                quick[i] = took[i][n / 4];
                answers[i] = Some(told(&answer));
            }
            assert_eq!(answers[0], answers[1], "{}", ask("", n).0);
            let [known, unknown] = quick;
            alike = n >= 15 && known.abs_diff(unknown) <= known.max(unknown) / 10;
            if alike {
                break;
            }
        }
        assert!(alike, "{}: {quick:?}", ask("", 0).0);
    }

    for (name, input, of) in [
        ("logIn", "LogInInput", &log_in as Ask),
        ("requestPasswordReset", "RequestPasswordResetInput", &reset),
        ("signUp", "SignUpInput", &sign_up),
    ] {
        let query = format!(
            "mutation($input: {input}!) {{ {name}(input: $input) {{ userErrors {{ code message }} }} }}"
        );
        let mut answers = Vec::new();
        for email in ["ada@example.com", "eve@example.com"] {
            let input = json!({ "input": of(email, 99).1 });
            answers.push(told(&graphql(&world, None, &query, input).await));
        }
        assert_eq!(answers[0], answers[1], "{name}");
    }
}
