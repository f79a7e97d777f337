//! What GraphQL has and REST has not, on purpose. Everything else has a counterpart; a test compares the two lists,
//! so that a new operation has to decide.

/// Fields of GraphQL without a path, and what programs use instead.
pub(super) const GRAPHQL_ONLY: &[(&str, &str)] = &[
    ("deploymentStatus", "a subscription; programs ask `getDeployment`"),
    ("installation", "what the console's first page asks before anybody is logged in"),
    ("node", "global ids are GraphQL's; each noun has a path of its own"),
    ("nodes", "the same for many ids"),
    ("rateLimit", "what a query costs; REST tells the rate limit in headers"),
    (
        "requests",
        "a subscription to what callers ask as it happens; the access log has every request",
    ),
    ("usageGroupSeries", "charts; `listUsageGroups` has every row"),
    ("usageSeries", "charts; `listUsage` and `createDownload` have every row"),
];

/// The description's part on it.
pub(super) fn text() -> String {
    let lines = GRAPHQL_ONLY.iter().map(|(field, why)| format!("\n- `{field}`: {why}."));
    format!("\n\nOnly in GraphQL:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{graphql, rest};

    /// The same under another name: GraphQL's field, REST's operation.
    const OTHER_NAMES: [(&str, &str); 7] = [
        ("createUsageDownload", "createDownload"),
        ("invitationPreview", "previewInvitation"),
        ("tenant", "getTenantAccount"),
        ("updateIntegration", "putIntegration"),
        ("viewer", "getSession"),
        ("viewer", "getTenant"),
        ("viewer", "listTenantLimits"),
    ];

    /// Changes that REST alone makes, and why.
    const REST_ONLY: [(&str, &str); 4] = [
        ("endSession", "spends the refresh cookie, which only these paths are sent"),
        ("getDownload", "a file"),
        ("openOperatorSession", "sets the refresh cookie"),
        ("refreshSession", "spends the refresh cookie"),
    ];

    /// `listApis` and `getApis` of `apis`.
    fn prefixed(field: &str, verb: &str) -> String {
        format!("{verb}{}{}", field[..1].to_uppercase(), &field[1..])
    }

    #[test]
    fn every_operation_is_in_both_doors_or_says_why_not() {
        let fields: BTreeSet<String> = graphql::walk::operations().into_iter().collect();
        let operations: BTreeSet<String> = rest::walk::operations().into_iter().collect();
        let only = |field: &str| GRAPHQL_ONLY.iter().any(|(known, _)| *known == field);
        let mut wrong = Vec::new();
        let mut met: BTreeSet<String> = BTreeSet::new();
        for field in &fields {
            let named = [field.clone(), prefixed(field, "list"), prefixed(field, "get")];
            let other = OTHER_NAMES.iter().filter(|(known, _)| known == field);
            let counterparts: Vec<String> = named
                .into_iter()
                .chain(other.map(|(_, operation)| (*operation).to_owned()))
                .filter(|operation| operations.contains(operation))
                .collect();
            if counterparts.is_empty() != only(field) {
                wrong.push(format!("{field} of GraphQL: has REST {counterparts:?}"));
            }
            met.extend(counterparts);
        }
        for operation in &operations {
            let reads = operation.starts_with("get") || operation.starts_with("list");
            // What is read by a path of its own is a field of some object in GraphQL.
            let known = REST_ONLY.iter().any(|(known, _)| known == operation);
            if (met.contains(operation) || reads && operation != "getDownload") == known {
                wrong.push(format!(
                    "{operation} of REST: has no field in GraphQL, or needs no reason"
                ));
            }
        }
        for (field, operation) in OTHER_NAMES {
            if !fields.contains(field) || !operations.contains(operation) {
                wrong.push(format!("{field} or {operation} is no more"));
            }
        }
        for (field, _) in GRAPHQL_ONLY {
            if !fields.contains(*field) {
                wrong.push(format!("{field} is no more"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_document_lists_what_only_graphql_has() {
        let document = rest::openapi::openapi_document();
        for (field, _) in GRAPHQL_ONLY {
            assert!(document.contains(&format!("- `{field}`: ")), "{field}");
        }
    }
}
