//! Every change of the schema, made once, and what the audit logs are told of it. The list is the schema's own, so that
//! a new change is in it from its first day: one that tells nothing, or that this walk cannot make, fails here.
//!
//! Each is first refused (an id of nobody's, a text that is too long, a version that is not the present one), then made
//! while no log takes entries, then made: nothing, nothing, one entry.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::types::FieldDefinition;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};
use uuid::Uuid;

use crate::access::actor::Caller;
use crate::access::authority::Authority;
use crate::access::matrix::{self, Who};
use crate::app::App;
use crate::domain::audit_chain;
use crate::graphql::audited::scene::{By, Scene};
use crate::graphql::walk::{self, Operations, Text};
use crate::graphql::{GatewaySchema, schema};
use crate::testing;

mod scene;

/// A change that no log is told of.
struct Untold {
    operation: &'static str,
    /// Whether it is told where letters cannot be sent.
    without_mail: bool,
    /// All that it writes.
    tables: &'static [&'static str],
    #[expect(dead_code, reason = "it is for who reads this list")]
    because: &'static str,
}

const UNTOLD: &[Untold] = &[
    Untold {
        operation: "createAuditDownload",
        without_mail: false,
        tables: &["download_token"],
        because: "it reads what the caller may read page by page, which is not told either",
    },
    Untold {
        operation: "createUsageDownload",
        without_mail: false,
        tables: &["download_token"],
        because: "it reads what every member may read by a query, which is not told either",
    },
    Untold {
        operation: "createUsageExport",
        without_mail: false,
        tables: &["download_token"],
        because: "it reads what every member may read by a query, which is not told either",
    },
    Untold {
        operation: "requestPasswordReset",
        without_mail: false,
        tables: &["mail"],
        because: "whoever asks is nobody yet, and who has an account is not looked up; the reset itself is told",
    },
    Untold {
        operation: "resendVerification",
        without_mail: false,
        tables: &["mail", "user_link"],
        because: "another letter to the caller's own address; that it was verified is told",
    },
    Untold {
        operation: "signUp",
        without_mail: true,
        tables: &["mail", "sign_up"],
        because: "there is no tenant and no user until the letter's link is opened, which is told",
    },
];

/// Changes that an installation without mail refuses.
const MAILED: [&str; 2] = ["requestPasswordReset", "resendVerification"];

/// What a change tells of the noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Only what it is now.
    Made,
    /// What it was and what it is, which differ.
    Changed,
    /// Only what it was.
    Gone,
    /// Only whose it is: passwords are in no log.
    Whose,
    /// Nothing was changed, but taken away.
    Taken,
}

