//! `responseTransferMode` `BUFFERED`: a backend's answer is read whole before its caller gets any of it, so that one which
//! breaks off, takes too long or is too large is a refusal, and not half an answer.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use super::{
    AnswerBody, BoxError, Download,
    download::{Kept, Stalled},
    function::{
        self,
        memory::{Full, Held},
    },
    http_proxy,
};
use crate::{
    gateway_response::{GatewayResponse, Kind},
    node::Node,
};

/// AWS's bound on an answer, 10 MB.
pub(super) const BYTES_MAX: usize = 10 << 20;

/// The whole of an answer's body. Where its tenant's calls hold as much memory as they may, it streams from here on: a caller
/// that is slow to take an answer is no reason to refuse another.
pub(super) async fn read(
    node: &Node,
    tenant_id: &Arc<str>,
    mut download: Download,
) -> Result<AnswerBody, GatewayResponse> {
    if download.is_end_stream() {
        return Ok(AnswerBody::whole(bytes::Bytes::new()));
    }
    if download.size_hint().lower() > BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut held = node.functions.enter(tenant_id);
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut download).poll_frame(cx)).await {
        let frame = frame.map_err(|why| broken_off(&why))?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().ok();
                download.keep(Kept { bytes: held.keep(bytes.freeze()), trailers });
                return Ok(AnswerBody::Download(Box::new(download)));
            }
        };
        if bytes.len() + data.len() > BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
        if let Err(Full) = held.grow(data.len()) {
            download.keep(Kept { bytes: held.keep(bytes.freeze()), trailers: None });
            return Ok(AnswerBody::Download(Box::new(download)));
        }
    }
    Ok(AnswerBody::whole(held.keep(bytes.freeze())))
}

/// The same of a body that nobody gets as it comes.
pub(super) async fn whole(mut body: AnswerBody, held: &mut Held) -> Result<Bytes, GatewayResponse> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|why| broken_off(&why))?.into_data() else { continue };
        if bytes.len() + data.len() > BYTES_MAX {
            return Err(too_large());
        }
        held.grow(data.len()).map_err(|Full| function::full())?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn too_large() -> GatewayResponse {
    Kind::ResponseTooLarge
        .because("The backend's answer is larger than 10 MiB, and is not streamed to its callers.")
}

fn broken_off(why: &BoxError) -> GatewayResponse {
    if why.is::<Stalled>() {
        return http_proxy::timed_out();
    }
    Kind::IntegrationFailure.because("The backend's answer broke off.")
}
