//! What nodes count beside the ledger, and what the ledger knows of their quotas.

use proto::reconciliation::v1::reconciliation_server::Reconciliation;
use proto::reconciliation::v1::{CountReceipt, CountReport, QuotasAsked, QuotasUsed};
use tonic::{Request, Response, Status};

use super::AuthenticatedNode;
use crate::app::App;
use crate::ids::NodeId;
use crate::ledger;

pub struct Service {
    pub app: App,
}

#[tonic::async_trait]
impl Reconciliation for Service {
    async fn report(
        &self,
        request: Request<CountReport>,
    ) -> Result<Response<CountReceipt>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let refused = ledger::reconciliation::take(&self.app, node, request.into_inner()).await?;
        Ok(Response::new(CountReceipt {
            refused: refused.counts,
            reason: refused.reason.unwrap_or_default(),
        }))
    }

    async fn used(&self, request: Request<QuotasAsked>) -> Result<Response<QuotasUsed>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let used = ledger::quota_use::used(&self.app, node, request.into_inner()).await?;
        Ok(Response::new(QuotasUsed { used }))
    }
}
