import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { ReconciliationFilter } from "../../components/reconciliation-filter";
import { ReconciliationTable } from "../../components/reconciliation-table";
import { TextFilter } from "../../components/text-filter";
import { paths, type ReconciliationSearch } from "../../lib/paths";
import { Empty, Panel } from "../../ui/panel";

const TenantReconciliationsDocument = graphql(`
  query TenantReconciliations($tenantId: ID, $kind: ReconciliationKind, $drifting: Boolean!, $after: String) {
    tenantReconciliations(tenantId: $tenantId, kind: $kind, drifting: $drifting, first: 50, after: $after) {
      nodes {
        id tenantId tenantName kind usagePlanId apiKeyId from until counted lost held state ledgerLeast ledgerMost drift comparedAt
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/installation/operator/reconciliations");

/** Whether what was billed agrees with what was counted elsewhere, of every tenant. */
export function TenantReconciliationsPage() {
  const { after, ...filter } = route.useSearch();
  const { tenant, kind, drifting } = filter;
  const found = useQuery(
    query(TenantReconciliationsDocument, { tenantId: tenant, kind, drifting: drifting ?? false, after }),
  );
  const navigate = useNavigate();
  const set = (change: { [K in keyof ReconciliationSearch]: ReconciliationSearch[K] | undefined }) => {
    const { tenant, kind, drifting } = { ...filter, ...change };
    const next = {
      ...(tenant ? { tenant } : {}),
      ...(kind ? { kind } : {}),
      ...(drifting ? { drifting } : {}),
    };
    void navigate({ ...paths.tenantReconciliations(next), replace: true });
  };
  return (
    <Page
      title="Reconciliation"
      note="The ledger, which bills are made of, held against the nodes' access logs by the hour and against quotas in Redis by the key."
    >
      <Panel>
        <search className="grid max-w-3xl grid-cols-1 items-end gap-3 sm:grid-cols-3">
          <ReconciliationFilter search={filter} onSet={set} />
          <TextFilter
            key={tenant ?? ""}
            label="Organisation id"
            value={tenant ?? ""}
            onSet={(tenant) => set({ tenant })}
          />
        </search>
      </Panel>
      <Panel flush>
        <Loaded query={found} lines={8}>
          {({ tenantReconciliations: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title={drifting ? "Nothing drifts" : "Nothing was compared yet"}>
                {tenant || kind || drifting
                  ? "Choose another filter to see more."
                  : "An hour of calls is compared two minutes after it is over."}
              </Empty>
            ) : (
              <>
                <ReconciliationTable rows={nodes} whose />
                <Pager
                  pageInfo={pageInfo}
                  after={after}
                  first={paths.tenantReconciliations(filter)}
                  next={(after) => paths.tenantReconciliations({ ...filter, after })}
                />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}
