use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::*;

fn shape() -> Shape {
    Shape::new(&crate::graphql::schema_sdl()).unwrap()
}

fn measure(query: &str) -> Result<Measured> {
    shape().measure(query, &Variables::default())
}

#[track_caller]
fn refused(query: &str, why: &str) {
    let error = measure(query).unwrap_err();
    assert_eq!(error.param(), Some("query"));
    assert!(error.to_string().contains(why), "{error}");
}

#[test]
fn what_is_wrong_with_a_document_is_told_without_its_text() {
    let query = "mutation { logIn(input: { password: \"a secret\" }) { a } } }";
    let error = shape().measure(query, &Variables::default()).err().unwrap().to_string();
    assert!(error.contains("line 1, column 59") && !error.contains("a secret"), "{error}");
}

#[test]
fn a_page_multiplies_what_is_below_it() {
    let nodes = |query: &str| measure(query).unwrap().nodes;
    assert_eq!(nodes("{ viewer { operator } }"), 1);
    assert_eq!(nodes("{ apiKeys(first: 7) { nodes { name } } }"), 7);
    assert_eq!(nodes("{ apiKeys(last: 3) { edges { node { name } cursor } } }"), 3);
    assert_eq!(
        nodes("{ usagePlans(first: 5) { nodes { apiKeys(first: 4) { nodes { id } } } } }"),
        25
    );
    assert_eq!(
        nodes(
            "{ ...All } fragment All on Query { apiKeys(first: 7) { ...Page } } fragment Page on ApiKeyConnection { nodes { id } }"
        ),
        7
    );
    assert_eq!(nodes(r#"{ nodes(ids: ["a", "b", "c"]) { id } }"#), 3);
}

#[test]
fn what_a_request_costs_is_what_is_looked_up_for_it() {
    let cost = |query: &str| measure(query).unwrap().cost;
    assert_eq!(cost("{ viewer { operator } }"), 1);
    assert_eq!(cost("{ viewer { operator } rateLimit { cost } }"), 2);
    assert_eq!(cost("{ apiKeys(first: 99) { edges { node { id } } nodes { id } } }"), 1 + 1);
    assert_eq!(cost("{ apiKeys(first: 40) { nodes { id } } }"), 1);
    // A key's consumer and its plans are one question each.
    assert_eq!(
        cost("{ apiKeys(first: 7) { nodes { consumer { id } usagePlans { id } } } }"),
        1 + 7 + 7
    );
    assert_eq!(
        cost(
            "{ usagePlans(first: 5) { nodes { throttle { rateLimit } apiKeys(first: 4) { nodes { consumer { id } } } } } }"
        ),
        1 + 5 + 20
    );
    let made =
        "mutation { createConsumer(input: {name: \"a\"}) { consumer { id } userErrors { code } } }";
    assert_eq!(cost(made), CHANGE);
    let sums = "{ a: usageGroups(filter: {since: \"2026-11-20T00:00:00Z\"}, groupBy: [], first: 9) { nodes { requests } } \
                ...B } fragment B on Query { b: keyUsage(usagePlanId: \"a\", since: \"2026-11-20T00:00:00Z\", first: 1) \
                { nodes { used } } viewer { operator } }";
    assert_eq!(cost(sums), SUM + SUM + READ);
}

#[test]
fn every_field_that_adds_up_is_there() {
    let Shape(types) = shape();
    let there = |name: &str| ["Query", "Mutation"].iter().any(|of| types[*of].contains_key(name));
    assert!(SUMS.iter().all(|name| there(name)));
}

#[test]
fn a_dear_request_is_refused_with_its_cost_and_the_most() {
    let query = |plans: u32| {
        format!(
            "{{ usagePlans(first: {plans}) {{ nodes {{ apiKeys(first: 50) {{ nodes {{ consumer {{ id }} }} }} }} }} }}"
        )
    };
    let dearest = measure(&query(18)).unwrap();
    // The plans, the keys of each, the consumer of each, and 1818 objects.
    assert_eq!(dearest.cost, 1 + 18 + 900 + 18);
    refused(&query(20), "costs 1041 points, and a request at most 1000");
}

/// The text of each `graphql` template below the directory.
fn documents(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "ts" || kind == "tsx") {
            let text = std::fs::read_to_string(&path).unwrap();
            let templates = text.split("graphql(`").skip(1);
            found.extend(templates.map(|rest| rest.split('`').next().unwrap().to_owned()));
        }
    }
}

