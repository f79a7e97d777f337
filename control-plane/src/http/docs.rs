//! What problems' `type` leads to: `/docs/errors/{code}`, and the list of all of them at `/docs/errors`.

use std::fmt::Write;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::error::Error;
use crate::rest::problem::status_of_code;

/// One code of an error: what it says of the request, and what to do about it.
struct Documented {
    code: &'static str,
    means: &'static str,
    mend: &'static str,
}

const fn error(code: &'static str, means: &'static str, mend: &'static str) -> Documented {
    Documented { code, means, mend }
}

/// The codes that REST's problems and GraphQL's `extensions` share, by status. GraphQL's `userErrors` have them in
/// capitals, where the caller can mend what is wrong.
const ERRORS: [Documented; 19] = [
    error(
        "bad_request",
        "The request itself is wrong: no JSON, an unknown field, a value out of its bounds.",
        "Mend the field that param names, as detail says; nothing was changed.",
    ),
    error(
        "page_size_required",
        "A GraphQL query asks for a connection and does not say how many items of it. locations has its place in the \
         document, message its path.",
        "Give that field first or last, from 1 to 100 and not both: apiKeys(first: 20) { … }. Connections inside \
         others need their own. For what follows, give pageInfo.endCursor as after.",
    ),
    error(
        "unauthenticated",
        "There is no access token, or it has expired, was ended or is not ours.",
        "Log in, or refresh the session, and send Authorization: Bearer with the new token.",
    ),
    error(
        "forbidden",
        "The token is good, but this role in the tenant may not do this.",
        "Ask an owner or admin of the tenant to do it, or to give you another role.",
    ),
    error(
        "tenant_suspended",
        "The operator suspended the tenant: its members read, and change nothing.",
        "Ask the operator, for the reason that detail gives.",
    ),
    error(
        "not_found",
        "There is no such path or noun, or it is not this tenant's.",
        "Check the id and the tenant that you are logged in to.",
    ),
    error(
        "method_not_allowed",
        "The path exists and does not take this method.",
        "Use one of the methods that the Allow header names.",
    ),
    error(
        "conflict",
        "It contradicts what is there: a name is taken, or something still uses what is to go.",
        "Read what detail names, then change one of the two.",
    ),
    error(
        "idempotency_key_in_use",
        "Another request with this Idempotency-Key has not ended.",
        "Try again after Retry-After seconds: you get the answer of that one, or idempotency_answer_lost where it logged \
         somebody in.",
    ),
    error(
        "idempotency_answer_lost",
        "The request with this Idempotency-Key made its change, and its answer is not there: the process that made it \
         died before, or it logged somebody in, which no answer does twice.",
        "Nothing was done again. Look in the audit log, under the request id in detail, for what was changed.",
    ),
    error(
        "precondition_failed",
        "If-Match or expectedVersion names another version than the present one: somebody changed it since. \
         GraphQL's userErrors call it VERSION_CONFLICT.",
        "Read it again, look whether your change still makes sense, and repeat it with the present version.",
    ),
    error(
        "PERSISTED_QUERY_NOT_FOUND",
        "GraphQL was asked by the hash of a document, in extensions.persistedQuery, and is of a release whose console has \
         no such document. Hashes are for the console that this release came with: nobody can add to them.",
        "Send the document itself as query. With a client of your own leave automatic persisted queries off.",
    ),
    error(
        "too_large",
        "The body is larger than the 1 MiB that a call may have.",
        "Send less at once.",
    ),
    error(
        "unsupported_media_type",
        "The body is of a kind that this path does not read.",
        "Send JSON with Content-Type: application/json.",
    ),
    error(
        "limit_exceeded",
        "A limit would be passed: of the tenant (how many Apis, keys, …) or of one request (depth, objects, cost, time).",
        "Delete what is not needed, ask the operator for more, or ask for less at once; detail has the figures.",
    ),
    error(
        "idempotency_key_reuse",
        "This Idempotency-Key was first sent with another request.",
        "Draw a new key for each change; the same one is for repeating the same request.",
    ),
    error(
        "too_many_requests",
        "The allowance of points is spent (RateLimit tells how it stands), or too many log-ins were tried.",
        "Wait for Retry-After seconds. A read is 1 point, a change 5, what adds usage up 20, a GraphQL query what rateLimit { cost } tells.",
    ),
    error(
        "timeout",
        "The answer took longer than the time that a request has.",
        "Try again; a change with an Idempotency-Key is not made twice.",
    ),
    error(
        "internal",
        "Something of ours broke. Its cause is in the log of the control plane, under the request id.",
        "Try again later; if it stays, tell the operator the requestId.",
    ),
];

pub(super) fn routes() -> Router {
    Router::new().route("/docs/errors", get(all)).route("/docs/errors/{code}", get(one))
}

async fn all() -> Response {
    page("Errors", ERRORS.iter())
}

async fn one(Path(code): Path<String>) -> Response {
    match ERRORS.iter().find(|error| error.code == code) {
        Some(error) => page(error.code, std::iter::once(error)),
        None => Error::NotFound("this error").into_response(),
    }
}

/// Everything in it is ours: nothing is to be escaped.
fn page(title: &str, errors: impl Iterator<Item = &'static Documented>) -> Response {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} · Tollgate</title></head>\n\
         <body>\n<h1>{title}</h1>\n<p>Each error has a <code>code</code>, and the <code>requestId</code> that is \
         also in the header <code>x-request-id</code>. <code>logUrl</code> is where the console shows the request, a \
         moment later and for 30 days, to who may read the tenant's audit log. An <code>x-request-id</code> of your own finds it too.\
         </p>\n"
    );
    for Documented { code, means, mend } in errors {
        let status = status_of_code(code);
        // Writing to a String cannot fail.
        let _ = write!(
            html,
            "<h2 id=\"{code}\"><code>{code}</code> ({status})</h2>\n<p>{means}</p>\n<p>What to do: {mend}</p>\n"
        );
    }
    html.push_str(
        "<p><a href=\"/docs/errors\">All errors</a> · what can be asked: \
         <a href=\"/v1/openapi.json\">REST as OpenAPI</a>, \
         <a href=\"/graphql/schema.graphql\">GraphQL as SDL</a></p>\n</body>\n</html>\n",
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;
    use crate::error::tests::codes;

    async fn get(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_code_that_an_error_can_have_leads_to_its_page() {
        let given = codes();
        assert!(given.len() > 10 && given.contains(Error::Timeout.code()), "{given:?}");
        let documented: BTreeSet<&str> = ERRORS.iter().map(|error| error.code).collect();
        assert_eq!(documented, given);
        let (_, all) = get("/docs/errors").await;
        for code in given {
            let (status, page) = get(&format!("/docs/errors/{code}")).await;
            let heading = format!("<code>{code}</code> ({})", status_of_code(code));
            assert!(status == StatusCode::OK && page.contains(&heading), "{page}");
            assert!(all.contains(&heading), "{code}");
        }
        assert_eq!(get("/docs/errors/nonsense").await.0, StatusCode::NOT_FOUND);
    }

    #[test]
    fn each_code_has_a_status_of_its_own_choosing() {
        let statuses: Vec<u16> =
            ERRORS.iter().map(|error| status_of_code(error.code).as_u16()).collect();
        let known = statuses.iter().filter(|status| **status != 500).count();
        assert_eq!(known, ERRORS.len() - 1, "an unknown code is an internal error: {statuses:?}");
    }
}