/// The action that this change is told as, and how. `createUsagePlan` is `usage_plan.create`; only what is named
/// otherwise stands here.
fn told(operation: &str, variant: &str, mail: bool) -> Option<(String, Shape)> {
    let (action, shape) = match (operation, variant) {
        ("acceptInvitation", _) => ("member.create", Shape::Made),
        ("changeEmail", _) if mail => ("user.request_email_change", Shape::Changed),
        ("changeEmail", _) | ("verifyEmail", "another") => ("user.change_email", Shape::Changed),
        ("changePassword", _) => ("user.change_password", Shape::Whose),
        ("closeTenant", _) => ("tenant.close", Shape::Changed),
        ("createQuarantinedSegmentDownload", _) => ("quarantined_segment.download", Shape::Taken),
        ("createTenantExport" | "exportTenant", _) => ("tenant.export", Shape::Taken),
        ("deleteAccount", _) => ("member.delete", Shape::Gone),
        ("endApiKeyOverlap", _) => ("api_key.end_overlap", Shape::Changed),
        ("generateClientCertificate", _) => ("client_certificate.generate", Shape::Made),
        ("inviteTenant", _) => ("tenant_invitation.create", Shape::Made),
        ("logIn", _) => ("session.create", Shape::Made),
        ("promoteCanary", _) => ("canary.promote", Shape::Changed),
        ("reopenTenant", _) => ("tenant.reopen", Shape::Changed),
        ("resendInvitation", _) => ("invitation.resend", Shape::Changed),
        ("resetPassword", _) => ("user.reset_password", Shape::Whose),
        ("resumeTenant", _) => ("tenant.resume", Shape::Changed),
        ("revokeNode", _) => ("node.revoke", Shape::Changed),
        ("revokeOtherSessions" | "revokeSession", _) => ("session.revoke", Shape::Gone),
        ("rotateApiKey", _) => ("api_key.rotate", Shape::Changed),
        ("setPrice", _) => ("price.set", Shape::Changed),
        ("settleQuarantinedSegment", _) => ("quarantined_segment.settle", Shape::Changed),
        ("signUp", _) | ("verifyEmail", "sign-up") => ("tenant.create", Shape::Made),
        ("uploadClientCertificate", _) => ("client_certificate.upload", Shape::Made),
        ("suspendTenant", _) => ("tenant.suspend", Shape::Changed),
        ("updateTenantLimits", _) => ("tenant.update_limits", Shape::Changed),
        ("verifyEmail", _) => ("user.verify_email", Shape::Changed),
        _ => {
            let (verb, noun) = operation.split_at(operation.find(char::is_uppercase)?);
            let shape = match verb {
                "create" => Shape::Made,
                "update" => Shape::Changed,
                "delete" => Shape::Gone,
                _ => return None,
            };
            let mut snake = String::new();
            for letter in noun.chars() {
                if letter.is_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(letter.to_ascii_lowercase());
            }
            return Some((format!("{snake}.{verb}"), shape));
        }
    };
    Some((action.to_owned(), shape))
}

/// Who makes the change, each in turn.
fn callers(operation: &str) -> &'static [By] {
    match (operation, matrix::who(operation)) {
        ("acceptInvitation", _) => &[By::Nobody, By::Member],
        // An operator's account does not end this way.
        ("deleteAccount", _) | (_, Some(Who::Members(_)) | None) => &[By::Member],
        (_, Some(Who::Anybody)) => &[By::Nobody],
        (_, Some(Who::MembersAndOperator(_))) => &[By::Member, By::Operator],
        (_, Some(Who::Operator)) => &[By::Operator],
    }
}

/// In what ways the change is made, each in turn.
fn variants(operation: &str, mail: bool) -> &'static [&'static str] {
    match operation {
        "verifyEmail" if mail => &["", "another", "sign-up"],
        "verifyEmail" => &["", "another"],
        _ => &[""],
    }
}

/// An entry as it is stored.
#[derive(Debug, sqlx::FromRow)]
struct Entry {
    id: Uuid,
    tenant_id: Option<Uuid>,
    user_id: Option<Uuid>,
    action: String,
    noun_id: String,
    before: Option<Value>,
    after: Option<Value>,
    request_id: String,
    address: String,
}

impl Entry {
    fn has(&self, shape: Shape) -> bool {
        match (shape, &self.before, &self.after) {
            (Shape::Made | Shape::Whose, None, Some(after)) => after.is_object(),
            (Shape::Changed, Some(before), Some(after)) => before.is_object() && before != after,
            (Shape::Gone, Some(before), None) => before.is_object(),
            (Shape::Taken, None, None) => true,
            _ => false,
        }
    }
}

/// The database beside the application, by its administrator.
struct Database {
    db: PgPool,
    contents: String,
}

impl Database {
    /// Failed log-ins are counted whatever comes of them.
    const COUNTS: &str = "login_failure";

