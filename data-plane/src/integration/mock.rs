//! An integration that answers by itself, always the same.

use http::Response;

use super::AnswerBody;
use crate::snapshot::served::Mock;

pub(super) fn call(mock: &Mock) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(mock.body.clone()));
    *response.status_mut() = mock.status;
    response.headers_mut().clone_from(&mock.headers);
    response
}
