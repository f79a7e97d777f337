import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { ReconciliationFilter } from "../../components/reconciliation-filter";
import { ReconciliationTable } from "../../components/reconciliation-table";
import { paths, type ReconciliationSearch } from "../../lib/paths";
import { Empty, Panel } from "../../ui/panel";

const ReconciliationsDocument = graphql(`
  query Reconciliations($kind: ReconciliationKind, $drifting: Boolean!, $after: String) {
    reconciliations(kind: $kind, drifting: $drifting, first: 50, after: $after) {
      nodes {
        id tenantId kind usagePlanId apiKeyId from until counted lost held state ledgerLeast ledgerMost drift comparedAt
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/tenant/usage/reconciliations");

/** Whether what is billed agrees with what was counted elsewhere. */
export function ReconciliationsPage() {
  const { after, ...filter } = route.useSearch();
  const { kind, drifting } = filter;
  const found = useQuery(query(ReconciliationsDocument, { kind, drifting: drifting ?? false, after }));
  const navigate = useNavigate();
  const set = (change: { [K in keyof ReconciliationSearch]: ReconciliationSearch[K] | undefined }) => {
    const { kind, drifting } = { ...filter, ...change };
    const next = { ...(kind ? { kind } : {}), ...(drifting ? { drifting } : {}) };
    void navigate({ ...paths.reconciliations(next), replace: true });
  };
  return (
    <Page
      title="Reconciliation"
      note="The usage that your bill is made of, held against what was counted elsewhere: the nodes' access logs by the hour, and your keys' quotas."
      crumbs={[{ label: "Usage", to: paths.usage() }]}
    >
      <Panel>
        <search className="grid max-w-xl grid-cols-2 items-end gap-3">
          <ReconciliationFilter search={filter} onSet={set} />
        </search>
      </Panel>
      <Panel flush>
        <Loaded query={found} lines={8}>
          {({ reconciliations: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title={drifting ? "Nothing drifts" : "Nothing was compared yet"}>
                {kind || drifting
                  ? "Choose another filter to see more."
                  : "An hour of calls is compared two minutes after it is over."}
              </Empty>
            ) : (
              <>
                <ReconciliationTable rows={nodes} />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.reconciliations(filter)}
                  next={(after) => paths.reconciliations({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}
