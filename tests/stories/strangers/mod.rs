//! One walk over everything that can be asked for. The list is OpenAPI's and the SDL's own, so that a new operation
//! is in it from its first day; the walk fails for one that it cannot fill in, or of which `access/matrix.rs` does not say who may.

mod access;
mod cast;
mod catalog;
mod fill;
mod planted;
mod schemathesis;

use cast::{CANARY, Party};
use catalog::{Catalog, Operation, Request};
use fill::{Fill, Ids};
use harness::World;

/// What was answered to one caller, and what should have been.
#[derive(Default)]
struct Findings {
    calls: usize,
    wrong: Vec<String>,
}

impl Findings {
    /// Sends the request, and takes any of these outcomes.
    async fn expect(
        &mut self,
        world: &World,
        who: &str,
        token: Option<&str>,
        request: &Request,
        right: &[&str],
    ) {
        let answer = request.send(world, token).await;
        let outcome = request.outcome(&answer);
        self.calls += 1;
        if !right.contains(&outcome.as_str()) {
            self.wrong
                .push(format!("{who}: {outcome}, not {right:?}: {request:?}: {}", answer.text()));
        }
        let members = access::ROLES.iter().any(|role| role.as_str() == who) || who == "owner";
        if !members && answer.text().contains(CANARY) {
            self.wrong.push(format!("{who} is shown the victim's: {request:?}: {}", answer.text()));
        }
        if answer.status() >= 500 {
            self.wrong.push(format!("{who}: broke: {request:?}: {}", answer.text()));
        }
        if answer.status() == 401 && answer.header("www-authenticate").is_none() {
            self.wrong.push(format!("{who}: 401 without www-authenticate: {request:?}"));
        }
        if answer.header("x-content-type-options") != Some("nosniff") {
            self.wrong.push(format!("{who}: an answer without nosniff: {request:?}"));
        }
    }

    fn done(self, calls_min: usize) {
        println!("{} calls", self.calls);
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert!(self.calls >= calls_min, "only {} calls", self.calls);
    }
}

/// Every operation that wants to know who calls.
fn closed(catalog: &Catalog) -> impl Iterator<Item = &Operation> {
    catalog.operations.iter().filter(|operation| !access::is_public(operation))
}

/// Whether it is about a call to a tenant's Api, or an hour of such calls: in these worlds nobody calls.
fn is_about_calls(operation: &Operation) -> bool {
    matches!(
        operation.name.as_str(),
        "explanation" | "getExplanation" | "getUsageProof" | "usageProof"
    )
}

