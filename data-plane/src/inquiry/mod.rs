//! What replicas ask about one tenant: what became of a request, and how the limits of a key stand. Every data thread
//! answers for itself, between two of its calls; no call waits for it.

mod attend;
mod limits;

pub(crate) use attend::attend;

use std::{
    rc::Rc,
    sync::{Mutex, PoisonError},
};

use futures_util::future::join_all;
use proto::inquiry::v1::{
    Answer, Explanation, LimitState, LimitsAsked, NotKept, Question, answer, question,
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{node::Node, policies::limit_state};

/// Questions that wait for a thread. Further ones get no answer.
const WAITING_MAX: usize = 64;

/// The way to a node's data threads.
#[derive(Default)]
pub(crate) struct Inquiries(Mutex<Vec<mpsc::Sender<Asked>>>);

/// What one thread is asked about a tenant.
pub(crate) struct Asked {
    tenant_id: String,
    about: About,
}

/// And where its answer goes.
enum About {
    Request(Uuid, oneshot::Sender<Result<Explanation, NotKept>>),
    Limits(LimitsAsked, oneshot::Sender<Vec<LimitState>>),
}

impl Inquiries {
    /// A thread's part: what it is asked from now on.
    pub(crate) fn listen(&self) -> mpsc::Receiver<Asked> {
        let (out, asked) = mpsc::channel(WAITING_MAX);
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_closed());
        threads.push(out);
        asked
    }

    /// The node's answer. None where a thread gave none, or a newer replica asks what this node does not know.
    pub(crate) async fn answer(&self, question: Question) -> Option<Answer> {
        let Question { id, tenant_id, kind } = question;
        let kind = match kind? {
            question::Kind::Request(of) => {
                self.explain(&tenant_id, of.request_id.parse().ok()?).await?
            }
            question::Kind::Limits(of) => self.limits(&tenant_id, of).await?,
        };
        Some(Answer { question_id: id, kind: Some(kind) })
    }

    async fn explain(&self, tenant_id: &str, request_id: Uuid) -> Option<answer::Kind> {
        let answers = self.ask_each(tenant_id, |out| About::Request(request_id, out)).await;
        let mut all = NotKept::default();
        let mut silent = answers.is_empty();
        for answer in answers {
            match answer {
                Some(Ok(found)) => return Some(answer::Kind::Explanation(found)),
                Some(Err(of_thread)) => {
                    all.refused_since_ms = all.refused_since_ms.max(of_thread.refused_since_ms);
                    all.others_since_ms = all.others_since_ms.max(of_thread.others_since_ms);
                }
                None => silent = true,
            }
        }
        (!silent).then_some(answer::Kind::NotKept(all))
    }

    async fn limits(&self, tenant_id: &str, asked: LimitsAsked) -> Option<answer::Kind> {
        let answers = self.ask_each(tenant_id, |out| About::Limits(asked.clone(), out)).await;
        let silent = answers.is_empty();
        let of_threads = answers.into_iter().collect::<Option<Vec<_>>>()?.concat();
        (!silent).then(|| answer::Kind::Limits(limits::together(of_threads)))
    }

    /// What each thread says; none of one that is asked too much, or ends.
    async fn ask_each<T>(
        &self,
        tenant_id: &str,
        about: impl Fn(oneshot::Sender<T>) -> About,
    ) -> Vec<Option<T>> {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = threads.iter().map(async |thread| {
            let (answer, answered) = oneshot::channel();
            let asked = Asked { tenant_id: tenant_id.to_owned(), about: about(answer) };
            thread.try_send(asked).ok()?;
            answered.await.ok()
        });
        join_all(answers).await
    }
}

/// Answers what this thread is asked, for as long as it runs.
pub(crate) async fn answer(node: Rc<Node>, mut questions: mpsc::Receiver<Asked>) {
    while let Some(Asked { tenant_id, about }) = questions.recv().await {
        // Whoever asked may have left.
        match about {
            About::Request(id, answer) => {
                let _ = answer.send(node.kept.find(&tenant_id, id));
            }
            About::Limits(LimitsAsked { usage_plan_id, api_key_id }, answer) => {
                let known = limit_state::of_key(&node, &tenant_id, &usage_plan_id, &api_key_id);
                let _ = answer.send(known);
            }
        }
    }
}
