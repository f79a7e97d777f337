//! What nodes are asked through this replica, and who waits for their answers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::inquiry::v1::{Answer, Question, answer, question};
use tokio::sync::mpsc;

use crate::ids::{NodeId, TenantId};

/// Questions that are being answered, on one replica.
const WAITING_MAX: usize = 200;
/// Of one tenant, on one replica.
const WAITING_OF_TENANT_MAX: usize = 10;
/// Questions that wait for a node which reads slowly. It is not asked further ones.
const QUESTIONS_MAX: usize = 32;

/// One for the whole replica.
#[derive(Default)]
pub struct Inquiries(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last number that was given to a stream or a question.
    last: u64,
    /// By stream: two processes of one node may be there, while one takes the other's place.
    attending: HashMap<u64, Attending>,
    waiting: HashMap<u64, Waiting>,
}

struct Attending {
    node: NodeId,
    cells: Vec<String>,
    out: mpsc::Sender<Question>,
}

struct Waiting {
    tenant: TenantId,
    /// The streams that have not answered.
    asked: HashSet<u64>,
    out: mpsc::Sender<(NodeId, answer::Kind)>,
}

/// A question's answers; its drop ends the question.
pub struct Asking {
    inquiries: Arc<Inquiries>,
    id: u64,
    answers: mpsc::Receiver<(NodeId, answer::Kind)>,
}

/// A node's stream; its drop ends what it was asked.
pub struct Attendance {
    inquiries: Arc<Inquiries>,
    id: u64,
    pub questions: mpsc::Receiver<Question>,
}

impl Inquiries {
    /// Asks every node of this tenant's cell about the tenant; none where it asks as much as it may already.
    pub fn ask(
        self: &Arc<Self>,
        tenant: TenantId,
        cell: &str,
        kind: &question::Kind,
    ) -> Option<Asking> {
        let mut state = self.state();
        let mine = state.waiting.values().filter(|other| other.tenant == tenant).count();
        if mine >= WAITING_OF_TENANT_MAX || state.waiting.len() >= WAITING_MAX {
            return None;
        }
        let id = state.number();
        let there =
            state.attending.iter().filter(|(_, node)| node.cells.iter().any(|it| it == cell));
        let asked: HashSet<u64> = there
            .filter(|(_, node)| {
                let tenant_id = tenant.to_string();
                node.out.try_send(Question { id, tenant_id, kind: Some(kind.clone()) }).is_ok()
            })
            .map(|(stream, _)| *stream)
            .collect();
        let (out, answers) = mpsc::channel(asked.len().max(1));
        if !asked.is_empty() {
            state.waiting.insert(id, Waiting { tenant, asked, out });
        }
        drop(state);
        Some(Asking { inquiries: self.clone(), id, answers })
    }

    /// A node of these cells is there to be asked.
    pub fn attend(self: &Arc<Self>, node: NodeId, cells: Vec<String>) -> Attendance {
        let (out, questions) = mpsc::channel(QUESTIONS_MAX);
        let mut state = self.state();
        let id = state.number();
        state.attending.insert(id, Attending { node, cells, out });
        drop(state);
        Attendance { inquiries: self.clone(), id, questions }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Asking {
    /// The next answer. None once every node that was asked has answered, or left.
    pub async fn next(&mut self) -> Option<(NodeId, answer::Kind)> {
        self.answers.recv().await
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.inquiries.state().waiting.remove(&self.id);
    }
}

impl Attendance {
    /// Passes on what the node said. What it was not asked, or says twice, is let fall.
    pub fn answer(&self, answer: Answer) {
        let mut state = self.inquiries.state();
        let Some(node) = state.attending.get(&self.id).map(|it| it.node) else { return };
        let Some(waiting) = state.waiting.get_mut(&answer.question_id) else { return };
        let Some(kind) = answer.kind else { return };
        if !waiting.asked.remove(&self.id) {
            return;
        }
        let _ = waiting.out.try_send((node, kind)); // there is room for one of each
        if waiting.asked.is_empty() {
            state.waiting.remove(&answer.question_id);
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let mut state = self.inquiries.state();
        state.attending.remove(&self.id);
        state.waiting.retain(|_, waiting| {
            waiting.asked.remove(&self.id);
            !waiting.asked.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proto::inquiry::v1::{NotKept, RequestAsked};

    use super::*;
    use crate::ids::Rng;

    fn kind() -> question::Kind {
        question::Kind::Request(RequestAsked { request_id: "it".to_owned() })
    }

    fn not_kept(question_id: u64) -> Answer {
        Answer { question_id, kind: Some(answer::Kind::NotKept(NotKept::default())) }
    }

    #[tokio::test]
    async fn nodes_of_the_cell_are_asked_and_each_answers_once() {
        let inquiries = Arc::new(Inquiries::default());
        let tenant: TenantId = Rng.id();
        let mut nodes: Vec<(NodeId, Attendance)> = ["east", "east", "west"]
            .map(|cell| {
                let node = Rng.id();
                (node, inquiries.attend(node, vec![cell.to_owned()]))
            })
            .into();
        let mut asking = inquiries.ask(tenant, "east", &kind()).unwrap();

        let question = nodes[0].1.questions.recv().await.unwrap();
        assert_eq!((question.tenant_id, question.kind), (tenant.to_string(), Some(kind())));
        assert!(nodes[2].1.questions.try_recv().is_err(), "another cell's");
        nodes[2].1.answer(not_kept(question.id));
        for _ in 0..2 {
            nodes[0].1.answer(not_kept(question.id));
        }
        nodes[0].1.answer(not_kept(question.id + 1));
        assert_eq!(asking.next().await.unwrap().0, nodes[0].0);
        nodes.remove(1);
        assert!(asking.next().await.is_none(), "the other left");
        assert!(inquiries.state().waiting.is_empty());
    }

    #[tokio::test]
    async fn where_no_node_is_there_nobody_waits() {
        let inquiries = Arc::new(Inquiries::default());
        let mut asking = inquiries.ask(Rng.id(), "east", &kind()).unwrap();
        assert!(asking.next().await.is_none());
    }

    #[test]
    fn a_tenant_asks_so_much_and_takes_nobody_elses_place() {
        let inquiries = Arc::new(Inquiries::default());
        let _node = inquiries.attend(Rng.id(), vec!["east".to_owned()]);
        let (alice, mallory) = (Rng.id(), Rng.id());
        let held: Vec<Asking> =
            std::iter::from_fn(|| inquiries.ask(alice, "east", &kind())).collect();
        assert_eq!(held.len(), WAITING_OF_TENANT_MAX);
        assert!(inquiries.ask(mallory, "east", &kind()).is_some());
        drop(held);
        assert!(inquiries.state().waiting.is_empty());
        assert!(inquiries.ask(alice, "east", &kind()).is_some());
    }
}
