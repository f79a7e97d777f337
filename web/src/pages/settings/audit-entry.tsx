import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { AuditFacts, Difference, nameless } from "../../components/audit-entry";
import { Loaded } from "../../components/loaded";
import { changes } from "../../lib/diff";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { ButtonLink } from "../../ui/button";
import { Panel } from "../../ui/panel";
import { Missing } from "../not-found";

const AuditEntryDocument = graphql(`
  query AuditEntry($id: ID!) {
    node(id: $id) {
      __typename
      ... on AuditEntry {
        id action noun nounId userId userEmail address before after requestId sequence hash createdAt
      }
    }
  }
`);

const route = getRouteApi("/tenant/settings/audit/$entry");

/** One change: who made it, and each field before and after, as text. */
export function AuditEntryPage() {
  const id = route.useParams().entry;
  const answer = useQuery(query(AuditEntryDocument, { id }));
  return (
    <Loaded query={answer} lines={8}>
      {({ node: entry }) =>
        entry?.__typename !== "AuditEntry" ? (
          <Missing noun="entry" />
        ) : (
          <>
            <Panel
              title={entry.action}
              note={minute(entry.createdAt)}
              actions={
                <>
                  {entry.requestId && (
                    <ButtonLink {...paths.managementRequest(entry.requestId)}>Its request</ButtonLink>
                  )}
                  <ButtonLink {...paths.audit({ noun: entry.noun, nounId: entry.nounId })}>
                    All of this thing
                  </ButtonLink>
                </>
              }
            >
              <AuditFacts entry={entry} nameless={nameless(entry.userId)} />
            </Panel>
            <Panel title="What changed" flush>
              <Difference changes={changes(entry.before, entry.after)} />
            </Panel>
          </>
        )
      }
    </Loaded>
  );
}