    async fn new(db: PgPool) -> Self {
        db.execute(
            "create function refuse_entry() returns trigger language plpgsql as
                 $$ begin raise exception 'this log takes no entries'; end $$;
             create trigger refused before insert on audit_entry
                 for each row execute function refuse_entry();
             alter table audit_entry disable trigger refused",
        )
        .await
        .unwrap();
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class
             where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> $1",
        )
        .bind(Self::COUNTS)
        .fetch_all(&db)
        .await
        .unwrap();
        assert!(tables.len() > 20, "{tables:?}");
        let content = |table: &String| {
            format!(
                "select '{table}', md5(coalesce(string_agg(t::text, ',' order by t::text), ''))
                 from \"{table}\" t"
            )
        };
        let contents: Vec<String> = tables.iter().map(content).collect();
        Self { db, contents: contents.join(" union all ") }
    }

    /// What each table holds.
    async fn contents(&self) -> BTreeMap<String, String> {
        let query = sqlx::AssertSqlSafe(self.contents.clone());
        let rows: Vec<(String, String)> = sqlx::query_as(query).fetch_all(&self.db).await.unwrap();
        rows.into_iter().collect()
    }

    async fn changed_since(&self, before: &BTreeMap<String, String>) -> Vec<String> {
        let after = self.contents().await;
        let differs = |(table, content): &(String, String)| before.get(table) != Some(content);
        after.into_iter().filter(differs).map(|(table, _)| table).collect()
    }

    async fn refuse_entries(&self, refuse: bool) {
        let state = if refuse { "enable" } else { "disable" };
        let sql = format!("alter table audit_entry {state} trigger refused");
        self.db.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }

    async fn entries(&self) -> Vec<Entry> {
        let sql =
            "select id, tenant_id, user_id, action, noun_id, before, after, request_id, address
                   from audit_entry order by id";
        sqlx::query_as(sql).fetch_all(&self.db).await.unwrap()
    }

    /// The user with this address, and the tenant that they joined last.
    async fn user(&self, email: &str) -> (Uuid, Uuid) {
        let sql = "select user_id, tenant_id from member join user_account u on u.id = user_id
                   where u.email = $1 order by member.created_at desc limit 1";
        sqlx::query_as(sql).bind(email).fetch_one(&self.db).await.unwrap()
    }
}

/// The walk, and what it found wrong.
struct Walk<'a> {
    app: &'a App,
    mail: bool,
    schema: GatewaySchema,
    operations: Operations,
    database: Database,
    wrong: Vec<String>,
}

