use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;

use super::*;
use crate::access::actor::Actor;
use crate::access::role::Role;
use crate::domain::consumer::{self, NewConsumer};
use crate::domain::download;
use crate::testing;

async fn change(app: &App, actor: &Actor, name: &str) {
    let new = NewConsumer { name: name.to_owned(), external_id: String::new() };
    consumer::create(app, actor, new).await.unwrap();
}

/// A tenant whose log has five sealed entries.
async fn five(app: &App) -> (Actor, Caller) {
    let alice = testing::owner(app).await;
    for name in ["a", "b", "c", "d", "e"] {
        change(app, &alice, name).await;
    }
    seal(app).await.unwrap();
    (alice.clone(), Caller::Member(alice))
}

/// What somebody does who may do everything in the database.
async fn as_intruder(db: &PgPool, sql: impl Into<String>) {
    let sql =
        format!("begin; set local session_replication_role = replica; {}; commit", sql.into());
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.unwrap();
}

const KEEP: &str =
    "create table kept_entry as table audit_entry; create table kept_link as table audit_link;
    create table kept_chain as table audit_chain";
const RESTORE: &str = "delete from audit_entry; delete from audit_link; delete from audit_chain;
    insert into audit_chain table kept_chain; insert into audit_entry table kept_entry;
    insert into audit_link table kept_link";

