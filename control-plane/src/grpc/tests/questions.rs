//! What nodes are asked: of requests that come, of one that was, and how a key's limits stand.

use futures_util::StreamExt;
use proto::inquiry::v1 as inquiry;
use proto::inquiry::v1::inquiry_client::InquiryClient;
use proto::tail::v1 as tail;
use proto::tail::v1::request_tail_client::RequestTailClient;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{Node, connect, join, replica};
use crate::domain::api_key::NewApiKey;
use crate::domain::limit_state::NodeAnswer;
use crate::domain::request_tail::Wanted;
use crate::domain::usage_plan::NewUsagePlan;
use crate::{domain, testing};

#[sqlx::test(migrations = "../migrations")]
async fn a_node_is_told_what_is_watched_and_shows_those_requests(db: PgPool) {
    let replica = replica(&db).await;
    let alice = testing::owner(&replica.app).await;
    let node = join(&replica).await;
    let follow = async |node: Option<&Node>| {
        let (out, batches) = mpsc::channel(4);
        let mut client = RequestTailClient::new(connect(&replica, node).await.unwrap());
        let watched = client.follow(ReceiverStream::new(batches)).await?;
        Ok::<_, Status>((out, watched.into_inner()))
    };
    assert_eq!(follow(None).await.unwrap_err().code(), Code::Unauthenticated);

    let (out, mut watched) = follow(Some(&node)).await.unwrap();
    let wanted = Wanted { status_class: Some(5), ..Wanted::default() };
    let mut watching = domain::request_tail::follow(&replica.app, &alice, wanted).await.unwrap();
    let told = watched.message().await.unwrap().unwrap().tails;
    assert_eq!((told.len(), told[0].status_class), (1, 5));
    assert_eq!(told[0].tenant_id, alice.tenant.to_string());
    let request = tail::Request { status: 502, ..tail::Request::default() };
    for tail_id in [told[0].id + 1, told[0].id] {
        let batch = tail::Batch { tail_id, requests: vec![request.clone()], dropped: 2 };
        out.send(batch).await.unwrap();
    }
    let shown = watching.next().await.unwrap();
    assert_eq!((shown.node, shown.dropped), (node.id(), 2));
    assert_eq!(shown.requests, std::slice::from_ref(&request));

    drop(watching);
    assert!(watched.message().await.unwrap().unwrap().tails.is_empty());
    let batch = tail::Batch { tail_id: 0, requests: vec![request; 101], dropped: 0 };
    out.send(batch).await.unwrap();
    assert_eq!(watched.message().await.unwrap_err().code(), Code::InvalidArgument);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_is_asked_for_a_request_and_its_tenant_is_told_what_it_knows(db: PgPool) {
    let replica = replica(&db).await;
    let (alice, mallory) = (testing::owner(&replica.app).await, testing::owner(&replica.app).await);
    let node = join(&replica).await;
    let attend = async |node: Option<&Node>| {
        let (out, answers) = mpsc::channel(4);
        let mut client = InquiryClient::new(connect(&replica, node).await.unwrap());
        let questions = client.attend(ReceiverStream::new(answers)).await?;
        Ok::<_, Status>((out, questions.into_inner()))
    };
    assert_eq!(attend(None).await.unwrap_err().code(), Code::Unauthenticated);
    let id = uuid::Uuid::now_v7().to_string();
    let get = |actor| domain::explanation::get(&replica.app, actor, &id);
    let gone = get(&alice).await.unwrap_err();
    assert!(gone.to_string().contains("none of 1 node answered"), "it has just joined: {gone}");

    let (out, mut questions) = attend(Some(&node)).await.unwrap();
    let decision = inquiry::Decision {
        limit: Some(inquiry::Limit {
            name: "key".to_owned(),
            level: inquiry::Level::Key.into(),
            figures: Some(inquiry::limit::Figures::Throttle(inquiry::Throttle {
                rate_limit: 0.5,
                burst_limit: 3,
            })),
        }),
        how: inquiry::How::Remembered.into(),
        remaining: 0,
        retry_after_s: 2,
    };
    let known = inquiry::Explanation {
        started_ms: 1,
        status: 429,
        decision: Some(decision),
        ..inquiry::Explanation::default()
    };
    let since = inquiry::NotKept { refused_since_ms: 1, others_since_ms: 2 };
    // It knows alice's, and answers what it was not asked, too.
    let alices = alice.tenant.to_string();
    let answering = async {
        for _ in 0..2 {
            let question = questions.message().await.unwrap().unwrap();
            let asked = inquiry::RequestAsked { request_id: id.clone() };
            assert_eq!(question.kind, Some(inquiry::question::Kind::Request(asked)));
            let answer = if question.tenant_id == alices {
                inquiry::answer::Kind::Explanation(known.clone())
            } else {
                inquiry::answer::Kind::NotKept(since)
            };
            for question_id in [question.id + 1, question.id] {
                let answer = inquiry::Answer { question_id, kind: Some(answer.clone()) };
                out.send(answer).await.unwrap();
            }
        }
    };
    let asking = async {
        let found = get(&alice).await.unwrap();
        assert_eq!((found.node_id, found.status), (node.id().to_string(), 429));
        let decided = found.decision.unwrap();
        assert_eq!((decided.name.as_str(), decided.retry_after_seconds), ("key", 2));
        assert_eq!((decided.rate_limit, decided.burst_limit), (Some(0.5), Some(3)));
        let gone = get(&mallory).await.unwrap_err();
        assert_eq!(gone.code(), "not_found");
        assert!(gone.to_string().contains("to the 1 node that answered"), "{gone}");
    };
    tokio::join!(answering, asking);
    assert_eq!(
        domain::explanation::get(&replica.app, &alice, "no-id").await.unwrap_err().code(),
        "bad_request"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn nodes_are_asked_how_a_keys_limits_stand_and_only_its_tenant_is_told(db: PgPool) {
    let replica = replica(&db).await;
    let app = &replica.app;
    let (alice, mallory) = (testing::owner(app).await, testing::owner(app).await);
    let (node, silent) = (join(&replica).await, join(&replica).await);
    let new = |name: &str| NewUsagePlan { name: name.to_owned(), ..NewUsagePlan::default() };
    let plan = domain::usage_plan::create(app, &alice, new("gold")).await.unwrap().id;
    let other = domain::usage_plan::create(app, &alice, new("silver")).await.unwrap().id;
    let (name, usage_plan_ids) = ("key".to_owned(), [plan].into());
    let new = NewApiKey { name, usage_plan_ids, ..NewApiKey::default() };
    let key = domain::api_key::create(app, &alice, new).await.unwrap().0.id;

    for refused in [
        domain::limit_state::get(app, &mallory, plan, key).await,
        domain::limit_state::get(app, &alice, other, key).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), "not_found");
    }
    let alone = domain::limit_state::get(app, &alice, plan, key).await.unwrap();
    assert_eq!((alone.limits.len(), alone.nodes.len()), (0, 2));
    assert!(alone.nodes.iter().all(|asked| asked.answer == NodeAnswer::NoAnswer));

    let (out, answers) = mpsc::channel(4);
    let mut client = InquiryClient::new(connect(&replica, Some(&node)).await.unwrap());
    let attended = client.attend(ReceiverStream::new(answers)).await;
    let mut questions = attended.unwrap().into_inner();
    let figures = inquiry::limit::Figures::Quota(inquiry::Quota {
        limit: 9,
        period_s: 86_400,
        resets_in_s: 60,
    });
    let used = inquiry::limit_state::Standing::Used(inquiry::Used { used: 2, at_s: 1 });
    let quota = inquiry::LimitState {
        limit: Some(inquiry::Limit {
            name: "quota".to_owned(),
            level: inquiry::Level::Key.into(),
            figures: Some(figures),
        }),
        counting: inquiry::Counting::Exact.into(),
        standing: Some(used),
        ..inquiry::LimitState::default()
    };
    let answering = async {
        let question = questions.message().await.unwrap().unwrap();
        let asked =
            inquiry::LimitsAsked { usage_plan_id: plan.to_string(), api_key_id: key.to_string() };
        assert_eq!(question.tenant_id, alice.tenant.to_string());
        assert_eq!(question.kind, Some(inquiry::question::Kind::Limits(asked)));
        let known = inquiry::LimitsKnown { limits: vec![quota] };
        let kind = Some(inquiry::answer::Kind::Limits(known));
        out.send(inquiry::Answer { question_id: question.id, kind }).await.unwrap();
    };
    let (told, ()) = tokio::join!(domain::limit_state::get(app, &alice, plan, key), answering);

    let told = told.unwrap();
    let [quota] = &told.limits[..] else { panic!("{told:?}") };
    assert_eq!((&*quota.name, quota.used, quota.remaining), ("quota", Some(2), Some(7)));
    assert_eq!(quota.nodes[0].node_id, node.id().to_string());
    let said = |node: &Node| {
        told.nodes.iter().find(|asked| asked.node_id == node.id().to_string()).map(|it| it.answer)
    };
    assert_eq!(said(&node), Some(NodeAnswer::Known));
    assert_eq!(said(&silent), Some(NodeAnswer::NoAnswer));
}
