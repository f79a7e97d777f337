import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { type Change, changes } from "../../lib/diff";
import { count, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Fact, Facts, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { Missing } from "../not-found";

const AuditEntryDocument = graphql(`
  query AuditEntry($id: ID!) {
    node(id: $id) {
      __typename
      ... on AuditEntry {
        id action noun nounId userEmail address before after requestId sequence hash createdAt
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
                <ButtonLink {...paths.audit({ noun: entry.noun, nounId: entry.nounId })}>
                  All of this thing
                </ButtonLink>
              }
            >
              <Facts>
                <Fact name="Who">{entry.userEmail ?? <span className="text-muted">the system</span>}</Fact>
                <Fact name="From">
                  <code className="font-mono text-xs">{entry.address || "inside"}</code>
                </Fact>
                <Fact name="Id">
                  <CopyText text={entry.nounId} what={`${entry.noun} id`} />
                </Fact>
                <Fact name="Request id">
                  <CopyText text={entry.requestId} what="request id" />
                </Fact>
                {entry.sequence != null && <Fact name="Place in the log">{count(entry.sequence)}</Fact>}
                {entry.hash && (
                  <Fact name="Hash">
                    <CopyText text={entry.hash} what="hash" />
                  </Fact>
                )}
              </Facts>
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

function Difference({ changes }: { changes: readonly Change[] }) {
  if (changes.length === 0) return <p className="p-4 text-muted">Nothing that is written down.</p>;
  const cell = (value: string | undefined, look: string) =>
    value === undefined ? (
      <span className="text-muted">none</span>
    ) : (
      <code
        className={`inline-block rounded-sm px-1.5 py-0.5 font-mono text-xs wrap-anywhere whitespace-pre-wrap ${look}`}
      >
        {value === "" ? '""' : value}
      </code>
    );
  return (
    <DataTable
      caption="Fields before and after"
      rows={changes}
      rowKey={({ field }) => field}
      columns={[
        {
          header: "Field",
          cell: ({ field }) => <code className="font-mono text-xs">{field || "(all)"}</code>,
        },
        { header: "Before", cell: ({ before }) => cell(before, "bg-bad-soft text-bad") },
        { header: "After", cell: ({ after }) => cell(after, "bg-ok-soft text-ok") },
      ]}
    />
  );
}
