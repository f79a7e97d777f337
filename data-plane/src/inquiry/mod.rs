//! What replicas ask about one tenant: what became of a request. Every data thread answers for itself, between two of its
//! calls; no call waits for it.

mod attend;

pub(crate) use attend::attend;

use std::{
    rc::Rc,
    sync::{Mutex, PoisonError},
};

use futures_util::future::join_all;
use proto::inquiry::v1::{Answer, Explanation, NotKept, Question, answer, question};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::node::Node;

/// Questions that wait for a thread. Further ones get no answer.
const WAITING_MAX: usize = 64;

/// The way to a node's data threads.
#[derive(Default)]
pub(crate) struct Inquiries(Mutex<Vec<mpsc::Sender<Asked>>>);

/// What one thread is asked.
pub(crate) struct Asked {
    tenant_id: String,
    request_id: Uuid,
    answer: oneshot::Sender<Result<Explanation, NotKept>>,
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
        };
        Some(Answer { question_id: id, kind: Some(kind) })
    }

    async fn explain(&self, tenant_id: &str, request_id: Uuid) -> Option<answer::Kind> {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = threads.iter().map(async |thread| {
            let (answer, answered) = oneshot::channel();
            let asked = Asked { tenant_id: tenant_id.to_owned(), request_id, answer };
            thread.try_send(asked).ok()?;
            answered.await.ok()
        });
        let mut all = NotKept::default();
        let mut silent = threads.is_empty();
        for answer in join_all(answers).await {
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
}

/// Answers what this thread is asked, for as long as it runs.
pub(crate) async fn answer(node: Rc<Node>, mut questions: mpsc::Receiver<Asked>) {
    while let Some(Asked { tenant_id, request_id, answer }) = questions.recv().await {
        // Whoever asked may have left.
        let _ = answer.send(node.kept.find(&tenant_id, request_id));
    }
}