#[test]
fn the_consoles_pages_are_far_from_the_limits() {
    let mut found = Vec::new();
    documents(Path::new("../web/src"), &mut found);
    let (fragments, operations): (Vec<String>, _) =
        found.into_iter().partition(|text| text.trim_start().starts_with("fragment"));
    assert!(operations.len() > 20, "the console is where it was");
    for operation in operations {
        let measured = measure(&format!("{operation} {}", fragments.join(" ")));
        let cost = measured.unwrap_or_else(|error| panic!("{operation}: {error}")).cost;
        assert!(u64::from(cost) <= COST_MAX / 2, "{cost}: {operation}");
    }
}

#[test]
fn a_dry_run_is_one_in_every_operation() {
    let dry = |query: &str| measure(query).unwrap().dry;
    assert!(dry("{ rateLimit(dryRun: true) { cost } viewer { operator } }"));
    assert!(dry("query($dry: Boolean = true) { rateLimit(dryRun: $dry) { cost } }"));
    assert!(!dry("{ rateLimit { cost } }"));
    assert!(!dry("{ rateLimit(dryRun: false) { cost } }"));
    assert!(!dry("query A { rateLimit(dryRun: true) { cost } } query B { viewer { operator } }"));
    assert!(!dry("{ ...A } fragment A on Query { rateLimit(dryRun: true) { cost } }"));
}

#[test]
fn a_connection_without_a_page_is_refused_by_its_path_and_place() {
    for (query, path, place) in [
        ("{ apiKeys { nodes { id } } }", "apiKeys", (1, 3)),
        ("{ keys: apiKeys(first: null) { nodes { id } } }", "keys", (1, 3)),
        ("{ apiKeys(after: \"x\") @include(if: false) { nodes { id } } }", "apiKeys", (1, 3)),
        (
            "{ usagePlans(last: 1) { edges { node {\n  apiKeys { nodes { id } } } } } }",
            "usagePlans.edges.node.apiKeys",
            (2, 3),
        ),
        (
            "query A { viewer { operator } } query B { ...F }\nfragment F on Query { apis { nodes { id } } }",
            "apis",
            (2, 23),
        ),
        (
            "mutation { deleteUsagePlan(input: {id: \"a\"}) { deletedId }\n createApiKey(input: {name: \"a\"}) {
             apiKey { usagePlans { apiKeys { nodes { id } } } } } }",
            "createApiKey.apiKey.usagePlans.apiKeys",
            (3, 36),
        ),
    ] {
        let error = measure(query).unwrap_err();
        let Error::PageSizeRequired { message, place: told } = &error else {
            panic!("{query}: {error}")
        };
        assert!(message.starts_with(&format!("{path} is a connection")), "{message}");
        assert_eq!((error.param(), *told), (Some("first"), Some(place)), "{query}");
    }
    // Its resolver says so where the operation is run.
    measure(
        "query A { viewer { operator } } query B($n: Int) { apis(first: $n) { nodes { id } } }",
    )
    .unwrap();
}

#[test]
fn a_page_may_be_a_variable() {
    let query = "query($n: Int = 9) { apiKeys(first: $n) { nodes { id } } }";
    let given = Variables::from_json(json!({ "n": 30 }));
    assert_eq!(shape().measure(query, &given).unwrap().nodes, 30);
    assert_eq!(measure(query).unwrap().nodes, 9);
}

#[test]
fn too_many_objects_are_refused() {
    refused(
        "{ usagePlans(first: 100) { nodes { apiKeys(first: 100) { nodes { id } } } } }",
        "10000 objects",
    );
    let aliases: String = (0..30).fold(String::new(), |mut all, n| {
        let _ = write!(
            all,
            "a{n}: usagePlans(first: 20) {{ nodes {{ apiKeys(last: 20) {{ nodes {{ id }} }} }} }} "
        );
        all
    });
    refused(&format!("{{ {aliases} }}"), "10000 objects");
}