/// The requests of one operation: `node` and `nodes` are asked once for each kind.
fn requests(catalog: &Catalog, operation: &Operation, ids: &Ids) -> Vec<Request> {
    if !matches!(operation.name.as_str(), "node" | "nodes") {
        return vec![Fill::with(catalog, ids).request(operation)];
    }
    catalog
        .nodes
        .iter()
        .map(|kind| {
            let id = ids.global.get(kind);
            let id = id.unwrap_or_else(|| panic!("the walk has no id of a {kind}")).clone();
            let one = Ids { global: [("Node".to_owned(), id)].into() };
            Fill::with(catalog, &one).request(operation)
        })
        .collect()
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told_and_nothing_changes() {
    let world = World::start().await;
    let catalog = Catalog::of(&world).await;
    let victim = cast::party(&world, &catalog, CANARY, "vault").await;
    let token = &victim.tenant.token;
    let (expired, tampered) = (cast::expired(&world, token).await, cast::tampered(token));
    let tenant = victim.tenant.plain_id().await;
    let before = cast::digests(&mut world.database().await, &tenant).await;

    let mut findings = Findings::default();
    for operation in closed(&catalog) {
        for request in requests(&catalog, operation, &victim.ids) {
            for (who, token) in
                [("nobody", None), ("expired", Some(&*expired)), ("tampered", Some(&*tampered))]
            {
                findings.expect(&world, who, token, &request, &["unauthenticated"]).await;
            }
        }
    }

    assert_eq!(cast::digests(&mut world.database().await, &tenant).await, before);
    findings.done(3 * 90);
}

#[tokio::test]
async fn a_stranger_who_knows_every_id_finds_nothing() {
    let world = World::start().await;
    let catalog = Catalog::of(&world).await;
    let victim = cast::party(&world, &catalog, CANARY, "vault").await;
    let mallory = cast::party(&world, &catalog, "mallory", "prod").await;
    let tenant = victim.tenant.plain_id().await;
    let before = cast::digests(&mut world.database().await, &tenant).await;

    // First what the walk's own routes, which lead nowhere, would be in the way of.
    let mut operations: Vec<_> = closed(&catalog).collect();
    operations.sort_by_key(|operation| operation.name != "createDeployment");
    let mut findings = Findings::default();
    for operation in operations {
        estrange(&world, &catalog, operation, &victim.ids, &mallory, &mut findings).await;
    }

    assert_eq!(cast::digests(&mut world.database().await, &tenant).await, before);
    findings.done(150);
}

/// One operation with the victim's id in each place in turn, the stranger's own in the others.
async fn estrange(
    world: &World,
    catalog: &Catalog,
    operation: &Operation,
    victim: &Ids,
    mallory: &Party<'_>,
    findings: &mut Findings,
) {
    let token = Some(mallory.tenant.token.as_str());
    if matches!(operation.name.as_str(), "node" | "nodes") {
        for request in requests(catalog, operation, victim) {
            findings.expect(world, "stranger", token, &request, &["not_found"]).await;
        }
        return;
    }
    if access::is_operators(operation) {
        let request = Fill::with(catalog, victim).request(operation);
        findings.expect(world, "stranger", token, &request, &["forbidden"]).await;
        return;
    }
    let optional = Fill::with(catalog, &mallory.ids).optional_ids(operation);
    for extra in std::iter::once(None).chain(optional.iter().map(|field| Some(field.as_str()))) {
        let own = Fill::with(catalog, &mallory.ids).extra(extra);
        let request = own.request(operation);
        let places = own.places();
        // With the stranger's own ids it is right: what is refused below is refused for the foreign id. A route on the
        // same resource may be there from the other door.
        if operation.reads() || operation.name.starts_with("create") || places == 0 {
            let right: &[&str] =
                if is_about_calls(operation) { &["not_found"] } else { &["done", "conflict"] };
            findings.expect(world, "stranger", token, &request, right).await;
        }
        for place in 0..places {
            let fill = Fill::with(catalog, &mallory.ids).extra(extra).foreign(place, victim);
            let request = fill.request(operation);
            // A filter by what is not one's own may also find nothing. Usage outlives what it names, so an export's
            // filter is not asked whether that is there.
            let reads = operation.reads() || operation.name == "createUsageExport";
            let filters = reads && extra.is_some();
            let right: &[&str] = if filters { &["not_found", "done"] } else { &["not_found"] };
            findings.expect(world, "stranger", token, &request, right).await;
        }
    }
}

#[tokio::test]
async fn each_role_does_what_it_may_and_no_more() {
    let world = World::start().await;
    let catalog = Catalog::of(&world).await;
    let victim = cast::party(&world, &catalog, CANARY, "vault").await;
    let mut members = Vec::new();
    for role in access::ROLES {
        members.push((role, cast::member(&world, &victim.tenant, role.as_str()).await));
    }
    let operator = world.operator().await;
    let tenant = victim.tenant.plain_id().await;
    let before = cast::digests(&mut world.database().await, &tenant).await;
    let nobodys = victim.ids.nobodys();

    let mut findings = Findings::default();
    for operation in closed(&catalog) {
        let operators = access::is_operators(operation);
        for request in requests(&catalog, operation, &victim.ids) {
            for (role, token) in &members {
                if operators || !access::may(*role, operation) {
                    findings
                        .expect(&world, role.as_str(), Some(token), &request, &["forbidden"])
                        .await;
                }
            }
            if operators {
                let owner = Some(victim.tenant.token.as_str());
                findings.expect(&world, "owner", owner, &request, &["forbidden"]).await;
            } else if !access::is_operators_too(operation) {
                let operator = Some(operator.token.as_str());
                findings.expect(&world, "operator", operator, &request, &["forbidden"]).await;
            }
        }
    }
    assert_eq!(cast::digests(&mut world.database().await, &tenant).await, before);

    // What a role may, it may: seen by ids that nobody has, so that nothing is gone for the next.
    for operation in closed(&catalog) {
        let fill = Fill::with(&catalog, &nobodys);
        let takes_any = matches!(operation.name.as_str(), "node" | "nodes");
        if takes_any || access::is_operators(operation) {
            continue;
        }
        for (role, token) in &members {
            if access::may(*role, operation) {
                let request = fill.request(operation);
                let right: &[&str] = match operation.name.as_str() {
                    // Each is the last owner of a tenant of their own, and no mail is sent here.
                    "deleteAccount" | "resendVerification" => &["conflict"],
                    _ if fill.places() == 0 && !is_about_calls(operation) => &["done"],
                    _ => &["not_found"],
                };
                findings.expect(&world, role.as_str(), Some(token), &request, right).await;
            }
        }
    }
    findings.done(500);
}