#[sqlx::test(migrations = "../migrations")]
async fn a_changed_byte_in_any_column_is_found_where_it_is(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (_, alice) = five(&app).await;
    let stranger = testing::owner(&app).await.tenant;
    as_intruder(&db, KEEP).await;
    let whole = verify(&app, &alice, None).await.unwrap();
    assert_eq!((whole.entries, whole.sealed_sequence, &whole.fault), (5, 5, &None));

    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_name = 'audit_entry'",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    for column in columns {
        let value = match column.as_str() {
            "id" | "user_id" => "gen_random_uuid()".to_owned(),
            "tenant_id" => format!("'{stranger}'"),
            "before" => "'{}'".to_owned(),
            "after" => "jsonb_set(after, '{name}', '\"C\"')".to_owned(),
            "created_at" => "created_at + interval '1 microsecond'".to_owned(),
            _ => format!("overlay({column} placing 'x' from 1)"),
        };
        let third = "(select entry_id from audit_link where sequence = 3)";
        as_intruder(&db, format!("update audit_entry set {column} = {value} where id = {third}"))
            .await;
        let found = verify(&app, &alice, None).await.unwrap();
        assert_eq!(found.fault.map(|fault| fault.sequence), Some(3), "{column}");
        assert_eq!(found.entries, 2, "{column}");
        as_intruder(&db, RESTORE).await;
    }
    for link in ["previous_hash", "hash"] {
        let flip = format!("set_byte({link}, 7, get_byte({link}, 7) # 1)");
        as_intruder(&db, format!("update audit_link set {link} = {flip} where sequence = 3")).await;
        let fault = verify(&app, &alice, None).await.unwrap().fault.unwrap();
        assert_eq!(fault.sequence, 3, "{link}");
        as_intruder(&db, RESTORE).await;
    }
    assert_eq!(verify(&app, &alice, None).await.unwrap().fault, None);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_taken_out_moved_put_in_or_cut_off_is_found(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, caller) = five(&app).await;
    as_intruder(&db, KEEP).await;
    let cut =
        "delete from audit_entry where id in (select entry_id from audit_link where sequence > 3);
        delete from audit_link where sequence > 3";
    let rewound = "update audit_chain set sequence = 3,
        hash = (select hash from audit_link where sequence = 3)";
    let entry = format!(
        "insert into audit_entry (id, tenant_id, action, noun, noun_id)
         values (gen_random_uuid(), '{}', 'api.delete', 'api', 'x')",
        alice.tenant
    );
    let one_less = "delete from audit_entry where id = (select entry_id from audit_link where sequence = 2);
        delete from audit_link where sequence = 2; delete from audit_chain;
        create table rest as select e.*, l.sequence from audit_entry e join audit_link l on l.entry_id = e.id;
        delete from audit_link;
        do $$ declare e audit_entry; begin
            for e in select audit_entry.* from audit_entry join rest using (id) order by rest.sequence loop
                perform link_audit_entry(e);
            end loop;
        end $$; drop table rest";
    let tampering = [
        ("delete from audit_entry where id = (select entry_id from audit_link where sequence = 2)".to_owned(), 2),
        (
            "delete from audit_entry where id = (select entry_id from audit_link where sequence = 2);
             delete from audit_link where sequence = 2"
                .to_owned(),
            2,
        ),
        (
            "update audit_link set sequence = -sequence where sequence in (2, 3);
             update audit_link set sequence = 5 + sequence where sequence in (-2, -3)"
                .to_owned(),
            2,
        ),
        (cut.to_owned(), 4),
        (format!("{cut}; {rewound}"), 4),
        (entry, 6),
        // All hashes after the gap computed anew: only the seal tells.
        (one_less.to_owned(), 4),
        (format!("{one_less}; update audit_chain set sealed_sequence = 4, seal = (select seal from kept_chain)"), 4),
    ];
    for (sql, sequence) in tampering {
        as_intruder(&db, sql.clone()).await;
        // A seal that was thrown away must not come back by itself: no replica runs here.
        app.clock.advance(TimeDelta::days(3650));
        let found = verify(&app, &caller, None).await.unwrap();
        assert_eq!(
            found.fault.as_ref().map(|fault| fault.sequence >= 1),
            Some(true),
            "{sql}: {found:?}"
        );
        if !sql.contains("link_audit_entry") {
            assert_eq!(found.fault.unwrap().sequence, sequence, "{sql}");
        }
        as_intruder(&db, RESTORE).await;
        assert_eq!(verify(&app, &caller, None).await.unwrap().fault, None);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_log_put_back_to_an_earlier_state_is_found_by_who_noted_its_head(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, caller) = five(&app).await;
    as_intruder(&db, KEEP).await;
    let early = verify(&app, &caller, None).await.unwrap().head;
    change(&app, &alice, "f").await;
    seal(&app).await.unwrap();
    let noted = verify(&app, &caller, Some(early)).await.unwrap();
    assert_eq!((noted.fault, noted.entries), (None, 6));

    as_intruder(&db, RESTORE).await;

    assert_eq!(verify(&app, &caller, None).await.unwrap().fault, None);
    let told = verify(&app, &caller, Some(noted.head)).await.unwrap().fault.unwrap();
    assert_eq!(told.sequence, 6);
    let other = Head { hash: [1; 32], ..early };
    assert_eq!(verify(&app, &caller, Some(other)).await.unwrap().fault.unwrap().sequence, 5);
    assert_eq!(early.to_string().parse::<Head>().unwrap(), early);
    for wrong in ["", "5", "5:", "x:00", "5:zz"] {
        assert_eq!(wrong.parse::<Head>().unwrap_err().param(), Some("expected"));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn writers_at_two_replicas_make_one_unbroken_chain(db: PgPool) {
    let replicas = [testing::app(db.clone()).await, testing::app(db.clone()).await];
    let alice = testing::owner(&replicas[0]).await;
    let operator = testing::operator(&replicas[0]).await;

    let mut writers = JoinSet::new();
    for number in 0..24_u32 {
        let app = replicas[number as usize % 2].clone();
        let (alice, operator) = (alice.clone(), operator.clone());
        writers.spawn(async move {
            change(&app, &alice, &format!("consumer {number}")).await;
            // Both chains in one transaction, beside others that lock one of them.
            let mut tx = app.system(Job::Operator).await.unwrap();
            let note = Some("note");
            audit::record_operator_on(
                &app,
                &mut tx,
                &operator,
                alice.tenant,
                "tenant.note",
                None,
                note.as_ref(),
            )
            .await
            .unwrap();
            tx.commit().await.unwrap();
            seal(&app).await.unwrap();
        });
    }
    writers.join_all().await;

    for (caller, entries) in [(Caller::Member(alice), 48), (Caller::Operator(operator), 24)] {
        let found = verify(&replicas[1], &caller, None).await.unwrap();
        assert_eq!((found.entries, found.fault), (entries, None));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn no_role_that_serves_changes_a_log_or_links_an_entry(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, caller) = five(&app).await;
    for sql in [
        "update audit_entry set action = 'x'",
        "delete from audit_entry",
        "truncate audit_entry cascade",
        "update audit_link set hash = previous_hash",
        "delete from audit_link",
        "truncate audit_link",
        "update audit_chain set sequence = 0",
        "delete from audit_chain",
        "insert into audit_link (chain, sequence, entry_id, previous_hash, hash)
             select chain, 9, gen_random_uuid(), hash, hash from audit_link limit 1",
        "select link_audit_entry(e) from audit_entry e",
        "alter table audit_entry disable trigger chained",
    ] {
        for mut tx in [app.begin(&alice).await.unwrap(), app.system(Job::Operator).await.unwrap()] {
            let refused = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
            assert_eq!(refused.as_database_error().unwrap().code(), Some("42501".into()), "{sql}");
        }
        if !sql.starts_with("select") && !sql.starts_with("alter") && !sql.starts_with("insert") {
            let owner = sqlx::query(sql).execute(&db).await;
            let lets = sql.starts_with("update audit_chain"); // which only verification can tell
            assert_eq!(owner.is_ok(), lets, "the tables' owner slips: {sql}");
            if lets {
                let fault = verify(&app, &caller, None).await.unwrap().fault.unwrap();
                assert_eq!(fault.sequence, 5);
                sqlx::query("update audit_chain set sequence = 5").execute(&db).await.unwrap();
            }
        }
    }
    let viewer = testing::join(&app, alice.tenant, Role::Billing).await;
    let refused = verify(&app, &Caller::Member(viewer), None).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden(_)));
}

#[sqlx::test(migrations = "../migrations")]
async fn an_exported_log_verifies_by_itself(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (alice, caller) = five(&app).await;
    let noted = verify(&app, &caller, None).await.unwrap().head;
    change(&app, &alice, "after the seal").await;

    let link = download::create_audit(&app, &caller).await.unwrap();
    let opened = download::open(&app, link.url.rsplit_once('/').unwrap().1).await.unwrap();
    assert_eq!(opened.file_name(), format!("tollgate-audit-{}.ndjson", alice.tenant));
    let pieces: Vec<_> = opened.content(app.clone()).unwrap().try_collect().await.unwrap();
    let file = String::from_utf8(pieces.concat()).unwrap();

    assert_eq!(file.lines().count(), 7);
    assert_eq!(verify_export(&file, Some(noted)).unwrap().sequence, 6);
    let mut lines: Vec<&str> = file.lines().collect();
    let cut_off = lines[..6].join("\n");
    lines.swap(1, 2);
    let swapped = lines.join("\n");
    lines.swap(1, 2);
    lines.remove(3);
    let one_less = lines.join("\n");
    for (wrong, sequence) in [
        (file.replacen("\\\"name\\\": \\\"d\\\"", "\\\"name\\\": \\\"D\\\"", 1), 4),
        (cut_off, 7),
        (swapped, 2),
        (one_less, 4),
        (file.replace("\"seal\":\"", "\"seal\":\"00"), 7),
        (String::new(), 1),
        (format!("{file}{file}"), 7),
    ] {
        assert_ne!(wrong, file);
        let fault = verify_export(&wrong, None).unwrap_err();
        assert_eq!(fault.sequence, sequence, "{fault}");
    }
}