#[test]
fn too_many_values_are_refused() {
    let aliases: String = (0..1000).fold(String::new(), |mut all, n| {
        let _ = write!(all, "a{n}: id ");
        all
    });
    refused(
        &format!(
            "{{ usagePlans(first: 3) {{ nodes {{ apiKeys(first: 100) {{ nodes {{ {aliases} }} }} }} }} }}"
        ),
        "200000 values",
    );
}

#[test]
fn a_deep_document_is_refused() {
    let nested = |depth: usize| format!("{}{}", "{ viewer ".repeat(depth), "}".repeat(depth));
    measure(&nested(DEPTH_MAX)).unwrap();
    refused(&nested(DEPTH_MAX + 1), "deeper than 12");
    // Fragments hide no depth.
    let hidden = format!("{{ viewer {{ ...A }} }} fragment A on Viewer {}", nested(DEPTH_MAX));
    refused(&hidden, "deeper than 12");
    refused(&"{a".repeat(2000), "deeper than 64");
}

#[test]
fn fragments_neither_circle_nor_explode() {
    refused("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "inside itself");
    refused("{ ...A } fragment A on Query { viewer { ...A } }", "inside itself");
    let doubling: String = (0..18).fold(String::new(), |mut all, n| {
        let _ = write!(all, "fragment F{n} on Viewer {{ ...F{0} ...F{0} }} ", n + 1);
        all
    });
    refused(
        &format!("{{ viewer {{ ...F0 }} }} {doubling} fragment F18 on Viewer {{ operator }}"),
        "5000 fields",
    );
    let chain: String = (0..30).fold(String::new(), |mut all, n| {
        let _ = write!(all, "fragment F{n} on Viewer {{ ...F{} }} ", n + 1);
        all
    });
    refused(
        &format!("{{ viewer {{ ...F0 }} }} {chain} fragment F30 on Viewer {{ operator }}"),
        "nests more than 20",
    );
    let many: String = (0..=FRAGMENTS_MAX).fold(String::new(), |mut all, n| {
        let _ = write!(all, "fragment F{n} on Viewer {{ operator }} ");
        all
    });
    refused(&format!("{{ viewer {{ operator }} }} {many}"), "100 fragments");
}

#[test]
fn a_request_begins_with_few_fields() {
    let aliases = |count: usize, field: &str| {
        (0..count).fold(String::new(), |mut all, n| {
            let _ = write!(all, "a{n}: {field} ");
            all
        })
    };
    let query = |count| format!("{{ {} }}", aliases(count, "viewer { operator }"));
    measure(&query(QUERY_FIELDS_MAX)).unwrap();
    refused(&query(QUERY_FIELDS_MAX + 1), "begins with more than 50");
    let log_in = r#"logIn(input: { email: "a", password: "b" }) { accessToken }"#;
    let mutation = |count| format!("mutation {{ {} }}", aliases(count, log_in));
    measure(&mutation(MUTATION_FIELDS_MAX)).unwrap();
    refused(&mutation(MUTATION_FIELDS_MAX + 1), "begins with more than 10");
}

#[test]
fn a_long_document_is_refused_unread() {
    refused(
        &format!("{{ viewer {{ operator }} }}{}", " ".repeat(DOCUMENT_BYTES_MAX)),
        "65536 bytes",
    );
}

#[test]
fn introspection_is_seen_and_does_not_circle() {
    let usual = "{ __schema { types { name fields { name args { type { ofType { ofType { ofType { ofType { ofType { ofType { ofType { name } } } } } } } } } } } } }";
    assert!(measure(usual).unwrap().introspects);
    assert!(
        measure("{ ...A } fragment A on Query { __type(name: \"Api\") { name } }")
            .unwrap()
            .introspects
    );
    assert!(!measure("{ __typename viewer { __typename } }").unwrap().introspects);
    refused(
        "{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }",
        "round in the schema",
    );
}
