import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { DraftBadge } from "../../components/deployment-status";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { Pager } from "../../components/pager";
import { useMay } from "../../components/viewer";
import { day } from "../../lib/format";
import { paths } from "../../lib/paths";
import { ButtonLink } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Empty, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";

const ApisDocument = graphql(`
  query Apis($after: String) {
    apis(first: 20, after: $after) {
      nodes {
        id apiId name description pendingChanges createdAt
        stages(first: 10) { nodes { id name } }
      }
      pageInfo { hasNextPage hasPreviousPage endCursor }
    }
  }
`);

const route = getRouteApi("/tenant/apis");

export function ApisPage() {
  const { after } = route.useSearch();
  const apis = useQuery(query(ApisDocument, { after }));
  const may = useMay();
  const create = may("manageApis") && (
    <ButtonLink look="primary" {...paths.newApi()}>
      Create API
    </ButtonLink>
  );
  return (
    <Page
      title="APIs"
      note="Each has routes, stages that serve them, and an address of its own."
      actions={create}
    >
      <Panel flush>
        <Loaded query={apis}>
          {({ apis: { nodes, pageInfo } }) =>
            nodes.length === 0 ? (
              <Empty title="No APIs yet" action={create}>
                An API is a set of routes in front of your backend. Create one, add a route, deploy it to a
                stage.
              </Empty>
            ) : (
              <>
                <DataTable
                  caption="APIs"
                  rows={nodes}
                  rowKey={(api) => api.id}
                  columns={[
                    {
                      header: "Name",
                      cell: (api) => (
                        <div className="min-w-40">
                          <Link
                            {...paths.api(api.id)}
                            className="font-medium hover:text-accent hover:underline"
                          >
                            {api.name}
                          </Link>
                          {api.description && (
                            <p className="max-w-80 truncate text-xs text-muted">{api.description}</p>
                          )}
                        </div>
                      ),
                    },
                    { header: "Id", cell: (api) => <CopyText text={api.apiId} what="API id" /> },
                    {
                      header: "Stages",
                      cell: (api) =>
                        api.stages.nodes.length > 0 ? (
                          <span className="font-mono text-xs">
                            {api.stages.nodes.map(({ name }) => name).join(", ")}
                          </span>
                        ) : (
                          <span className="text-muted">none</span>
                        ),
                    },
                    {
                      header: "State",
                      cell: (api) => (
                        <DraftBadge
                          pendingChanges={api.pendingChanges}
                          deployed={api.stages.nodes.length > 0}
                        />
                      ),
                    },
                    { header: "Created", numeric: true, cell: (api) => day(api.createdAt) },
                  ]}
                />
                <Pager pageInfo={pageInfo} after={after} first={paths.apis()} next={paths.apis} />
              </>
            )
          }
        </Loaded>
      </Panel>
    </Page>
  );
}
