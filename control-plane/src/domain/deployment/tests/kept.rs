//! Labels and pins: which deployments stay.

use sqlx::PgPool;

use super::super::*;
use crate::domain::api::Dialect;
use crate::testing::{self, deploy, mock, new_api, new_route};

#[sqlx::test(migrations = "../migrations")]
async fn what_is_pinned_stays_and_a_label_is_of_one_deployment(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    let api = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, api, "GET /a", mock("a")).await;
    let first = deploy(&app, &alice, api, "prod").await.unwrap();
    let second = deploy(&app, &alice, api, "prod").await.unwrap();
    let third = deploy(&app, &alice, api, "prod").await.unwrap();
    let named = |label: &str| UpdateDeployment {
        label: Patch::Set(label.to_owned()),
        ..UpdateDeployment::default()
    };
    let code = |error: Error| (error.code(), error.param().unwrap_or_default().to_owned());

    let told = UpdateDeployment { pinned: Some(true), ..named(" v1 ") };
    let after = update(&app, &alice, first.id, told).await.unwrap();
    assert_eq!((after.label.as_deref(), after.pinned), (Some("v1"), true));
    assert_ne!(after.version(), first.version());
    assert_eq!(get(&app, &alice, first.id).await.unwrap(), after);
    let taken = update(&app, &alice, second.id, named("v1")).await.unwrap_err();
    assert_eq!(code(taken), ("conflict", "label".to_owned()));
    for wrong in ["", " ", &"x".repeat(text::NAME_CHARS_MAX + 1), "a\nb"] {
        let refused = update(&app, &alice, second.id, named(wrong)).await.unwrap_err();
        assert_eq!(code(refused), ("bad_request", "label".to_owned()), "{wrong:?}");
    }
    let other = new_api(&app, &alice, Dialect::Native).await;
    new_route(&app, &alice, other, "GET /a", mock("a")).await;
    let of_other = deploy(&app, &alice, other, "prod").await.unwrap();
    update(&app, &alice, of_other.id, named("v1")).await.unwrap();

    // Room is made of what nobody pinned.
    sqlx::raw_sql(r#"update tenant set limits = '{"deploymentsPerApi": 3}'"#)
        .execute(&db)
        .await
        .unwrap();
    let fourth = deploy(&app, &alice, api, "prod").await.unwrap();
    let page = Page::default();
    let kept = list(&app, &alice, api, &page).await.unwrap().items;
    assert_eq!(kept.iter().map(|it| it.id).collect::<Vec<_>>(), [fourth.id, third.id, first.id]);

    let refused = delete(&app, &alice, first.id).await.unwrap_err();
    assert!(refused.to_string().contains("pinned"), "{refused}");
    let refused = delete(&app, &alice, fourth.id).await.unwrap_err();
    assert!(refused.to_string().contains("the stage prod"), "{refused}");
    let mallory = testing::owner(&app).await;
    for id in [first.id, third.id] {
        let hidden = delete(&app, &mallory, id).await.unwrap_err();
        assert!(matches!(hidden, Error::NotFound("deployment")));
        let hidden = update(&app, &mallory, id, named("mine")).await.unwrap_err();
        assert!(matches!(hidden, Error::NotFound("deployment")));
    }
    let bare = UpdateDeployment {
        label: Patch::Clear,
        pinned: Some(false),
        ..UpdateDeployment::default()
    };
    assert_eq!(update(&app, &alice, first.id, bare).await.unwrap().label, None);
    delete(&app, &alice, first.id).await.unwrap();
    delete(&app, &alice, third.id).await.unwrap();
    let kept = list(&app, &alice, api, &page).await.unwrap().items;
    assert_eq!(kept.iter().map(|it| it.id).collect::<Vec<_>>(), [fourth.id]);
}
