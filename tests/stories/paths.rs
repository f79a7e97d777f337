//! How an API reads the paths of its calls: what its callers and its backend get by each value of `trailingSlash` and
//! `pathNormalization`, and by its dialect's way where it says nothing.

use harness::tenant::{Api, Tenant};
use harness::{Origin, World};
use serde_json::{Value, json};

/// A call's path below the stage, its status, and where its caller is sent or else what the backend was asked for.
type Calls<'a> = &'a [(&'a str, u16, &'a str)];

const STRICT: Calls =
    &[("/pets", 200, "/pets"), ("/pets/", 404, ""), ("/files/a/", 200, "/files/a/")];
const IGNORED: Calls = &[("/pets/?q=1", 200, "/pets?q=1"), ("/files/a/", 200, "/files/a/")];
const REDIRECTED: Calls = &[("/pets/?q=1", 308, "/prod/pets?q=1"), ("/files/a/", 200, "/files/a/")];
const REJECTED: Calls = &[
    ("/files/a/../b", 400, ""),
    ("/files//a", 400, ""),
    ("/files/%2e%2E/pets", 400, ""),
    ("/files%2Fsecret", 400, ""),
    ("/files/..;/b", 200, "/files/..;/b"),
];
const NORMALIZED: Calls = &[
    ("/files/a/../b", 200, "/files/b"),
    ("/files//a", 200, "/files/a"),
    ("/files/%2e%2E/pets", 200, "/pets"),
    ("/files/a%2F..%2Fb", 400, ""),
    ("/../pets", 400, ""),
    ("/files%2Fsecret", 400, ""),
    ("/files/..;/b", 200, "/files/..;/b"),
];
const PASSED: Calls = &[
    ("/files/a/../b", 200, "/files/a/../b"),
    ("/files//a", 200, "/files//a"),
    ("/files/a%2F..%2Fb", 200, "/files/a%2F..%2Fb"),
    // The route of /files and its limits are gone around, if the backend decodes the slash.
    ("/files%2Fsecret", 200, "/names/files%2Fsecret"),
];
const REDIRECTED_AS_READ: Calls = &[
    ("/pets/.", 308, "/prod/pets"),
    ("/files/../pets/", 308, "/prod/pets"),
    ("/pets", 200, "/pets"),
];

async fn defined<'w>(acme: &Tenant<'w>, dialect: &str, origin: &Origin) -> Api<'w> {
    let url = origin.url();
    let api = acme.api_in(dialect, dialect).await;
    let api = api.route("GET", "/pets", false, &format!("{url}/pets")).await;
    let api = api.route("GET", "/{name}", false, &format!("{url}/names/{{name}}")).await;
    api.route("GET", "/files/{path+}", false, &format!("{url}/files/{{path}}")).await
}

async fn get(api: &Api<'_>, origin: &Origin, calls: Calls<'_>, when: &str) {
    for (path, status, told) in calls {
        let before = origin.received().len();
        let answer = api.get(path).await;
        let asked = origin.received().get(before).map(|it| it.path.clone());
        let got = answer.header("location").map(str::to_owned).or(asked).unwrap_or_default();
        assert_eq!((answer.status(), &*got), (*status, *told), "{path} {when}");
    }
}

/// What an API says of its paths, and whether it waits for a deployment.
fn told(api: &Value) -> Value {
    json!([api["trailingSlash"], api["pathNormalization"], api["pendingChanges"]])
}

async fn by_graphql(acme: &Tenant<'_>, api: &Api<'_>) -> Value {
    let query = "query($id: ID!) { node(id: $id) { ... on Api
        { trailingSlash pathNormalization pendingChanges } } }";
    told(&acme.graphql(query, json!({ "id": api.id })).await["node"])
}

