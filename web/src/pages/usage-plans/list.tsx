import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import { quota, throttle } from "../../lib/format";
import { paths } from "../../lib/paths";
import { ButtonLink } from "../../ui/button";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const UsagePlansDocument = graphql(`
  query UsagePlans($after: String) {
    usagePlans(first: 20, after: $after) {
      nodes {
        id name description
        throttle { rateLimit burstLimit enforcement }
        quota { limit period enforcement }
        stages { id name api { id name } }
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/tenant/usage-plans");

export function UsagePlansPage() {
  const { after } = route.useSearch();
  const plans = useQuery(query(UsagePlansDocument, { after }));
  const may = useMay();
  const create = may("manageUsagePlans") && (
    <ButtonLink look="primary" {...paths.newUsagePlan()}>
      Create usage plan
    </ButtonLink>
  );
  return (
    <Page
      title="Usage plans"
      note="What the holder of a key may call, how fast and how much."
      actions={create}
    >
      <Panel flush>
        <Loaded query={plans}>
          {({ usagePlans: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No usage plans yet" action={create}>
                A plan ties API keys to stages, with a rate, a burst and a quota. Create one before you issue
                keys.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="Usage plans"
                  rows={nodes}
                  rowKey={(plan) => plan.id}
                  columns={[
                    {
                      header: "Name",
                      cell: (plan) => (
                        <Link
                          {...paths.usagePlan(plan.id)}
                          className="font-medium hover:text-accent hover:underline"
                        >
                          {plan.name}
                        </Link>
                      ),
                    },
                    { header: "Throttle", cell: (plan) => throttle(plan.throttle) },
                    { header: "Quota", cell: (plan) => quota(plan.quota) },
                    {
                      header: "Stages",
                      cell: (plan) =>
                        plan.stages.length > 0 ? (
                          plan.stages.map((stage) => `${stage.api.name} / ${stage.name}`).join(", ")
                        ) : (
                          <span className="text-warn">none: its keys open nothing</span>
                        ),
                    },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.usagePlans()} next={paths.usagePlans} />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}
