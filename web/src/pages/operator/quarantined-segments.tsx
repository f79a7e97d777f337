import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { counts, QuarantineState } from "../../components/quarantine-state";
import { TextFilter } from "../../components/text-filter";
import { bytes, minute } from "../../lib/format";
import { paths, type QuarantineSearch } from "../../lib/paths";
import { SelectField } from "../../ui/field";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const QuarantineDocument = graphql(`
  query Quarantine($nodeId: String, $settled: Boolean, $after: String) {
    quarantinedSegments(nodeId: $nodeId, settled: $settled, first: 20, after: $after) {
      nodes { id nodeId nodeName counter receivedAt reason sizeBytes appliedInPart settledAt }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/installation/operator/quarantined-segments");

/** Usage that nodes sent and the ledger did not take, or not whole: what waits for the operator, by default. */
export function QuarantinePage() {
  const { after, ...filter } = route.useSearch();
  const { node, state } = filter;
  const settled = state === "ALL" ? undefined : state === "SETTLED";
  const segments = useQuery(query(QuarantineDocument, { nodeId: node, settled, after }));
  const navigate = useNavigate();
  const set = (change: { [K in keyof QuarantineSearch]: QuarantineSearch[K] | undefined }) => {
    const { node, state } = { ...filter, ...change };
    const next = { ...(node ? { node } : {}), ...(state ? { state } : {}) };
    void navigate({ ...paths.quarantine(next), replace: true });
  };
  return (
    <Page
      title="Quarantine"
      note="Usage that nodes sent and the ledger did not take, or not whole. It is kept as it came."
      crumbs={[{ label: "Nodes", to: paths.nodes() }]}
    >
      <Panel>
        <search className="grid max-w-xl grid-cols-2 items-end gap-3">
          <SelectField
            label="State"
            value={state ?? ""}
            onChange={({ target: { value } }) =>
              set({ state: value === "SETTLED" || value === "ALL" ? value : undefined })
            }
          >
            <option value="">Open</option>
            <option value="SETTLED">Settled</option>
            <option value="ALL">Any</option>
          </SelectField>
          <TextFilter key={node ?? ""} label="Node id" value={node ?? ""} onSet={(node) => set({ node })} />
        </search>
      </Panel>
      <Panel flush>
        <Loaded query={segments} lines={6}>
          {({ quarantinedSegments: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title={state || node ? "No such segment" : "Nothing is set aside"}>
                {state || node
                  ? "Choose another state, or every node, to see more."
                  : "What a node reports and the ledger does not believe is listed here, with the reason."}
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Quarantined segments"
                  rows={nodes}
                  rowKey={({ id }) => id}
                  columns={[
                    {
                      header: "Received",
                      cell: ({ id, receivedAt }) => (
                        <Link
                          {...paths.quarantinedSegment(id)}
                          className="font-medium whitespace-nowrap hover:text-accent hover:underline"
                        >
                          {minute(receivedAt)}
                        </Link>
                      ),
                    },
                    {
                      header: "Node",
                      cell: ({ nodeId, nodeName }) => (
                        <span className="block max-w-40 truncate" title={nodeId}>
                          {nodeName || nodeId}
                        </span>
                      ),
                    },
                    {
                      header: "Why",
                      cell: ({ reason }) => (
                        <span className="block max-w-72 truncate text-bad" title={reason}>
                          {reason}
                        </span>
                      ),
                    },
                    { header: "Size", numeric: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
                    {
                      header: "Counts",
                      cell: ({ appliedInPart }) => (
                        <span className="whitespace-nowrap">{counts(appliedInPart)}</span>
                      ),
                    },
                    {
                      header: "State",
                      cell: ({ settledAt }) => <QuarantineState settledAt={settledAt} />,
                    },
                  ]}
                />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.quarantine(filter)}
                  next={(after) => paths.quarantine({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}