#[tokio::test]
async fn an_api_reads_paths_as_its_dialect_does_until_it_says_otherwise() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    for (dialect, slash) in [("NATIVE", STRICT), ("AWS_HTTP", STRICT), ("AWS_REST", IGNORED)] {
        let mut api = defined(&acme, dialect, &origin).await.deploy("prod").await;
        let path = format!("/v1/apis/{}", api.api_id);
        assert_eq!(
            told(&acme.rest("GET", &path).await.expect(200).json()),
            json!([null, null, false])
        );
        get(&api, &origin, slash, dialect).await;
        get(&api, &origin, REJECTED, dialect).await;

        // Each value by one face and read by the other, and back to the dialect's.
        let (mut serving, mut by_rest) = (slash, dialect == "NATIVE");
        for (slashes, paths, then) in [
            (json!("REDIRECT"), json!("REJECT"), [REDIRECTED, REJECTED]),
            (json!("IGNORE"), json!("NORMALIZE"), [IGNORED, NORMALIZED]),
            (json!("REDIRECT"), json!("NORMALIZE"), [REDIRECTED_AS_READ, NORMALIZED]),
            (json!("IGNORE"), json!("PASS"), [IGNORED, PASSED]),
            (Value::Null, Value::Null, [slash, REJECTED]),
        ] {
            let lower = |value: &Value| json!(value.as_str().map(str::to_lowercase));
            let wanted =
                [json!([slashes, paths, true]), json!([lower(&slashes), lower(&paths), true])];
            if by_rest {
                let body =
                    json!({ "trailingSlash": lower(&slashes), "pathNormalization": lower(&paths) });
                let kept = acme.rest("PATCH", &path).json(&body).await.expect(200).json();
                assert_eq!(told(&kept), wanted[1]);
                assert_eq!(by_graphql(&acme, &api).await, wanted[0]);
            } else {
                let input =
                    json!({ "id": api.id, "trailingSlash": slashes, "pathNormalization": paths });
                acme.mutate("updateApi", "UpdateApiInput!", input, "api { id }").await;
                assert_eq!(by_graphql(&acme, &api).await, wanted[0]);
                let kept = acme.rest("GET", &path).await.expect(200).json();
                assert_eq!(told(&kept), wanted[1]);
            }
            get(&api, &origin, serving, "before the change is deployed").await;
            api = api.deploy("prod").await;
            let when = format!("in {dialect} with {slashes} and {paths}");
            for calls in then {
                get(&api, &origin, calls, &when).await;
            }
            (serving, by_rest) = (then[0], !by_rest);
        }
    }
}

#[tokio::test]
async fn a_new_api_may_say_how_it_reads_paths_and_what_is_no_way_is_refused() {
    let world = World::start_replicas(1, &[]).await;
    let acme = world.tenant("acme").await;
    let ways = json!({ "name": "pets", "trailingSlash": "redirect", "pathNormalization": "pass" });
    let made = acme.rest("POST", "/v1/apis").json(&ways).await.expect(201).json();
    assert_eq!(told(&made), json!(["redirect", "pass", false]));
    let input =
        json!({ "name": "pets", "trailingSlash": "STRICT", "pathNormalization": "NORMALIZE" });
    let fields = "api { trailingSlash pathNormalization pendingChanges }";
    let made = acme.mutate("createApi", "CreateApiInput!", input, fields).await;
    assert_eq!(told(&made["api"]), json!(["STRICT", "NORMALIZE", false]));

    let path = format!("/v1/apis/{}", first(&acme).await);
    for (wrong, named, rule) in [
        (json!({ "trailingSlash": "sometimes" }), "trailingSlash", "`redirect`"),
        (json!({ "pathNormalization": "REJECT" }), "pathNormalization", "`reject`"),
    ] {
        for (method, path, body) in [
            ("PATCH", &*path, wrong.clone()),
            ("POST", "/v1/apis", json!({ "name": "pets", named: wrong[named] })),
        ] {
            let refused = acme.rest(method, path).json(&body).await.expect(400).json();
            assert_eq!(refused["param"], json!(named), "{method} {refused}");
            assert!(refused.to_string().contains(rule), "{method} {refused}");
        }
    }
    let query = "mutation($input: UpdateApiInput!) { updateApi(input: $input) { api { id } } }";
    let input = json!({ "id": "x", "trailingSlash": "SOMETIMES" });
    let refused = acme.try_graphql(query, json!({ "input": input })).await.text();
    assert!(refused.contains("trailingSlash") && refused.contains("bad_request"), "{refused}");
}

async fn first(acme: &Tenant<'_>) -> String {
    let apis = acme.rest("GET", "/v1/apis").await.expect(200).json();
    harness::tenant::text(&apis["items"][0]["id"])
}