impl Walk<'_> {
    async fn ask(
        &self,
        field: &FieldDefinition,
        scene: &Scene<'_>,
        variables: &Value,
    ) -> async_graphql::Response {
        let request = self.operations.request_with("mutation", field, variables.clone());
        let caller = scene.caller.as_ref();
        walk::run_as(&self.schema, self.app, caller, &scene.origin, request).await
    }

    /// Makes the change in every way in which it must be refused. Answers how often it told the caller why.
    async fn refused(
        &mut self,
        field: &FieldDefinition,
        scene: &Scene<'_>,
        right: &Value,
        texts: &[Text],
    ) -> usize {
        let operation = field.name.node.as_str();
        let mut tries = Vec::new();
        for text in texts {
            let mut wrong = right.clone();
            *wrong.pointer_mut(&text.at).unwrap() = if text.is_id {
                json!(*walk::id(&text.name, operation))
            } else {
                json!("x".repeat(5000))
            };
            tries.push((text.at.clone(), wrong));
        }
        let input = self.operations.inputs.get(&input_type(field));
        let versioned = input.into_iter().flatten().any(|of| of.name.node == "expectedVersion");
        if versioned {
            let mut wrong = right.clone();
            wrong["input"]["expectedVersion"] = json!("0000000000000000");
            tries.push(("/input/expectedVersion".to_owned(), wrong));
        }
        let mut told = 0;
        for (at, wrong) in tries {
            let before = self.database.contents().await;
            let answer = self.ask(field, scene, &wrong).await;
            let errors = &json!(answer.data)[operation]["userErrors"];
            let user_errors = errors.as_array().is_some_and(|errors| !errors.is_empty());
            told += usize::from(user_errors);
            let refused = user_errors || !answer.errors.is_empty();
            if !refused || walk::codes(&answer).contains(&"internal") {
                self.wrong
                    .push(format!("{operation} with a wrong {at} is not refused: {answer:?}"));
            }
            let changed = self.database.changed_since(&before).await;
            if !changed.is_empty() {
                self.wrong.push(format!("{operation}, refused for {at}, changed {changed:?}"));
            }
        }
        told
    }

    /// The text that makes an update change something.
    fn renamed(&self, field: &FieldDefinition) -> Option<&'static str> {
        let input = self.operations.inputs.get(&input_type(field))?;
        let has = |name: &&str| input.iter().any(|of| of.name.node == *name);
        let update = field.name.node.starts_with("update");
        ["name", "description", "operationName"].into_iter().filter(|_| update).find(has)
    }

    async fn make(&mut self, field: &FieldDefinition, number: u32, by: By, variant: &str) {
        let (operation, mail) = (field.name.node.as_str(), self.mail);
        let what = format!("{operation} {variant} by {by:?}");
        let untold = UNTOLD.iter().find(|of| of.operation == operation);
        let untold = untold.filter(|of| mail || !of.without_mail);
        let told = told(operation, variant, mail);
        if untold.is_none() && told.is_none() {
            self.wrong.push(format!("{operation}: what is it told as? The walk has to know"));
            return;
        }
        let mut scene = Scene::new(self.app, number, by).await;
        let mut variables = self.operations.variables(field);
        for text in self.operations.texts(field, &variables) {
            if text.is_id {
                let kind = walk::kind(&text.name, operation);
                let id = scene.id(kind, &text.name, operation).await;
                *variables.pointer_mut(&text.at).unwrap() = json!(*id);
            }
        }
        if let Value::Object(given) = scene.input(operation, variant).await {
            for (name, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
                variables["input"][name] = value;
            }
        }
        if let Some(name) = self.renamed(field) {
            variables["input"][name] = json!("other");
        }
        if operation == "revokeOtherSessions" {
            scene.another_session().await;
        }
        self.app.clock.advance(TimeDelta::minutes(2));
        let texts = self.operations.texts(field, &variables);

        let before = self.database.contents().await;
        if MAILED.contains(&operation) && !mail {
            let answer = self.ask(field, &scene, &variables).await;
            let errors = &json!(answer.data)[operation]["userErrors"];
            let changed = self.database.changed_since(&before).await;
            if errors[0]["code"] != "CONFLICT" || !changed.is_empty() {
                self.wrong.push(format!("{what} without mail: {answer:?} changed {changed:?}"));
            }
            return;
        }
        let refused = self.refused(field, &scene, &variables, &texts).await;
        if refused == 0 && !texts.is_empty() {
            self.wrong.push(format!("{what}: no wrong input gives userErrors"));
        }
        let (entries, before) = (self.database.entries().await, self.database.contents().await);
        if untold.is_none() {
            self.database.refuse_entries(true).await;
            let answer = self.ask(field, &scene, &variables).await;
            self.database.refuse_entries(false).await;
            let changed = self.database.changed_since(&before).await;
            if walk::codes(&answer) != ["internal"] || !changed.is_empty() {
                self.wrong.push(format!(
                    "{what}, while the log takes no entries: {answer:?} changed {changed:?}"
                ));
                return;
            }
        }

        let answer = self.ask(field, &scene, &variables).await;
        if !answer.errors.is_empty() || json!(answer.data)[operation]["userErrors"] != json!([]) {
            self.wrong.push(format!("{what} cannot be made: {answer:?}"));
            return;
        }
        let changed = self.database.changed_since(&before).await;
        let known: BTreeSet<Uuid> = entries.iter().map(|entry| entry.id).collect();
        let mut new = self.database.entries().await;
        new.retain(|entry| !known.contains(&entry.id));
        if let Some(untold) = untold {
            if !new.is_empty() || changed != untold.tables {
                self.wrong.push(format!("{what} is not to be told: {new:?} changed {changed:?}"));
            }
            return;
        }
        let (action, shape) = told.unwrap_or_else(|| (String::new(), Shape::Taken));
        let (user, logs) = self.whom(&scene).await;
        let subject = ["/input/id", "/input/tenantId"]
            .into_iter()
            .find_map(|at| variables.pointer(at).and_then(Value::as_str))
            .map(plain);
        let right = |entry: &Entry| {
            entry.user_id == Some(user)
                && entry.action == action
                && entry.has(shape)
                && entry.request_id == scene.origin.request_id
                && entry.address == scene.origin.address
                && subject.as_ref().is_none_or(|id| *id == entry.noun_id)
                && !secrets(&texts, &variables).any(|secret| format!("{entry:?}").contains(secret))
        };
        let mut whose: Vec<Option<Uuid>> = new.iter().map(|entry| entry.tenant_id).collect();
        whose.sort();
        if whose != logs || !new.iter().all(right) {
            self.wrong.push(format!(
                "{what} is to be told as {action} ({shape:?}) of {user} in {logs:?}, and is as {new:#?}"
            ));
        }
    }

    /// Whose entry it is, and in which logs.
    async fn whom(&self, scene: &Scene<'_>) -> (Uuid, Vec<Option<Uuid>>) {
        match (&scene.caller, &scene.stranger) {
            (None, Some(email)) => {
                let (user, tenant) = self.database.user(email).await;
                (user, vec![Some(tenant)])
            }
            (None, None) => panic!("who is {}?", scene.origin.request_id),
            (Some(Caller::Operator(operator)), _) => {
                let logs = [None, scene.tenant.map(|tenant| Some(tenant.0))];
                let logs = logs.into_iter().take(1 + usize::from(scene.tenant.is_some()));
                (operator.user.0, logs.map(Option::flatten).collect())
            }
            (Some(Caller::Member(actor)), _) => {
                (actor.user.0, vec![Some(scene.tenant.unwrap_or(actor.tenant).0)])
            }
        }
    }
}

