//! What the ledger has of quotas, for counts that Redis forgot. Whoever asks waits beside the calls.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use proto::reconciliation::{
    ASKED_MAX,
    v1::{QuotaAsked, QuotasAsked, reconciliation_client::ReconciliationClient},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};
use tonic::{Status, transport::Channel};

use super::quota_counts::Name;

/// Questions that wait; what is beyond them is asked with a later call.
const WAITING_MAX: usize = 20_000;
/// From a question to its answer; the control plane ends its own search after five seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// A replica that answers nothing for so long is no better than one that is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);

/// Questions on their way to the control plane.
#[derive(Default)]
pub(crate) struct QuotaUses {
    waiting: Mutex<VecDeque<Question>>,
    arrived: Notify,
}

pub(crate) struct Question {
    pub(crate) asked: QuotaAsked,
    pub(crate) answer: oneshot::Sender<u64>,
}

impl QuotaUses {
    /// So many calls of the period are known to be used; none where nobody could be asked.
    pub(crate) async fn ask(&self, name: &Name, from_s: i64, until_s: i64) -> Option<u64> {
        let (answer, answered) = oneshot::channel();
        let asked = QuotaAsked {
            tenant_id: name.tenant.to_string(),
            usage_plan_id: name.usage_plan.to_string(),
            api_key_id: name.api_key.to_string(),
            period_from_s: from_s,
            period_until_s: until_s,
        };
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING_MAX {
                return None;
            }
            waiting.push_back(Question { asked, answer });
        }
        self.arrived.notify_one();
        timeout(ANSWERED_WITHIN, answered).await.ok()?.ok()
    }

    /// The next questions, once there are some. Those that nobody waits for any more are left out.
    pub(crate) async fn next(&self) -> Vec<Question> {
        loop {
            let next = self.take();
            if !next.is_empty() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Vec<Question> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|question| !question.answer.is_closed());
        let count = waiting.len().min(ASKED_MAX);
        waiting.drain(..count).collect()
    }
}

/// Answers for as long as it is polled. A question that no replica answers is dropped, and asked again later.
pub(super) async fn answer(uses: Arc<QuotaUses>, mut channels: watch::Receiver<Arc<[Channel]>>) {
    loop {
        let questions = uses.next().await;
        // A node that has just started has none yet.
        let there = channels.wait_for(|channels| !channels.is_empty());
        let now = match timeout(ANSWER_TIMEOUT, there).await {
            Ok(Ok(channels)) => channels.clone(),
            Ok(Err(_)) | Err(_) => Arc::default(),
        };
        match ask_any(&now, &questions).await {
            Ok(sums) => {
                for (question, calls) in questions.into_iter().zip(sums) {
                    let _ = question.answer.send(calls); // who does not wait any more asks again
                }
            }
            Err(status) => {
                let (reason, count) = (status.message(), questions.len());
                tracing::debug!(reason, count, "the ledger could not be asked about quotas");
            }
        }
    }
}

/// The first replica that answers.
async fn ask_any(channels: &[Channel], questions: &[Question]) -> Result<Vec<u64>, Status> {
    let quotas: Vec<_> = questions.iter().map(|question| question.asked.clone()).collect();
    let mut failed = Status::unavailable("there is no control plane to ask yet");
    for channel in channels {
        let mut client = ReconciliationClient::new(channel.clone());
        let asked = client.used(QuotasAsked { quotas: quotas.clone() });
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner().used),
            Ok(Err(status)) => failed = status,
            Err(_) => failed = Status::deadline_exceeded("the replica did not answer"),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_taken_once_and_who_asks_hears_what_was_answered_or_nothing() {
        let uses = Arc::new(QuotaUses::default());
        let ask = |key: &str| {
            let name = Name { api_key: key.into(), ..Name::default() };
            let uses = uses.clone();
            tokio::spawn(async move { uses.ask(&name, 0, 86_400).await })
        };
        let (one, other) = (ask("one"), ask("other"));
        let mut answered = Vec::new();
        while answered.len() < 2 {
            for question in uses.next().await {
                answered.push(question.asked.api_key_id.clone());
                if question.asked.api_key_id == "one" {
                    question.answer.send(7).unwrap();
                }
            }
        }
        assert_eq!((one.await.unwrap(), other.await.unwrap()), (Some(7), None));
        let given_up = ask("nobody");
        tokio::task::yield_now().await;
        given_up.abort();
        let _ = given_up.await;
        assert!(uses.take().is_empty(), "nobody waits for it");
    }

    #[tokio::test]
    async fn no_more_questions_wait_than_so_many() {
        let uses = QuotaUses::default();
        for _ in 0..WAITING_MAX {
            let asked = QuotaAsked::default();
            let answer = oneshot::channel().0;
            uses.waiting.lock().unwrap().push_back(Question { asked, answer });
        }
        assert_eq!(uses.ask(&Name::default(), 0, 1).await, None);
    }
}
