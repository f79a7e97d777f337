import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Fragment } from "react";
import { graphql } from "../../api/generated";
import type { AuditQuery } from "../../api/generated/graphql";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Pager } from "../../components/pager";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { CopyText } from "../../ui/copy";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const AuditDocument = graphql(`
  query Audit($after: String) {
    auditEntries(first: 50, after: $after) {
      nodes { id action noun nounId userEmail before after requestId createdAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/tenant/settings/audit");

export function AuditPage() {
  const { after } = route.useSearch();
  const audit = useQuery(query(AuditDocument, { after }));
  return (
    <Panel
      title="Audit log"
      note="Every change, who made it, and what was before. It cannot be edited."
      flush
    >
      <Loaded query={audit} lines={10}>
        {({ auditEntries: { nodes, pageInfo } }) =>
          nodes.length === 0 ? (
            <Empty title="Nothing has been changed yet">
              Each change to this organisation is listed here.
            </Empty>
          ) : (
            <>
              <DataTable
                caption="Audit log"
                rows={nodes}
                rowKey={(entry) => entry.id}
                columns={[
                  {
                    header: "When",
                    cell: (entry) => (
                      <span className="whitespace-nowrap tabular-nums">{minute(entry.createdAt)}</span>
                    ),
                  },
                  {
                    header: "Who",
                    cell: (entry) => entry.userEmail ?? <span className="text-muted">the system</span>,
                  },
                  {
                    header: "What",
                    cell: (entry) => <span className="font-medium">{entry.action}</span>,
                  },
                  {
                    header: "Id",
                    cell: (entry) => <CopyText text={entry.nounId} what={`${entry.noun} id`} />,
                  },
                  { header: "Change", cell: (entry) => <Change entry={entry} /> },
                ]}
              />
              <Pager pageInfo={pageInfo} after={after} first={paths.audit()} next={paths.audit} />
            </>
          )
        }
      </Loaded>
    </Panel>
  );
}

type Entry = AuditQuery["auditEntries"]["nodes"][number];

/** The thing before and after, as the server wrote it down: text, never markup. */
function Change({ entry: { before, after, requestId } }: { entry: Entry }) {
  const parts = { before, after, request: requestId };
  return (
    <details>
      <summary className="whitespace-nowrap text-accent">Show</summary>
      <dl className="mt-1 max-w-md font-mono text-2xs break-all whitespace-pre-wrap">
        {Object.entries(parts).map(
          ([name, text]) =>
            text && (
              <Fragment key={name}>
                <dt className="text-muted">{name}</dt>
                <dd>{text}</dd>
              </Fragment>
            ),
        )}
      </dl>
    </details>
  );
}