/// The name of the type of the field's one argument.
fn input_type(field: &FieldDefinition) -> String {
    let first = field.arguments.first();
    first.map(|argument| argument.node.ty.node.base.to_string()).unwrap_or_default()
}

/// The plain id in a global one.
fn plain(id: &str) -> String {
    use base64::Engine;
    let text = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(id).unwrap();
    String::from_utf8(text).unwrap().split_once(':').unwrap().1.to_owned()
}

/// What of these variables is in no log.
fn secrets<'a>(texts: &'a [Text], variables: &'a Value) -> impl Iterator<Item = &'a str> {
    let secret = |text: &&Text| {
        let name = text.name.to_lowercase();
        name.contains("password") || name == "token" || name == "privatekey"
    };
    texts.iter().filter(secret).filter_map(|text| variables.pointer(&text.at)?.as_str())
}

async fn every_change_is_told_once(app: &App, db: PgPool) {
    Authority::open(app).await.unwrap(); // made where it is first asked for
    let mut walk = Walk {
        app,
        mail: app.mailer.is_some(),
        schema: schema().data(app.clone()).finish(),
        operations: Operations::of_schema(),
        database: Database::new(db).await,
        wrong: Vec::new(),
    };
    let fields = walk.operations.fields.clone();
    let changes: Vec<_> = fields
        .into_iter()
        .filter(|(kind, _)| *kind == "mutation")
        .map(|(_, field)| field)
        .collect();
    assert!(changes.len() > 50, "the walk sees the schema");
    let known = |name: &str| changes.iter().any(|field| field.name.node == name);
    assert!(UNTOLD.iter().all(|untold| known(untold.operation)), "a change is gone");
    let mut number = 0;
    for field in &changes {
        for by in callers(&field.name.node) {
            for variant in variants(&field.name.node, walk.mail) {
                number += 1;
                walk.make(field, number, *by, variant).await;
            }
        }
    }
    assert!(walk.wrong.is_empty(), "{}", walk.wrong.join("\n"));

    audit_chain::seal(app).await.unwrap();
    let mut linked = 0;
    for log in audit_chain::all(app).await.unwrap() {
        let verified = audit_chain::verify_one(app, log, None).await.unwrap();
        assert_eq!(verified.fault, None, "{log:?}");
        assert_eq!(verified.sealed_sequence, verified.entries);
        linked += usize::try_from(verified.entries).unwrap();
    }
    assert_eq!(linked, walk.database.entries().await.len());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_change_writes_one_entry_in_its_transaction_and_a_refused_one_none(db: PgPool) {
    let app = testing::app(db.clone()).await;
    every_change_is_told_once(&app, db).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn where_letters_are_sent_too_a_change_writes_one_entry(db: PgPool) {
    let app = testing::app_with_mail(db.clone()).await;
    every_change_is_told_once(&app, db).await;
}
