//! Nodes that are there to be asked: each is, through its stream, and answers.

use std::pin::Pin;

use proto::inquiry::v1::inquiry_server::Inquiry;
use proto::inquiry::v1::{Answer, Question};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::AuthenticatedNode;
use crate::app::App;
use crate::domain;
use crate::ids::NodeId;
use crate::live::Attendance;

/// Questions that are on their way.
const QUEUE_LEN_MAX: usize = 4;

pub struct Service {
    pub app: App,
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Inquiry for Service {
    type AttendStream = Pin<Box<ReceiverStream<Result<Question, Status>>>>;

    async fn attend(
        &self,
        request: Request<Streaming<Answer>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let cells = domain::node::cells(&self.app, node).await?;
        let attendance = self.app.live.inquiries.attend(node, cells);
        let (out, stream) = mpsc::channel(QUEUE_LEN_MAX);
        let shutdown = self.shutdown.clone();
        let answers = request.into_inner();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = attend(attendance, answers, &out) => ended,
                () = shutdown.cancelled() => Err(Status::unavailable("this replica is going away")),
            };
            if let Err(status) = ended {
                let _ = out.try_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Until the node leaves.
async fn attend(
    mut attendance: Attendance,
    mut answers: Streaming<Answer>,
    out: &mpsc::Sender<Result<Question, Status>>,
) -> Result<(), Status> {
    loop {
        tokio::select! {
            Some(question) = attendance.questions.recv() => {
                let sent = out.send(Ok(question)).await;
                sent.map_err(|_| Status::cancelled("the node left"))?;
            }
            answer = answers.message() => match answer? {
                Some(answer) => attendance.answer(answer),
                None => return Ok(()),
            },
        }
    }
}
