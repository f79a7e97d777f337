//! One stream to each replica: it asks, and is answered.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use proto::inquiry::v1::inquiry_client::InquiryClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::Inquiries;
use crate::replicas;

/// Questions of one replica that are being answered; it waits with the next.
const AT_ONCE_MAX: usize = 32;

/// Answers every replica that there is a channel to.
pub(crate) async fn attend(inquiries: Arc<Inquiries>, channels: watch::Receiver<Arc<[Channel]>>) {
    let stream = move |channel| {
        let inquiries = inquiries.clone();
        async move { stream(&inquiries, channel).await }
    };
    replicas::each(channels, stream).await;
}

/// Until the stream ends; why it did.
async fn stream(inquiries: &Inquiries, channel: Channel) -> Status {
    let (out, outgoing) = mpsc::channel(AT_ONCE_MAX);
    let mut client = InquiryClient::new(channel);
    let mut questions = match client.attend(ReceiverStream::new(outgoing)).await {
        Ok(questions) => questions.into_inner(),
        Err(status) => return status,
    };
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            question = questions.message(), if answers.len() < AT_ONCE_MAX => match question {
                Ok(Some(question)) => answers.push(inquiries.answer(question)),
                Ok(None) => return Status::unavailable("the replica ended the stream"),
                Err(status) => return status,
            },
            Some(answer) = answers.next() => {
                if let Some(answer) = answer
                    && out.send(answer).await.is_err()
                {
                    return Status::unavailable("the replica reads no more");
                }
            }
        }
    }
}
